"""The cells of one partition: label sets, pending counts, and their roll-up into the table.

Counting goes to 10 s buckets in memory; a roll adds them up into all sizes that are still kept and
removes the buckets that are not. Adding is commutative, so nothing here depends on when it rolls.
"""

from array import array
from collections.abc import Iterable

import msgspec

from stream.core.buckets import RETENTION_MS, WIDTH_MS, Calendar, Size, expired
from stream.core.catalogue import OTHER, Source
from stream.core.cells import (
    SPAN_LABEL,
    Values,
    add,
    cell_key,
    decode_cell,
    decode_span,
    encode_cell,
    encode_span,
    label_key,
    parse_cell_key,
)
from stream.core.table import Table

_COARSE = (Size.S10, Size.M1, Size.H1, Size.D1)
_Pending = dict[tuple[int, int], Values]


class Cube:
    """Counts by label set and bucket; `at_ms` is any instant, counted in the buckets around it."""

    def __init__(self, source: Source, calendar: Calendar, table: Table, max_labels: int) -> None:
        self._source = source
        self._calendar = calendar
        self._table = table
        self._max_labels = max_labels
        self._labels: dict[tuple[str, ...], int] = {}
        self._buckets: dict[tuple[Size, int], array[int]] = {}
        self._live: _Pending = {}
        self._settled: _Pending = {}
        self._moments: _Pending = {}
        self._totals: dict[int, Values] = {}
        self._spans: dict[int, tuple[int, int]] = {}
        self._expired_slot: int | None = None

    def label(self, values: tuple[str, ...]) -> int:
        """The id of a label set, taken in if it is new; beyond the cap, that of `(other)`."""
        known = self._labels.get(values)
        if known is not None:
            return known
        if len(self._labels) >= self._max_labels:
            values = (OTHER,) * len(values)
            if (known := self._labels.get(values)) is not None:
                return known
        number = self._labels[values] = len(self._labels)
        self._table.put(label_key(number), msgspec.msgpack.encode(values))
        return number

    @property
    def labels(self) -> int:
        """How many label sets are known."""
        return len(self._labels)

    def live(self, at_ms: int, label: int, values: Values, sign: int = 1) -> None:
        """Count in the live value, or take back with sign -1."""
        _count(self._live, at_ms, label, values, sign)

    def settled(self, at_ms: int, label: int, values: Values) -> None:
        """Count in the settled value."""
        _count(self._settled, at_ms, label, values, 1)

    def moment(self, at_ms: int, label: int, values: Values, sign: int = 1) -> None:
        """Count in the 10 s bucket alone."""
        _count(self._moments, at_ms, label, values, sign)

    def total(self, label: int, values: Values) -> None:
        """Count in the bucket without end."""
        add(self._totals.setdefault(label, {}), values)

    def span(self, at_ms: int, first: int, last: int) -> None:
        """Note the offsets of records whose events lie in the 10 s bucket around an instant."""
        start_ms = at_ms - at_ms % WIDTH_MS[Size.S10]
        known = self._spans.get(start_ms, (first, last))
        self._spans[start_ms] = min(first, known[0]), max(last, known[1])

    @property
    def pending(self) -> bool:
        """Whether something is counted that has not been rolled."""
        return bool(self._live or self._settled or self._moments or self._totals)

    def roll(self, clock_ms: int) -> None:
        """Add what is pending into the table's cells and drop the buckets that have expired."""
        for key, (live, settled) in self._rolled(clock_ms).items():
            raw = self._table.get(key)
            if raw is not None:
                old_live, old_settled = decode_cell(raw)
                add(live, old_live)
                add(settled, old_settled)
            if live or settled:
                if raw is None:
                    self._note(key)
                self._table.put(key, encode_cell(live, settled))
            else:
                self._table.delete(key)
        self._roll_spans(clock_ms)
        self._live, self._settled, self._moments, self._totals = {}, {}, {}, {}
        self._expire(clock_ms)

    def load(self, labels: Iterable[tuple[int, bytes]], cells: Iterable[bytes]) -> None:
        """Take up label sets (id, encoded) and the keys of cells from a ledger."""
        for number, raw in labels:
            self._labels[tuple(msgspec.msgpack.decode(raw))] = number
        self._buckets = {}
        for key in cells:
            self._note(key)

    def _note(self, key: bytes) -> None:
        """Remember which labels a bucket has; one that comes and goes may be noted twice."""
        size, start_ms, label = parse_cell_key(key)
        if size != Size.ALL:
            self._buckets.setdefault((Size(size), start_ms), array("I")).append(label)

    def _rolled(self, clock_ms: int) -> dict[bytes, tuple[Values, Values]]:
        cells: dict[bytes, tuple[Values, Values]] = {}
        for label, values in self._totals.items():
            add(cells.setdefault(cell_key(Size.ALL, 0, label), ({}, {}))[0], values)
        for which, pending in ((0, self._live), (1, self._settled)):
            for (start_ms, label), values in pending.items():
                if values:
                    for size in _COARSE:
                        self._roll_into(cells, which, size, start_ms, label, values, clock_ms)
        for (start_ms, label), values in self._moments.items():
            if values:
                self._roll_into(cells, 0, Size.S10, start_ms, label, values, clock_ms)
        return cells

    def _roll_into(
        self,
        cells: dict[bytes, tuple[Values, Values]],
        which: int,
        size: Size,
        at_ms: int,
        label: int,
        values: Values,
        clock_ms: int,
    ) -> None:
        start_ms = self._calendar.start(size, at_ms)
        if expired(self._calendar.end(size, start_ms), size, clock_ms):
            return
        add(cells.setdefault(cell_key(size, start_ms, label), ({}, {}))[which], values)

    def _roll_spans(self, clock_ms: int) -> None:
        for at_ms, (first, last) in self._spans.items():
            for size in (*_COARSE, Size.ALL):
                start_ms = self._calendar.start(size, at_ms)
                if expired(self._calendar.end(size, start_ms), size, clock_ms):
                    continue
                key = cell_key(size, start_ms, SPAN_LABEL)
                raw = self._table.get(key)
                before = (first, last) if raw is None else decode_span(raw)
                span = min(first, before[0]), max(last, before[1])
                if raw is None:
                    self._note(key)
                if raw is None or span != before:
                    self._table.put(key, encode_span(*span))
        self._spans = {}

    def _expire(self, clock_ms: int) -> None:
        slot = clock_ms // WIDTH_MS[Size.S10]
        if slot == self._expired_slot:
            return  # no bucket has ended since
        self._expired_slot = slot
        gone = [
            (size, start_ms)
            for size, start_ms in self._buckets
            if start_ms < clock_ms - RETENTION_MS[size]
            and expired(self._calendar.end(size, start_ms), size, clock_ms)
        ]
        for size, start_ms in gone:
            for label in self._buckets.pop((size, start_ms)):
                self._table.delete(cell_key(size, start_ms, label))


def _count(pending: _Pending, at_ms: int, label: int, values: Values, sign: int) -> None:
    key = (at_ms - at_ms % 10_000, label)
    cell = pending.get(key)
    if cell is None:
        cell = pending[key] = {}
    add(cell, values, sign)
