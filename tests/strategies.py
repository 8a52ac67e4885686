"""Small dense worlds of events for hypothesis, and the orders in which they may arrive.

Times lie near the boundaries (time-outs, caps, midnight, windows, each +- 1 ms), ids are few, ties
are many. A `Log` is what Kafka would hold: (record timestamp, event | raw bad value) in offset
order. Logs made by `arrivals` keep the promise of the allowed lateness: no event is behind the
watermark when it comes, copies come within the dedupe horizon. `wild_logs` keep no promise.
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from itertools import pairwise
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from tests.reference.model import (
    DAY,
    HOUR,
    MAX_BYTES,
    MINUTE,
    OWNER,
    Record,
    Rules,
    instant,
    next_day_start,
)

Json = dict[str, Any]
Log = list[tuple[int, Json | bytes | None]]

START_MS = 1_743_200_400_000
"""2025-03-28T22:20:00Z: before midnight in UTC and in Berlin, a day before Berlin's clocks change.
"""
TIMEZONES = ("UTC", "Europe/Berlin", "Asia/Kolkata")


# --- rules ---------------------------------------------------------------------------------------


@st.composite
def rules(draw: DrawFn) -> Rules:
    """Rules under which the order promise holds (the cap on interactions is out of reach)."""
    lateness = draw(st.sampled_from([10 * MINUTE, 1 * MINUTE, 45 * MINUTE]))
    window = draw(st.sampled_from([72 * HOUR, HOUR]))
    return Rules(
        allowed_lateness_ms=lateness,
        session_timeout_ms=draw(st.sampled_from([30 * MINUTE, 5 * MINUTE])),
        session_id_timeout_ms=draw(st.sampled_from([30 * MINUTE, 2 * HOUR])),
        session_max_ms=draw(st.sampled_from([12 * HOUR, 3 * HOUR])),
        session_split_midnight=draw(st.booleans()),
        timezone=draw(st.sampled_from(TIMEZONES)),
        fcr_reopen_window_ms=window,
        dedupe_horizon_ms=max(lateness, draw(st.sampled_from([10 * MINUTE, 2 * HOUR]))),
    )


# --- events --------------------------------------------------------------------------------------


def _around(*spans_ms: int) -> list[int]:
    """Each span, and a millisecond on either side of it."""
    return sorted({near for span in spans_ms for near in (span - 1, span, span + 1)})


@st.composite
def _times(draw: DrawFn, size: int, spans_ms: Sequence[int], rules: Rules) -> list[int]:
    """Instants, most of them a telling span after (now and then before) one drawn already."""
    midnight = next_day_start(START_MS, rules.timezone)
    anchors = [START_MS, midnight, next_day_start(midnight, rules.timezone)]
    steps = st.sampled_from([0, *_around(*spans_ms)])
    times = [draw(st.sampled_from([START_MS, START_MS + 1, midnight - 1, midnight]))]
    while len(times) < size:
        if draw(st.integers(0, 7)) == 7:
            times.append(draw(st.sampled_from(anchors)) + draw(st.integers(-1, 1)))
        else:
            latest = draw(st.booleans())
            origin = times[-1] if latest else draw(st.sampled_from(times))
            times.append(origin + draw(steps) * (1 if latest else draw(st.sampled_from([1, -1]))))
    return times


def spell(t: int, style: int) -> int | str:
    """An instant as integer ms or as RFC 3339 text in one of two zones."""
    if style < 2:
        return t
    zone = UTC if style == 2 else timezone(timedelta(hours=5, minutes=30))
    moment = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=t)).astimezone(zone)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


@st.composite
def _common(draw: DrawFn, number: int, t: int, dims: Sequence[str]) -> Json:
    """What every event has. Ids are distinct and their order is not that of the times."""
    event: Json = {
        "event_id": f"{draw(st.integers(0, 9))}-{number}",
        "timestamp": spell(t, draw(st.integers(0, 3))),
    }
    for name in dims:
        value = draw(st.sampled_from([None, "x", "y", "-"]))
        if value != "-":
            event[name] = value
    return event


@st.composite
def session_events(draw: DrawFn, rules: Rules, max_size: int = 16) -> list[Json]:
    """Distinct session events of a few visitors, in no order."""
    spans = [
        1,
        10_000,
        MINUTE,
        5 * MINUTE,
        15 * MINUTE,
        rules.allowed_lateness_ms,
        rules.session_timeout_ms,
        rules.session_timeout_ms // 2,
        rules.session_id_timeout_ms,
        rules.session_max_ms,
    ]
    size = draw(st.integers(1, max_size))
    events = []
    for number, t in enumerate(draw(_times(size, spans, rules))):
        event = draw(_common(number, t, ("campaign", "channel", "variant")))
        event["visitor_id"] = draw(st.sampled_from(["v1", "v1", "v1", "v2"]))
        kinds = ["page_view", "page_view", "action", "conversion", "ping", "end"]
        event["type"] = draw(st.sampled_from(kinds))
        given = draw(st.sampled_from([None, None, "a", "a", "b"]))
        if given is not None:
            event["session_id"] = given
        if event["type"] == "conversion":
            event["value"] = draw(st.sampled_from([None, "12.50", 3, 0.1, "0.000001"]))
        events.append(event)
    return events


@st.composite
def ticket_events(draw: DrawFn, rules: Rules, max_size: int = 14) -> list[Json]:
    """Distinct ticket events of a few tickets, in no order."""
    window = rules.fcr_reopen_window_ms
    spans = [1, MINUTE, HOUR, rules.allowed_lateness_ms, window, window, window // 2]
    size = draw(st.integers(1, max_size))
    events = []
    for number, t in enumerate(draw(_times(size, spans, rules))):
        event = draw(_common(number, t, ("channel", "team")))
        event["ticket_id"] = draw(st.sampled_from(["t1", "t1", "t2"]))
        kinds = ["opened", "contact", "contact", "resolved", "resolved", "reopened"]
        kinds += ["reassigned", "awaiting_customer", "closed"]
        event["type"] = draw(st.sampled_from(kinds))
        if event["type"] == "contact":
            event["by"] = draw(st.sampled_from([None, "customer", "agent", "agent"]))
        if draw(st.integers(0, 5)) == 5:
            event["opened_at"] = spell(t - draw(st.sampled_from([*spans, 0, -1])), number % 4)
        events.append(event)
    return events


@st.composite
def click_events(draw: DrawFn, rules: Rules, max_size: int = 20) -> list[Json]:
    """Distinct impressions and clicks, in no order."""
    spans = [1, 10_000, MINUTE, HOUR, rules.allowed_lateness_ms]
    size = draw(st.integers(1, max_size))
    events = []
    for number, t in enumerate(draw(_times(size, spans, rules))):
        event = draw(_common(number, t, ("campaign", "channel", "variant", "creative")))
        event["type"] = draw(st.sampled_from(["impression", "click"]))
        if draw(st.booleans()):
            event["visitor_id"] = "v1"
        event["cost"] = draw(st.sampled_from([None, "0.25", 1, 0.000001, "0.1"]))
        events.append(event)
    return events


EVENTS = {"clicks": click_events, "sessions": session_events, "tickets": ticket_events}


# --- orders of arrival ---------------------------------------------------------------------------


def _log(ordered: Sequence[Json], lag_ms: int) -> Log:
    """Record timestamps that only grow and are never before an event's time."""
    newest, log = instant(ordered[0]["timestamp"]), Log()
    for event in ordered:
        newest = max(newest, instant(event["timestamp"]))
        log.append((newest + lag_ms, event))
    return log


