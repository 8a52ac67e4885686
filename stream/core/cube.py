"""The cells of one partition: label sets, pending counts, and their roll-up into the table.

Counting goes to 10 s buckets in memory; a roll adds them up into all sizes that are still kept and
removes the buckets that are not. Adding is commutative, so nothing here depends on when it rolls.
"""

from array import array
from collections.abc import Iterable

import msgspec
import numpy as np

from stream.core.buckets import RETENTION_MS, WIDTH_MS, Calendar, Size, expired
from stream.core.catalogue import OTHER, Source
from stream.core.cells import (
    SPAN_LABEL,
    Values,
    add,
    bucket_prefix,
    cell_key,
    decode_cell,
    decode_span,
    encode_span,
    encode_sums,
    label_key,
    parse_cell_key,
)
from stream.core.rollup import Bucket, Labels, roll_up, sum_of
from stream.core.sketch import bin_range
from stream.core.table import Table
from stream.core.tally import Column, Sums, Tally

_MOST_RECENT = 50_000
"""Cells that are kept decoded from one roll to the next; if there are more, none is."""
_NOTHING: Values = {}
QUIET_SLOTS = 60
"""A bucket in which nothing was counted for ten minutes is packed."""
PACKED_AT_ONCE = 20_000
"""Cells, which takes some 20 ms; where more were just changed, as many."""
_LONG_AGO = -(1 << 62)
_Pending = dict[int, Labels]
"""By the start of the 10 s bucket."""
_Cells = dict[int, tuple[Values, Values]]
"""Live and settled values by label id."""


