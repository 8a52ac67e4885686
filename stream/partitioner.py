"""Where a record belongs: keys by the contract, partitions by Kafka's murmur2. Pure."""

import struct
from collections.abc import Mapping

KEY_FIELDS: Mapping[str, tuple[str, ...]] = {
    "clicks": ("visitor_id", "event_id"),
    "sessions": ("visitor_id",),
    "tickets": ("ticket_id",),
}
"""Where a record's key comes from, by topic without prefix: the first field that is set."""


def murmur2(data: bytes) -> int:
    """Kafka's 32-bit key hash (the one of the Java client)."""
    mix, mask = 0x5BD1E995, 0xFFFFFFFF
    size = len(data)
    hashed = 0x9747B28C ^ size
    words = size >> 2
    for word in struct.unpack_from(f"<{words}I", data):
        mixed = word * mix & mask
        hashed = (hashed * mix ^ (mixed ^ mixed >> 24) * mix) & mask
    if size & 3:
        hashed = (hashed ^ int.from_bytes(data[words << 2 :], "little")) * mix & mask
    hashed = (hashed ^ hashed >> 13) * mix & mask
    return hashed ^ hashed >> 15


def partition_of(key: bytes, partitions: int) -> int:
    """The partition in which every murmur2 producer puts this key."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions
