"""Projection: a worker's side of the read model. It keeps one partition's picture in Redis.

A step is taken only from exactly where the step before it left Redis. Whatever else is found there
(nothing, an older state after a failover, another owner's or ledger's picture) makes the worker
write the whole partition again; readers hold on to what they have meanwhile. Knows nothing of Kafka
and nothing of what cells mean.
"""

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from stream.core.records import TopicPartition
from stream.live.keys import PartitionKeys, about_key, bucket_name
from stream.live.link import Client, reach
from stream.live.parcel import Parcel, Place, sort_changes, split
from stream.live.rows import About, FeedEntry, PartitionInfo
from stream.live.scripts import Script

Entries = Iterable[tuple[bytes, bytes]]

FEED_LENGTH = 240
"""Steps that a reader may fall behind before it has to read the whole picture: a minute's worth."""
_CHUNK_CELLS = 5_000
_ERASED_AT_ONCE = 500
_ATTEMPTS = 3
_encode = msgspec.msgpack.Encoder().encode


class ProjectionFencedError(Exception):
    """Redis holds the picture of a later owner: this worker lost the partition."""

    def __init__(self, place: TopicPartition, epoch: int) -> None:
        super().__init__(f"{place} belongs to epoch {epoch} by now")
        self.epoch = epoch


class _ElsewhereError(Exception):
    """Redis does not stand where the next call would go on."""


@dataclass(frozen=True, slots=True)
class PushResult:
    """What came of a push.

    `command` is the pending command (None: none; "" is `resume` without an offset), `rewrote` says
    that the whole partition was written, and `whole` is False when it was lost again meanwhile: the
    next push tries anew.
    """

    command: str | None
    rewrote: bool
    whole: bool = True


class Projection:
    """Writes one partition. Pushes come one after another, never two at a time.

    `ledger` names the ledger that the epochs count for: the picture of another one is replaced, not
    obeyed. `about` is registered anew with every whole write, since what loses one loses the other.
    """

    def __init__(
        self,
        client: Client,
        namespace: str,
        topic: str,
        partition: int,
        *,
        ledger: str = "",
        about: About | None = None,
        feed_length: int = FEED_LENGTH,
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._place = TopicPartition(topic, partition)
        self._keys = PartitionKeys.of(namespace, self._place)
        self._ledger, self._about, self._feed_length = ledger, about, feed_length
        self._script = Script.load("projection.lua")
        self._epoch = -1
        self._fill: str | None = None
        self._step = 0

    async def push(
        self,
        epoch: int,
        from_through: int,
        through: int,
        changed: Mapping[bytes, bytes | None],
        info: PartitionInfo,
        everything: Callable[[], Entries],
        latencies: Sequence[tuple[int, int]] = (),
    ) -> PushResult:
        """Take a step from one source offset to another, or write everything where it does not fit.

        `everything` gives all ledger entries as of `through` or later; it is read at once, before
        anything is awaited. No changes and `from_through == through` is a sign of life.
        Raises ProjectionFencedError, and Redis' errors as they are: what this step held is then
        lost to Redis, and the next push repairs that.
        """
        if self._fill is not None and epoch == self._epoch:
            parcel = sort_changes(changed.items())
            head = (from_through, through, info, latencies)
            try:
                return PushResult(await self._take_step(epoch, head, parcel), rewrote=False)
            except _ElsewhereError:
                pass
        for _ in range(_ATTEMPTS):
            try:
                return PushResult(await self._rewrite(epoch, through, info, everything), True)
            except _ElsewhereError:
                continue
        return PushResult(None, rewrote=False, whole=False)

    async def clear(self) -> None:
        """Take the whole partition out of Redis, whoever wrote it. For rebuilds."""
        await clear_partition(self._client, self._namespace, self._place)
        self._fill = None

    async def clear_command(self, command: str) -> None:
        """Forget a command that was obeyed, unless another has taken its place."""
        await Script(_FORGET).run(self._client, [self._keys.command], [command])

    async def _take_step(
        self, epoch: int, head: tuple[int, int, PartitionInfo, Sequence[Any]], parcel: Parcel
    ) -> str | None:
        from_through, through, info, latencies = head
        fill, self._fill = self._fill or "", None  # until Redis has answered, nothing is certain
        step = self._step + 1
        written, removed = parcel.written_places(), parcel.removed_places()
        entry = FeedEntry(
            fill, step, epoch, from_through, through, info, written, removed, list(latencies)
        )
        raw = parcel.pack() if parcel.labels or written or removed else b""
        command = await self._call(
            "step",
            (epoch, fill, step),
            (from_through, through, _encode(info), _encode(entry), raw, len(written)),
            [*written, *removed],
        )
        self._fill, self._step = fill, step
        return None if command is None else str(command, "utf-8")

    async def _rewrite(
        self, epoch: int, through: int, info: PartitionInfo, everything: Callable[[], Entries]
    ) -> str | None:
        self._fill = None
        picture = sort_changes(everything())
        fill, step = secrets.token_hex(8), 0
        await self._call("begin", (epoch, fill, step), (_encode(info),))
        left = 1
        while left:
            step += 1
            left = await self._call("erase", (epoch, fill, step), (_ERASED_AT_ONCE,))
        for part in split(picture, _CHUNK_CELLS):
            step += 1
            places = part.written_places()
            await self._call("chunk", (epoch, fill, step), (part.pack(), len(places)), places)
        if self._about is not None:
            await register(self._client, self._namespace, self._about)
        step += 1
        entry = FeedEntry(fill, step, epoch, -1, through, info)
        command = await self._call(
            "finish", (epoch, fill, step), (through, _encode(info), _encode(entry))
        )
        self._epoch, self._fill, self._step = epoch, fill, step
        return None if command is None else str(command, "utf-8")

    async def _call(
        self,
        mode: str,
        position: tuple[int, str, int],
        arguments: tuple[Any, ...],
        places: Sequence[Place] = (),
    ) -> Any:
        epoch, fill, step = position
        keys = self._keys
        answer = await self._script.run(
            self._client,
            [*keys.fixed, *(keys.bucket(bucket_name(*place)) for place in places)],
            [mode, epoch, self._ledger, fill, step, self._feed_length, *arguments],
        )
        if answer[0] == b"fenced":
            raise ProjectionFencedError(self._place, int(answer[1]))
        if answer[0] != b"taken":
            raise _ElsewhereError
        return answer[1] if len(answer) > 1 else None


_FORGET = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""


async def register(client: Client, namespace: str, about: About) -> None:
    """Say what the workers of a namespace agree on."""
    call = await reach(client)
    rules = _encode({"definition_id": about.definition_id, "rules": about.rules})
    await call.hset(about_key(namespace), mapping={"definition": rules, **about.partitions})


async def send_command(client: Client, namespace: str, place: TopicPartition, text: str) -> None:
    """Leave a command for the owner of a partition ("" is `resume`, or the offset to skip to)."""
    call = await reach(client)
    await call.set(PartitionKeys.of(namespace, place).command, text)


async def clear_partition(client: Client, namespace: str, place: TopicPartition) -> None:
    """Take one partition out of Redis: first where it stands, so that no step fits any more."""
    call = await reach(client)
    keys = PartitionKeys.of(namespace, place)
    await call.unlink(keys.at)
    while names := await call.spop(keys.buckets, _ERASED_AT_ONCE):
        await call.unlink(*(keys.bucket(str(name, "utf-8")) for name in names))
    await call.unlink(keys.labels, keys.buckets, keys.feed, keys.command)
