"""Sessions as rows of numbers, many at a time.

Owns the rules of `sessions` once more, for rows: for sessions of different visitors that are each
the only one of theirs. What is true of a row must be what is true of its visit.
"""

import struct
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from stream.core.arrivals import Column, Columns, Flags
from stream.core.marks import ACTION, CONVERSION, END, PAGE_VIEW, PING
from stream.core.sessions import MAX_MICROS, Frame, Visit

Rows = NDArray[np.void]
CLOSED, SETTLED = 1, 2

_FIELDS = {
    "first_ms": "q",
    "timer": "I",
    "label": "I",
    "last": "I",
    "second": "I",
    "page_views": "I",
    "session": "q",
    "actions": "I",
    "idle": "I",
    "conversions": "I",
    "converted": "I",
    "value_micros": "q",
    "closed": "I",
    "state": "B",
}
"""Those that are mostly zero come last. `timer` is when a visitor is looked at again, after the
first interaction; `closed` counts if `state` says so."""
_TEXT = struct.Struct("<" + "".join(_FIELDS.values()))
_STORED = np.dtype([(name, f"<{code}") for name, code in _FIELDS.items()])
ROW = np.dtype([(name, "i8") for name in _FIELDS])
"""A row in hand: all numbers have 64 bits."""
NO_ROWS: Rows = np.empty(0, ROW)
LONGEST_MS = (1 << 32) - 1
"""The longest delay that a row can hold."""


def read_rows(texts: Sequence[bytes]) -> Rows:
    """Rows from their texts; an empty text is a row of zeros."""
    if not texts:
        return NO_ROWS.copy()
    return np.array(texts, f"S{_STORED.itemsize}").view(_STORED).astype(ROW)


def find_rows(buffer: bytes, starts: Column, sizes: Column) -> Rows:
    """Rows whose texts lie somewhere in a buffer: where they begin, and how long they are."""
    width = _STORED.itemsize
    everywhere = np.ndarray(len(buffer) + 1, f"V{width}", buffer + bytes(width), strides=(1,))
    found = everywhere[starts]
    codes = found.view(np.uint8).reshape(-1, width)
    codes *= np.arange(width) < sizes[:, None]  # what follows a text is another's
    return found.view(_STORED).astype(ROW)


def write_rows(rows: Rows) -> list[bytes]:
    """The texts of rows: their bytes without the zeros at the end."""
    if not len(rows):
        return []
    texts: list[bytes] = rows.astype(_STORED).view(f"S{_STORED.itemsize}").tolist()
    return texts


def visit_of(text: bytes) -> tuple[Visit, int]:
    """The visit of a row's text, and when its visitor is looked at again."""
    first_ms, timer, label, last, second, page_views, session, *more = _TEXT.unpack(
        text.ljust(_TEXT.size, b"\0")
    )
    actions, idle, conversions, converted, value_micros, closed, state = more
    visit = Visit(
        first_ms,
        label,
        session,
        last,
        second,
        page_views,
        actions,
        conversions,
        idle,
        converted,
        value_micros,
        closed if state & CLOSED else -1,
        settled=bool(state & SETTLED),
    )
    return visit, first_ms + timer


def text_of(visit: Visit, timer_ms: int) -> bytes | None:
    """The text of a visit's row; None if a row cannot hold it."""
    try:
        return _TEXT.pack(*row_of(visit, timer_ms)).rstrip(b"\0")
    except struct.error:
        return None


def rows_of(visits: Iterable[Visit]) -> Rows:
    """The rows of visits."""
    return np.array([row_of(visit, visit.first_ms) for visit in visits], ROW)


def row_of(visit: Visit, timer_ms: int) -> tuple[int, ...]:
    """A visit as the numbers of a row."""
    closed = visit.closed >= 0
    return (
        visit.first_ms,
        timer_ms - visit.first_ms,
        visit.label,
        visit.last,
        visit.second,
        visit.page_views,
        visit.session,
        visit.actions,
        visit.idle,
        visit.conversions,
        visit.converted,
        visit.value_micros,
        visit.closed if closed else 0,
        CLOSED * closed | SETTLED * visit.settled,
    )


def interactions(rows: Rows) -> Column:
    """Page views, actions and conversions; none in a row that has not begun."""
    found: Column = rows["page_views"] + rows["actions"] + rows["conversions"]
    return found


