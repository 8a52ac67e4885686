"""Stored batches: from what a broker has stored to columns of records.

Owns the two ways there: many records are found in the bytes all at once, few are read one by one by
aiokafka, and so is all that the first way cannot read. Both say the same. Knows nothing of fetchers
or positions.
"""

import struct
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice
from operator import attrgetter
from typing import Any, NamedTuple

import google_crc32c
import numpy as np
from aiokafka import codec
from aiokafka.record.memory_records import MemoryRecords
from numpy.typing import NDArray

from stream.engine.frames import FrameError, Stretch, find_records

LOG_APPEND_TIME = 1
CHUNK = 128
"""Record objects alive at once: few, or the garbage collector traverses them again and again."""
FEW = 200
"""Fewer records are read one by one: numpy's calls have a price of their own."""
_FORMAT = 2
_LENGTH = struct.Struct(">8xi")
_MAGIC_AT, _CHECKED_FROM = 16, 21
_COUNT = struct.Struct(">57xi")
_HEADER_BYTES = 61
_Decode = Callable[[bytes], bytes]
_CODECS: dict[int, tuple[Callable[[], bool], _Decode]] = {
    1: (codec.has_gzip, codec.gzip_decode),
    2: (codec.has_snappy, codec.snappy_decode),
    3: (codec.has_lz4, codec.lz4_decode),
    4: (codec.has_zstd, codec.zstd_decode),
}


_key, _value = attrgetter("key"), attrgetter("value")
_offset, _timestamp = attrgetter("offset"), attrgetter("timestamp")


class StoredRecords(MemoryRecords):  # type: ignore[misc]
    """A fetch answer that still holds its bytes, so that records can be found in them."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.data = data
        self._at = 0

    def next_bounds(self) -> tuple[int, int]:
        """Where the next stored batch lies; to be asked once for each."""
        start = self._at
        self._at += _LENGTH.size + _LENGTH.unpack_from(self.data, start)[0]
        return start, self._at


class Stored(NamedTuple):
    """A stored batch as aiokafka reads it, and where it lies in `data`, if that is known."""

    batch: Any
    data: bytes | None = None
    start: int = 0
    end: int = 0

    @property
    def is_known(self) -> bool:
        """Whether its bytes are at hand, and in the format that we know."""
        return self.data is not None and self.data[self.start + _MAGIC_AT] == _FORMAT

    @property
    def is_readable(self) -> bool:
        """Whether its records can be found in its bytes."""
        compression = self.batch.compression_type if self.is_known else None
        return compression == 0 or (compression in _CODECS and _CODECS[compression][0]())

    @property
    def is_sound(self) -> bool:
        """Whether the checksum matches; aiokafka's own takes ten times as long."""
        if self.data is None or not self.is_known:
            return bool(self.batch.validate_crc())
        checked = self.data[self.start + _CHECKED_FROM : self.end]
        return bool(google_crc32c.value(checked) == self.batch.crc)

    @property
    def records(self) -> int:
        """How many records it says it holds."""
        return int(_COUNT.unpack_from(self.data or b"", self.start)[0])


class Columns(NamedTuple):
    """Records, side by side."""

    offsets: Sequence[int]
    times: NDArray[np.int64]
    keys: Sequence[bytes | None]
    values: Sequence[bytes | None]

    def since(self, position: int) -> "Columns":
        """The records from a position on: a batch is stored, and sent, as a whole."""
        offsets = self.offsets
        if not offsets or offsets[0] >= position:
            return self
        first = int(np.searchsorted(np.asarray(offsets), position))
        return Columns(*(column[first:] for column in self))  # type: ignore[arg-type]


def read_stored(found: Sequence[Stored]) -> Columns:
    """The records of stored batches, in order."""
    if all(stored.is_readable for stored in found):
        counts = [stored.records for stored in found]
        if sum(counts) >= FEW:
            try:
                return _find_all([s for s, n in zip(found, counts, strict=True) if n])
            except FrameError:  # aiokafka can read it nevertheless, or says what is wrong
                pass
    return _read_each(chain.from_iterable(stored.batch for stored in found))


def _find_all(found: Sequence[Stored]) -> Columns:
    buffer, stretches = _in_one_buffer(found)
    frames = find_records(buffer, stretches)
    counts = [stretch.records for stretch in stretches]
    stamped = [stored.batch.timestamp_type == LOG_APPEND_TIME for stored in found]
    bases = [
        stored.batch.max_timestamp if is_stamped else stored.batch.first_timestamp
        for stored, is_stamped in zip(found, stamped, strict=True)
    ]
    times = np.where(np.repeat(stamped, counts), 0, frames.times) + np.repeat(bases, counts)
    firsts = [stored.batch.base_offset for stored in found]
    offsets = np.repeat(firsts, counts) + frames.offsets
    return Columns(_plain(offsets), times, frames.keys, frames.values)


def _in_one_buffer(found: Sequence[Stored]) -> tuple[bytes, list[Stretch]]:
    """The records of all batches without their compression, and where they lie."""
    data = found[0].data
    assert data is not None
    if not any(stored.batch.compression_type for stored in found):
        return data, [Stretch(s.start + _HEADER_BYTES, s.end, s.records) for s in found]
    pieces, stretches, at = [], [], 0
    for stored in found:
        raw = data[stored.start + _HEADER_BYTES : stored.end]
        if stored.batch.compression_type:
            raw = bytes(_CODECS[stored.batch.compression_type][1](raw))
        pieces.append(raw)
        stretches.append(Stretch(at, at + len(raw), stored.records))
        at += len(raw)
    return b"".join(pieces), stretches


def _plain(offsets: NDArray[np.int64]) -> Sequence[int]:
    first, end = int(offsets[0]), int(offsets[-1]) + 1
    if end - first == len(offsets) and (np.diff(offsets) == 1).all():
        return range(first, end)
    return offsets.tolist()  # type: ignore[no-any-return]


def _read_each(records: Iterator[Any]) -> Columns:
    offsets, times = list[int](), list[int]()
    keys, values = list[bytes | None](), list[bytes | None]()
    while chunk := list(islice(records, CHUNK)):
        offsets.extend(map(_offset, chunk))
        times.extend(map(_timestamp, chunk))
        keys.extend(map(_key, chunk))
        values.extend(map(_value, chunk))
    if offsets and offsets[-1] - offsets[0] + 1 == len(offsets):
        return Columns(range(offsets[0], offsets[-1] + 1), np.array(times, np.int64), keys, values)
    return Columns(offsets, np.array(times, np.int64), keys, values)
