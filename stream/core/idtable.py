"""Tables of ids: which 64-bit hashes were remembered, and where they stand in the log of ids.

An `IdLog` holds hashes and event times in the order in which they came, in pieces whose bytes are
those of the ledger's entries. An `IdTable` finds hashes in it, a whole run at once, with 6 bytes a
slot. A table never grows: when it is full the next one begins, and when all that it finds has left
the log it goes as a whole. So nothing is ever built anew, and nobody waits for that.
"""

from bisect import bisect_left, bisect_right

import numpy as np
from numpy.typing import NDArray

from stream.core.hashing import Hashes

Times = NDArray[np.int64]
Places = NDArray[np.int64]
"""Numbers of ids, in the order in which they were ever remembered."""
NOWHERE = -1

_LANES, _LANE_BITS = 4, 16
_ONES, _HIGHS = np.uint64(0x0001_0001_0001_0001), np.uint64(0x8000_8000_8000_8000)
_TAG, _ONE = np.uint64(0x7FFF), np.uint64(1)
_OVER = np.uint64(1 << 63)
"""Set in a bucket from which ids went on to the next one: only then it is looked at too."""


class IdLog:
    """Ids by their place."""

    def __init__(self) -> None:
        self.end = 0
        self._starts: list[int] = []
        self._pieces: list[tuple[Hashes, Times]] = []
        self._sealed = 0

    @property
    def start(self) -> int:
        """The first place that is held."""
        return self._starts[0] if self._starts else self.end

    def append(self, hashes: Hashes, times: Times) -> None:
        """Add ids at the end."""
        self._starts.append(self.end)
        self._pieces.append((hashes, times))
        self.end += len(hashes)

    def seal(self) -> tuple[bytes, int] | None:
        """An entry of all that was added since the last one, and its newest time."""
        fresh, end = self._pieces[self._sealed :], self.end
        if not fresh:
            return None
        raw = b"".join([part.tobytes() for column in zip(*fresh, strict=True) for part in column])
        self.end = self._starts[self._sealed]
        del self._pieces[self._sealed :], self._starts[self._sealed :]
        _, times = self.load(raw, end)
        return raw, int(times.max())

    def load(self, raw: bytes, end: int) -> tuple[Hashes, Times]:
        """Add the ids of an entry, up to a place; they are not copied."""
        count = len(raw) // 16
        piece = np.frombuffer(raw, "<u8", count), np.frombuffer(raw, "<i8", count, count * 8)
        self.end = end - count
        self.append(*piece)
        self._sealed = len(self._pieces)
        return piece

    def drop(self, before: int) -> None:
        """Forget the entries that begin before a place."""
        gone = bisect_left(self._starts, before)
        del self._pieces[:gone], self._starts[:gone]
        self._sealed -= gone

    def at(self, places: Places) -> tuple[Hashes, Times]:
        """Hashes and times of places, zeros for what is no longer held."""
        hashes, times = np.zeros(len(places), np.uint64), np.zeros(len(places), np.int64)
        order = np.argsort(places, kind="stable")
        ordered = places[order]
        begin = int(np.searchsorted(ordered, self.start))
        while begin < len(order):
            number = bisect_right(self._starts, int(ordered[begin])) - 1
            start, piece = self._starts[number], self._pieces[number]
            end = int(np.searchsorted(ordered, start + len(piece[0])))
            here, within = order[begin:end], ordered[begin:end] - start
            hashes[here], times[here] = piece[0][within], piece[1][within]
            begin = end
        return hashes, times


