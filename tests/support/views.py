"""A view made by hand: cells go in by label set and instant, in every bucket size."""

from collections.abc import Mapping
from dataclasses import asdict

import msgspec

from stream.core.buckets import RETENTION_MS, Calendar, Size
from stream.core.catalogue import SOURCES, Source
from stream.core.cells import Values, add, cell_key, encode_cell, label_key
from stream.core.records import TopicPartition
from stream.core.rules import Rules
from stream.core.sketch import bin_index
from stream.live.picture import Picture
from stream.live.rows import About, PartitionInfo
from stream.live.view import View

NOW_MS = 1_760_000_000_000
DEFINITION = Rules().definition_id
Labels = tuple[str, ...]


class HandMade:
    """Collects cells of all sources, one partition each, and makes a view of them."""

    def __init__(self, now_ms: int = NOW_MS) -> None:
        self.now_ms = now_ms
        self._calendar = Calendar()
        self._cells: dict[str, dict[tuple[int, int, Labels], tuple[Values, Values]]] = {
            topic: {} for topic in SOURCES
        }

    def count(
        self,
        source: Source,
        labels: Labels,
        fields: Mapping[str, int],
        *,
        at_ms: int | None = None,
        settled: bool = False,
        durations_ms: Mapping[str, list[int]] | None = None,
    ) -> "HandMade":
        """Count fields at an instant (default: a minute ago), live or both live and settled."""
        at_ms = self.now_ms - 60_000 if at_ms is None else at_ms
        values = {source.index[name]: n for name, n in fields.items() if name not in source.totals}
        for sketch, many in (durations_ms or {}).items():
            for duration_ms in many:
                add(values, {bin_index(source.sketches.index(sketch), duration_ms): 1})
        for size in (Size.S10, Size.M1, Size.H1, Size.D1):
            if at_ms > self.now_ms - RETENTION_MS[size]:
                self._add(
                    source, (size, self._calendar.start(size, at_ms), labels), values, settled
                )
        return self

    def total(self, source: Source, labels: Labels, fields: Mapping[str, int]) -> "HandMade":
        """Count in the bucket without end."""
        values = {source.index[name]: n for name, n in fields.items()}
        self._add(source, (Size.ALL, 0, labels), values, settled=False)
        return self

    def minutes(self, source: Source, from_ms: int, to_ms: int) -> list[tuple[int, Labels, Values]]:
        """What was counted live in each minute between two instants."""
        return [
            (start_ms, labels, live)
            for (size, start_ms, labels), (live, _) in self._cells[source.topic].items()
            if size == Size.M1 and from_ms <= start_ms < to_ms
        ]

    async def view(self, **info: object) -> View:
        """The view, heard of just now; `info` goes into every partition's state."""
        view = View()
        view.take_redis_time(self.now_ms, self.now_ms)
        view.take_about(About(DEFINITION, asdict(Rules()), dict.fromkeys(SOURCES, 1)))
        for topic in SOURCES:
            await view.take_picture(
                TopicPartition(topic, 0), self.picture(topic), self.info(topic, **info), self.now_ms
            )
        view.publish()
        return view

    def picture(self, topic: str) -> Picture:
        """What has been counted of a topic."""
        picture, known = Picture(), dict[Labels, bytes]()
        for (size, start_ms, labels), (live, settled) in self._cells[topic].items():
            if labels not in known:
                known[labels] = len(known).to_bytes(4, "big")
                picture.learn([(known[labels], msgspec.msgpack.encode(labels))])
            picture.put((size, start_ms), [(known[labels], encode_cell(live, settled))])
        return picture

    def info(self, topic: str, **more: object) -> PartitionInfo:
        """The state of a topic's partition: caught up."""
        fields: dict[str, object] = {
            "topic": topic,
            "partition": 0,
            "status": "live",
            "through": 42,
            "lag": 0,
            "clock_ms": self.now_ms - 1_000,
            "newest_event_ms": self.now_ms - 1_000,
            "watermark_ms": self.now_ms - 601_000,
            "settled_through_ms": {
                "sessions": self.now_ms - 10_000,
                "tickets": self.now_ms - 10_000,
                "first_response": self.now_ms - 10_000,
                "resolution": self.now_ms - 10_000,
            },
            "as_of_ms": self.now_ms - 200,
            "caught_up": True,
            "worker": "worker-1",
            "definition_id": DEFINITION,
        }
        return msgspec.convert({**fields, **more}, PartitionInfo)

    def _add(
        self, source: Source, key: tuple[int, int, Labels], values: Values, settled: bool
    ) -> None:
        live, done = self._cells[source.topic].setdefault(key, ({}, {}))
        add(live, values)
        if settled:
            add(done, values)


def entries(made: HandMade, topic: str) -> dict[bytes, bytes | None]:
    """The same as ledger entries, as a worker hands them to the projection."""
    picture = made.picture(topic)
    held: dict[bytes, bytes | None] = {}
    for label, values in picture.labels.items():
        held[label_key(int.from_bytes(label, "big"))] = msgspec.msgpack.encode(values)
    for (size, start_ms), cells in picture.cells.items():
        for label, raw in cells.items():
            held[cell_key(size, start_ms, int.from_bytes(label, "big"))] = raw
    return held
