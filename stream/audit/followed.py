"""Followed: the state that a partition's ledger stands for, at any version of it that is asked for.

Owns reading on in the ledger's log, and knows what changed on the way. Writes nothing. What makes a
version is `ledger_chain`'s.
"""

from collections import deque
from contextlib import aclosing

from stream.core.records import TopicPartition
from stream.engine.ledger_chain import Chain
from stream.engine.ledger_records import FlushPart
from stream.engine.scanner import CutError, Scanner

_PLACE, _ID = slice(1, 10), slice(10, 14)
_CELL = ord("c")


class _Chain(Chain):
    """A chain that says which of its entries changed."""

    changed: set[bytes]

    def _accept(self, last: FlushPart) -> None:
        keys = {key for part in self._parts for key in (*part.puts, *part.deletes)}
        super()._accept(last)
        self.changed |= keys

    def _void(self, version: int) -> None:
        self.changed = set(getattr(self, "entries", ()))
        super()._void(version)


class Followed:
    """The ledger of one partition, read forward only; `topic` is its full name.

    `changed` are the keys of entries that changed since somebody emptied it.
    """

    def __init__(self, place: TopicPartition, topic: str) -> None:
        self.changed: set[bytes] = set()
        self._chain = _Chain()
        self._place, self._topic = place, topic
        self._ahead: deque[tuple[int, bytes | None]] = deque()
        self._buckets: dict[bytes, dict[bytes, bytes]] = {}

    @property
    def entries(self) -> dict[bytes, bytes]:
        """The state's entries; not to be changed."""
        return self._chain.entries

    def get(self, key: bytes) -> bytes | None:
        """An entry of the state; None: there is none."""
        return self._chain.entries.get(key)

    @property
    def version(self) -> int:
        """What names the state."""
        return self._chain.version

    @property
    def through(self) -> int | None:
        """The first source offset that the state does not include; None: nothing was flushed."""
        return self._chain.next

    @property
    def fault(self) -> str | None:
        """Why the state cannot be used, see `Chain`."""
        return self._chain.fault

    @property
    def places(self) -> set[tuple[int, int]]:
        """The buckets (size, start) that have cells."""
        return {(place[0], _start_of(place)) for place in self._buckets}

    def cells(self, size: int, start_ms: int) -> dict[bytes, bytes]:
        """A bucket's cells by label id; not to be changed."""
        place = bytes((size,)) + start_ms.to_bytes(8, "big", signed=True)
        return self._buckets.get(place, {})

    async def advance(self, log: Scanner, version: int | None) -> bool:
        """Read on to a version of the state (None: to the end); False where the log lacks it."""
        while version is None or self.version < version:
            if not await self.step(log):
                return version is None
        return version == self.version

    async def step(self, log: Scanner) -> bool:
        """Read on to the next version; False: there is none."""
        before = self.version
        while self.version == before:
            if not self._ahead and not await self._fetch(log):
                return False
            self._chain.apply(*self._ahead.popleft())
        self._note()
        return True

    async def _fetch(self, log: Scanner) -> bool:
        """Read a run of records; one that was cut beyond us, or made again, from its beginning."""
        number = self._place.partition
        begin, end = (await log.bounds(self._topic, [number]))[number]
        if self._chain.position > end:
            old, self._chain = self._chain, _Chain()
            self._chain.changed = set(old.entries)
        start = max(begin, self._chain.position)
        try:
            async with aclosing(log.read(self._topic, number, start, end)) as runs:
                async for records in runs:
                    self._ahead.extend((record.offset, record.value) for record in records)
                    if self._ahead:
                        return True
        except CutError:
            return False  # cut just now: the next look finds its new beginning
        return False

    def _note(self) -> None:
        for key in self._chain.changed:
            if key[0] != _CELL:
                continue
            raw = self.entries.get(key)
            bucket = self._buckets.setdefault(key[_PLACE], {})
            if raw is not None:
                bucket[key[_ID]] = raw
            else:
                bucket.pop(key[_ID], None)
            if not bucket:
                del self._buckets[key[_PLACE]]
        self.changed |= self._chain.changed
        self._chain.changed = set()


def _start_of(place: bytes) -> int:
    return int.from_bytes(place[1:], "big", signed=True)
