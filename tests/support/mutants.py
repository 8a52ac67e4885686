"""Records that were sound, after a few of the things that befall bytes on their way."""

import os
from collections.abc import Sequence
from random import Random

SEEDS = range(int(os.environ.get("FUZZ_SEEDS", "3")))
"""Each makes a thousand records or more."""
_TOKENS = [
    *(b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"\0", b"\n", b" ", b"-", b".", b"0", b"e9"),
    *(b"\xff", b"\xc3", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"null", b"true", b"NaN", b"1e400"),
    *(b'"}', b'{"', b"},{", b'","', b'":"', b"\\u0000", b"\\ud800", b"/*", b"9" * 30),
    *(b'"type":"no",', b'"event_id":"",', b'"campaign":5,', b'"cost":"x",', b'"timestamp":1,'),
]


def mutant(rng: Random, parents: Sequence[bytes]) -> bytes:
    """One of `parents`, changed one to three times."""
    value = rng.choice(parents)
    for _ in range(rng.randint(1, 3)):
        value = _changed(rng, value, rng.choice(parents))
    return value


def _changed(rng: Random, value: bytes, other: bytes) -> bytes:
    """The value with one change; `other` is another sound record."""
    start, end = sorted((rng.randint(0, len(value)), rng.randint(0, len(value))))
    head, tail = value[:start], value[start:]
    match rng.randrange(8):
        case 0:
            return head + bytes([tail[0] ^ 1 << rng.randrange(8)]) + tail[1:] if tail else b""
        case 1:
            return head + rng.choice(_TOKENS) + tail
        case 2:  # cut short
            return head
        case 3:  # a piece is missing
            return head + value[end:]
        case 4:  # a piece is there twice
            return value[:end] + tail
        case 5:  # the rest is another's, as when a write was torn
            return head + other[rng.randint(0, len(other)) :]
        case 6:  # keys are there twice
            return value[:1] + other[1:-1] + b"," + value[1:]
        case _:  # two records in one
            return value + rng.choice([b"", b",", b"\n", b"\0", b"},{"]) + other
