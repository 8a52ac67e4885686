"""Campaigns as their managers describe them: launch, name, owner, targets, notes, channels.

Owns the contract of the compacted topic `campaigns` (key: campaign, value: JSON) and how one
description is laid over another. Knows no Kafka and no figures. Every ValueError is one line for a
person.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import msgspec

from stream.core.durations import DAY_MS, MINUTE_MS, parse_duration, spell_span
from stream.core.events import CONTROL, NAME_CHARS, is_name, parse_timestamp

MEASURES: Final = ("impressions", "clicks", "sessions", "conversions", "value")
"""What a target may be set on; `conversions` are converted sessions, `value` is money."""
LONGEST_MS: Final = 7 * DAY_MS
"""How long a launch is followed."""
TEXT_CHARS = 200
TARGETS_MAX, NOTES_MAX, CHANNELS_MAX = 10, 200, 100

_WITHOUT_SECONDS = re.compile(r"(.{10}[Tt ]\d\d:\d\d)([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Target:
    """So much of a measure within so long of the launch; money in whole units."""

    measure: str
    count: Decimal
    within_ms: int

    def __str__(self) -> str:
        return f"{self.measure}={plain(self.count)}@{spell_span(self.within_ms)}"


@dataclass(frozen=True, slots=True)
class Note:
    """Something that happened: a marker on the charts."""

    at_ms: int
    text: str


@dataclass(frozen=True, slots=True)
class Campaign:
    """What is known of a campaign beside its events; all of it may be missing."""

    launch_ms: int | None = None
    name: str | None = None
    owner: str | None = None
    targets: tuple[Target, ...] = ()
    notes: tuple[Note, ...] = ()
    channels: tuple[str, ...] = ()


class _Target(msgspec.Struct):
    measure: str
    count: int | float | str
    within: str


class _Note(msgspec.Struct):
    at: int | str
    text: str


class _Record(msgspec.Struct, omit_defaults=True):
    launch_at: int | str | None = None
    name: str | None = None
    owner: str | None = None
    targets: list[_Target] = []
    annotations: list[_Note] = []
    channels: list[str] = []


_decode = msgspec.json.Decoder(_Record).decode


def decode_campaign(raw: bytes) -> Campaign:
    """A campaign of a record's value. ValueError says what is wrong with it."""
    record = _decode(raw)  # its error is a ValueError
    launch = record.launch_at
    return Campaign(
        launch_ms=None if launch is None else floor_minute(parse_instant(launch)),
        name=_text("name", record.name, TEXT_CHARS),
        owner=_text("owner", record.owner, TEXT_CHARS),
        targets=_few(
            "targets",
            [make_target(t.measure, str(t.count), t.within) for t in record.targets],
            TARGETS_MAX,
        ),
        notes=_few(
            "annotations",
            [make_note(parse_instant(n.at), n.text) for n in record.annotations],
            NOTES_MAX,
        ),
        channels=_few(
            "channels", [check_name("channel", c) for c in record.channels], CHANNELS_MAX
        ),
    )


def encode_campaign(campaign: Campaign) -> bytes:
    """The value of its record."""
    record = _Record(
        launch_at=None if campaign.launch_ms is None else format_instant(campaign.launch_ms),
        name=campaign.name,
        owner=campaign.owner,
        targets=[
            _Target(t.measure, _number(t.count), spell_span(t.within_ms)) for t in campaign.targets
        ],
        annotations=[_Note(format_instant(n.at_ms), n.text) for n in campaign.notes],
        channels=list(campaign.channels),
    )
    return msgspec.json.encode(record)


@dataclass(frozen=True, slots=True)
class Change:
    """What somebody wants changed; None leaves as it is, `drop` names what is to be empty again.

    Targets replace those of the same measure and time, notes are appended, channels replace.
    """

    launch_ms: int | None = None
    name: str | None = None
    owner: str | None = None
    targets: tuple[Target, ...] = ()
    notes: tuple[Note, ...] = ()
    channels: tuple[str, ...] | None = None
    drop: frozenset[str] = frozenset()

    @property
    def empty(self) -> bool:
        """Whether nothing is to be changed."""
        return self == Change()


def apply(change: Change, campaign: Campaign) -> Campaign:
    """The campaign with a change laid over it. ValueError where it grows beyond its bounds."""
    kept = replace(campaign, **{name: _NOTHING[name] for name in change.drop})
    replaced = {(t.measure, t.within_ms) for t in change.targets}
    targets = [t for t in kept.targets if (t.measure, t.within_ms) not in replaced]
    notes = [*kept.notes, *(n for n in change.notes if n not in kept.notes)]
    return Campaign(
        launch_ms=kept.launch_ms if change.launch_ms is None else change.launch_ms,
        name=kept.name if change.name is None else change.name,
        owner=kept.owner if change.owner is None else change.owner,
        targets=_few("targets", [*targets, *change.targets], TARGETS_MAX),
        notes=_few("notes", sorted(notes, key=lambda n: n.at_ms), NOTES_MAX),
        channels=kept.channels if change.channels is None else change.channels,
    )


