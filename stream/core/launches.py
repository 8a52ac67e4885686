"""Launches: where one begins, and the records that keep its first week.

Owns the contract of the compacted topic `<group>-launches`. A launch is cut into hours counted from
its beginning, an hour into six slots of ten minutes; each hour is one record of what was counted
in its slots by channel and variant. Pure.
"""

import zlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import msgspec

from stream.core.campaigns import LONGEST_MS
from stream.core.catalogue import CLICKS, OTHER, SESSIONS, Source
from stream.core.cells import Values, add
from stream.core.durations import DAY_MS, HOUR_MS, MINUTE_MS

SLOT_MS: Final = 600_000
HOURS: Final = LONGEST_MS // HOUR_MS
SLOTS_PER_HOUR: Final = HOUR_MS // SLOT_MS
RETENTION_MS: Final = 2 * 366 * DAY_MS
"""How long a launch is remembered, from its beginning."""
RUN_MINUTES: Final = 5
"""A launch begins with so many consecutive minutes with impressions."""
KEPT_BY: Final = ("channel", "variant")
SOURCES: Final[tuple[Source, ...]] = (CLICKS, SESSIONS)
LABELS_MAX: Final = 100
"""Label sets of one hour; those with the fewest events beyond it are `(other)`."""

Labels = tuple[str, str]
Slot = Mapping[Labels, Mapping[str, int]]
"""Fields by name, of each channel and variant."""


class LaunchId(NamedTuple):
    """A launch: the same campaign may be launched again."""

    campaign: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class Head:
    """A beginning that was found, not declared; `grain_ms`: to a minute, an hour or a day."""

    launch: LaunchId
    grain_ms: int


@dataclass(frozen=True, slots=True)
class Hour:
    """What one hour of a launch has come to: six slots for each source, by topic."""

    launch: LaunchId
    number: int
    slots: Mapping[str, tuple[Slot, ...]] = field(default_factory=dict)

    @property
    def start_ms(self) -> int:
        """When it begins."""
        return self.launch.at_ms + self.number * HOUR_MS


def find_start(minutes: Iterable[int]) -> int | None:
    """The first of five consecutive minutes (their starts, in order), or None."""
    first = last = None
    for at_ms in minutes:
        if last is None or at_ms != last + MINUTE_MS:
            first = at_ms
        last = at_ms
        if first is not None and last - first >= (RUN_MINUTES - 1) * MINUTE_MS:
            return first
    return None


# --- records ---

_HEAD: Final = -1
_FORMAT: Final = 1
_GREATEST: Final = (1 << 63) - 1  # amounts of money that nobody earns in ten minutes
_Rows = list[list[list[int]]]
_decode_key = msgspec.json.Decoder(tuple[str, int, int]).decode
_decode_head = msgspec.msgpack.Decoder(tuple[int, int]).decode
_decode_hour = msgspec.msgpack.Decoder(
    tuple[int, list[tuple[str, str]], dict[str, tuple[list[str], _Rows]]]
).decode
_pack = msgspec.msgpack.Encoder().encode


def head_key(launch: LaunchId) -> bytes:
    """Key of the record that a beginning was found."""
    return msgspec.json.encode((*launch, _HEAD))


def hour_key(launch: LaunchId, number: int) -> bytes:
    """Key of one hour's record."""
    return msgspec.json.encode((*launch, number))


def encode_head(head: Head) -> bytes:
    """Value of a head's record."""
    return _pack([_FORMAT, head.grain_ms])


def encode_hour(hour: Hour) -> bytes:
    """Value of an hour's record; equal hours give equal bytes."""
    known: dict[Labels, int] = {}
    body: dict[str, Any] = {}
    for topic, slots in sorted(hour.slots.items()):
        names = sorted({name for slot in slots for values in slot.values() for name in values})
        rows = []
        for slot in slots:
            row: list[list[int]] = []
            for labels, values in sorted(slot.items()):
                number = known.setdefault(labels, len(known))
                row.append([number, *(_bounded(values.get(name, 0)) for name in names)])
            rows.append(row)
        body[topic] = [names, rows]
    return zlib.compress(_pack([_FORMAT, list(known), body]), 6)


