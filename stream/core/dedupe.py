"""Duplicates: the ids of the events of the last while, in bounded memory.

An id is remembered as a 64-bit hash with its event time: two different ids of one horizon collide
about once in 10^13 events. An event is a duplicate when its id was remembered within the horizon,
counted back in event time from the partition's clock. Beyond the horizon, set or held, nothing can
be said: `unchecked`. When more ids come in a horizon than may be kept, the oldest sixteenth leaves
and the horizon that is held shrinks; it is counted along the log, never by who reads it or how.
"""

import struct
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_64_intdigest

Times = NDArray[np.int64]
Hashes = NDArray[np.uint64]

FRESH, DUPLICATE, UNCHECKED = 0, 1, 2
_BLOCKS = 16
_NEVER = -(1 << 62)
_KEY = struct.Struct(">cQ")


class Judged(NamedTuple):
    """Verdicts in record order, hashes of the ids, and records whose id came earlier in the run.

    `repeats` maps a record's position to the earlier positions with the same id; whether it is a
    duplicate depends on whether one of those is counted.
    """

    verdicts: NDArray[np.int8]
    hashes: Hashes
    repeats: dict[int, list[int]]


class Dedupe:
    """The remembered ids of one partition."""

    def __init__(self, horizon_ms: int, max_ids: int) -> None:
        self._horizon_ms = horizon_ms
        self._block_size = max(1, max_ids // _BLOCKS)
        self._ids = IdTable(2 * max_ids)
        self.remembered = 0
        self.floor_ms = _NEVER
        self._block_newest: deque[int] = deque([_NEVER])
        self._fresh: list[tuple[Hashes, Times]] = []
        self._chunks: deque[tuple[int, int]] = deque()

    @property
    def room(self) -> int:
        """How many ids may be remembered before the horizon held may shrink."""
        return self._block_size - self.remembered % self._block_size

    def __len__(self) -> int:
        return len(self._ids)

    def held_ms(self, clock_ms: int) -> int:
        """The horizon really held at a clock."""
        return max(0, min(self._horizon_ms, clock_ms - self.floor_ms))

    def judge(self, ids: Sequence[str], times: Times, clocks: Times) -> Judged:
        """Verdicts on a run of events; remembers nothing."""
        hashes = np.fromiter(map(xxh3_64_intdigest, map(str.encode, ids)), np.uint64, len(ids))
        hashes[hashes == 0] = 1  # zero marks an empty slot
        oldest = self._oldest(clocks)
        known = self._ids.times_of(hashes)
        verdicts = np.zeros(len(ids), np.int8)
        verdicts[known >= oldest] = DUPLICATE
        verdicts[times < oldest] = UNCHECKED
        return Judged(verdicts, hashes, _repeats(hashes))

    def oldest(self, clocks: Times) -> list[int]:
        """The oldest event time that is checked, at each clock."""
        return self._oldest(clocks).tolist()  # type: ignore[no-any-return]

    def _oldest(self, clocks: Times) -> Times:
        return np.maximum(clocks - self._horizon_ms, self.floor_ms + 1)

    def remember(self, hashes: Hashes, times: Times, clock_ms: int) -> None:
        """Remember the ids of counted events; at most `room` of them."""
        if not len(hashes):
            return
        self._ids.insert(hashes, times, max(clock_ms - self._horizon_ms, self.floor_ms + 1))
        self._fresh.append((hashes, times))
        self.remembered += len(hashes)
        self._block_newest[-1] = max(self._block_newest[-1], int(times.max()))
        if self.remembered % self._block_size == 0:
            self._block_newest.append(_NEVER)
            if len(self._block_newest) > _BLOCKS:
                self.floor_ms = max(self.floor_ms, self._block_newest.popleft())

    def drain(self, clock_ms: int) -> Iterable[tuple[bytes, bytes | None]]:
        """Ledger entries of what was remembered since the last drain, and of what left."""
        if self._fresh:
            hashes = np.concatenate([h for h, _ in self._fresh])
            times = np.concatenate([t for _, t in self._fresh])
            self._fresh = []
            newest = int(times.max())
            yield _KEY.pack(b"d", self.remembered), hashes.tobytes() + times.tobytes()
            self._chunks.append((self.remembered, newest))
        oldest = max(clock_ms - self._horizon_ms, self.floor_ms + 1)
        while self._chunks and self._chunks[0][1] < oldest:
            yield _KEY.pack(b"d", self._chunks.popleft()[0]), None

    def state(self) -> list[object]:
        """What goes into the partition's meta entry."""
        return [self.remembered, self.floor_ms, list(self._block_newest)]

    def load(self, state: Sequence[Any], chunks: Iterable[tuple[bytes, bytes]]) -> None:
        """Take up state and the ids of ledger entries."""
        self.remembered, self.floor_ms, block_newest = state
        self._block_newest = deque(block_newest)
        for key, raw in sorted(chunks):
            hashes = np.frombuffer(raw[: len(raw) // 2], np.uint64)
            times = np.frombuffer(raw[len(raw) // 2 :], np.int64)
            self._ids.insert(hashes, times, self.floor_ms + 1)
            self._chunks.append((_KEY.unpack(key)[1], int(times.max())))


class IdTable:
    """An open-addressing hash table from 64-bit hash to event time, looked up a run at a time.

    It stays at most half full, until it has `enough` slots: then it is filled up to five eighths.
    """

    def __init__(self, enough: int) -> None:
        self._enough = enough
        self._count = 0
        self._allocate(1024)

    def __len__(self) -> int:
        return self._count

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self._keys.nbytes + self._times.nbytes

    def times_of(self, hashes: Hashes) -> Times:
        """Event time of each id, or a time before all others where it is unknown."""
        found = np.full(len(hashes), _NEVER, np.int64)
        slots = (hashes & self._mask).astype(np.int64)
        left = np.arange(len(hashes))
        while len(left):
            keys = self._keys[slots]
            hit = keys == hashes[left]
            found[left[hit]] = self._times[slots[hit]]
            again = ~hit & (keys != 0)
            left = left[again]
            slots = (slots[again] + 1) & self._last
        return found

    def insert(self, hashes: Hashes, times: Times, oldest_ms: int) -> None:
        """Set the time of each id; times before `oldest_ms` may be forgotten to make room."""
        room = len(self._keys) // 2 if len(self._keys) < self._enough else len(self._keys) * 5 // 8
        if self._count + len(hashes) > room:
            self._grow(len(hashes), oldest_ms)
        slots = (hashes & self._mask).astype(np.int64)
        while len(hashes):
            keys = self._keys[slots]
            free = keys == 0
            self._keys[slots[free]] = hashes[free]  # of rivals for one slot the last one wins
            self._count += len(np.unique(slots[free]))
            mine = self._keys[slots] == hashes
            self._times[slots[mine]] = times[mine]
            rest = ~mine
            hashes, times = hashes[rest], times[rest]
            slots = (slots[rest] + 1) & self._last

    def _grow(self, more: int, oldest_ms: int) -> None:
        used = self._keys != 0
        keys, times = self._keys[used], self._times[used]
        kept = times >= oldest_ms
        keys, times = keys[kept], times[kept]
        size, least = 1024, len(keys) + more
        while size < least * 2 or (size < least * 2.5 and size < self._enough):
            size *= 2  # with room to spare, or the next run would grow it again
        self._allocate(size)
        self._count = 0
        self.insert(keys, times, oldest_ms)

    def _allocate(self, size: int) -> None:
        self._keys = np.zeros(size, np.uint64)
        self._times = np.zeros(size, np.int64)
        self._last = size - 1
        self._mask = np.uint64(size - 1)


def _repeats(hashes: Hashes) -> dict[int, list[int]]:
    numbers = hashes.tolist()
    if len(set(numbers)) == len(numbers):
        return {}
    seen: dict[int, list[int]] = {}
    repeats: dict[int, list[int]] = {}
    for position, number in enumerate(numbers):
        earlier = seen.setdefault(number, [])
        if earlier:
            repeats[position] = list(earlier)
        earlier.append(position)
    return repeats
