"""A small ledger table, and a view or a projection fed from it, for tests of the read model."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import msgspec

from stream.core.buckets import RETENTION_MS, Calendar, Size
from stream.core.catalogue import SOURCES, Source
from stream.core.cells import Values, add, cell_key, decode_cell, encode_cell, label_key
from stream.core.records import TopicPartition
from stream.core.rules import Rules
from stream.live.picture import Picture
from stream.live.rows import About, PartitionInfo
from stream.live.view import View

NOW_MS = 1_760_000_005_000
DAY, HOUR, MINUTE = 86_400_000, 3_600_000, 60_000
Labels = tuple[str, ...]


def about(**partitions: int) -> About:
    """What workers agree on, under the default rules."""
    rules = Rules()
    return About(rules.definition_id, asdict(rules), partitions)


def info_of(topic: str, partition: int = 0, now_ms: int = NOW_MS, **more: Any) -> PartitionInfo:
    """A partition that is live and caught up."""
    given: dict[str, Any] = {
        "status": "live",
        "clock_ms": now_ms,
        "watermark_ms": now_ms - 10 * MINUTE,
        "as_of_ms": now_ms,
        "caught_up": True,
        "lag": 0,
        "worker": "w1",
    }
    return PartitionInfo(topic=topic, partition=partition, **(given | more))


@dataclass
class Table:
    """Ledger entries of one partition; knows what changed since it was last asked."""

    source: Source
    calendar: Calendar = field(default_factory=Calendar)
    entries: dict[bytes, bytes] = field(default_factory=dict)
    changed: dict[bytes, bytes | None] = field(default_factory=dict)
    ids: dict[Labels, int] = field(default_factory=dict)
    now_ms: int = NOW_MS

    def __post_init__(self) -> None:
        self.put(b"m", b"meta")
        self.put(b"ivisitor", b"item")

    def put(self, key: bytes, value: bytes | None) -> None:
        """Set or remove an entry."""
        self.changed[key] = value
        if value is None:
            self.entries.pop(key, None)
        else:
            self.entries[key] = value

    def label(self, labels: Labels) -> int:
        """The id of a label set."""
        if labels not in self.ids:
            self.ids[labels] = len(self.ids)
            self.put(label_key(self.ids[labels]), msgspec.msgpack.encode(labels))
        return self.ids[labels]

    def cell(self, place: tuple[int, int], labels: Labels, live: Values, done: Values) -> None:
        """Set one cell; empty values remove it."""
        key = cell_key(*place, self.label(labels))
        self.put(key, encode_cell(live, done) if live or done else None)

    def count(
        self, at_ms: int, labels: Labels, fields: Mapping[str, int], *, settled: bool = False
    ) -> None:
        """Count fields in every bucket around an instant that is still kept."""
        values = {self.source.index[name]: n for name, n in fields.items()}
        for size in (Size.S10, Size.M1, Size.H1, Size.D1):
            start_ms = self.calendar.start(size, at_ms)
            if self.calendar.end(size, start_ms) > self.now_ms - RETENTION_MS[size]:
                self.add((size, start_ms), labels, values, settled=settled)

    def add(
        self, place: tuple[int, int], labels: Labels, values: Values, *, settled: bool = False
    ) -> None:
        """Add to one cell."""
        raw = self.entries.get(cell_key(*place, self.label(labels)))
        live, done = decode_cell(raw) if raw else ({}, {})
        add(live, values)
        if settled:
            add(done, values)
        self.cell(place, labels, live, done)

    def drain(self) -> dict[bytes, bytes | None]:
        """What has changed since the last drain."""
        changed, self.changed = self.changed, {}
        return changed

    def everything(self) -> list[tuple[bytes, bytes]]:
        """All entries."""
        return list(self.entries.items())

    def picture(self) -> Picture:
        """As a reader holds it."""
        picture = Picture()
        for key, raw in self.entries.items():
            if key[:1] == b"l":
                picture.learn([(key[1:], raw)])
        for key, raw in self.entries.items():
            if key[:1] == b"c":
                start_ms = int.from_bytes(key[2:10], "big", signed=True)
                picture.put((key[1], start_ms), [(key[10:], raw)])
        return picture


async def view_of(
    tables: Sequence[Table], *, now_ms: int = NOW_MS, timezone: str = "UTC", **info: Any
) -> View:
    """A view of partitions of one source, heard of just now; `info` goes into each one's state."""
    topic = tables[0].source.topic
    view = View()
    view.take_redis_time(now_ms, now_ms)
    told = about(**{topic: len(tables)})
    view.take_about(msgspec.structs.replace(told, rules={**told.rules, "timezone": timezone}))
    for number, table in enumerate(tables):
        place = TopicPartition(topic, number)
        shown = info_of(topic, number, now_ms, **info)
        await view.take_picture(place, table.picture(), shown, now_ms)
    view.publish()
    return view


def table_of(topic: str, **more: Any) -> Table:
    """An empty table of a source."""
    return Table(SOURCES[topic], **more)
