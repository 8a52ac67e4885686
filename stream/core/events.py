"""Events: from the bytes of a record to a typed event, or to the reason why it is none.

The contract of the three topics stands here. Knows nothing of time, state or other records.
"""

import json
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from operator import attrgetter
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, cast

import msgspec

from stream.core.buckets import EPOCH_MAX_MS, EPOCH_MIN_MS
from stream.core.records import Reason

MAX_BYTES = 65_536
_RUN = 500
"""Values that are decoded at once; one that is special makes all of them take the careful way."""
_NO_MONEY = "an amount of money is a finite number of at most 10^12"
_MAX_UNITS = Decimal(10) ** 12

EventId = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
NAME_CHARS = 128
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=NAME_CHARS)]
Timestamp = int | str


class Click(msgspec.Struct, gc=False):
    """An impression or a click of the topic `clicks`; `timestamp` is epoch ms once decoded."""

    names: ClassVar[tuple[str, ...]] = (
        "event_id",
        "campaign",
        "channel",
        "variant",
        "visitor_id",
        "creative",
    )

    event_id: EventId
    type: Literal["impression", "click"]
    timestamp: Timestamp
    campaign: Name | None = None
    channel: Name | None = None
    variant: Name | None = None
    visitor_id: Name | None = None
    creative: Name | None = None
    cost: Decimal | None = None

    @property
    def money(self) -> Decimal | None:
        """What the event cost."""
        return self.cost


class SessionEvent(msgspec.Struct, gc=False):
    """Something a visitor did, of the topic `sessions`."""

    names: ClassVar[tuple[str, ...]] = (
        "event_id",
        "visitor_id",
        "session_id",
        "campaign",
        "channel",
        "variant",
    )

    event_id: EventId
    type: Literal["page_view", "action", "conversion", "ping", "end"]
    timestamp: Timestamp
    visitor_id: Name
    session_id: Name | None = None
    campaign: Name | None = None
    channel: Name | None = None
    variant: Name | None = None
    page: str | None = None
    goal: str | None = None
    value: Decimal | None = None

    @property
    def money(self) -> Decimal | None:
        """What the event was worth."""
        return self.value


class TicketEvent(msgspec.Struct, gc=False):
    """A step in the life of a support ticket, of the topic `tickets`."""

    names: ClassVar[tuple[str, ...]] = ("event_id", "ticket_id", "channel", "team")

    event_id: EventId
    type: Literal[
        "opened", "contact", "reassigned", "awaiting_customer", "resolved", "reopened", "closed"
    ]
    timestamp: Timestamp
    ticket_id: Name
    channel: Name | None = None
    team: Name | None = None
    by: Literal["customer", "agent"] | None = None
    opened_at: Timestamp | None = None

    @property
    def money(self) -> None:
        """Tickets carry none."""
        return None


Event = Click | SessionEvent | TicketEvent
EVENTS: dict[str, type[Click] | type[SessionEvent] | type[TicketEvent]] = {
    "clicks": Click,
    "sessions": SessionEvent,
    "tickets": TicketEvent,
}


_SECOND_LOOK = {"clicks": "cost", "sessions": "value", "tickets": "opened_at"}
"""The field that takes more than decoding, where there is one."""


class Fault(NamedTuple):
    """Why a record is no event."""

    reason: Reason
    detail: str


class EventDecoder:
    """Decodes the records of one topic."""

    def __init__(self, topic: str) -> None:
        self._event = EVENTS[topic]
        self._decode: Callable[[bytes], Any] = msgspec.json.Decoder(self._event).decode
        self._second_look = attrgetter(_SECOND_LOOK[topic])

    def decode(self, value: bytes | None) -> Event | Fault:
        """The event in a record's value, its timestamps in epoch milliseconds."""
        if value is None:
            return Fault(Reason.MALFORMED, "the record has no value")
        if len(value) > MAX_BYTES:
            return Fault(Reason.OVERSIZE, f"{len(value)} bytes, at most {MAX_BYTES} are taken")
        try:
            event: Event = self._decode(value)
            event.timestamp = parse_timestamp(event.timestamp)
            if event.money is not None:
                _check_money(event)
            if not value.isascii() or b"\\" in value or b"\x7f" in value:
                value.decode()  # fields that are skipped are not looked at by the decoder
                _check_names(event)
        except (ValueError, RecursionError) as error:
            return self._explain(value, error)
        return self._finish(event)

    def decode_all(self, values: Sequence[bytes | None]) -> list[Event | Fault]:
        """What `decode` says of each value; faster where nothing is special about a run of them."""
        found: list[Event | Fault] = []
        for at in range(0, len(values), _RUN):
            run = values[at : at + _RUN]
            found += self._decode_plain(run) or [self.decode(value) for value in run]
        return found

    def _decode_plain(self, values: Sequence[bytes | None]) -> list[Event | Fault] | None:
        """The same for values that are all events in plain text; None where one may not be."""
        known = cast("Sequence[bytes]", values)  # a value that is missing is a TypeError
        try:
            text = b"".join(known)
            if not text.isascii() or b"\\" in text or b"\x7f" in text:
                return None
            events: list[Event] = list(map(self._decode, known))
            _parse_timestamps(events)
        except (TypeError, ValueError, RecursionError):
            return None
        if len(text) > MAX_BYTES and max(map(len, known)) > MAX_BYTES:
            return None
        found = cast("list[Event | Fault]", events)
        more = list(map(self._second_look, events))
        if more.count(None) < len(more):
            for position in (i for i, field in enumerate(more) if field is not None):
                found[position] = self.decode(known[position])
        return found

    def _finish(self, event: Event) -> Event | Fault:
        if isinstance(event, TicketEvent) and event.opened_at is not None:
            try:
                event.opened_at = parse_timestamp(event.opened_at)
            except ValueError as error:
                return Fault(Reason.INVALID, str(error).replace("timestamp", "opened_at", 1))
        return event

    def _explain(self, value: bytes, error: Exception) -> Fault:
        """The reason for a record that did not decode; only these are looked at twice."""
        if isinstance(error, RecursionError):
            return Fault(Reason.MALFORMED, "nested too deeply")
        try:
            value.decode()
            fields = _parse(value)
        except (ValueError, RecursionError) as fault:
            return Fault(Reason.MALFORMED, _short(f"no UTF-8 JSON object: {fault}"))
        if not isinstance(fields, dict):
            return Fault(Reason.MALFORMED, "JSON, but not an object")
        kind = fields.get("type")
        if kind is None or not isinstance(kind, str):
            return Fault(Reason.INVALID, "type: missing or not a string")
        if kind not in _kinds(self._event):
            return Fault(Reason.UNKNOWN_TYPE, _short(f"type: '{kind}' is none of this topic's"))
        return Fault(Reason.INVALID, _name_field(str(error)))


