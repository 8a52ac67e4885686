"""Plays records through the core, as a worker would, and reads the cells it comes to."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import pytest

from stream.core.buckets import Calendar
from stream.core.catalogue import SOURCES
from stream.core.cells import SPAN_LABEL, decode_cell, parse_cell_key, parse_label_key
from stream.core.partition import Folded, Partition
from stream.core.pseudonyms import Pseudonyms
from stream.core.records import RecordBatch
from stream.core.rules import Rules
from stream.core.sketch import FIRST_BIN, bins, representative

PSEUDONYMS = Pseudonyms(bytes(32))
Cells = dict[tuple[int, int, tuple[str, ...]], dict[str, int]]
_COUNTS = {
    "first_response_ms": "answered",
    "first_resolution_ms": "resolved",
    "resolution_ms": "resolved_latest",
}
"""How many durations a sketch holds."""


def batch_of(topic: str, records: Sequence[Any]) -> RecordBatch:
    """A batch of records (offset, record_ts_ms, key, value)."""
    return RecordBatch(
        topic,
        0,
        records[0].offset,
        records[-1].offset + 1,
        [r.offset for r in records],
        [r.value for r in records],
        [r.key for r in records],
        [r.record_ts_ms for r in records],
    )


def play(
    topic: str,
    batches: Iterable[Sequence[Any]],
    rules: Rules,
    *,
    drain_each: bool = False,
    restart_after: frozenset[int] = frozenset(),
    silences: Sequence[int] = (),
    pieces: Sequence[int] = (),
) -> tuple[Partition, Folded]:
    """The partition after all batches, and what became of the records.

    `restart_after` names batches after which the state is written, lost, and read again;
    `silences` say for each batch how many hundredths of the time until its first record pass by
    the wall clock beforehand; `pieces` how many pieces are counted up then, in rounds that may last
    over many batches, and over what is written meanwhile.
    """
    calendar = Calendar(rules.timezone)
    partition = Partition(topic, rules, calendar, PSEUDONYMS)
    ledger: dict[bytes, bytes] = {}
    told = Folded()
    counting: Iterator[None] = iter(())
    for number, records in enumerate(batches):
        if silences and number:
            until_ms = records[0].record_ts_ms - partition.record_ms
            partition.pass_time(partition.record_ms + until_ms * silences[number] // 100)
        folded = partition.fold(batch_of(topic, records))
        told.outcomes.update(folded.outcomes)
        told.drops += folded.drops
        told.miskeyed += folded.miskeyed
        for _ in range(pieces[number] if pieces else 0):
            if next(counting, counting) is counting:  # that round is over
                counting = partition.count_up()
        if drain_each or number in restart_after:
            write(partition, ledger, sweep=3)
        if number in restart_after:
            partition = Partition(topic, rules, calendar, PSEUDONYMS)
            partition.load(dict(ledger))
            counting = iter(())
    write(partition, ledger, sweep=0)
    return partition, told


def write(partition: Partition, ledger: dict[bytes, bytes], sweep: int) -> None:
    """Drain into a plain mapping, as the log's reader would hold it."""
    for key, value in partition.drain(sweep).entries.items():
        if value is None:
            ledger.pop(key, None)
        else:
            ledger[key] = value


def cells(partition: Partition, topic: str) -> tuple[Cells, Cells]:
    """Live and settled cells by (size, start, label values), fields by name.

    Sketches are left out, but seen to hold what the fields beside them say.
    """
    names = {index: name for name, index in SOURCES[topic].index.items()}
    entries = dict(partition.table.items())
    labels = {
        parse_label_key(key): tuple(msgspec.msgpack.decode(value))
        for key, value in entries.items()
        if key[:1] == b"l"
    }
    fates = SOURCES[topic].fates  # the reference knows what is counted, not what was left out
    live: Cells = {}
    settled: Cells = {}
    for key, value in entries.items():
        if key[:1] == b"c":
            size, start_ms, label = parse_cell_key(key)
            if label == SPAN_LABEL:
                continue
            where = size, start_ms, labels[label]
            for into, values in zip((live, settled), decode_cell(value), strict=True):
                _check_sketches(topic, values)
                named = {names[i]: n for i, n in values.items() if i < FIRST_BIN}
                named = {name: n for name, n in named.items() if name not in fates}
                if named:
                    into[where] = named
    return live, settled


def _check_sketches(topic: str, values: Mapping[int, int]) -> None:
    source = SOURCES[topic]
    for number, total in enumerate(source.sketches):
        held = bins(number, values)
        assert all(n > 0 for n in held.values())
        assert sum(held.values()) == values.get(source.index[_COUNTS[total]], 0)
        told = sum(representative(bin_number) * n for bin_number, n in held.items())
        assert told == pytest.approx(values.get(source.index[total], 0), rel=0.010_001)


def reasons(folded: Folded) -> dict[int, str]:
    """Offset -> dead-letter reason."""
    return {drop.offset: str(drop.reason) for drop in folded.drops}


def tally(outcomes: Iterable[str]) -> Counter[str]:
    """Outcomes as the worker counts them."""
    plain = {"counted", "unchecked", "duplicate"}
    return Counter(o if o in plain else "dead_letter" for o in outcomes)
