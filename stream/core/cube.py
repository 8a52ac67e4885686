"""The cells of one partition: label sets, pending counts, and their roll-up into the table.

Counting goes to 10 s buckets in memory; a roll adds them up into all sizes that are still kept and
removes the buckets that are not. Adding is commutative, so nothing here depends on when it rolls.
"""

from array import array
from collections.abc import Iterable, Iterator
from itertools import chain, islice

import msgspec
import numpy as np

from stream.core.buckets import RETENTION_MS, WIDTH_MS, Calendar, Size, expired
from stream.core.catalogue import OTHER, Source
from stream.core.cells import (
    SPAN_LABEL,
    Values,
    add_pairs,
    bucket_prefix,
    cell_key,
    decode_cell,
    decode_span,
    encode_span,
    encode_sums,
    label_key,
    parse_cell_key,
)
from stream.core.rollup import Bucket, Part, roll_up
from stream.core.sketch import bin_range
from stream.core.sums import Amounts, Column, add_up, starts_of_runs
from stream.core.table import Table
from stream.core.tally import Tally, joined

_MOST_RECENT = 50_000
"""Large cells that are kept decoded from one roll to the next; if there are more, none is."""
_SMALL = 64
"""Bytes of a cell that is not large: to decode it anew costs less than to keep its maps."""
QUIET_SLOTS = 60
"""A bucket in which nothing was counted for ten minutes is packed."""
PACKED_AT_ONCE = 20_000
"""Cells, which takes some 20 ms; where more fields were just changed, as many."""
_LONG_AGO = -(1 << 62)
_Cells = dict[int, tuple[Values, Values]]
"""Live and settled values by label id."""