class IdTable:
    """Finds the ids of a stretch of the log, from the place `first` on.

    A bucket is a word of four tags of 15 bits, each with a place; what does not fit goes to the
    next bucket. A tag only says where to look: the hash in the log decides.
    """

    def __init__(self, log: IdLog, slots: int, first: int) -> None:
        self.slots = slots
        self.end = first
        self._log, self._first = log, first
        self._words = np.zeros(slots // _LANES, "<u8")
        self._tags = self._words.view("<u2")
        self._places = np.zeros(slots, np.uint32)
        self._shift = np.uint64(64 - (slots // _LANES - 1).bit_length())
        self._used = 0

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self._words.nbytes + self._places.nbytes

    @property
    def room(self) -> int:
        """How many more ids it takes."""
        return self.slots // 2 - self._used

    def find(self, hashes: Hashes) -> Places:
        """The place of each hash, NOWHERE where it is not known."""
        found = np.full(len(hashes), NOWHERE, np.int64)
        rows, buckets = np.arange(len(hashes)), self._homes(hashes)
        while len(rows):
            words = self._words[buckets]
            slots = self._slots_of(hashes, buckets, words)
            unsure = words >= _OVER
            if slots is not None:
                known = slots != NOWHERE
                found[rows[known]] = self._first + self._places[slots[known]].astype(np.int64)
                unsure &= ~known
            on = np.flatnonzero(unsure)
            rows, hashes, buckets = rows[on], hashes[on], self._next(buckets[on])
        return found

    def insert(self, hashes: Hashes, place: int) -> None:
        """Take in the ids that the log holds from a place on; of equal ones the last one stays."""
        self.end = place + len(hashes)
        places = np.arange(place - self._first, self.end - self._first).astype(np.uint32)
        buckets = self._homes(hashes)
        while len(hashes):
            words = self._words[buckets]
            slots = self._slots_of(hashes, buckets, words)
            empty = _zeros(_tags_in(words))
            free = np.flatnonzero(empty)
            left = np.ones(len(hashes), np.bool_)
            if slots is not None:
                known = slots != NOWHERE
                np.maximum.at(self._places, slots[known], places[known])
                left[known] = False
                free = free[left[free]]
            slot = buckets[free] * _LANES + _lanes(empty[free])
            self._tags[slot] |= _tags(hashes[free]).astype(np.uint16)
            self._places[slot] = places[free]  # of rivals for a slot the last one has it
            won = self._places[slot] == places[free]
            self._used += int(np.count_nonzero(won))
            left[free[won]] = False
            over = left & (empty == 0)
            self._words[buckets[over]] |= _OVER
            buckets = np.where(over, self._next(buckets), buckets)[left]
            hashes, places = hashes[left], places[left]

    def _slots_of(self, hashes: Hashes, buckets: Places, words: Hashes) -> Places | None:
        """The slot of each hash in its bucket, NOWHERE where it is not there; None if none is."""
        hits = _zeros(_tags_in(words) ^ _spread(hashes))
        rows = np.flatnonzero(hits)
        if not len(rows):
            return None
        slots = np.full(len(hashes), NOWHERE, np.int64)
        while len(rows):
            lanes = hits[rows]
            slot = buckets[rows] * _LANES + _lanes(lanes)
            known, _ = self._log.at(self._first + self._places[slot].astype(np.int64))
            same = known == hashes[rows]
            slots[rows[same]] = slot[same]
            hits[rows] = lanes & (lanes - _ONE)
            rows = rows[~same & (hits[rows] != 0)]
        return slots

    def _homes(self, hashes: Hashes) -> Places:
        return (hashes >> self._shift).astype(np.int64)

    def _next(self, buckets: Places) -> Places:
        return (buckets + 1) & (len(self._words) - 1)


def _tags(hashes: Hashes) -> Hashes:
    tags: Hashes = np.maximum(hashes & _TAG, _ONE)
    return tags


def _spread(hashes: Hashes) -> Hashes:
    """The tag of each hash, in all lanes of a word."""
    words: Hashes = _tags(hashes) * _ONES
    return words


def _tags_in(words: Hashes) -> Hashes:
    return words & ~_OVER


def _zeros(words: Hashes) -> Hashes:
    """The highest bit of the first lane that is zero, perhaps with others behind it; or 0."""
    flags = words - _ONES
    flags &= ~words
    flags &= _HIGHS
    return flags


def _lanes(flags: Hashes) -> Places:
    """The number of the first lane of which the highest bit is set."""
    return (np.bitwise_count((flags & (~flags + _ONE)) - _ONE) // _LANE_BITS).astype(np.int64)