def is_unsettled(rows: Rows) -> Flags:
    """Whether each is a session that may still change."""
    found: Flags = (interactions(rows) > 0) & (rows["state"] & SETTLED == 0)
    return found


def active_ms(rows: Rows) -> Column:
    """Time of the latest interaction or ping."""
    found: Column = rows["first_ms"] + rows["last"] + rows["idle"]
    return found


def closed_ms(rows: Rows) -> Column:
    """Time of the `end`, of those that are closed."""
    found: Column = rows["first_ms"] + rows["closed"]
    return found


def newest_ms(rows: Rows) -> Column:
    """Time of the latest event."""
    return np.where(rows["state"] & CLOSED, closed_ms(rows), active_ms(rows))


def gap_ms(rows: Rows, frame: Frame) -> Column:
    """The longest silence that each survives."""
    return np.where(rows["session"] != 0, frame.id_timeout_ms, frame.timeout_ms)


def due_ms(rows: Rows, frame: Frame) -> Column:
    """The last instant at which an event could still belong to each."""
    first_ms = rows["first_ms"]
    due = np.minimum(active_ms(rows) + gap_ms(rows, frame), first_ms + frame.max_ms)
    if frame.split_at_midnight:
        due = np.minimum(due, _midnights_ms(first_ms, frame) - 1)
    is_full = interactions(rows) >= frame.max_interactions
    due = np.where(is_full, first_ms + rows["last"], due)
    return np.where(rows["state"] & CLOSED, closed_ms(rows), due)


def until_ms(rows: Rows, frame: Frame) -> Column:
    """The last instant at which each matters."""
    silent = active_ms(rows) + gap_ms(rows, frame)
    return np.where(rows["state"] & CLOSED, closed_ms(rows), silent)


def takes(rows: Rows, events: Columns, frame: Frame) -> Flags:
    """Whether each row takes the event that comes after all of its visitor's.

    A row that has not begun takes an interaction. One that does not take its event may have to make
    place for a second session, or the event belongs to none: that is for others to say.
    """
    at_ms, first_ms = events.at_ms, rows["first_ms"]
    have = interactions(rows)
    goes_on = (
        (rows["state"] == 0)
        & (at_ms - active_ms(rows) <= gap_ms(rows, frame))
        & (at_ms - first_ms <= min(frame.max_ms, LONGEST_MS // 2))
        & (have < frame.max_interactions)
        & ((events.session == 0) | (events.session == rows["session"]))
    )
    if frame.split_at_midnight:
        goes_on &= at_ms < _midnights_ms(first_ms, frame)
    return np.where(have > 0, goes_on, events.kind <= CONVERSION)


def extend(rows: Rows, events: Columns) -> None:
    """Play an event onto each row that takes it, in place."""
    at_ms, kind = events.at_ms, events.kind
    begins = interactions(rows) == 0
    for name, column in (("first_ms", at_ms), ("label", events.label), ("session", events.session)):
        rows[name] = np.where(begins, column, rows[name])
    delay, have = at_ms - rows["first_ms"], interactions(rows)
    acts = kind <= CONVERSION
    converts = kind == CONVERSION
    rows["second"] = np.where(acts & (have == 1), delay, rows["second"])
    rows["converted"] = np.where(converts & (rows["conversions"] == 0), delay, rows["converted"])
    rows["idle"] = np.where(acts, 0, np.where(kind == PING, delay - rows["last"], rows["idle"]))
    rows["last"] = np.where(acts, delay, rows["last"])
    rows["page_views"] += kind == PAGE_VIEW
    rows["actions"] += kind == ACTION
    rows["conversions"] += converts
    rows["value_micros"] = _add_capped(rows["value_micros"], events.value_micros)
    rows["closed"] = np.where(kind == END, delay, rows["closed"])
    rows["state"] |= np.where(kind == END, CLOSED, 0)


def _add_capped(amounts: Column, more: Column) -> Column:
    """Sums, none of them beyond MAX_MICROS; no amount by itself is beyond it."""
    most = np.where(more > 0, MAX_MICROS - more, MAX_MICROS)
    least = np.where(more < 0, -MAX_MICROS - more, -MAX_MICROS)
    return np.clip(amounts, least, most) + more


def _midnights_ms(first_ms: Column, frame: Frame) -> Column:
    day = frame.calendar.day
    return np.array([day(at_ms)[1] for at_ms in first_ms.tolist()], np.int64)
