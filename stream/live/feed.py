"""Feed: reading one partition's picture and steps from Redis, and telling whether they join up.

Knows Redis' shapes; what becomes of a step is the view's business.
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from stream.core.records import TopicPartition
from stream.live.keys import PartitionKeys, about_key, parse_bucket_name
from stream.live.parcel import unpack
from stream.live.picture import Picture, Place
from stream.live.rows import About, FeedEntry, PartitionInfo
from stream.live.scripts import Script

Pairs = list[tuple[bytes, bytes]]
_BUCKETS_AT_ONCE = 32
_ENTRIES_AT_ONCE = 64
_decode_entry = msgspec.msgpack.Decoder(FeedEntry).decode
_decode_info = msgspec.msgpack.Decoder(PartitionInfo).decode


class GapError(Exception):
    """What was read does not join up: the whole picture has to be read (again)."""


@dataclass(frozen=True, slots=True)
class Step:
    """One entry of the feed. `entry` is None for a mark that a picture is being written."""

    id: bytes
    entry: FeedEntry | None
    labels: Pairs
    buckets: list[tuple[Place, Pairs]]


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a reader stands: after this entry, and at this step of this fill."""

    id: bytes
    fill: str
    step: int

    def follow(self, step: Step) -> "Cursor":
        """The cursor after a step. Raises GapError where it does not fit."""
        entry = step.entry
        if entry is None or entry.fill != self.fill or entry.step != self.step + 1:
            raise GapError
        return Cursor(step.id, entry.fill, entry.step)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A whole picture and where to go on from; `epoch` is its writer's claim on `ledger`."""

    picture: Picture
    info: PartitionInfo
    cursor: Cursor
    ledger: bytes
    epoch: int


def redis_ms(entry_id: bytes) -> int | None:
    """Redis' time when an entry was written; None if there never was one."""
    at_ms = int(entry_id.split(b"-")[0])
    return at_ms or None


def parse_step(entry_id: bytes, fields: Mapping[bytes, bytes]) -> Step:
    """An entry as it came from the feed. Raises GapError when it cannot be read."""
    if b"d" not in fields:
        return Step(entry_id, None, [], [])
    try:
        entry = _decode_entry(fields[b"d"])
        groups = list(unpack(fields[b"c"])) if b"c" in fields else [[]]
        places = [*entry.written, *entry.removed]
        return Step(entry_id, entry, groups[0], list(zip(places, groups[1:], strict=True)))
    except (msgspec.MsgspecError, struct.error, ValueError, LookupError) as error:
        raise GapError from error


async def read_about(redis: Any, namespace: str) -> About | None:
    """What the workers agree on; None while none has said so."""
    held = await redis.hgetall(about_key(namespace))
    if b"definition" not in held:
        return None
    rules = msgspec.msgpack.decode(held.pop(b"definition"))
    partitions = {str(topic, "utf-8"): int(count) for topic, count in held.items()}
    return About(rules["definition_id"], rules["rules"], partitions)


async def read_position(redis: Any, keys: PartitionKeys) -> tuple[str, int] | None:
    """Fill and step of the whole picture in Redis; None while there is none."""
    state, fill, step = await redis.hmget(keys.at, "state", "fill", "step")
    return (str(fill, "utf-8"), int(step)) if state == b"whole" else None


class PictureReader:
    """Reads whole pictures. `look` and `load` raise Redis' errors."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._script = Script.load("picture.lua")

    async def load(self, redis: Any, place: TopicPartition) -> tuple[Loaded | None, int | None]:
        """A whole picture (None while it is being written), and when the partition last spoke.

        The hashes are read one after another while the owner goes on writing; as values are
        absolute, taking the steps since the first look once more makes one moment of them. Raises
        GapError when the picture was replaced or lost meanwhile.
        """
        keys = PartitionKeys.of(self._namespace, place)
        head, last, names, labels = await self._script.run(redis, keys.fixed[:4], [])
        if head[0] != b"whole":
            return None, redis_ms(last)
        picture = Picture()
        picture.learn(list(zip(labels[::2], labels[1::2], strict=True)))
        await self._read_buckets(redis, keys, [str(name, "utf-8") for name in names], picture)
        cursor = Cursor(last, str(head[1], "utf-8"), int(head[2]))
        loaded = Loaded(picture, _decode_info(head[3]), cursor, head[4], int(head[5]))
        loaded = await self._catch_up(redis, keys, loaded)
        return loaded, redis_ms(loaded.cursor.id)

    async def _read_buckets(
        self, redis: Any, keys: PartitionKeys, names: list[str], picture: Picture
    ) -> None:
        for at in range(0, len(names), _BUCKETS_AT_ONCE):
            run = names[at : at + _BUCKETS_AT_ONCE]
            pipeline = redis.pipeline(transaction=False)
            for name in run:
                pipeline.hgetall(keys.bucket(name))
            for name, cells in zip(run, await pipeline.execute(), strict=True):
                if cells:
                    picture.take_bucket(parse_bucket_name(name), cells)

    async def _catch_up(self, redis: Any, keys: PartitionKeys, loaded: Loaded) -> Loaded:
        position = await read_position(redis, keys)
        cursor, info, picture = loaded.cursor, loaded.info, loaded.picture
        if position is None or position[0] != cursor.fill or position[1] < cursor.step:
            raise GapError
        while cursor.step < position[1]:
            entries = await redis.xrange(keys.feed, min=b"(" + cursor.id, count=_ENTRIES_AT_ONCE)
            if not entries:
                raise GapError
            for step in parse_steps(entries):
                cursor = cursor.follow(step)
                info = step.entry.info if step.entry else info
                picture.learn(step.labels)
                for bucket, pairs in step.buckets:
                    picture.put(bucket, pairs)
        return Loaded(picture, info, cursor, loaded.ledger, loaded.epoch)


def parse_steps(entries: Any) -> Iterator[Step]:
    """Entries of one feed as redis-py gives them."""
    for entry_id, fields in entries:
        yield parse_step(entry_id, fields)
