"""Anchor: the last record that a ledger's state includes, by which its source topic is known again.

A topic that was deleted and made again holds another record there. Kept in the ledger itself, so
that it moves with the state. Knows nothing of what records mean.
"""

from bisect import bisect_left
from hashlib import blake2b
from typing import NamedTuple, Self

import msgspec

from stream.core.records import RecordBatch

KEY = b"a"
"""Key of the anchor's entry in the ledger."""
_DIGEST_BYTES = 8


class Anchor(NamedTuple):
    """A record's offset and what its value comes to."""

    offset: int
    digest: bytes

    @classmethod
    def of(cls, batch: RecordBatch, position: int) -> Self | None:
        """The last of a batch's records before a position; None: there is none."""
        index = bisect_left(batch.offsets, position) - 1
        return None if index < 0 else cls(int(batch.offsets[index]), digest(batch.values[index]))

    @classmethod
    def decode(cls, raw: bytes) -> Self:
        """What `encode` wrote."""
        offset, known = msgspec.msgpack.decode(raw)
        return cls(offset, known)

    def encode(self) -> bytes:
        """As an entry of the ledger."""
        return msgspec.msgpack.encode(self)


def digest(value: bytes | None) -> bytes:
    """Eight bytes that stand for a record's value."""
    person = b"no value" if value is None else b"value"
    return blake2b(value or b"", digest_size=_DIGEST_BYTES, person=person).digest()
