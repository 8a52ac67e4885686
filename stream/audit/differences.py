"""What is different between two accounts of the same cells, figure by figure.

Pure: bytes of the ledger's form in, differences out. Knows nothing of where they come from.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import NamedTuple

import msgspec

from stream.core.catalogue import LIVE, METRICS, SETTLED, SOURCES
from stream.core.cells import Values, decode_cell, decode_span
from stream.core.records import TopicPartition
from stream.core.sketch import bin_range

LEDGER, REDIS = "ledger", "redis"
OFFSETS = ("(offsets)",)
"""In the place of labels: the first and last offset of a bucket's records."""


class Cell(NamedTuple):
    """A cell's bucket and label set; no labels: the offsets of the bucket's records."""

    size: int
    start_ms: int
    labels: tuple[str, ...] | None


class Difference(NamedTuple):
    """One figure that is not what it should be, and where that was found.

    `size` and `start_ms` name the bucket. `labels` are in the order of the source's dimensions.
    """

    where: str
    place: TopicPartition
    size: int
    start_ms: int
    labels: tuple[str, ...]
    state: str
    figure: str
    expected: int
    found: int

    @property
    def key(self) -> tuple[object, ...]:
        """What it is a difference in, whatever the values."""
        return self[:-2]

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that the figure is part of; of their first definition."""
        return _metrics_of(self.place.topic).get(self.figure.partition("[")[0], ())


def compare_cell(
    where: str, place: TopicPartition, cell: Cell, expected: bytes | None, found: bytes | None
) -> Iterator[Difference]:
    """The figures in which two accounts of one cell differ, given as the ledger writes it."""
    if expected == found:
        return
    names = cell.labels or OFFSETS
    if cell.labels is None:
        states = [("", _span(expected), _span(found))]
    else:
        left, right = _cell(expected), _cell(found)
        states = [(LIVE, left[0], right[0]), (SETTLED, left[1], right[1])]
    for state, wanted, had in states:
        for index in sorted(wanted.keys() | had.keys()):
            if (a := wanted.get(index, 0)) != (b := had.get(index, 0)):
                figure = _figure(place.topic, index, is_span=cell.labels is None)
                yield Difference(where, place, cell.size, cell.start_ms, names, state, figure, a, b)


def decode_labels(raw: bytes) -> tuple[str, ...]:
    """The dimension values of a label set; a text that says so where they cannot be read."""
    try:
        return msgspec.msgpack.decode(raw, type=tuple[str, ...])
    except msgspec.MsgspecError:
        return ("(unreadable)",)


def _cell(raw: bytes | None) -> tuple[Values, Values]:
    try:
        return ({}, {}) if raw is None else decode_cell(raw)
    except (msgspec.MsgspecError, LookupError, TypeError, ValueError):
        return {-1: 1}, {}


def _span(raw: bytes | None) -> Values:
    try:
        return {} if raw is None else dict(enumerate(decode_span(raw)))
    except (msgspec.MsgspecError, TypeError, ValueError):
        return {-1: 1}


@cache
def _names(topic: str) -> Mapping[int, str]:
    return {index: name for name, index in SOURCES[topic].index.items()}


def _figure(topic: str, index: int, *, is_span: bool) -> str:
    if index < 0:
        return "(unreadable)"
    if is_span:
        return ("first_offset", "last_offset")[index]
    for number, sketch in enumerate(SOURCES[topic].sketches):
        first, after = bin_range(number)
        if first <= index < after:
            return f"{sketch}[bin {index - first}]"
    return _names(topic).get(index, f"field {index}")


@cache
def _metrics_of(topic: str) -> Mapping[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for metric in METRICS.values():
        if metric.source.topic == topic:
            parts = (*metric.fraction.numerator, *metric.fraction.denominator)
            for name in dict.fromkeys(part.removeprefix("-") for part in parts):
                found.setdefault(name, []).append(metric.name)
    return {name: tuple(metrics) for name, metrics in found.items()}