_NOTHING: dict[str, Any] = {
    "launch_ms": None,
    "name": None,
    "owner": None,
    "targets": (),
    "notes": (),
    "channels": (),
}


# --- parts of a description, as people write them ---


def parse_instant(value: int | str) -> int:
    """Milliseconds of an instant; seconds may be left out: `2026-03-01T09:00Z`."""
    text = value
    if isinstance(text, str):
        found = _WITHOUT_SECONDS.fullmatch(text.strip())
        text = f"{found[1]}:00{found[2]}" if found else text.strip()
    try:
        return parse_timestamp(text)
    except ValueError:
        raise ValueError(f"'{value}' is not a time; write one like 2026-03-01T09:00Z") from None


def format_instant(at_ms: int) -> str:
    """RFC 3339 in UTC, no finer than it has to be."""
    moment = (_EPOCH + timedelta(milliseconds=at_ms)).replace(tzinfo=None)
    if at_ms % MINUTE_MS == 0:
        return f"{moment.isoformat(timespec='minutes')}Z"
    return f"{moment.isoformat(timespec='milliseconds' if at_ms % 1000 else 'seconds')}Z"


def floor_minute(at_ms: int) -> int:
    """Launches begin with a minute: that is how finely figures are kept for two days."""
    return at_ms - at_ms % MINUTE_MS


def parse_target(text: str) -> Target:
    """`conversions=5000@24h`"""
    measure, equals, rest = text.partition("=")
    count, at, within = rest.rpartition("@")
    if not (equals and at):
        raise ValueError(f"'{text}' is not a target; write one like conversions=5000@24h")
    return make_target(measure.strip(), count.strip(), within.strip())


def make_target(measure: str, count: str, within: str) -> Target:
    """A target of its three parts."""
    if measure not in MEASURES:
        raise ValueError(
            f"'{measure}' is no measure of a target; choose from {', '.join(MEASURES)}"
        )
    number = _decimal(count)
    if number is None or not 0 < number <= 10**12 or (measure != "value" and number % 1):
        kind = "an amount" if measure == "value" else "a whole number"
        raise ValueError(f"'{count}' is not {kind} above 0, as a target of {measure} must be")
    within_ms = parse_duration(within)
    if not 0 < within_ms <= LONGEST_MS or within_ms % MINUTE_MS:
        raise ValueError(f"'{within}' is not 1m to 7d in whole minutes, as a target's time must be")
    return Target(measure, number, within_ms)


def parse_note(text: str, now_ms: int) -> Note:
    """`mail sent` (now) or `mail sent@2026-03-01T09:10Z`."""
    said, at, when = text.rpartition("@")
    if at and re.match(r"\d{4}-", when):
        return make_note(parse_instant(when), said)
    return make_note(now_ms, text)


def make_note(at_ms: int, text: str) -> Note:
    """A note of its two parts."""
    said = _text("note", text.strip(), TEXT_CHARS)
    if not said:
        raise ValueError("a note needs a text; write one like 'mail sent@2026-03-01T09:10Z'")
    return Note(at_ms, said)


def parse_channels(text: str) -> tuple[str, ...]:
    """`email,social`"""
    names = _names(name.strip() for name in text.split(",") if name.strip())
    if not names:
        raise ValueError("no channel is named; write them like email,social")
    return _few("channels", names, CHANNELS_MAX)


def _names(channels: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(check_name("channel", name) for name in channels))


def check_name(what: str, text: str) -> str:
    """A name as events may carry it: 1 to 128 characters without control characters."""
    if not is_name(text):
        raise ValueError(f"a {what} has 1 to {NAME_CHARS} characters, and no control characters")
    return text


def check_text(what: str, text: str) -> str:
    """A name or owner as people write it."""
    return _text(what, text, TEXT_CHARS) or ""


def plain(number: Decimal) -> str:
    """A number without exponent or needless zeros."""
    return f"{number.normalize():f}"


def _number(number: Decimal) -> int | str:
    return int(number) if number % 1 == 0 else plain(number)


def _decimal(text: str) -> Decimal | None:
    if not re.fullmatch(r"\d{1,13}(\.\d{1,6})?", text, re.ASCII):
        return None
    return Decimal(text)


def _text(what: str, text: str | None, most: int) -> str | None:
    if text is None:
        return None
    if len(text) > most or CONTROL.search(text):
        raise ValueError(f"a {what} has at most {most} characters, and no control characters")
    return text


def _few(what: str, many: Sequence[Any], most: int) -> tuple[Any, ...]:
    if len(many) > most:
        raise ValueError(f"{len(many)} {what} are more than the {most} that a campaign may have")
    return tuple(many)
