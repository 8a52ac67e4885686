"""The judge's plain vocabulary: rules, records, events, time buckets, cells.

Written from the specification alone. It must not know the code it judges: nothing of `stream` is
imported here. Clarity over speed; all times are integer milliseconds.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
NOT_SET = "(not set)"

ALL, S10, M1, H1, D1 = range(5)
"""Sizes of buckets; ALL holds the counters and starts at 0."""
SIZES = (S10, M1, H1, D1)
WIDTH_MS = {S10: 10 * SECOND, M1: MINUTE, H1: HOUR}
RETENTION_MS = {S10: 2 * HOUR, M1: 48 * HOUR, H1: 90 * DAY, D1: 5 * 366 * DAY}

FUTURE_MS = 60 * SECOND
MAX_BYTES = 64 * 1024
DIMENSIONS = {
    "clicks": ("campaign", "channel", "variant", "creative"),
    "sessions": ("campaign", "channel", "variant"),
    "tickets": ("channel", "team"),
}
TYPES = {
    "clicks": ("impression", "click"),
    "sessions": ("page_view", "action", "conversion", "ping", "end"),
    "tickets": (
        "opened",
        "contact",
        "reassigned",
        "awaiting_customer",
        "resolved",
        "reopened",
        "closed",
    ),
}
OWNER = {"sessions": "visitor_id", "tickets": "ticket_id"}
TEXTS = {
    "clicks": ("campaign", "channel", "variant", "visitor_id", "creative"),
    "sessions": ("session_id", "campaign", "channel", "variant", "page", "goal"),
    "tickets": ("channel", "team"),
}

Json = dict[str, Any]
Dims = tuple[str, ...]
CellKey = tuple[int, int, Dims]
"""(size, start of the bucket in ms, dimension values in the topic's order)"""
Cells = dict[CellKey, dict[str, int]]


@dataclass(frozen=True)
class Rules:
    """What shapes state. Defaults are those of the settings."""

    allowed_lateness_ms: int = 10 * MINUTE
    session_timeout_ms: int = 30 * MINUTE
    session_id_timeout_ms: int = 30 * MINUTE
    session_max_ms: int = 12 * HOUR
    session_max_interactions: int = 2_500
    session_split_midnight: bool = False
    timezone: str = "UTC"
    fcr_reopen_window_ms: int = 72 * HOUR
    ticket_retention_ms: int = 400 * DAY
    dedupe_horizon_ms: int = 10 * MINUTE


class Record(NamedTuple):
    """One record of a log; a `dict` as value is an event that is known to be sound."""

    offset: int
    record_ts_ms: int
    key: bytes | None
    value: Json | bytes | None


@dataclass(frozen=True)
class Event:
    """A sound event. `owner` is the visitor or the ticket ("" for clicks)."""

    t: int
    id: str
    type: str
    owner: str
    fields: Mapping[str, Any]

    def get(self, name: str) -> str | None:
        """The text of an optional field; `null` is the same as absent."""
        value = self.fields.get(name)
        return value if isinstance(value, str) else None

    def dims(self, names: Iterable[str]) -> Dims:
        """The event's own dimension values."""
        return tuple(self.get(name) or NOT_SET for name in names)

    def money(self, name: str) -> int:
        """An amount in micro-units, 0 when absent."""
        value = self.fields.get(name)
        return 0 if value is None else micros(value)

    def instant(self, name: str) -> int | None:
        """A second time of the event, in ms."""
        value = self.fields.get(name)
        return None if value is None else instant(value)


class BadRecordError(Exception):
    """A record that is no sound event; the argument is the dead-letter reason."""


# --- reading -------------------------------------------------------------------------------------


def instant(value: object) -> int:
    """RFC 3339 with a zone, or integer epoch ms -> ms; finer times are cut."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if not isinstance(value, str) or "T" not in value.upper():
        raise BadRecordError("invalid")
    try:
        moment = datetime.fromisoformat(value.upper())
    except ValueError:
        raise BadRecordError("invalid") from None
    if moment.tzinfo is None:
        raise BadRecordError("invalid")
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return since // timedelta(milliseconds=1)


def micros(value: object) -> int:
    """A decimal string or number -> integer micro-units."""
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise BadRecordError("invalid")
    try:
        amount = Decimal(repr(value) if isinstance(value, float) else value)
    except InvalidOperation:
        raise BadRecordError("invalid") from None
    if not amount.is_finite():
        raise BadRecordError("invalid")
    return int((amount * 1_000_000).to_integral_value(ROUND_HALF_EVEN))


def _text(value: object, longest: int) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= longest:
        raise BadRecordError("invalid")
    if any(ord(c) < 32 or 127 <= ord(c) < 160 for c in value):
        raise BadRecordError("invalid")
    return value


def read(topic: str, value: Json | bytes | None) -> Event:
    """One record's value -> the event. Raises `BadRecordError` with the reason."""
    event = value if isinstance(value, dict) else _parse(value)
    kind = event.get("type")
    if isinstance(kind, str) and kind not in TYPES[topic]:
        raise BadRecordError("unknown_type")
    if kind is None or not isinstance(kind, str):
        raise BadRecordError("invalid")
    for name in TEXTS[topic]:
        if event.get(name) is not None:
            _text(event[name], 128)
    if event.get("by") not in (None, "customer", "agent") and topic == "tickets":
        raise BadRecordError("invalid")
    if topic == "tickets" and event.get("opened_at") is not None:
        instant(event["opened_at"])
    for name, where in (("cost", "clicks"), ("value", "sessions")):
        if topic == where and event.get(name) is not None:
            micros(event[name])
    owner = _text(event.get(OWNER[topic]), 128) if topic in OWNER else ""
    return Event(
        instant(event.get("timestamp")), _text(event.get("event_id"), 64), kind, owner, event
    )


def _parse(value: bytes | None) -> Json:
    if value is None:
        raise BadRecordError("malformed")
    if len(value) > MAX_BYTES:
        raise BadRecordError("oversize")
    try:
        event = json.loads(value.decode("utf-8"), parse_float=Decimal)
    except ValueError:
        raise BadRecordError("malformed") from None
    if not isinstance(event, dict):
        raise BadRecordError("malformed")
    return event


def read_all(topic: str, events: Iterable[Json]) -> list[Event]:
    """Sound events as dicts -> events, in the order given."""
    return [read(topic, event) for event in events]


# --- buckets and cells ---------------------------------------------------------------------------


def day_of(t: int, zone: str) -> date:
    """The calendar day of an instant."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=t)
    return moment.astimezone(ZoneInfo(zone)).date()


def day_start(day: date, zone: str) -> int:
    """The instant at which a calendar day begins."""
    return instant(datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)).isoformat())


def next_day_start(t: int, zone: str) -> int:
    """The first instant of the calendar day after that of `t`."""
    return day_start(day_of(t, zone) + timedelta(days=1), zone)


def bucket(size: int, t: int, zone: str) -> int:
    """The start of the bucket that holds `t`."""
    if size == ALL:
        return 0
    return day_start(day_of(t, zone), zone) if size == D1 else t - t % WIDTH_MS[size]


def kept(size: int, start: int, clock: int, zone: str) -> bool:
    """Whether a part of the bucket is younger than its size's retention."""
    if size == ALL:
        return True
    end = next_day_start(start, zone) if size == D1 else start + WIDTH_MS[size]
    return end > clock - RETENTION_MS[size]


def add(
    cells: Cells,
    t: int,
    dims: Dims,
    fields: Mapping[str, int],
    zone: str,
    sizes: Iterable[int] = SIZES,
) -> None:
    """Adds the fields to the cells of `t`; zeros leave no trace."""
    for size in sizes:
        cell = cells.setdefault((size, bucket(size, t, zone), dims), {})
        for name, value in fields.items():
            cell[name] = cell.get(name, 0) + value


def fully_kept(cells: Cells, clock: int) -> Cells:
    """Only cells whose whole bucket is young enough: where every reading of retention agrees."""
    return {
        key: fields
        for key, fields in cells.items()
        if key[0] == ALL or key[1] > clock - RETENTION_MS[key[0]]
    }


def tidy(cells: Cells, clock: int, zone: str) -> Cells:
    """Without zeros, empty cells and buckets that are no longer kept."""
    found = {
        key: {name: value for name, value in fields.items() if value}
        for key, fields in cells.items()
        if kept(key[0], key[1], clock, zone)
    }
    return {key: fields for key, fields in found.items() if fields}