class Cube:
    """Counts by label set and bucket; a slot of 10 s counts in the buckets around it."""

    def __init__(self, source: Source, calendar: Calendar, table: Table, max_labels: int) -> None:
        self._calendar = calendar
        self._table = table
        self._max_labels = max_labels
        self._labels: dict[tuple[str, ...], int] = {}
        self._names: dict[int, tuple[str, ...]] = {}
        self._buckets: dict[Bucket, array[int]] = {}
        self._recent: dict[Bucket, _Cells] = {}
        sketches = len(source.sketches)
        self._fields = bin_range(sketches)[0] if sketches else len(source.index)
        self._rolled, self._everywhere = Tally(), Tally()
        self._moments, self._totals = Tally(), Tally()
        self._parts: Iterator[Part | None] = iter(())
        self.is_rolling = False
        self._expired = _LONG_AGO
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

    def tally(
        self,
        slots: Column,
        labels: Column,
        fields: Column | int,
        amounts: Amounts | None = None,
        *,
        total: bool = False,
        settled: bool = False,
    ) -> None:
        """Count many events in the live value, each its amount or 1; slots are times / 10 s.

        With `total` in the bucket without end too, with `settled` in the settled value instead.
        """
        codes = self._codes(labels, fields, settled=settled)
        (self._everywhere if total else self._rolled).add(slots, codes, amounts)

    def moment(
        self, slots: Column, labels: Column, fields: Column | int, amounts: Amounts | None = None
    ) -> None:
        """Count in the 10 s buckets alone."""
        self._moments.add(slots, self._codes(labels, fields), amounts)

    def total(self, labels: Column, fields: Column | int, amounts: Amounts | None = None) -> None:
        """Count in the bucket without end alone."""
        self._totals.add(np.zeros_like(labels), self._codes(labels, fields), amounts)

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
        tallies = self._rolled, self._everywhere, self._moments, self._totals
        return self.is_rolling or any(tallies)

    def roll(self, clock_ms: int) -> None:
        """Add what is pending into the table's cells and drop the buckets that have expired."""
        for _ in self.rolling(clock_ms):
            pass

    def rolling(self, clock_ms: int) -> Iterator[None]:
        """The same in pieces. Between them more may be counted, which waits for the next roll.

        One that is not finished is taken up by the next.
        """
        self._slot = clock_ms // WIDTH_MS[Size.S10]
        self._parts, self.is_rolling = chain(self._parts, self._pending()), True
        touched: set[Bucket] = set()
        sums = 0
        for part in self._parts:
            if part is not None and not self._is_expired(part[0], clock_ms):
                bucket, codes, amounts = part
                cells = self._recent.get(bucket, {})
                self._recent[bucket] = self._apply(bucket, codes, amounts, cells)
                touched.add(bucket)
                sums += len(codes)
            yield
        self.is_rolling = False
        self._recent = {b: cells for b, cells in self._recent.items() if b in touched}
        if sum(map(len, self._recent.values())) > _MOST_RECENT:
            self._recent = {}
        self._roll_spans(clock_ms)
        if self._slot != self._expired:  # a bucket may have ended
            yield
            self._expired = self._slot
            self._expire(clock_ms)
            self._pack(max(sums, PACKED_AT_ONCE))

    def load(self, labels: Iterable[tuple[int, bytes]], cells: Iterable[bytes]) -> None:
        """Take up label sets (id, encoded) and the keys of cells from a ledger."""
        for number, raw in labels:
            values = self._names[number] = tuple(msgspec.msgpack.decode(raw))
            self._labels[values] = number
        self._buckets, self._loose = {}, {}
        self._recent = {}
        for key in cells:
            size, start_ms, label = parse_cell_key(key)
            self._note((Size(size), start_ms), (label,))

    def _note(self, bucket: Bucket, labels: Iterable[int]) -> None:
        """A bucket was counted in, with these new labels; one that comes and goes comes twice."""
        if bucket[0] != Size.ALL:
            self._buckets.setdefault(bucket, array("I")).extend(labels)
            self._loose[bucket] = self._slot

    def _pending(self) -> Iterator[Part | None]:
        """What is to be added to each bucket: codes in order, amounts; None between two steps."""
        everywhere, moments = self._everywhere.take(), self._moments.take()
        totals, rolled = joined([everywhere, self._totals.take()]), self._rolled.take()
        yield None
        if len(totals.slots):
            codes, amounts = add_up(totals.codes, totals.amounts)
            if len(codes):
                yield (Size.ALL, 0), codes, amounts
        yield from roll_up(joined([everywhere, rolled]), moments, self._calendar)

    def _apply(self, bucket: Bucket, codes: Column, amounts: Amounts, recent: _Cells) -> _Cells:
        """Add to the cells of a bucket; returns those that are large, as they are then."""
        table, prefix = self._table, bucket_prefix(*bucket)
        is_new = bucket not in self._buckets and bucket[0] != Size.ALL
        pairs = zip((codes % self._fields).tolist(), amounts.tolist(), strict=True)
        made: _Cells = {}
        puts: dict[bytes, bytes] = {}
        new: list[int] = []
        for label, n_live, n_settled in self._runs(codes):
            key = prefix + label.to_bytes(4, "big")
            cell = recent.get(label)
            if cell is None and not is_new and (raw := table.get(key)) is not None:
                cell = decode_cell(raw)
            if cell is None:
                new.append(label)
                cell = dict(islice(pairs, n_live)), {}
            else:
                add_pairs(cell[0], islice(pairs, n_live))
            if n_settled:
                add_pairs(cell[1], islice(pairs, n_settled))
            if cell[0] or cell[1]:
                text = puts[key] = encode_sums(*cell)
                if len(text) > _SMALL:
                    made[label] = cell
            else:
                table.delete(key)
        table.put_all(puts)
        self._note(bucket, new)
        return made

    def _runs(self, codes: Column) -> Iterator[tuple[int, int, int]]:
        """Each label of these codes, and how many live and settled ones it has."""
        span = 2 * self._fields
        labels = codes // span
        starts = starts_of_runs(labels)
        labels = labels[starts]
        middles = np.searchsorted(codes, labels * span + self._fields)
        columns = labels, middles - starts, np.append(starts[1:], len(codes)) - middles
        return zip(*(column.tolist() for column in columns), strict=True)

    def _codes(self, labels: Column, fields: Column | int, *, settled: bool = False) -> Column:
        """A number for label, live or settled, and field; they sort in that order."""
        return (labels * 2 + settled) * self._fields + fields

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
                    self._note((size, start_ms), (SPAN_LABEL,))
                if raw is None or span != before:
                    self._table.put(key, encode_span(*span))
        self._spans = {}

    def _expire(self, clock_ms: int) -> None:
        for bucket in [one for one in self._buckets if self._is_expired(one, clock_ms)]:
            self._loose.pop(bucket, None)
            for label in self._buckets.pop(bucket):
                self._table.delete(cell_key(*bucket, label))

    def _is_expired(self, bucket: Bucket, clock_ms: int) -> bool:
        size, start_ms = bucket
        if size is Size.ALL or start_ms >= clock_ms - RETENTION_MS[size]:
            return False  # as nearly always, and the calendar need not be asked
        return expired(self._calendar.end(size, start_ms), size, clock_ms)

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
