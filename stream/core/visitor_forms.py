"""The bytes that a visitor is kept as, in one of three forms.

- quiet: one session, and nothing that may be reordered: the text of its row;
- plain: one session, and marks that all belong to it: its row, the row of its past, the marks;
- general: anything else, as lists of visits and marks.

Nearly all visitors are plain for as long as the lateness lasts, and quiet then, with 30 bytes.
"""

import struct
from collections.abc import Sequence

import msgspec
import numpy as np

from stream.core.arrivals import Positions
from stream.core.marks import Seal, pack, unpack
from stream.core.rows import Rows, find_rows, text_of, visit_of
from stream.core.sessions import Visit
from stream.core.visitor import Visitor

_QUIET, _PLAIN, _GENERAL = 0, 1, 2
_HEAD = struct.Struct("<BHBB")
"""The form, the number of marks, the sizes of the row and of the past."""
_SIZE_AT = 3

Parts = tuple[bytes, bytes, int, bytes]
"""A quiet or plain visitor: texts of the row that is true now and of the past (empty if there is
none), how many marks there are, and their records."""
NOBODY: Parts = (b"", b"", 0, b"")


class _General(msgspec.Struct, array_like=True):
    """A general visitor; its marks are packed with the label and session of the first."""

    visits: list[Visit]
    timer_ms: int | None
    floor_ms: int | None
    label: int
    session: int
    marks: bytes


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_General).decode


def split(raw: bytes) -> Parts | None:
    """The parts of a quiet or plain visitor, None of a general one."""
    form = raw[0]
    if form == _QUIET:
        return raw[1:], b"", 0, b""
    if form == _GENERAL:
        return None
    _, count, size, past_size = _HEAD.unpack_from(raw)
    end = _HEAD.size + size
    return raw[_HEAD.size : end], raw[end : end + past_size], count, raw[end + past_size :]


def rows_now(raws: Sequence[bytes]) -> tuple[Rows, Positions]:
    """The rows that are true now, and the places of general visitors, whose rows are zeros."""
    whole = b"".join(raws)
    codes = np.frombuffer(whole, np.uint8)
    sizes = np.fromiter(map(len, raws), np.int64, len(raws))
    starts = np.cumsum(sizes) - sizes
    forms = codes[starts]
    plain = np.flatnonzero(forms == _PLAIN)
    sizes = np.where(forms == _QUIET, sizes - 1, 0)
    sizes[plain] = codes[starts[plain] + _SIZE_AT]
    starts += 1
    starts[plain] += _HEAD.size - 1
    return find_rows(whole, starts, sizes), np.flatnonzero(forms == _GENERAL)


def assemble(row: bytes, past: bytes, count: int, marks: bytes) -> bytes:
    """The bytes of a quiet or plain visitor."""
    if not count:
        return b"\0" + row
    return _HEAD.pack(_PLAIN, count, len(row), len(past)) + row + past + marks


def decode(raw: bytes, seal: Seal) -> Visitor:
    """A visitor from its bytes; `seal` opens the event ids."""
    parts = split(raw)
    if parts is None:
        known = _decode(raw[1:])
        marks = unpack(known.marks, known.label, known.session, seal)
        return Visitor(known.visits, marks, known.timer_ms, known.floor_ms)
    row, past, count, records = parts
    visit, timer_ms = visit_of(row)
    if not count:
        return Visitor([visit], [], timer_ms)
    visits = [visit_of(past)[0]] if past else []
    return Visitor(visits, unpack(records, visit.label, visit.session, seal), timer_ms)


def encode(visitor: Visitor, now: list[Visit], owners: list[Visit | None], seal: Seal) -> bytes:
    """The bytes of a visitor; `now` are its visits, `owners` those that its marks belong to."""
    if len(now) == 1 and visitor.floor_ms is None and None not in owners:
        assert visitor.timer_ms is not None
        row = text_of(now[0], visitor.timer_ms)
        pasts = [text_of(visit, visit.first_ms) for visit in visitor.visits if owners]
        if row is not None and None not in pasts:
            past = b"".join(text for text in pasts if text is not None)
            records = pack(visitor.marks, now[0].label, now[0].session, seal)
            return assemble(row, past, len(owners), records)
    label, session = (visitor.marks[0].label, visitor.marks[0].session) if owners else (0, 0)
    records = pack(visitor.marks, label, session, seal)
    return bytes((_GENERAL,)) + _encode(
        _General(visitor.visits, visitor.timer_ms, visitor.floor_ms, label, session, records)
    )
