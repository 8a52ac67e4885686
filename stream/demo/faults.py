"""What goes wrong on the way: records that come later, twice, too late, or broken.

Every record it makes says what must become of it, so that a run can be checked against the truth.
A broken, late or repeated record follows a good one of the same key, so that it meets a partition
whose clock stands at least at the good one. Pure.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from random import Random

import msgspec

from stream.core.durations import DAY_MS, HOUR_MS, MINUTE_MS
from stream.core.records import Outcome, Reason
from stream.demo.people import Event, Session, name
from stream.demo.scenarios import Faults

FAR_AHEAD_MS = 3_650 * DAY_MS
FAR_BEHIND_MS = 6 * 366 * DAY_MS
SHORTEST_HORIZON_MS = 600_000
USUAL_DELAY_MS = 3_000
OVERSIZE_CHARS = 70_000

encode = msgspec.json.Encoder().encode


@dataclass(slots=True)
class Record:
    """What is sent, when (in event time), and what must become of it.

    `event` is None where the record counts for nothing (duplicates and dead letters).
    """

    at_ms: int
    topic: str
    key: str
    value: bytes | None
    outcome: Outcome
    reason: Reason | None = None
    event: Event | None = None


def records_of(rng: Random, faults: Faults, event: Event, lateness_ms: int) -> Iterator[Record]:
    """An event as it is sent: once, a little later, twice, or with something broken after it."""
    at_ms = event.time_ms
    if rng.random() < faults.delayed:
        at_ms += _delay_ms(rng, lateness_ms)
    value = encode(event.body)
    yield Record(at_ms, event.topic, event.key, value, Outcome.COUNTED, event=event)
    if rng.random() < faults.duplicated:
        again_ms = at_ms + int(rng.random() * lateness_ms / 10)
        yield Record(again_ms, event.topic, event.key, value, Outcome.DUPLICATE)
    if rng.random() < faults.late:
        yield from _late(rng, event, at_ms, lateness_ms)
    if rng.random() < faults.bad:
        yield _bad(rng, event, at_ms)


def plain(event: Event) -> Record:
    """An event as it is sent where nothing goes wrong."""
    value = encode(event.body)
    return Record(event.time_ms, event.topic, event.key, value, Outcome.COUNTED, event=event)


def _delay_ms(rng: Random, lateness_ms: int) -> int:
    """Seconds as a rule, sometimes minutes, never more than half of what is allowed."""
    if rng.random() < 0.1:
        return int(rng.random() * lateness_ms / 2)
    return int(min(rng.expovariate(1 / USUAL_DELAY_MS), lateness_ms / 2))


def _late(rng: Random, event: Event, at_ms: int, lateness_ms: int) -> Iterator[Record]:
    """A click from before the dedupe horizon (counted, unchecked), or a session event too late.

    Tickets are never late. A session event is too late for certain where its visitor had no session
    before this one.
    """
    horizon_ms = max(lateness_ms, SHORTEST_HORIZON_MS)
    if event.topic == "clicks":
        time_ms = event.time_ms - horizon_ms - rng.randrange(MINUTE_MS, HOUR_MS)
        body = {**event.body, "event_id": name(rng, "e"), "timestamp": time_ms}
        late = Event(event.topic, event.key, time_ms, body)
        yield Record(at_ms, event.topic, event.key, encode(body), Outcome.UNCHECKED, event=late)
    elif isinstance(event.item, Session) and event.first_visit:
        time_ms = event.item.start_ms - horizon_ms - HOUR_MS - rng.randrange(HOUR_MS)
        changes = {"event_id": name(rng, "e"), "timestamp": time_ms, "type": "page_view"}
        yield _dead(event, at_ms, encode({**event.body, **changes}), Reason.LATE)


Breaker = Callable[[Random, dict[str, object]], bytes | None]


def _malformed(rng: Random, body: dict[str, object]) -> bytes | None:
    whole = encode(body)
    return rng.choice((whole[:-7], b"\xff\xfe" + whole, b"[" + whole + b"]", b"out of order", None))


def _invalid(rng: Random, body: dict[str, object]) -> bytes | None:
    wrong: tuple[dict[str, object], ...] = (
        {"timestamp": None},
        {"timestamp": "yesterday at noon"},
        {"event_id": "e" * 65},
        {"event_id": 7},
        {"type": None},
        {"channel": "soc\u0007ial"},
        {"channel": ["email"]},
    )
    return encode({**body, **rng.choice(wrong)})


def _unknown_type(rng: Random, body: dict[str, object]) -> bytes | None:
    return encode({**body, "type": rng.choice(("hover", "like", "deleted"))})


def _oversize(_rng: Random, body: dict[str, object]) -> bytes | None:
    return encode({**body, "note": "x" * OVERSIZE_CHARS})


BREAKERS: Mapping[Reason, Breaker] = {
    Reason.MALFORMED: _malformed,
    Reason.INVALID: _invalid,
    Reason.UNKNOWN_TYPE: _unknown_type,
    Reason.OVERSIZE: _oversize,
}
SHIFTS_MS = {Reason.FUTURE: FAR_AHEAD_MS, Reason.TOO_LATE: -FAR_BEHIND_MS}
ODDS = ((Reason.MALFORMED, 4), (Reason.INVALID, 5), (Reason.UNKNOWN_TYPE, 3))
ODDS_OF: Mapping[str, tuple[tuple[Reason, int], ...]] = {
    "clicks": (*ODDS, (Reason.FUTURE, 3), (Reason.TOO_LATE, 2), (Reason.OVERSIZE, 1)),
    "sessions": (*ODDS, (Reason.FUTURE, 3), (Reason.OVERSIZE, 1)),
    "tickets": (*ODDS, (Reason.FUTURE, 3)),
}


def _bad(rng: Random, event: Event, at_ms: int) -> Record:
    reasons, weights = zip(*ODDS_OF[event.topic], strict=True)
    reason: Reason = rng.choices(reasons, weights)[0]
    body = {**event.body, "event_id": name(rng, "e")}
    if reason in SHIFTS_MS:
        value = encode({**body, "timestamp": event.time_ms + SHIFTS_MS[reason]})
        return _dead(event, at_ms, value, reason)
    return _dead(event, at_ms, BREAKERS[reason](rng, body), reason)


def _dead(event: Event, at_ms: int, value: bytes | None, reason: Reason) -> Record:
    return Record(at_ms, event.topic, event.key, value, Outcome.DEAD_LETTER, reason)
