"""Mirrors: the last values of a compacted topic in Redis, so that servers need not read Kafka.

A worker carries a mirror on from exactly where it stands, by the topic's offsets: what is written
is absolute, and an older worker never overwrites a newer one. A mirror that is missing, or was not
carried on for so long that removals may have been compacted away, is begun anew; readers keep what
they have meanwhile. Knows nothing of Kafka and nothing of what the values mean.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stream.core.durations import DAY_MS, MINUTE_MS
from stream.live.link import Client, reach
from stream.live.scripts import Script

FORGETS_AFTER_MS = 3 * DAY_MS
"""Removals stay in the topic for a week: a mirror that stood still for longer than this is none."""
TOUCHED_EVERY_MS = MINUTE_MS
_READ_AT_ONCE = 500

Positions = Mapping[int, int]
"""Partition -> the offset to read next."""
Pairs = Sequence[tuple[bytes, bytes | None]]
"""Keys and values; None removes a key."""


@dataclass(frozen=True, slots=True)
class MirrorKeys:
    """The keys of one mirror."""

    prefix: str

    @classmethod
    def of(cls, namespace: str, name: str) -> "MirrorKeys":
        """Keys of the mirror of a topic in a namespace."""
        return cls(f"{{{namespace}/{name}}}:")

    @property
    def at(self) -> str:
        """Hash: where it stands."""
        return self.prefix + "at"

    @property
    def held(self) -> str:
        """Hash: key -> value."""
        return self.prefix + "held"

    @property
    def order(self) -> str:
        """Sorted set: key -> number of the step that last changed it."""
        return self.prefix + "order"


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a mirror stands: `whole` once all of the topic was read."""

    fill: str
    through: str
    whole: bool
    touched_ms: int

    @property
    def positions(self) -> dict[int, int]:
        """The offset to read next, by partition."""
        pairs = (each.split(":") for each in self.through.split(",") if each)
        return {int(partition): int(offset) for partition, offset in pairs}


class Mirror:
    """A worker's side. Raises Redis' errors."""

    def __init__(self, client: Client, namespace: str, name: str) -> None:
        self._client = client
        self._keys = MirrorKeys.of(namespace, name)
        self._script = Script.load("mirror.lua")

    async def look(self) -> Standing | None:
        """Where it stands; None: there is none."""
        redis = await reach(self._client)
        found = await redis.hmget(self._keys.at, "fill", "through", "state", "touched")
        if found[0] is None:
            return None
        fill, through, state, touched = (str(part or b"", "utf-8") for part in found)
        return Standing(fill, through, state == "whole", int(touched))

    async def begin(self, now_ms: int) -> Standing:
        """Empty it, to be filled from the topic's beginning."""
        fill = secrets.token_hex(8)
        await self._run("begin", fill, now_ms)
        return Standing(fill, "", False, now_ms)

    async def take(
        self, stands: Standing, to: Positions, pairs: Pairs, *, whole: bool, now_ms: int
    ) -> Standing | None:
        """Carry it on; None: it stands elsewhere by now, and nothing was taken."""
        through = ",".join(f"{partition}:{offset}" for partition, offset in sorted(to.items()))
        last = dict(pairs)
        flat: list[bytes] = []
        for key, kept in last.items():
            flat += (key, b"" if kept is None else b"v" + kept)
        state = "whole" if whole else "filling"
        answer = await self._run("take", stands.fill, now_ms, stands.through, through, state, *flat)
        if answer[0] != b"taken":
            return None
        return Standing(stands.fill, through, whole, now_ms)

    async def _run(self, *arguments: Any) -> Any:
        keys = self._keys
        return await self._script.run(self._client, [keys.at, keys.held, keys.order], arguments)


@dataclass(frozen=True, slots=True)
class News:
    """What has changed for a reader: keys and values; `anew`: there is nothing beside them."""

    anew: bool
    pairs: dict[bytes, bytes | None] = field(default_factory=dict)


class MirrorReader:
    """A reader's side: asks for what has changed since it asked last. Raises Redis' errors."""

    def __init__(self, namespace: str, name: str) -> None:
        self._keys = MirrorKeys.of(namespace, name)
        self._fill: bytes | None = None
        self._seq = 0

    async def poll(self, client: Client) -> News | None:
        """What has changed; None: nothing, or there is no whole mirror at the moment."""
        redis = await reach(client)
        fill, state, seq = await self._look(redis)
        if fill is None or state != b"whole" or (fill == self._fill and seq == self._seq):
            return None
        if fill == self._fill:
            changed = await redis.zrangebyscore(self._keys.order, f"({self._seq}", "+inf")
            news = News(False, await self._values(redis, changed))
        else:
            news = News(True, await self._values(redis, await redis.hkeys(self._keys.held)))
        if (await self._look(redis))[:2] != (fill, b"whole"):
            return None  # begun anew while it was read
        self._fill, self._seq = fill, seq
        return news

    async def _look(self, redis: Any) -> tuple[bytes | None, bytes | None, int]:
        fill, state, seq = await redis.hmget(self._keys.at, "fill", "state", "seq")
        return fill, state, int(seq or 0)

    async def _values(self, redis: Any, keys: Sequence[bytes]) -> dict[bytes, bytes | None]:
        found: dict[bytes, bytes | None] = {}
        for at in range(0, len(keys), _READ_AT_ONCE):
            run = keys[at : at + _READ_AT_ONCE]
            found.update(zip(run, await redis.hmget(self._keys.held, run), strict=True))
        return found