class Cube:
    """Counts by label set and bucket; `at_ms` is any instant, counted in the buckets around it."""

    def __init__(self, source: Source, calendar: Calendar, table: Table, max_labels: int) -> None:
        self._calendar = calendar
        self._table = table
        self._max_labels = max_labels
        self._labels: dict[tuple[str, ...], int] = {}
        self._names: dict[int, tuple[str, ...]] = {}
        self._buckets: dict[Bucket, array[int]] = {}
        self._recent: dict[Bucket, _Cells] = {}
        self._live: _Pending = {}
        self._settled: _Pending = {}
        self._moments: _Pending = {}
        self._totals: dict[int, Values] = {}
        fields = bin_range(len(source.sketches))[0] if source.sketches else len(source.index)
        self._tally, self._counted, self._final = Tally(fields), Tally(fields), Tally(fields)
        self._spans: dict[int, tuple[int, int]] = {}
        self._slot = _LONG_AGO
        self._loose: dict[Bucket, int] = {}

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
        self._names[number] = values
        self._table.put(label_key(number), msgspec.msgpack.encode(values))
        return number

    def names(self, label: int) -> tuple[str, ...]:
        """The values of a label set, by its id."""
        return self._names[label]

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

    def tally(
        self,
        slots: Column,
        labels: Column,
        fields: Column | int,
        amounts: Column | None = None,
        *,
        total: bool = False,
        settled: bool = False,
    ) -> None:
        """Count many events in the live value, each its amount or 1; slots are times / 10 s.

        With `total` in the bucket without end too, with `settled` in the settled value instead.
        """
        tally = self._final if settled else self._counted if total else self._tally
        tally.add(slots, labels, fields, amounts)

    def spans(self, slots: Column, offsets: Column) -> None:
        """Note the offsets, in order, of records whose events lie in these 10 s slots."""
        distinct = np.unique(slots)
        rows = np.searchsorted(distinct, slots)
        firsts, lasts = np.empty_like(distinct), np.empty_like(distinct)
        firsts[rows[::-1]] = offsets[::-1]  # of many for one slot the last one stays
        lasts[rows] = offsets
        columns = distinct.tolist(), firsts.tolist(), lasts.tolist()
        for slot, first, last in zip(*columns, strict=True):
            known = self._spans.get(slot, (first, last))
            self._spans[slot] = min(first, known[0]), max(last, known[1])

    @property
    def pending(self) -> bool:
        """Whether something is counted that has not been rolled."""
        counted = self._live or self._settled or self._moments or self._totals
        return bool(counted or self._tally or self._counted or self._final)

    def roll(self, clock_ms: int) -> None:
        """Add what is pending into the table's cells and drop the buckets that have expired."""
        recent, self._recent = self._recent, {}
        before, self._slot = self._slot, clock_ms // WIDTH_MS[Size.S10]
        for bucket, (live, settled) in self._deltas(clock_ms).items():
            self._recent[bucket] = self._apply(bucket, live, settled, recent.get(bucket, {}))
            if bucket[0] != Size.ALL:
                self._loose[bucket] = self._slot
        cells = sum(map(len, self._recent.values()))
        if cells > _MOST_RECENT:
            self._recent = {}
        self._live, self._settled, self._moments, self._totals = {}, {}, {}, {}
        self._roll_spans(clock_ms)
        if self._slot != before:  # a bucket may have ended
            self._expire(clock_ms)
            self._pack(max(cells, PACKED_AT_ONCE))

    def load(self, labels: Iterable[tuple[int, bytes]], cells: Iterable[bytes]) -> None:
        """Take up label sets (id, encoded) and the keys of cells from a ledger."""
        for number, raw in labels:
            values = self._names[number] = tuple(msgspec.msgpack.decode(raw))
            self._labels[values] = number
        self._buckets, self._loose = {}, {}
        self._recent = {}
        for key in cells:
            size, start_ms, label = parse_cell_key(key)
            self._note((Size(size), start_ms), label)

    def _note(self, bucket: Bucket, label: int) -> None:
        """Remember which labels a bucket has; one that comes and goes may be noted twice."""
        if bucket[0] != Size.ALL:
            self._buckets.setdefault(bucket, array("I")).append(label)
            self._loose.setdefault(bucket, self._slot)

    def _deltas(self, clock_ms: int) -> dict[Bucket, list[Labels]]:
        """What is to be added to each bucket that is still kept: live and settled."""
        counted = self._counted.take()
        deltas = {(Size.ALL, 0): [sum_of([self._totals, *counted.values()]), dict[int, Values]()]}
        live = _joined([self._live, _by_start(counted), _by_start(self._tally.take())])
        settled = _joined([self._settled, _by_start(self._final.take())])
        for which, pending in enumerate((live, settled)):
            for bucket, labels in roll_up(pending, self._calendar):
                delta = deltas.setdefault(bucket, [{}, {}])
                delta[which] = sum_of([delta[which], labels])
        for start_ms, labels in self._moments.items():
            delta = deltas.setdefault((Size.S10, start_ms), [{}, {}])
            delta[0] = sum_of([delta[0], labels])
        for size, start_ms in list(deltas):
            if expired(self._calendar.end(size, start_ms), size, clock_ms):
                del deltas[size, start_ms]
        return deltas

    def _apply(self, bucket: Bucket, live: Labels, settled: Labels, recent: _Cells) -> _Cells:
        """Add to the cells of a bucket; returns them as they are then."""
        table, prefix = self._table, bucket_prefix(*bucket)
        made: _Cells = {}
        puts: dict[bytes, bytes] = {}
        for label in {**live, **settled} if settled else live:
            key = prefix + label.to_bytes(4, "big")
            cell = recent.get(label)
            if cell is None:
                raw = table.get(key)
                if raw is None:
                    self._note(bucket, label)
                cell = ({}, {}) if raw is None else decode_cell(raw)
            add(cell[0], live.get(label, _NOTHING))
            if settled:
                add(cell[1], settled.get(label, _NOTHING))
            if cell[0] or cell[1]:
                puts[key] = encode_sums(*cell)
                made[label] = cell
            else:
                table.delete(key)
        table.put_all(puts)
        return made

    def _roll_spans(self, clock_ms: int) -> None:
        for slot, (first, last) in self._spans.items():
            at_ms = slot * WIDTH_MS[Size.S10]
            for size in Size:
                start_ms = self._calendar.start(size, at_ms)
                if expired(self._calendar.end(size, start_ms), size, clock_ms):
                    continue
                key = cell_key(size, start_ms, SPAN_LABEL)
                raw = self._table.get(key)
                before = (first, last) if raw is None else decode_span(raw)
                span = min(first, before[0]), max(last, before[1])
                if raw is None:
                    self._note((size, start_ms), SPAN_LABEL)
                if raw is None or span != before:
                    self._table.put(key, encode_span(*span))
        self._spans = {}

    def _expire(self, clock_ms: int) -> None:
        gone = [
            (size, start_ms)
            for size, start_ms in self._buckets
            if start_ms < clock_ms - RETENTION_MS[size]
            and expired(self._calendar.end(size, start_ms), size, clock_ms)
        ]
        for size, start_ms in gone:
            self._loose.pop((size, start_ms), None)
            for label in self._buckets.pop((size, start_ms)):
                self._table.delete(cell_key(size, start_ms, label))

    def _pack(self, room: int) -> None:
        """Pack buckets that nothing was counted in for long, so many cells or a bucket more."""
        long_ago = self._slot - QUIET_SLOTS
        for bucket in [bucket for bucket, last in self._loose.items() if last <= long_ago]:
            labels = self._buckets[bucket]
            self._table.pack(bucket_prefix(*bucket), [cell_key(*bucket, n) for n in labels])
            del self._loose[bucket]
            room -= len(labels)
            if room <= 0:
                break


def _by_start(sums: Sums) -> _Pending:
    return {slot * WIDTH_MS[Size.S10]: labels for slot, labels in sums.items()}


def _joined(parts: list[_Pending]) -> _Pending:
    """What is pending in any of the parts, added up."""
    there = [part for part in parts if part]
    if len(there) == 1:
        return there[0]
    starts = dict.fromkeys(start for part in there for start in part)
    return {at: sum_of([part[at] for part in there if at in part]) for at in starts}


def _count(pending: _Pending, at_ms: int, label: int, values: Values, sign: int) -> None:
    start_ms = at_ms - at_ms % 10_000
    labels = pending.get(start_ms)
    if labels is None:
        labels = pending[start_ms] = {}
    known = labels.get(label)
    if known is None:
        known = labels[label] = {}
    add(known, values, sign)