def _bounded(number: int) -> int:
    return max(-_GREATEST, min(number, _GREATEST))


def decode_key(raw: bytes) -> tuple[LaunchId, int | None]:
    """The launch of a record's key, and the hour's number (None: the head). Raises ValueError."""
    campaign, at_ms, number = _decode_key(raw)
    if number != _HEAD and not 0 <= number < HOURS:
        raise ValueError(f"a launch has no hour {number}")
    return LaunchId(campaign, at_ms), None if number == _HEAD else number


def decode_head(launch: LaunchId, raw: bytes) -> Head:
    """A head of its record's value. Raises ValueError."""
    made, grain_ms = _decode_head(raw)
    _check_format(made)
    return Head(launch, grain_ms)


def decode_hour(launch: LaunchId, number: int, raw: bytes) -> Hour:
    """An hour of its record's value. Raises ValueError."""
    try:
        made, labels, body = _decode_hour(zlib.decompress(raw))
    except zlib.error as error:
        raise ValueError(str(error)) from None
    _check_format(made)
    slots = {
        topic: tuple(
            {labels[n]: dict(zip(names, values, strict=True)) for n, *values in row} for row in rows
        )
        for topic, (names, rows) in body.items()
    }
    return Hour(launch, number, slots)


def _check_format(made: int) -> None:
    if made != _FORMAT:
        raise ValueError(f"format {made} is not known here")


# --- from cells to hours ---


class HourMaker:
    """Gathers the cells of one hour; any order of them gives the same hour."""

    def __init__(self, launch: LaunchId, number: int) -> None:
        self._launch, self._number = launch, number
        self._slots: dict[str, list[dict[Labels, Values]]] = {
            source.topic: [{} for _ in range(SLOTS_PER_HOUR)] for source in SOURCES
        }

    def add(self, source: Source, at_ms: int, labels: tuple[str, ...], values: Values) -> None:
        """Count the live values of one label set (in the source's dimensions) at an instant."""
        into = self._launch.at_ms + self._number * HOUR_MS
        slot = self._slots[source.topic][(at_ms - into) // SLOT_MS]
        channel, variant = (labels[source.dimensions.index(name)] for name in KEPT_BY)
        kept = {i: n for i, n in values.items() if i < len(source.fields)}
        add(slot.setdefault((channel, variant), {}), kept)

    def make(self) -> Hour:
        """The hour."""
        kept = self._largest()
        slots = {}
        for source in SOURCES:
            names = source.fields
            folded = []
            for slot in self._slots[source.topic]:
                sums: dict[Labels, Values] = {}
                for labels, values in slot.items():
                    where = labels if labels in kept else (OTHER, OTHER)
                    add(sums.setdefault(where, {}), values)
                folded.append(
                    {
                        labels: {names[i]: n for i, n in values.items()}
                        for labels, values in sums.items()
                        if values
                    }
                )
            slots[source.topic] = tuple(folded)
        return Hour(self._launch, self._number, slots)

    def _largest(self) -> set[Labels]:
        sizes: Counter[Labels] = Counter()
        for source in SOURCES:
            for slot in self._slots[source.topic]:
                for labels, values in slot.items():
                    sizes[labels] += values.get(0, 0) + values.get(1, 0)
        ranked = sorted(sizes, key=lambda labels: (-sizes[labels], labels))
        return set(ranked[:LABELS_MAX])


def is_poorer(hour: Hour, kept: Hour) -> bool:
    """Whether an hour was made of less than the one that is kept.

    Impressions and clicks are never taken back: where they have fallen, the ledger has lost some of
    its source (a rebuild from a topic that no longer holds the hour).
    """
    return any(
        _events(mine) < _events(theirs)
        for mine, theirs in zip(
            hour.slots.get(CLICKS.topic, ()), kept.slots.get(CLICKS.topic, ()), strict=False
        )
    )


def _events(slot: Slot) -> int:
    return sum(v.get("impressions", 0) + v.get("clicks", 0) for v in slot.values())
