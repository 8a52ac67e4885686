"""The fold of `sessions`: visitors in the table, their sessions counted in the cube.

A visitor by itself is the law (`visitor`). Many of them take the short way of a crowd, as far as
they are plain (`crowd`); it comes to the same, sooner.
"""

from collections.abc import Iterable, Sequence
from itertools import islice

import numpy as np

from stream.core.arrivals import Arrivals, Column, Positions, sealing
from stream.core.catalogue import SESSIONS
from stream.core.crowd import Crowd
from stream.core.cube import Cube
from stream.core.dedupe import DUPLICATE
from stream.core.marks import CONVERSION, PAGE_VIEW
from stream.core.pseudonyms import Pseudonyms
from stream.core.rows import is_unsettled, rows_of
from stream.core.run import LATE, TOO_LATE, Run
from stream.core.session_counts import SessionCounts
from stream.core.sessions import Frame, Visit
from stream.core.table import Items, Table
from stream.core.visitor import Visitor, absorb, current, forget, settle, take_in
from stream.core.visitor_forms import decode, encode, rows_now
from stream.core.wheel import Wheel

FEW = 32
"""Fewer events or visitors than these are played one by one: numpy's calls have a price."""
_PART = 4_096
_LOADED_AT_ONCE = 65_536
_TOTALS = {
    PAGE_VIEW: SESSIONS.index["page_views_total"],
    CONVERSION: SESSIONS.index["conversions_total"],
}
Item = tuple[bytes, bytes]
"""A key of the table, and the bytes of the visitor."""


class Guest:
    """A visitor who is played by itself.

    `before` are the visits that had not settled when it came, `settled` those that did since.
    """

    __slots__ = ("before", "key", "settled", "visitor")

    def __init__(self, key: bytes, visitor: Visitor, before: list[Visit]) -> None:
        self.key, self.visitor, self.before = key, visitor, before
        self.settled: list[Visit] = []


