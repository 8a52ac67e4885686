"""What tickets count, and how it gets into the cube.

What tickets counted is taken back and what they count now is counted, for many at once, when
somebody asks: until then both wait. Knows nothing of events.
"""

from functools import partial
from itertools import chain

import numpy as np

from stream.core.buckets import WIDTH_MS, Size
from stream.core.catalogue import TICKETS
from stream.core.cube import Cube
from stream.core.sketch import bin_indexes
from stream.core.ticket_facts import INCOMPLETE, NO_FIELD, NOTHING, Counts, Fact, Standing

_I = TICKETS.index
_FIELDS = tuple(
    (_I[count], _I[total], TICKETS.sketches.index(total))
    for count, total in (
        ("answered", "first_response_ms"),
        ("resolved", "first_resolution_ms"),
        ("resolved_latest", "resolution_ms"),
    )
)
"""Count, sum of durations and sketch of each fact."""
_STILL_OPEN, _OPEN, _AWAITING = _I["still_open"], _I["open"], _I["awaiting"]
_SLOT_MS = WIDTH_MS[Size.S10]


class TicketCounts:
    """What is counted of the tickets of one partition."""

    def __init__(self, cube: Cube) -> None:
        self._cube = cube
        self._now: tuple[list[Fact], ...] = ([], [], [])
        self._was: tuple[list[Fact], ...] = ([], [], [])
        self._new: list[Counts] = []
        self._settled: tuple[list[Fact], ...] = ([], [], [])
        self._standing_now: list[Standing] = []
        self._standing_was: list[Standing] = []

    @property
    def waiting(self) -> int:
        """Facts and tickets that are not counted yet; some tickets have several facts."""
        facts = sum(map(len, (*self._now, *self._was, *self._settled)))
        return len(self._new) + facts + len(self._standing_now) + len(self._standing_was)

    def change(self, was: Counts, now: Counts) -> None:
        """A ticket that counted something counts something else."""
        if was is NOTHING:
            self._new.append(now)
            return
        if was[0] != now[0]:
            for which, (old, new) in enumerate(zip(was[0], now[0], strict=True)):
                if old != new:
                    if old is not None:
                        self._was[which].append(old)
                    if new is not None:
                        self._now[which].append(new)
        if was[1] != now[1]:
            if was[1] is not None:
                self._standing_was.append(was[1])
            if now[1] is not None:
                self._standing_now.append(now[1])

    def settle(self, which: int, fact: Fact) -> None:
        """A fact settled, as it is."""
        self._settled[which].append(fact)

    def drain(self) -> None:
        """Count what has changed and what has settled."""
        for which, facts in enumerate(self._now):
            facts += [fact for new, _ in self._new if (fact := new[which]) is not None]
        self._standing_now += [standing for _, standing in self._new if standing is not None]
        self._new = []
        for which in range(len(_FIELDS)):
            self._add_up(which, self._now[which], self._was[which])
            self._add_up(which, self._settled[which], [], settled=True)
        self._count_open(self._standing_now, self._standing_was)
        self._now, self._was, self._settled = ([], [], []), ([], [], []), ([], [], [])
        self._standing_now, self._standing_was = [], []

    def _add_up(
        self, which: int, now: list[Fact], was: list[Fact], *, settled: bool = False
    ) -> None:
        """Count facts: one item, the sum of durations, the sketch bin, and the field beside it."""
        if not now and not was:
            return
        rows = np.fromiter(chain.from_iterable(now + was), np.int64).reshape(-1, 4)
        sign = np.repeat((1, -1), (len(now), len(was)))
        slots, labels, durations_ms, fields = rows[:, 0] // _SLOT_MS, *rows.T[1:]
        special = fields != NO_FIELD
        tally = partial(self._cube.tally, settled=settled)
        tally(slots[special], labels[special], fields[special], sign[special])
        whole = fields != INCOMPLETE
        slots, labels, durations_ms, sign = (
            column[whole] for column in (slots, labels, durations_ms, sign)
        )
        count, total, sketch = _FIELDS[which]
        tally(slots, labels, count, sign)
        tally(slots, labels, bin_indexes(sketch, durations_ms), sign)
        tally(slots, labels, total, sign * durations_ms)

    def _count_open(self, now: list[Standing], was: list[Standing]) -> None:
        if not now and not was:
            return
        rows = np.fromiter(chain.from_iterable(now + was), np.int64).reshape(-1, 3)
        sign = np.repeat((1, -1), (len(now), len(was)))
        self._cube.tally(rows[:, 0] // _SLOT_MS, rows[:, 1], _STILL_OPEN, sign)
        self._cube.total(rows[:, 1], _OPEN, sign)
        awaits = rows[:, 2] == 1
        self._cube.total(rows[awaits, 1], _AWAITING, sign[awaits])