def _lags() -> SearchStrategy[int]:
    return st.sampled_from([0, 1, 250, 5_000])


@st.composite
def arrivals(
    draw: DrawFn,
    topic: str,
    events: Sequence[Json],
    rules: Rules,
    *,
    copies: bool = True,
    bad: bool = True,
) -> Log:
    """One order in which the events may come so that none is late, with copies and bad records."""
    lateness, horizon = rules.allowed_lateness_ms, rules.dedupe_horizon_ms
    delays = st.one_of(st.sampled_from([0, 1, lateness - 1, lateness]), st.integers(0, lateness))
    due: list[tuple[int, int, int, Json]] = []
    for number, event in enumerate(events):
        t, tie = instant(event["timestamp"]), draw(st.integers(0, 3))
        delay = draw(delays)
        due.append((t + delay, tie, number, event))
        if copies and draw(st.integers(0, 3)) == 3:
            again = draw(st.one_of(st.sampled_from([delay, horizon]), st.integers(delay, horizon)))
            due.append((t + again, tie, number, dict(event)))
    log = _log([event for *_, event in sorted(due, key=lambda one: one[:3])], draw(_lags()))
    if bad:
        for place in draw(st.lists(st.integers(0, len(log) - 1), max_size=3)):
            log.insert(place, (log[place][0], draw(bad_values(topic, log[place][0]))))
    return log


def in_order(events: Sequence[Json], lag_ms: int = 0) -> Log:
    """The events as they happened."""
    return _log(sorted(events, key=lambda event: instant(event["timestamp"])), lag_ms)


