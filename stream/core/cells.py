"""A cell: the counted fields of one label set in one bucket, live and settled, and its encoding.

Values are sparse maps from field index (see the catalogue and the sketch) to a non-zero integer.
The encoding is the same in the ledger and in the read model: a msgpack array `[live]`,
`[live, settled]`, or `[live, true]` where both are equal, as they are in most buckets of the past.
Sums that no 64 bits hold (of absurd amounts of money) are texts, and a third element says so.
"""

import struct
from collections.abc import Iterable
from typing import Any

import msgspec

Values = dict[int, int]

SPAN_LABEL = 0xFFFF_FFFF
"""No label set: under this id a bucket holds the first and last offset of its events' records."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Any]).decode
_KEY = struct.Struct(">cBqI")
_LABEL = struct.Struct(">I")
BUCKET_BYTES = _KEY.size - _LABEL.size
"""What the ledger keys of a bucket's cells have in common."""


def encode_cell(live: Values, settled: Values) -> bytes:
    """Bytes of a cell; zero entries are left out."""
    return encode_sums(
        {i: n for i, n in live.items() if n}, {i: n for i, n in settled.items() if n}
    )


def encode_sums(live: Values, settled: Values) -> bytes:
    """Bytes of a cell of which no entry is zero."""
    try:
        if not settled:
            return _encode([live])
        return _encode([live, True if settled == live else settled])
    except OverflowError:
        return _encode([_texts(live), _texts(settled), True])


def decode_cell(raw: bytes) -> tuple[Values, Values]:
    """Live and settled values of a cell; two maps that the caller may change."""
    parts = _decode(raw)
    if len(parts) == 1:
        return parts[0], {}
    if len(parts) == 3:
        return _numbers(parts[0]), _numbers(parts[1])
    return parts[0], dict(parts[0]) if parts[1] is True else parts[1]


def _texts(values: Values) -> dict[int, str]:
    return {index: str(n) for index, n in values.items()}


def _numbers(texts: dict[int, str]) -> Values:
    return {index: int(text) for index, text in texts.items()}


def add(values: Values, delta: Values) -> None:
    """Add a delta in place; entries that come to zero leave."""
    add_pairs(values, delta.items())


def add_pairs(values: Values, pairs: Iterable[tuple[int, int]]) -> None:
    """Add amounts of fields in place; entries that come to zero leave."""
    for index, n in pairs:
        total = values.get(index, 0) + n
        if total:
            values[index] = total
        else:
            values.pop(index, None)


def cell_key(size: int, start_ms: int, label: int) -> bytes:
    """Ledger key of a cell."""
    return _KEY.pack(b"c", size, start_ms, label)


def bucket_prefix(size: int, start_ms: int) -> bytes:
    """What the ledger keys of a bucket's cells begin with; the label id follows, big-endian."""
    return _KEY.pack(b"c", size, start_ms, 0)[:BUCKET_BYTES]


def parse_cell_key(key: bytes) -> tuple[int, int, int]:
    """Size, start and label id of a cell's ledger key."""
    _, size, start_ms, label = _KEY.unpack(key)
    return size, start_ms, label


def encode_span(first: int, last: int) -> bytes:
    """Bytes of the offsets of a bucket's records."""
    return _encode([first, last])


def decode_span(raw: bytes) -> tuple[int, int]:
    """First and last offset of a bucket's records."""
    first, last = _decode(raw)
    return first, last


def label_key(label: int) -> bytes:
    """Ledger key of a label set."""
    return b"l" + _LABEL.pack(label)


def parse_label_key(key: bytes) -> int:
    """Label id of a label set's ledger key."""
    return int(_LABEL.unpack(key[1:])[0])
