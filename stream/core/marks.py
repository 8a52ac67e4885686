"""Marks: events that may still be reordered, and the records that they are kept as.

Knows the canonical order of events, and nothing of what they make. Event ids are needed for the
order of what happened at one instant; in records they are sealed.
"""

import struct
from collections.abc import Callable, Iterable

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream.core.columns import Column

PAGE_VIEW, ACTION, CONVERSION, PING, END = range(5)
"""Types of session events; the first three are interactions."""
KINDS = {
    "page_view": PAGE_VIEW,
    "action": ACTION,
    "conversion": CONVERSION,
    "ping": PING,
    "end": END,
}

Seal = Callable[[bytes, int], bytes]
"""Seals an event id, or opens it, given the time of the event."""

SHORT_BYTES = 16
"""An event id that is so many bytes in hexadecimal digits is kept as these."""
_KIND, _NAMED, _WORTH, _TEXT, _DASHED = 7, 8, 16, 32, 64
_HEAD = struct.Struct(">qB")
_NAMES = struct.Struct(">Iq")
_VALUE = struct.Struct(">q")
_SIZE = struct.Struct(">H")
_PLAINS = np.dtype([("event_id", "V16"), ("at_ms", ">i8"), ("head", "u1")])

_HEX_LENGTH, _DASHED_LENGTH = 32, 36
_DASHES = [8, 13, 18, 23]
_DIGITS = [place for place in range(_DASHED_LENGTH) if place not in _DASHES]
_DASH = 16
_DIGIT_OF = np.full(256, 255, np.uint8)
_DIGIT_OF[[ord(digit) for digit in "0123456789abcdef-"]] = range(_DASH + 1)


class Mark(msgspec.Struct, gc=False):
    """One event. `session` is 0 where it has no session id, `label` that of its dimensions."""

    at_ms: int
    kind: int
    event_id: str
    session: int
    label: int
    value_micros: int = 0


def order(mark: Mark) -> tuple[int, bool, str]:
    """The canonical order: event time, `end` last, then event id."""
    return mark.at_ms, mark.kind == END, mark.event_id


def pack(marks: Iterable[Mark], label: int, session: int, seal: Seal) -> bytes:
    """Records of marks, most of which have this label and session; they may be put together.

    A record is read from its end: time and kind; event id, as 16 bytes if it is written in so many
    hexadecimal digits; label and session, if they are others; value, if there is one.
    """
    return b"".join([_pack(mark, label, session, seal) for mark in marks])


def _pack(mark: Mark, label: int, session: int, seal: Seal) -> bytes:
    head, rare = mark.kind, b""
    if mark.value_micros:
        head, rare = head | _WORTH, _VALUE.pack(mark.value_micros)
    if mark.label != label or mark.session != session:
        head, rare = head | _NAMED, rare + _NAMES.pack(mark.label, mark.session)
    form, text = _shorten(mark.event_id)
    sealed = rare + seal(text, mark.at_ms)
    if form == _TEXT:
        sealed += _SIZE.pack(len(text))
    return sealed + _HEAD.pack(mark.at_ms, head | form)


def pack_plain(
    event_ids: Column,
    at_ms: NDArray[np.int64],
    kinds: NDArray[np.int64],
    masks: Callable[[], bytes],
) -> tuple[list[bytes], NDArray[np.bool_]]:
    """Records of many events one by one, as if they had nothing rare.

    The flags are set where an event id is not short or not like most others: such a record is of no
    use. `masks` has 16 bytes for each event, which seal it.
    """
    words, sizes = event_ids
    dashed = np.count_nonzero(sizes == _DASHED_LENGTH) > np.count_nonzero(sizes == _HEX_LENGTH)
    length = _DASHED_LENGTH if dashed else _HEX_LENGTH
    is_rare = sizes != length
    if is_rare.all():
        return [b""] * len(sizes), is_rare
    records = np.empty(len(sizes), _PLAINS)
    records["at_ms"], records["head"] = at_ms, kinds | _DASHED if dashed else kinds
    digits = _DIGIT_OF[words.view(np.uint8).reshape(len(sizes), -1)[:, :length]]
    if dashed:
        is_rare |= (digits[:, _DASHES] != _DASH).any(axis=1)
        digits = digits[:, _DIGITS]
    if digits.max() >= _DASH:
        is_rare |= (digits >= _DASH).any(axis=1)
    short = digits[:, ::2] << 4 | digits[:, 1::2]
    short ^= np.frombuffer(masks(), np.uint8).reshape(-1, SHORT_BYTES)
    records["event_id"] = np.ascontiguousarray(short).view("V16")[:, 0]
    packed: list[bytes] = records.view(f"V{_PLAINS.itemsize}").tolist()
    return packed, is_rare


def unpack(packed: bytes, label: int, session: int, seal: Seal) -> list[Mark]:
    """The marks of records, in their order."""
    marks, end = [], len(packed)
    while end:
        mark, end = _unpack(packed, end, label, session, seal)
        marks.append(mark)
    marks.reverse()
    return marks


def _unpack(packed: bytes, end: int, label: int, session: int, seal: Seal) -> tuple[Mark, int]:
    """The mark whose record ends at a place, and where the record begins."""
    end -= _HEAD.size
    at_ms, head = _HEAD.unpack_from(packed, end)
    size = SHORT_BYTES
    if head & _TEXT:
        end -= _SIZE.size
        size = _SIZE.unpack_from(packed, end)[0]
    event_id = _spell(seal(packed[end - size : end], at_ms), head)
    end -= size
    value_micros = 0
    if head & _NAMED:
        end -= _NAMES.size
        label, session = _NAMES.unpack_from(packed, end)
    if head & _WORTH:
        end -= _VALUE.size
        value_micros = _VALUE.unpack_from(packed, end)[0]
    return Mark(at_ms, head & _KIND, event_id, session, label, value_micros), end


def _shorten(event_id: str) -> tuple[int, bytes]:
    """The form of an event id, and its bytes in it."""
    try:
        short = bytes.fromhex(event_id.replace("-", ""))
    except ValueError:
        return _TEXT, event_id.encode()
    for form in (0, _DASHED):
        if len(short) == SHORT_BYTES and _spell(short, form) == event_id:
            return form, short
    return _TEXT, event_id.encode()


def _spell(short: bytes, form: int) -> str:
    if form & _TEXT:
        return short.decode()
    text = short.hex()
    if form & _DASHED:
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
    return text
