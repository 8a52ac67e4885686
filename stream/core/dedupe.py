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

from stream.core.hashing import Hashes
from stream.core.idtable import NOWHERE, IdLog, IdTable, Places, Times

FRESH, DUPLICATE, UNCHECKED = 0, 1, 2
_BLOCKS = 16
_FEWEST_SLOTS = 1 << 16
_GROWTH = 8
_NEVER = -(1 << 62)
_KEY = struct.Struct(">cQ")


class Judged(NamedTuple):
    """Verdicts in record order, and the records whose id came earlier in the run.

    `repeats` maps a record's position to the earlier positions with the same id; whether it is a
    duplicate depends on whether one of those is counted.
    """

    verdicts: NDArray[np.int8]
    repeats: dict[int, list[int]]


class Dedupe:
    """The remembered ids of one partition."""

    def __init__(self, horizon_ms: int, max_ids: int) -> None:
        self._horizon_ms = horizon_ms
        self._block_size = max(1, max_ids // _BLOCKS)
        self._most_slots = max(_FEWEST_SLOTS, 1 << (max_ids * 4 // 5 - 1).bit_length())
        self._log = IdLog()
        self._tables: list[IdTable] = []
        self.remembered = 0
        self.floor_ms = _NEVER
        self._block_newest: deque[int] = deque([_NEVER])
        self._chunks: deque[tuple[int, int]] = deque()

    @property
    def room(self) -> int:
        """How many ids may be remembered before the horizon held may shrink."""
        return self._block_size - self.remembered % self._block_size

    def __len__(self) -> int:
        return self._log.end - self._log.start

    def held_ms(self, clock_ms: int) -> int:
        """The horizon really held at a clock."""
        return max(0, min(self._horizon_ms, clock_ms - self.floor_ms))

    def judge(self, hashes: Hashes, times: Times, clocks: Times) -> Judged:
        """Verdicts on a run of events; remembers nothing."""
        oldest = self.oldest(clocks)
        verdicts = np.zeros(len(hashes), np.int8)
        places = self._find(hashes)
        hits = np.flatnonzero(places != NOWHERE)
        if len(hits):
            _, known = self._log.at(places[hits])
            verdicts[hits[known >= oldest[hits]]] = DUPLICATE
        verdicts[times < oldest] = UNCHECKED
        return Judged(verdicts, _repeats(hashes))

    def oldest(self, clocks: Times) -> Times:
        """The oldest event time that is checked, at each clock."""
        return np.maximum(clocks - self._horizon_ms, self.floor_ms + 1)

    def remember(self, hashes: Hashes, times: Times) -> None:
        """Remember the ids of counted events; at most `room` of them."""
        if not len(hashes):
            return
        self._log.append(hashes, times)
        self._take_in(hashes)
        self.remembered += len(hashes)
        self._block_newest[-1] = max(self._block_newest[-1], int(times.max()))
        if self.remembered % self._block_size == 0:
            self._block_newest.append(_NEVER)
            if len(self._block_newest) > _BLOCKS:
                self.floor_ms = max(self.floor_ms, self._block_newest.popleft())

    def drain(self, clock_ms: int) -> Iterable[tuple[bytes, bytes | None]]:
        """Ledger entries of what was remembered since the last drain, and of what left."""
        sealed = self._log.seal()
        if sealed is not None:
            raw, newest = sealed
            yield _KEY.pack(b"d", self.remembered), raw
            self._chunks.append((self.remembered, newest))
        oldest = max(clock_ms - self._horizon_ms, self.floor_ms + 1)
        while self._chunks and self._chunks[0][1] < oldest:
            end, _ = self._chunks.popleft()
            self._log.drop(end)
            yield _KEY.pack(b"d", end), None
        while self._tables and self._tables[0].end <= self._log.start:
            self._tables.pop(0)

    def state(self) -> list[object]:
        """What goes into the partition's meta entry."""
        return [self.remembered, self.floor_ms, list(self._block_newest)]

    def load(self, state: Sequence[Any], chunks: Iterable[tuple[bytes, bytes]]) -> None:
        """Take up state and the ids of ledger entries."""
        self.remembered, self.floor_ms, block_newest = state
        self._block_newest = deque(block_newest)
        for key, raw in sorted(chunks):
            end = _KEY.unpack(key)[1]
            hashes, times = self._log.load(raw, end)
            self._take_in(hashes)
            self._chunks.append((end, int(times.max())))
        self._log.end = self.remembered

    def _find(self, hashes: Hashes) -> Places:
        """The latest place of each hash, NOWHERE where it is not known."""
        found = np.full(len(hashes), NOWHERE, np.int64)
        for table in self._tables:
            places = table.find(hashes)
            found = np.maximum(found, places)
        return found

    def _take_in(self, hashes: Hashes) -> None:
        """Note where the last ids of the log are to be found."""
        while len(hashes):
            place = self._log.end - len(hashes)
            if not self._tables or not self._tables[-1].room:
                slots = self._tables[-1].slots * _GROWTH if self._tables else _FEWEST_SLOTS
                self._tables.append(IdTable(self._log, min(slots, self._most_slots), place))
            table = self._tables[-1]
            fitting = hashes[: table.room]
            table.insert(fitting, place)
            hashes = hashes[len(fitting) :]


def _repeats(hashes: Hashes) -> dict[int, list[int]]:
    """Earlier positions with the same hash, for each position that has such."""
    ordered = np.sort(hashes)
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    seen: dict[int, list[int]] = {}
    repeats: dict[int, list[int]] = {}
    for position in np.flatnonzero(np.isin(hashes, twice)).tolist() if len(twice) else ():
        earlier = seen.setdefault(int(hashes[position]), [])
        if earlier:
            repeats[position] = list(earlier)
        earlier.append(position)
    return repeats
