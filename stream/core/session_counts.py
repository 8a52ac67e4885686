"""What sessions count under every definition, and how it gets into the cube.

What a visitor's sessions counted is taken back and what they count now is counted, for many
visitors at once: what did not change cancels out before the cube is touched.
"""

from collections import Counter

import numpy as np

from stream.core.arrivals import Column, Flags
from stream.core.catalogue import AGES_MS, SESSIONS
from stream.core.cube import Cube
from stream.core.rows import CLOSED, NO_ROWS, Rows, interactions
from stream.core.sums import halves_sum

MANY = 50_000
"""Sessions that wait at most to be counted again."""
_SLOT_MS = 10_000
_ENGAGED_MS = 10_000
"""A session this long is engaged, for GA4 and for PostHog."""
_ACTIVE, _VALUE = SESSIONS.index["active"], SESSIONS.index["value_micros"]
_LABEL_BITS = 28
_HALF, _LOW = 32, (1 << 32) - 1


class SessionCounts:
    """What is counted of the sessions of one partition, and how many may still change."""

    def __init__(self, cube: Cube) -> None:
        self._cube = cube
        self._unsettled: Counter[int] = Counter()
        self._before: list[Rows] = []
        self._after: list[Rows] = []
        self._waiting = 0

    @property
    def open(self) -> int:
        """Sessions that have not settled."""
        return self._unsettled.total()

    def settled_through(self, before_ms: int) -> int:
        """The instant, at most `before_ms`, before which no session that is open began."""
        return min([before_ms, *(slot * _SLOT_MS for slot in self._unsettled)])

    def change(self, before: Rows, after: Rows) -> None:
        """Sessions that have not settled became others."""
        self._tally(before, after)
        self._before.append(before)
        self._after.append(after)
        self._waiting += len(before) + len(after)
        if self._waiting > MANY:
            self.drain()

    def settle(self, rows: Rows) -> None:
        """Sessions settled, as they are."""
        self._tally(rows, NO_ROWS)
        _add_up(self._cube, NO_ROWS, rows, settled=True)

    def begin(self, rows: Rows) -> None:
        """Sessions that are counted already have not settled."""
        self._tally(NO_ROWS, rows)

    def drain(self) -> None:
        """Count what has changed."""
        if self._waiting:
            before, after = np.concatenate(self._before), np.concatenate(self._after)
            _add_up(self._cube, before, after)
            _count_active(self._cube, before, after)
            self._before, self._after, self._waiting = [], [], 0

    def _tally(self, before: Rows, after: Rows) -> None:
        starts = np.concatenate((after["first_ms"], before["first_ms"])) // _SLOT_MS
        slots, net = _net(starts, len(after))
        for slot, n in zip(slots.tolist(), net.tolist(), strict=True):
            self._unsettled[slot] += n
            if not self._unsettled[slot]:
                del self._unsettled[slot]


def counts(rows: Rows) -> dict[int, Column | Flags]:
    """What each session counts in the bucket of its first interaction, by field."""
    page_views, conversions, last = rows["page_views"], rows["conversions"], rows["last"]
    have, converted, short = interactions(rows), conversions > 0, last < _ENGAGED_MS
    found: dict[str, Column | Flags] = {
        "sessions": have > 0,
        "page_views": page_views,
        "duration_ms": last,
        "conversions": conversions,
        "value_micros": rows["value_micros"],
        "single_interaction": have == 1,
        "bounced_ga4": short & (page_views < 2) & ~converted,
        "with_page_view": page_views > 0,
        "bounced_posthog": short & (page_views == 1) & (have == 1),
        "bounced_matomo": page_views + rows["actions"] == 1,
        "converted": converted,
    }
    for name, age_ms in AGES_MS.items():
        found[f"converted_within_{name}"] = converted & (rows["converted"] <= age_ms)
        found[f"engaged_within_{name}"] = (have > 1) & (rows["second"] <= age_ms)
    return {SESSIONS.index[name]: column for name, column in found.items()}


def _add_up(cube: Cube, before: Rows, after: Rows, *, settled: bool = False) -> None:
    """Count what sessions count in the place of what they did, cell by cell."""
    if not len(before) and not len(after):
        return
    rows = np.concatenate((after, before))
    sign = np.repeat((1, -1), (len(after), len(before)))
    columns = counts(rows)
    money = columns.pop(_VALUE)
    cells, places = np.unique(_cells(rows["first_ms"], rows["label"]), return_inverse=True)

    def sums(column: Column | Flags) -> Column:
        return np.bincount(places, column * sign, len(cells)).astype(np.int64)

    slots, labels = _slots_and_labels(cells)
    if money.any():  # in halves, for a sum may be beyond 64 bits
        value = halves_sum(sums(money & _LOW), sums(money >> _HALF), _HALF)
        cube.tally(slots, labels, _VALUE, value, settled=settled)
    fields = np.array(list(columns))
    matrix = np.array([sums(column) for column in columns.values()])
    which, at = np.nonzero(matrix)
    cube.tally(slots[at], labels[at], fields[which], matrix[which, at], settled=settled)


def _count_active(cube: Cube, before: Rows, after: Rows) -> None:
    """Count sessions that are open where their latest interaction is."""
    now, was = after[after["state"] & CLOSED == 0], before[before["state"] & CLOSED == 0]
    rows = np.concatenate((now, was))
    cells, net = _net(_cells(rows["first_ms"] + rows["last"], rows["label"]), len(now))
    cube.moment(*_slots_and_labels(cells), _ACTIVE, net)


def _cells(at_ms: Column, labels: Column) -> Column:
    return at_ms // _SLOT_MS << _LABEL_BITS | labels


def _slots_and_labels(cells: Column) -> tuple[Column, Column]:
    return cells >> _LABEL_BITS, cells & (1 << _LABEL_BITS) - 1


def _net(codes: Column, plus: int) -> tuple[Column, Column]:
    """Codes that are oftener among the first `plus` than among the rest, or less often; by what."""
    distinct, places = np.unique(codes, return_inverse=True)
    size = len(distinct)
    net = np.bincount(places[:plus], minlength=size) - np.bincount(places[plus:], minlength=size)
    changed = np.flatnonzero(net)
    return distinct[changed], net[changed]