class Visitors:
    """Folds session events; an item of the table is `i` + the visitor's pseudonym."""

    def __init__(self, frame: Frame, table: Table, cube: Cube, pseudonyms: Pseudonyms) -> None:
        self._frame = frame
        self._table = table
        self._cube = cube
        self._pseudonyms = pseudonyms
        self._counts = SessionCounts(cube)
        self._wheel = Wheel()

    def fold(self, run: Run) -> None:
        """Count a run; an event that came too late gets the verdict LATE."""
        read, in_time = run.events, np.flatnonzero(run.verdicts != TOO_LATE)
        labels = np.zeros(len(read), np.int64)
        labels[in_time] = read.labels(self._cube, in_time)  # admitted along the log
        watermarks_ms = run.clocks_ms - run.lateness_ms
        events = Arrivals(read, run.at_ms, watermarks_ms, labels, self._pseudonyms)
        places = in_time[run.verdicts[in_time] != DUPLICATE]
        guests: dict[bytes, Guest] = {}
        if len(places) >= FEW:
            places = self._play_together(run, events, places, guests)
        for place in places.tolist():
            if run.came_before(place):
                run.verdicts[place] = DUPLICATE
            elif not self._play_singly(events, place, guests):
                run.verdicts[place] = LATE
        watermark_ms = int(watermarks_ms[-1])
        self._put_back(guests.values(), watermark_ms, watermark_ms)
        self._count_totals(run, events)

    def settle(self, before_ms: int, watermark_ms: int) -> None:
        """Look at all visitors who are due before an instant."""
        keys = iter(dict.fromkeys(self._wheel.pop(before_ms)))
        while part := list(islice(keys, _PART)):
            items = [(key, raw) for key in part if (raw := self._table.get(key)) is not None]
            if len(items) >= FEW:
                items = self._look_together(items, before_ms, watermark_ms)
            self._look_singly(items, before_ms, watermark_ms)

    def reach(self, before_ms: int, most: int) -> int:
        """How far one can settle with about so many visitors."""
        return self._wheel.reach(before_ms, most)

    def drain(self) -> None:
        """Count what has changed."""
        self._counts.drain()

    def settled_through(self, before_ms: int) -> dict[str, int]:
        """All sessions begun before it are final."""
        return {"sessions": self._counts.settled_through(before_ms)}

    def load(self, items: Items) -> None:
        """Take up recovered visitors."""
        for at in range(0, len(items.keys), _LOADED_AT_ONCE):
            part = slice(at, at + _LOADED_AT_ONCE)
            self._load(items.keys[part], items.values[part])

    def _load(self, keys: Sequence[bytes], raws: Sequence[bytes]) -> None:
        rows, general = rows_now(raws)
        self._counts.begin(rows[is_unsettled(rows)])
        timers_ms: Column = rows["first_ms"] + rows["timer"]
        for number in general.tolist():
            visitor = self._decode(keys[number], raws[number])
            assert visitor.timer_ms is not None
            timers_ms[number] = visitor.timer_ms
            self._counts.begin(rows_of(self._unsettled(visitor)))
        self._wheel.add_all(keys, timers_ms)

    def sizes(self) -> dict[str, int]:
        """Sessions that have not settled."""
        return {"open": self._counts.open}

    # --- all at once ---

    def _play_together(
        self,
        run: Run,
        events: Arrivals,
        places: Positions,
        guests: dict[bytes, Guest],
    ) -> Positions:
        """Play the events of plain visitors; returns the places left, their visitors as guests."""
        keys = events.keys
        raws = self._table.get_all(keys)
        crowd = Crowd(raws, self._frame)
        known = crowd.rows.copy()
        chosen = places
        if run.repeats:  # whether one of them counts may hang on an event of another visitor
            chosen = places[~np.isin(events.who[places], events.who[list(run.repeats)])]
        played = crowd.play(events, chosen)
        touched = np.unique(events.who[played])
        soon, look_ms = crowd.expect(touched, known[touched])
        for number, at_ms in zip(soon.tolist(), look_ms.tolist(), strict=True):
            self._wheel.add(keys[number], at_ms)
        changed = dict(zip(touched.tolist(), crowd.raws(touched), strict=True))
        places = places[~played[places]]
        special = np.unique(events.who[places])
        for number in special.tolist():
            key, raw = keys[number], changed.pop(number, raws[number])
            guests[key] = self._guest(key, raw, is_counted=not crowd.is_plain[number])
        self._table.put_all({keys[number]: raw for number, raw in changed.items()})
        rest = np.fromiter(changed, np.intp, len(changed))
        before = known[np.concatenate((rest, special))]
        self._counts.change(before[is_unsettled(before)], crowd.rows[rest])
        return places

    def _look_together(
        self, items: Sequence[Item], before_ms: int, watermark_ms: int
    ) -> list[Item]:
        """Look at plain visitors; returns the others."""
        crowd = Crowd([raw for _, raw in items], self._frame)
        looked = crowd.look(before_ms, watermark_ms)
        self._counts.settle(looked.settled)
        for number in looked.gone.tolist():
            self._table.delete(items[number][0])
        raws = crowd.raws(looked.kept)
        for number, raw, at_ms in zip(
            looked.kept.tolist(), raws, looked.look_ms.tolist(), strict=True
        ):
            key = items[number][0]
            self._table.put(key, raw)
            self._wheel.add(key, at_ms)
        return [items[number] for number in looked.special.tolist()]

    # --- one by one ---

    def _play_singly(self, events: Arrivals, place: int, guests: dict[bytes, Guest]) -> bool:
        """Add one event to its visitor; False: it came too late."""
        key = events.key(place)
        guest = guests.get(key)
        if guest is None:
            guest = guests[key] = self._guest(key, self._table.get(key))
        watermark_ms = int(events.watermark_ms[place])
        return take_in(guest.visitor, events.mark(place), watermark_ms, self._frame, guest.settled)

    def _look_singly(self, items: Iterable[Item], before_ms: int, watermark_ms: int) -> None:
        guests = []
        for key, raw in items:
            guest = self._guest(key, raw)
            visitor = guest.visitor
            if visitor.timer_ms is not None and visitor.timer_ms < before_ms:
                visitor.timer_ms = None
                absorb(visitor, watermark_ms, self._frame)
                guest.settled = settle(visitor, before_ms, self._frame)
                guests.append(guest)
        self._put_back(guests, before_ms, watermark_ms)

    def _guest(self, key: bytes, raw: bytes | None, *, is_counted: bool = True) -> Guest:
        """A visitor by itself; what one was before that is in a crowd's rows is counted there."""
        visitor = Visitor([], []) if raw is None else self._decode(key, raw)
        return Guest(key, visitor, self._unsettled(visitor) if is_counted else [])

    def _decode(self, key: bytes, raw: bytes) -> Visitor:
        return decode(raw, sealing(self._pseudonyms, key))

    def _unsettled(self, visitor: Visitor) -> list[Visit]:
        return [visit for visit in current(visitor, self._frame)[0] if not visit.settled]

    def _put_back(self, guests: Iterable[Guest], before_ms: int, watermark_ms: int) -> None:
        """Write visitors, have them looked at in time, and count what has changed."""
        before, after, settled = list[Visit](), list[Visit](), list[Visit]()
        for guest in guests:
            visitor = guest.visitor
            absorb(visitor, watermark_ms, self._frame)
            forget(visitor, watermark_ms, self._frame)
            now, owners = current(visitor, self._frame)
            if visitor.is_empty:
                self._table.delete(guest.key)
            else:
                self._expect(guest.key, visitor, now, before_ms - watermark_ms)
                seal = sealing(self._pseudonyms, guest.key)
                self._table.put(guest.key, encode(visitor, now, owners, seal))
            before += guest.before
            after += [visit for visit in now if not visit.settled]
            settled += guest.settled
        if before or after or settled:
            self._counts.change(rows_of(before), rows_of(after + settled))
        if settled:
            self._counts.settle(rows_of(settled))

    def _expect(self, key: bytes, visitor: Visitor, now: list[Visit], ahead_ms: int) -> None:
        """Have a visitor looked at in time; the settling clock may be ahead of the watermark."""
        frame = self._frame
        dues_ms = [frame.until_ms(v) + ahead_ms if v.settled else frame.due_ms(v) for v in now]
        if visitor.marks:
            dues_ms.append(visitor.marks[-1].at_ms + frame.linger_ms + ahead_ms)
        look_ms = min(dues_ms)
        if visitor.timer_ms is None or look_ms < visitor.timer_ms:
            visitor.timer_ms = look_ms
            self._wheel.add(key, look_ms)

    def _count_totals(self, run: Run, events: Arrivals) -> None:
        """Count page views and conversions by their own label sets; they are never taken back."""
        counts = run.counts
        for kind, field in _TOTALS.items():
            self._cube.total(events.label[counts & (events.kind == kind)], field)