def micros(amount: Decimal | None) -> int:
    """Integer micro-units of an amount of money; ValueError where it is none."""
    if amount is None:
        return 0
    try:
        if not amount.is_finite() or abs(amount) > _MAX_UNITS:
            raise ValueError(_NO_MONEY)
        return int((amount * 1_000_000).to_integral_value(ROUND_HALF_EVEN))
    except InvalidOperation:
        raise ValueError(_NO_MONEY) from None


_RFC3339 = re.compile(
    r"(\d{4}-\d{2}-\d{2})[Tt ](\d{2}:\d{2}:)(\d{2})(?:\.(\d+))?([Zz]|[+-]\d{2}:\d{2})",
    re.ASCII,
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_seconds_ms: dict[str, int] = {}


def parse_timestamp(value: Timestamp) -> int:
    """Epoch milliseconds of an integer or of an RFC 3339 text with zone; finer parts are cut."""
    if isinstance(value, int):
        if not EPOCH_MIN_MS <= value < EPOCH_MAX_MS:
            raise ValueError("timestamp: outside the years 1 to 9999")
        return value
    if len(value) == 24 and value[19] == "." and value[23] == "Z":
        known = _seconds_ms.get(value[:19])
        part = value[20:23]
        if known is not None and part.isascii() and part.isdigit():
            return known + int(part)
    return _parse_text(value)


def _parse_timestamps(events: Sequence[Event]) -> None:
    """Bring the timestamps of events into epoch milliseconds; ValueError if one is none."""
    times = [event.timestamp for event in events]
    if set(map(type, times)) == {int}:  # then only the range is to be looked at
        parse_timestamp(min(times))
        parse_timestamp(max(times))
        return
    for event, at in zip(events, times, strict=True):
        event.timestamp = parse_timestamp(at)


def _parse_text(text: str) -> int:
    found = _RFC3339.fullmatch(text)
    if found is None:
        raise ValueError("timestamp: neither epoch milliseconds nor RFC 3339 with a zone")
    date, minutes, seconds, fraction, zone = found.groups()
    leap = seconds == "60"
    try:
        zone = "+00:00" if zone in "Zz" else zone
        if zone[4:] > "59" or zone[1:3] > "23":
            raise ValueError(zone)
        moment = datetime.fromisoformat(f"{date}T{minutes}{'59' if leap else seconds}{zone}")
        whole_ms = (moment - _EPOCH) // _MILLISECOND + (1000 if leap else 0)
    except (ValueError, OverflowError):
        raise ValueError("timestamp: no such date or time") from None
    if not EPOCH_MIN_MS <= whole_ms < EPOCH_MAX_MS:
        raise ValueError("timestamp: outside the years 1 to 9999")
    if zone == "+00:00" and not leap:
        if len(_seconds_ms) > 10_000:
            _seconds_ms.clear()
        _seconds_ms[text[:19]] = whole_ms
    return whole_ms + int(((fraction or "") + "000")[:3])


CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
"""Characters that neither names nor texts about campaigns may hold."""


def is_name(text: str) -> bool:
    """Whether a text may be an id or a dimension's value; one that is missing is none."""
    return 1 <= len(text) <= NAME_CHARS and not CONTROL.search(text)


def _check_names(event: Event) -> None:
    for name in event.names:
        value = getattr(event, name)
        if value is not None and CONTROL.search(value):
            raise ValueError(f"{name}: has a control character")


def _check_money(event: Event) -> None:
    try:
        micros(event.money)
    except ValueError as error:
        raise ValueError(f"{'cost' if isinstance(event, Click) else 'value'}: {error}") from None


def _parse(value: bytes) -> object:
    try:
        return msgspec.json.decode(value)
    except msgspec.ValidationError:  # well-formed, but a number is too large
        return json.loads(value, parse_int=str)


def _kinds(event: type[Event]) -> tuple[str, ...]:
    info = msgspec.inspect.type_info(event)
    assert isinstance(info, msgspec.inspect.StructType)
    kind = next(field.type for field in info.fields if field.name == "type")
    assert isinstance(kind, msgspec.inspect.LiteralType)
    return tuple(str(value) for value in kind.values)


_AT_FIELD = re.compile(r"(.*?) - at `\$\.(\w+)[^`]*`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(\w+)`")


def _name_field(message: str) -> str:
    """Put the field first: `campaign: Expected str, got int`."""
    if found := _AT_FIELD.fullmatch(message):
        return _short(f"{found[2]}: {found[1]}")
    if found := _MISSING.fullmatch(message):
        return f"{found[1]}: missing"
    return _short(message)


def _short(text: str) -> str:
    return text if len(text) <= 200 else text[:199] + "…"
