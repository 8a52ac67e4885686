"""The ledger's records: their form, and nothing of what follows from them (`ledger_chain`).

Pure: values to bytes and back.

The log of a partition holds two kinds of records, both msgpack arrays that begin with
`[format, kind, nonce]` in every format there will ever be:

- a **claim**: whoever holds `nonce` owns the partition from here on;
- a **flush part**: part `index` of `count` of the flush that makes `version` of the state, moves it
  from `from_` to `next` (source offsets) and carries entries with their absolute values.
"""

from collections.abc import Iterator, Mapping
from enum import IntEnum, IntFlag
from typing import Final

import msgspec

FORMAT: Final = 1
MAX_PART_ENTRIES: Final = 10_000  # about 2 ms of decoding: a reader's event loop stays responsive
MAX_PART_BYTES: Final = 1 << 20


class Kind(IntEnum):
    """What a record is."""

    CLAIM = 1
    FLUSH = 2


class Mark(IntFlag):
    """Where a flush stands in its round; `REPLACES`: it is the whole state, whatever was before."""

    NONE = 0
    ROUND_BEGINS = 1
    ROUND_ENDS = 2
    REPLACES = 4


class Head(msgspec.Struct, array_like=True, gc=False):
    """What every record begins with, in whatever format."""

    format: int
    kind: int
    nonce: bytes


class Claim(msgspec.Struct, array_like=True, gc=False):
    """The partition is taken by the holder of `nonce`; `fresh`: and its state is void."""

    format: int
    kind: int
    nonce: bytes
    fresh: bool = False


class FlushPart(msgspec.Struct, array_like=True, gc=False):
    """Part `index` of `count` of the flush that makes `version`: entries put and keys deleted."""

    format: int
    kind: int
    nonce: bytes
    version: int
    from_: int
    next: int
    index: int
    count: int
    mark: int
    puts: dict[bytes, bytes]
    deletes: list[bytes]


_encode = msgspec.msgpack.Encoder().encode
_decode_head = msgspec.msgpack.Decoder(Head).decode
_decode_claim = msgspec.msgpack.Decoder(Claim).decode
_decode_part = msgspec.msgpack.Decoder(FlushPart).decode


def encode_claim(nonce: bytes, *, fresh: bool = False) -> bytes:
    """Encode a claim by `nonce`; a `fresh` one also voids all that was written before."""
    return _encode(Claim(FORMAT, Kind.CLAIM, nonce, fresh))


def encode_flush(
    nonce: bytes,
    version: int,
    from_: int,
    next_: int,
    entries: Mapping[bytes, bytes | None],
    mark: Mark = Mark.NONE,
) -> Iterator[bytes]:
    """Encode a flush by `nonce` as its records, in order; at least one.

    They come one by one, so that the caller can let others run between two of them.
    """
    parts = _split(entries)
    for index, (puts, deletes) in enumerate(parts):
        yield _encode(
            FlushPart(
                format=FORMAT,
                kind=Kind.FLUSH,
                nonce=nonce,
                version=version,
                from_=from_,
                next=next_,
                index=index,
                count=len(parts),
                mark=mark,
                puts=puts,
                deletes=deletes,
            )
        )


def _split(
    entries: Mapping[bytes, bytes | None],
) -> list[tuple[dict[bytes, bytes], list[bytes]]]:
    """Entries in pieces of at most `MAX_PART_ENTRIES` and `MAX_PART_BYTES`; a larger one alone."""
    puts: dict[bytes, bytes] = {}
    deletes: list[bytes] = []
    parts = [(puts, deletes)]
    count = size = 0
    for key, value in entries.items():
        entry = len(key) + (0 if value is None else len(value))
        if count and (count == MAX_PART_ENTRIES or size + entry > MAX_PART_BYTES):
            puts, deletes = {}, []
            parts.append((puts, deletes))
            count = size = 0
        if value is None:
            deletes.append(key)
        else:
            puts[key] = value
        count += 1
        size += entry
    return parts


def decode_head(record: bytes | None) -> Head | None:
    """Decode what a record begins with; None if it is no ledger record."""
    try:
        return _decode_head(record) if record is not None else None
    except msgspec.MsgspecError:
        return None


def decode_claim(record: bytes) -> Claim | None:
    """Decode a claim of this format; None if it is damaged."""
    try:
        return _decode_claim(record)
    except msgspec.MsgspecError:
        return None


def decode_part(record: bytes) -> FlushPart | None:
    """Decode a flush part of this format; None if it is damaged."""
    try:
        return _decode_part(record)
    except msgspec.MsgspecError:
        return None


def claimant(record: bytes | None) -> bytes | None:
    """Return the nonce of a record that is a claim, of this or another format; else None."""
    head = decode_head(record)
    return head.nonce if head is not None and head.kind == Kind.CLAIM else None


def writer(record: bytes | None) -> bytes | None:
    """Return the nonce of whoever wrote a record, None if it is no ledger record."""
    head = decode_head(record)
    return head.nonce if head is not None else None
