"""The file of a snapshot: its form, and nothing of where states come from or go to.

Eight bytes say what it is. Frames follow, each a kind, a length, a checksum and a compressed
msgpack payload: a header, then for each partition its head and its entries in pieces, then an end
that counts them. A file is read piece by piece; one without its end was cut. It appears under its
name only when it is whole.
"""

import contextlib
import os
import secrets
import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self, TypeVar

import msgspec

from stream.durable import sync_folder
from stream.errors import UserError

MAGIC: Final = b"STRMSNAP"
FORMAT: Final = 1
PIECE_BYTES: Final = 1 << 20
FRAME_BYTES_MAX: Final = 1 << 28
"""More than any frame has; a longer one is damage, not data."""
_FRAME = struct.Struct(">cII")
_HEADER, _PARTITION, _ENTRIES, _END = b"H", b"P", b"E", b"Z"
T = TypeVar("T")


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What a snapshot is of. `partitions` counts those of each source topic, by name."""

    format: int = FORMAT
    program: str
    group: str
    made_ms: int
    definition_id: str
    key_fingerprint: str
    partitions: dict[str, int]


class Head(msgspec.Struct, frozen=True):
    """A partition's state: `through` is the first source offset not included, None: none is."""

    topic: str
    partition: int
    through: int | None
    entries: int


class _End(msgspec.Struct, frozen=True):
    partitions: int
    entries: int


_encode = msgspec.msgpack.Encoder().encode


class SnapshotWriter:
    """Writes a file beside its final name, and gives it that name when all went well."""

    def __init__(self, path: Path, header: Header) -> None:
        self._path = path
        self._draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        self._header = header
        self._partitions = self._entries = 0
        self.size = 0

    def __enter__(self) -> Self:
        try:
            handle = os.open(self._draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as error:
            raise UserError(f"{self._path} cannot be written: {error.strerror}") from None
        self._file: BinaryIO = os.fdopen(handle, "wb")
        self._file.write(MAGIC)
        self._frame(_HEADER, self._header)
        return self

    def write(self, head: Head, entries: Mapping[bytes, bytes]) -> None:
        """Add a partition. Raises UserError where the disk takes no more."""
        self._frame(_PARTITION, head)
        piece: list[tuple[bytes, bytes]] = []
        size = 0
        for pair in entries.items():
            piece.append(pair)
            size += len(pair[0]) + len(pair[1])
            if size >= PIECE_BYTES:
                self._frame(_ENTRIES, piece)
                piece, size = [], 0
        if piece:
            self._frame(_ENTRIES, piece)
        self._partitions += 1
        self._entries += len(entries)

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        try:
            with self._file:
                if kind is None:
                    self._frame(_END, _End(self._partitions, self._entries))
                    self._file.flush()
                    os.fsync(self._file.fileno())
                    self.size = self._file.tell()
            if kind is None:
                self._draft.replace(self._path)
                sync_folder(self._path.parent)
        except OSError as fault:
            raise UserError(f"{self._path} cannot be written: {fault.strerror}") from None
        finally:
            self._draft.unlink(missing_ok=True)

    def _frame(self, kind: bytes, value: object) -> None:
        payload = zlib.compress(_encode(value), 3)
        try:
            self._file.write(_FRAME.pack(kind, len(payload), zlib.crc32(kind + payload)))
            self._file.write(payload)
        except OSError as error:
            raise UserError(f"{self._path} cannot be written: {error.strerror}") from None


class SnapshotReader:
    """A snapshot's partitions, one after another. Raises UserError, one line, for a bad file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._open() as file:
            self.header = self._header(file)

    def verify(self) -> None:
        """Read the whole file once: checksums, counts and its end."""
        for _ in self.partitions():
            pass

    def partitions(self) -> Iterator[tuple[Head, dict[bytes, bytes]]]:
        """Each partition with its entries."""
        with self._open() as file:
            self._header(file)
            partitions = total = 0
            head, entries = None, dict[bytes, bytes]()
            while True:
                kind, raw = self._next(file)
                if kind == _ENTRIES and head is not None:
                    entries.update(self._decode(raw, list[tuple[bytes, bytes]]))
                    continue
                if head is not None:
                    if len(entries) != head.entries:
                        raise self._damaged("entries are missing")
                    partitions, total = partitions + 1, total + head.entries
                    yield head, entries
                if kind == _END:
                    if self._decode(raw, _End) != _End(partitions, total) or file.read(1):
                        raise self._damaged("its end does not fit what comes before")
                    return
                if kind != _PARTITION:
                    raise self._damaged(f"a frame of kind {kind!r}")
                head, entries = self._decode(raw, Head), {}

    @contextlib.contextmanager
    def _open(self) -> Iterator[BinaryIO]:
        try:
            with self._path.open("rb") as file:
                yield file
        except OSError as error:
            raise UserError(f"{self._path}: {error.strerror}") from None

    def _header(self, file: BinaryIO) -> Header:
        if file.read(len(MAGIC)) != MAGIC:
            raise UserError(f"{self._path} is no snapshot")
        kind, raw = self._next(file)
        version = self._decode(raw, dict).get("format") if kind == _HEADER else None
        if version != FORMAT:
            raise UserError(
                f"{self._path} has format {version}, this version reads {FORMAT}: "
                "use the version that wrote it"
            )
        return self._decode(raw, Header)

    def _next(self, file: BinaryIO) -> tuple[bytes, bytes]:
        head = file.read(_FRAME.size)
        if len(head) < _FRAME.size:
            raise UserError(f"{self._path} ends in the middle: the snapshot is not whole")
        kind, length, checksum = _FRAME.unpack(head)
        if length > FRAME_BYTES_MAX:
            raise self._damaged("a frame of absurd length")
        payload = file.read(length)
        if len(payload) < length:
            raise UserError(f"{self._path} ends in the middle: the snapshot is not whole")
        if zlib.crc32(kind + payload) != checksum:
            raise self._damaged("a checksum does not match")
        try:
            return kind, zlib.decompress(payload)
        except zlib.error:
            raise self._damaged("it cannot be unpacked") from None

    def _decode(self, raw: bytes, type_: type[T]) -> T:
        try:
            return msgspec.msgpack.decode(raw, type=type_)
        except msgspec.MsgspecError:
            raise self._damaged("it cannot be decoded") from None

    def _damaged(self, how: str) -> UserError:
        return UserError(f"{self._path} is damaged: {how}")
