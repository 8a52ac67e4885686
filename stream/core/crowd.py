"""The visitors of a run side by side; the plain ones among them are played all at once.

A visitor is plain that has one session, open, and whose events came in order. What the next event
in order does to it follows from its row alone; to the marks its own is only appended.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from stream.core.arrivals import Arrivals, Column, Columns, Flags, Positions
from stream.core.rows import (
    LONGEST_MS,
    SETTLED,
    Rows,
    active_ms,
    due_ms,
    extend,
    interactions,
    newest_ms,
    read_rows,
    takes,
    until_ms,
    write_rows,
)
from stream.core.sessions import Frame
from stream.core.visitor_forms import NOBODY, assemble, split

_ROUNDS = 16
"""Events of one visitor that are played in a run; those of a very busy one are played singly."""
_MANY_MARKS = 64
"""A visitor with more has some of them played for good, when it is looked at."""


class Looked(NamedTuple):
    """What a look at visitors came to.

    Rows that settle, and the numbers of those who are gone, who are kept until their next look, and
    who must be looked at singly.
    """

    settled: Rows
    gone: Positions
    kept: Positions
    look_ms: Column
    special: Positions


class Crowd:
    """Visitors by number, from their bytes (None: not known yet)."""

    def __init__(self, raws: Sequence[bytes | None], frame: Frame) -> None:
        self._frame = frame
        parts = [NOBODY if raw is None else split(raw) for raw in raws]
        self.is_plain = np.array([part is not None for part in parts], np.bool_)
        known = [part or NOBODY for part in parts]
        self.rows = read_rows([part[0] for part in known])
        self._pasts = [part[1] for part in known]
        self._counts = np.array([part[2] for part in known], np.int64)
        self._marks = [part[3] for part in known]

    def play(self, events: Arrivals, chosen: Positions) -> Flags:
        """Play the chosen events, as far as their visitors are plain; which ones were played.

        Where one was not, its visitor's later ones were not either.
        """
        played = np.zeros(len(events.who), np.bool_)
        chosen = chosen[self.is_plain[events.who[chosen]]]
        places = chosen[np.argsort(events.who[chosen], kind="stable")]
        turns = np.flatnonzero(np.diff(events.who[places], prepend=-1))
        ends = np.append(turns[1:], len(places))
        for _ in range(_ROUNDS):
            if not len(turns):
                break
            now = places[turns]
            taken = self._play(events, now)
            played[now[taken]] = True
            turns, ends = turns[taken] + 1, ends[taken]
            left = turns < ends
            turns, ends = turns[left], ends[left]
        return played

    def expect(self, numbers: Positions, known: Rows) -> tuple[Positions, Column]:
        """Who of some visitors is to be looked at earlier than so far, and when.

        `known` are their rows as they were.
        """
        rows = self.rows[numbers]
        look_ms = np.minimum(due_ms(rows, self._frame), active_ms(rows) + self._frame.linger_ms)
        is_new = interactions(known) == 0
        earlier = is_new | (look_ms < known["first_ms"] + known["timer"])
        numbers, look_ms = numbers[earlier], look_ms[earlier]
        self.rows["timer"][numbers] = look_ms - self.rows["first_ms"][numbers]
        return numbers, look_ms

    def look(self, before_ms: int, watermark_ms: int) -> Looked:
        """Settle what is over before an instant, forget what does not matter any more."""
        rows, frame = self.rows, self._frame
        ahead_ms = before_ms - watermark_ms  # the settling clock may have gone on over a pause
        awaited = self.is_plain & (rows["first_ms"] + rows["timer"] < before_ms)
        dues_ms, untils_ms, newest = due_ms(rows, frame), until_ms(rows, frame), newest_ms(rows)
        was_settled = rows["state"] & SETTLED != 0
        over = ~was_settled & (dues_ms < before_ms)
        is_settled = was_settled | over
        self._counts[is_settled | (newest < watermark_ms)] = 0
        rows["state"] |= np.where(over, SETTLED, 0)
        look_ms = np.where(is_settled, untils_ms + ahead_ms, dues_ms)
        lingers_ms = newest + frame.linger_ms + ahead_ms
        look_ms = np.where(self._counts > 0, np.minimum(look_ms, lingers_ms), look_ms)
        timer = look_ms - rows["first_ms"]
        simple = awaited & (timer <= LONGEST_MS) & (self._counts < _MANY_MARKS)
        rows["timer"] = timer
        gone = is_settled & (untils_ms < watermark_ms)
        kept = np.flatnonzero(simple & ~gone)
        return Looked(
            rows[simple & over],
            np.flatnonzero(simple & gone),
            kept,
            look_ms[kept],
            np.flatnonzero(~self.is_plain | (awaited & ~simple)),
        )

    def raws(self, numbers: Positions) -> list[bytes]:
        """The bytes of plain visitors."""
        texts = write_rows(self.rows[numbers])
        counts = self._counts[numbers].tolist()
        return [
            assemble(text, self._pasts[number], count, self._marks[number])
            for number, text, count in zip(numbers.tolist(), texts, counts, strict=True)
        ]

    def _play(self, events: Arrivals, places: Positions) -> Flags:
        """Play one event each of some visitors."""
        who, columns = events.who[places], events.columns.take(places)
        rows, counts = self.rows[who], self._counts[who]
        newest, watermarks_ms = active_ms(rows), events.watermark_ms[places]
        counts[newest < watermarks_ms] = 0
        taken: Flags = (
            takes(rows, columns, self._frame)
            & (columns.at_ms >= watermarks_ms)
            & ((columns.at_ms > newest) | (interactions(rows) == 0))
            & (counts < self._frame.MAX_MARKS)
        )
        if not taken.all():
            places, who, columns = places[taken], who[taken], columns.take(np.flatnonzero(taken))
            rows, counts = rows[taken], counts[taken]
        self._turn_page(who[counts == 0], rows[counts == 0])
        extend(rows, columns)
        self.rows[who], self._counts[who] = rows, counts + 1
        self._append(events, places, columns, rows)
        return taken

    def _turn_page(self, who: Positions, rows: Rows) -> None:
        """What is true now becomes the past: nothing may be reordered any more."""
        for number, past in zip(who.tolist(), write_rows(rows), strict=True):
            self._pasts[number], self._marks[number] = past, b""

    def _append(self, events: Arrivals, places: Positions, columns: Columns, rows: Rows) -> None:
        """Add the records of events to the marks; `rows` are those of their visitors."""
        (records, is_rare_id), marks = events.records, self._marks
        is_rare = (
            is_rare_id[places]
            | (columns.label != rows["label"])
            | (columns.session != rows["session"])
            | (columns.value_micros != 0)
        )
        for place, row in zip(places[is_rare].tolist(), rows[is_rare], strict=True):
            records[place] = events.record(place, int(row["label"]), int(row["session"]))
        for number, place in zip(events.who[places].tolist(), places.tolist(), strict=True):
            marks[number] += records[place]