@st.composite
def wild_logs(draw: DrawFn, topic: str, rules: Rules) -> Log:
    """Late ones, repeats beyond the horizon, silences, phones whose clocks are wrong: no promise.

    Record timestamps still only grow.
    """
    events = draw(EVENTS[topic](rules))
    lateness, timeout = rules.allowed_lateness_ms, rules.session_timeout_ms
    spans = [0, *_around(lateness, timeout, rules.dedupe_horizon_ms), 2 * HOUR, 5 * DAY]
    due: list[tuple[int, int]] = []
    for number, event in enumerate(events):
        t = instant(event["timestamp"])
        copies = range(draw(st.sampled_from([1, 1, 1, 2])))
        due.extend((t + draw(st.sampled_from(spans)), number) for _ in copies)
    record_ts, log = START_MS, Log()
    for shown, number in sorted(due):
        ahead = draw(st.sampled_from([0, 0, 0, 1, -1, 60_000, -59_999, -60_000, -60_001]))
        record_ts = max(record_ts, shown + ahead)
        log.append((record_ts, events[number]))
    return log


@st.composite
def bad_values(draw: DrawFn, topic: str, record_ts: int) -> Json | bytes | None:
    """One value with one fault."""
    sound: Json = {"event_id": "bad", "timestamp": record_ts, "type": "resolved"}
    sound |= {"type": "click" if topic == "clicks" else "page_view"} if topic != "tickets" else {}
    if topic in OWNER:
        sound[OWNER[topic]] = "v1"
    without_id = {name: value for name, value in sound.items() if name != "event_id"}
    padded = to_value({**sound, "page": "p"}) + b" " * MAX_BYTES
    choices: list[Json | bytes | None] = [
        None,
        b"",
        b"{",
        b"[1]",
        b"\xff\xfe",
        b"null",
        to_value(sound)[:-1],
        to_value(sound | {"type": "no_such_type"}),
        to_value(without_id),
        to_value(sound | {"timestamp": "yesterday"}),
        to_value(sound | {"channel": "c\u0000"}),
        to_value(sound | {"channel": "c" * 129}),
        to_value(sound | {"event_id": ""}),
        padded,
        sound | {"timestamp": record_ts + 60_001},
        sound | {"timestamp": record_ts + DAY},
    ]
    return draw(st.sampled_from(choices))


# --- logs ----------------------------------------------------------------------------------------


def _logs(topic: str, rules: Rules) -> SearchStrategy[Log]:
    made: SearchStrategy[list[Json]] = EVENTS[topic](rules)
    return made.flatmap(partial(arrivals, topic, rules=rules))


def session_logs(rules: Rules) -> SearchStrategy[Log]:
    """Logs of session events with copies and bad records, none late."""
    return _logs("sessions", rules)


def ticket_logs(rules: Rules) -> SearchStrategy[Log]:
    """Logs of ticket events with copies and bad records, none late."""
    return _logs("tickets", rules)


def click_logs(rules: Rules | None = None) -> SearchStrategy[Log]:
    """Logs of impressions and clicks with copies and bad records."""
    return _logs("clicks", rules or Rules())


@st.composite
def orders(
    draw: DrawFn, topic: str, rules: Rules, count: int = 2, *, copies: bool = True, bad: bool = True
) -> list[Log]:
    """Several logs of the same events, each in an order of its own within the allowed lateness."""
    events = draw(EVENTS[topic](rules))
    made = arrivals(topic, events, rules, copies=copies, bad=bad)
    return [draw(made) for _ in range(count)]


@st.composite
def cuts(draw: DrawFn, log: Sequence[Any]) -> list[list[Any]]:
    """The same log in one way to cut it into batches (none of them empty)."""
    places = sorted(draw(st.sets(st.integers(1, max(1, len(log) - 1)), max_size=6)))
    edges = [0, *(place for place in places if place < len(log)), len(log)]
    return [list(log[a:b]) for a, b in pairwise(edges) if a < b]


# --- records -------------------------------------------------------------------------------------


def to_value(event: Json) -> bytes:
    """An event as a producer would write it."""
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()


def key_for(topic: str, value: Json | bytes | None) -> bytes | None:
    """The record key that the contract asks for."""
    if not isinstance(value, dict):
        return None
    name = OWNER.get(topic, "visitor_id")
    key = value.get(name) or value["event_id"]
    return str(key).encode()


def to_records(topic: str, log: Log, start: int = 0) -> list[Record]:
    """A log as records from offset `start` on; every value is bytes, or None as it was."""
    return [
        Record(
            start + number,
            record_ts,
            key_for(topic, value),
            to_value(value) if isinstance(value, dict) else value,
        )
        for number, (record_ts, value) in enumerate(log)
    ]
