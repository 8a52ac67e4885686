"""Reading some label sets' cells straight from Redis, for a worker that has no view.

What is read belongs to one state only if `still` says so afterwards. Knows nothing of what the
cells are wanted for.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from stream.core.buckets import Size
from stream.core.cells import Values, decode_cell
from stream.core.records import TopicPartition
from stream.live.axis import Labels
from stream.live.feed import read_about
from stream.live.keys import PartitionKeys, bucket_name, parse_bucket_name
from stream.live.link import Client, reach
from stream.live.rows import About, PartitionInfo

_BUCKETS_AT_ONCE = 240
_decode_info = msgspec.msgpack.Decoder(PartitionInfo).decode
_decode_labels = msgspec.msgpack.Decoder(tuple[str, ...]).decode


@dataclass(frozen=True, slots=True)
class Pictures:
    """The partitions of some topics as they stand in Redis: their fills and their states."""

    about: About
    infos: dict[TopicPartition, PartitionInfo]
    fills: dict[TopicPartition, bytes]

    @property
    def caught_up(self) -> bool:
        """Whether every partition has an owner and all that was recorded is in."""
        return all(info.status == "live" and info.caught_up for info in self.infos.values())

    def of(self, topic: str) -> list[PartitionInfo]:
        """The states of a topic's partitions."""
        return [info for place, info in self.infos.items() if place.topic == topic]


@dataclass(frozen=True, slots=True)
class Found:
    """The live values of one label set in one bucket of one partition."""

    start_ms: int
    labels: Labels
    values: Values


class CellReader:
    """Reads from one namespace. Raises Redis' errors."""

    def __init__(self, client: Client, namespace: str) -> None:
        self._client, self._namespace = client, namespace
        self._labels: dict[TopicPartition, tuple[bytes, dict[bytes, Labels]]] = {}

    async def look(self, topics: Iterable[str]) -> Pictures | None:
        """Where these topics' partitions stand; None: one of them is not whole."""
        redis = await reach(self._client)
        about = await read_about(redis, self._namespace)
        if about is None:
            return None
        infos, fills = {}, {}
        for topic in topics:
            for number in range(about.partitions.get(topic, 0)):
                place = TopicPartition(topic, number)
                state, fill, meta = await redis.hmget(self._keys(place).at, "state", "fill", "meta")
                if state != b"whole" or meta is None:
                    return None
                infos[place], fills[place] = _decode_info(meta), fill
        return Pictures(about, infos, fills)

    async def still(self, pictures: Pictures) -> bool:
        """Whether what was read since then belongs to these pictures."""
        now = await self.look({place.topic for place in pictures.fills})
        return now is not None and now.fills == pictures.fills

    async def label_sets(self, pictures: Pictures, topic: str) -> set[Labels]:
        """Every label set of a topic."""
        found: set[Labels] = set()
        for place in pictures.infos:
            if place.topic == topic:
                found.update((await self._known(pictures, place)).values())
        return found

    async def starts(self, pictures: Pictures, topic: str, size: Size) -> list[int]:
        """Starts of the buckets of a size that hold anything, in order."""
        redis = await reach(self._client)
        found: set[int] = set()
        for place in pictures.infos:
            if place.topic == topic:
                for name in await redis.smembers(self._keys(place).buckets):
                    its_size, start_ms = parse_bucket_name(str(name, "utf-8"))
                    if its_size == size:
                        found.add(start_ms)
        return sorted(found)

    async def cells(
        self,
        pictures: Pictures,
        topic: str,
        size: Size,
        starts: Sequence[int],
        wanted: Callable[[Labels], bool],
    ) -> list[Found]:
        """The cells of some buckets whose label sets are wanted."""
        found: list[Found] = []
        for place in pictures.infos:
            if place.topic == topic:
                known = await self._known(pictures, place)
                ids = [label for label, labels in known.items() if wanted(labels)]
                for at in range(0, len(starts) if ids else 0, _BUCKETS_AT_ONCE):
                    run = starts[at : at + _BUCKETS_AT_ONCE]
                    found += await self._read(place, size, run, ids, known)
        return found

    async def _read(
        self,
        place: TopicPartition,
        size: Size,
        starts: Sequence[int],
        ids: Sequence[bytes],
        known: dict[bytes, Labels],
    ) -> list[Found]:
        redis, keys = await reach(self._client), self._keys(place)
        pipeline = redis.pipeline(transaction=False)
        for start_ms in starts:
            pipeline.hmget(keys.bucket(bucket_name(size, start_ms)), ids)
        found = []
        for start_ms, raws in zip(starts, await pipeline.execute(), strict=True):
            for label, raw in zip(ids, raws, strict=True):
                if raw:
                    found.append(Found(start_ms, known[label], decode_cell(raw)[0]))
        return found

    async def _known(self, pictures: Pictures, place: TopicPartition) -> dict[bytes, Labels]:
        """The label sets of a partition; read again when there are more, or another fill."""
        redis, keys, fill = await reach(self._client), self._keys(place), pictures.fills[place]
        held = self._labels.get(place)
        count = await redis.hlen(keys.labels)
        if held is None or held[0] != fill or len(held[1]) != count:
            raws: dict[bytes, Any] = await redis.hgetall(keys.labels)
            held = fill, {label: _decode_labels(raw) for label, raw in raws.items()}
            self._labels[place] = held
        return held[1]

    def _keys(self, place: TopicPartition) -> PartitionKeys:
        return PartitionKeys.of(self._namespace, place)
