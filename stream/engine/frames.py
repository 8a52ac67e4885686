"""Frames: where the records of stored batches lie, found for all of them at once.

Owns the layout of a record in Kafka's format 2: a length, then attributes, time, offset, key, value
and headers, all numbers as variable-length integers. Nothing is copied, and no object is made for a
record. Knows nothing of batches' headers, nor of what keys and values mean.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from aiokafka.record.util import decode_varint
from numpy.typing import NDArray

from stream.core.texts import NONE, Texts

Bytes = NDArray[np.uint8]
Numbers = NDArray[np.int64]
_MORE = 0x80
"""Set in each byte of an integer but its last."""
_SHORTEST = 5
"""A record has more bytes than that."""
_POSITIVE = (1 << 63) - 1
_LONGEST = 10
"""Bytes of a variable-length integer, at most."""


class FrameError(ValueError):
    """These bytes are no records."""


class Stretch(NamedTuple):
    """Where the records of a stored batch lie in a buffer, and how many they are (one at least)."""

    start: int
    end: int
    records: int


@dataclass(frozen=True, slots=True)
class Frames:
    """Columns of records. Times and offsets are those of the batch less than the record's own."""

    times: Numbers
    offsets: Numbers
    keys: Texts
    values: Texts


def find_records(buffer: bytes, stretches: Sequence[Stretch]) -> Frames:
    """The records in some stretches of a buffer, in order. Raises FrameError."""
    codes = np.frombuffer(buffer, np.uint8)
    starts = _guess_starts(codes, stretches)
    sizes, at = _numbers(codes, starts)
    ends = at + sizes
    if not _is_whole(starts, ends, stretches):
        starts = _walk(buffer, stretches)
        sizes, at = _numbers(codes, starts)
        ends = at + sizes
    times, at = _numbers(codes, at + 1)  # behind the attributes, of which there are none yet
    offsets, at = _numbers(codes, at)
    key_sizes, keys = _sizes(codes, at)
    value_sizes, values = _sizes(codes, keys + np.maximum(key_sizes, 0))
    if (values + np.maximum(value_sizes, 0) >= ends).any():
        raise FrameError("a record does not fit its length")
    return Frames(
        times, offsets, Texts(buffer, keys, key_sizes), Texts(buffer, values, value_sizes)
    )


def _guess_starts(codes: Bytes, stretches: Sequence[Stretch]) -> Numbers:
    """Where the records begin, if none has headers and no zero byte is in keys and values.

    Then each but the first begins behind a zero (no headers), and behind its length stands another
    (no attributes).
    """
    firsts, ends, _ = np.array(stretches, np.int64).T
    sizes, at = _numbers(codes, firsts)
    seconds = at + sizes
    low = int(firsts[0])
    high = max(low, int(ends[-1]) - _SHORTEST)
    is_zero = codes == 0
    zeros = np.flatnonzero(is_zero[low:high]) + low
    found = np.concatenate([_behind(codes, zeros[is_zero[zeros + n + 1]], n) for n in (1, 2, 3)])
    number = np.searchsorted(firsts, found, side="right") - 1
    found = found[(found >= seconds[number]) & (found < ends[number])]
    starts = np.concatenate((firsts, found))
    starts.sort(kind="stable")  # it is made of sorted runs
    return starts


def _behind(codes: Bytes, zeros: Numbers, size: int) -> Numbers:
    """The places behind these zeros where an integer of so many bytes begins."""
    good = codes[zeros + size] < _MORE
    for byte in range(1, size):
        good &= codes[zeros + byte] >= _MORE
    return zeros[good] + 1


def _is_whole(starts: Numbers, ends: Numbers, stretches: Sequence[Stretch]) -> bool:
    """Whether each record ends where the next one begins, and the last of a batch with it."""
    counts = [stretch.records for stretch in stretches]
    if len(starts) != sum(counts):
        return False
    last = np.cumsum(counts) - 1
    nexts = np.append(starts[1:], 0)
    nexts[last] = [stretch.end for stretch in stretches]
    return bool((ends == nexts).all())


def _walk(buffer: bytes, stretches: Sequence[Stretch]) -> Numbers:
    """The same from record to record."""
    starts = []
    for stretch in stretches:
        at = stretch.start
        for _ in range(stretch.records):
            starts.append(at)
            try:
                size, behind = decode_varint(buffer, at)
            except (IndexError, ValueError) as error:
                raise FrameError("a record has no length") from error
            at = behind + size
            if size < 0 or at > stretch.end:
                raise FrameError("a record is longer than its batch")
        if at != stretch.end:
            raise FrameError("a batch is longer than its records")
    return np.array(starts, np.int64)


def _sizes(codes: Bytes, at: Numbers) -> tuple[Numbers, Numbers]:
    """Sizes of keys or values, and the places behind them. Raises FrameError."""
    sizes, at = _numbers(codes, at)
    if sizes.min() < NONE or sizes.max() > len(codes):
        raise FrameError("a key or value has an impossible size")
    return sizes, at


def _numbers(codes: Bytes, at: Numbers) -> tuple[Numbers, Numbers]:
    """The integers at some places, and the places behind them. Raises FrameError."""
    last = len(codes) - 1
    code = codes[np.minimum(at, last)].astype(np.int64)
    at = at + 1
    more = code >= _MORE
    if not more.any():
        return (code >> 1) ^ -(code & 1), at
    raw = code & 0x7F
    for byte in range(1, _LONGEST):
        code = codes[np.minimum(at, last)].astype(np.int64)
        raw |= np.where(more, (code & 0x7F) << 7 * byte, 0)
        at = at + more
        more &= code >= _MORE
        if not more.any():
            return ((raw >> 1) & _POSITIVE) ^ -(raw & 1), at
    raise FrameError("an integer does not end")
