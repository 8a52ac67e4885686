"""What visitors and customers do: whole visits and whole tickets, planned from random numbers.

A plan is a list of events with event times and a shared `Item` that remembers what belongs
together. Pure: no clock, no Kafka; what goes wrong on the way is not decided here (see faults).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random

from stream.core.durations import MINUTE_MS
from stream.demo.scenarios import Campaign, Channel, Scenario, Team

PAGES = ("/", "/offers", "/product/12", "/product/31", "/reviews", "/cart")
CREATIVES = ("hero", "carousel", "story", "text")
SIGHT_MS = 20_000
PING_MS = 15_000
VARIANT_LIFT = {"A": 1.0, "B": 1.2}
TICKET_GAP_MS = 1_000
"""Events of a ticket keep this distance, so that their order never hangs on ties."""


@dataclass(slots=True, eq=False)
class Session:
    """What has been sent of one session; kept up to date by the truth."""

    campaign: str | None
    start_ms: int
    happened: list[tuple[int, str]] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Ticket:
    """What has been sent of one ticket: (time, type, by, team)."""

    channel: str
    happened: list[tuple[int, str, str | None, str]] = field(default_factory=list)


@dataclass(slots=True)
class Event:
    """A planned event. `first_visit` marks sessions of visitors who were never there before."""

    topic: str
    key: str
    time_ms: int
    body: dict[str, object]
    item: Session | Ticket | None = None
    first_visit: bool = False


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody. An anonymous one sends no `session_id` and comes once only: nothing runs together.

    `known` means that there was a visit before.
    """

    id: str
    known: bool = False
    anonymous: bool = False

    @property
    def variant(self) -> str:
        """The variant that this visitor always gets."""
        return "AB"[int(self.id[-1], 16) & 1]


@dataclass(frozen=True, slots=True)
class Arrival:
    """A visit's circumstances. `campaign` None is a visit without an advertisement."""

    time_ms: int
    elapsed_s: float
    visitor: "Visitor"
    campaign: Campaign | None
    channel: Channel


def name(rng: Random, prefix: str) -> str:
    """A fresh id."""
    return f"{prefix}{rng.getrandbits(64):016x}"


def visit(rng: Random, scenario: Scenario, arrival: Arrival) -> list[Event]:
    """A visitor sees an advertisement, perhaps clicks, and then has a session."""
    campaign, channel = arrival.campaign, arrival.channel
    if campaign is None:
        return _session(rng, scenario, arrival, arrival.time_ms)
    usual = campaign.ctr * channel.ctr_factor * VARIANT_LIFT[arrival.visitor.variant]
    ctr = min(0.95, usual * scenario.factor("ctr", campaign.name, arrival.elapsed_s))
    events, time_ms = [], arrival.time_ms
    for _ in range(1 + (rng.random() < 0.25)):
        seen = {"creative": rng.choice(CREATIVES), "cost": f"0.{rng.randrange(20, 400):05d}"}
        events.append(_click(rng, arrival, "impression", time_ms, seen))
        time_ms += rng.randrange(500, SIGHT_MS)
        if rng.random() < ctr:
            creative = {"creative": seen["creative"]}
            events.append(_click(rng, arrival, "click", time_ms, creative))
            if rng.random() < 0.95:
                events += _session(rng, scenario, arrival, time_ms + rng.randrange(200, 3_000))
            break
    return events


def _click(
    rng: Random, arrival: Arrival, kind: str, time_ms: int, body: Mapping[str, object]
) -> Event:
    fields = {"visitor_id": arrival.visitor.id, **_labels(arrival), **body}
    return Event("clicks", arrival.visitor.id, time_ms, _body(rng, kind, time_ms, fields))


def _session(rng: Random, scenario: Scenario, arrival: Arrival, time_ms: int) -> list[Event]:
    """Page views, actions, heartbeats, perhaps a conversion and an end."""
    labels = _labels(arrival)
    visitor = arrival.visitor
    who: dict[str, object] = {"visitor_id": visitor.id}
    if not visitor.anonymous:
        who["session_id"] = name(rng, "s")
    item = Session(labels.get("campaign"), time_ms)
    steps = _steps(rng, scenario, arrival)
    events = []
    for gap_ms, kind, body in steps:
        time_ms += gap_ms
        whole = _body(rng, kind, time_ms, {**who, **labels, **body})
        events.append(Event("sessions", visitor.id, time_ms, whole, item, not visitor.known))
    return events


def _steps(
    rng: Random, scenario: Scenario, arrival: Arrival
) -> list[tuple[int, str, dict[str, object]]]:
    """(gap before it, type, fields) of everything that happens in a session."""
    campaign = arrival.campaign.name if arrival.campaign else None
    bounce = arrival.channel.bounce * scenario.factor("bounce", campaign, arrival.elapsed_s)
    steps: list[tuple[int, str, dict[str, object]]] = [(0, "page_view", {"page": PAGES[0]})]
    if rng.random() < 0.4:
        steps.append((PING_MS, "ping", {}))
    if rng.random() >= min(0.95, bounce):
        while rng.random() < 0.7 and len(steps) < 40:
            gap_ms = min(180_000, 2_000 + int(rng.expovariate(1 / 18_000)))
            kind = "action" if rng.random() < 0.3 else "page_view"
            steps.append((gap_ms, kind, {"page": rng.choice(PAGES)}))
        base = arrival.campaign.conversion if arrival.campaign else 0.10
        if rng.random() < base * scenario.factor("conversion", campaign, arrival.elapsed_s):
            value = f"{rng.randrange(5, 250)}.{rng.randrange(100):02d}"
            body: dict[str, object] = {"page": "/thanks", "goal": "purchase", "value": value}
            steps.append((3_000 + int(rng.expovariate(1 / 20_000)), "conversion", body))
    if rng.random() < 0.5:
        steps.append((rng.randrange(1_000, 10_000), "end", {}))
    return steps


def ticket(
    rng: Random, team: Team, others: tuple[Team, ...], time_ms: int, pace: float
) -> list[Event]:
    """A ticket's whole life; `pace` is how many times faster than life it goes."""
    item = Ticket(rng.choice(("email", "phone", "chat", "web")))
    life = _Life(rng, name(rng, "t"), item, time_ms, pace)
    life.add(0, "opened", team.name, "customer")
    life.add(team.answer_minutes, "contact", team.name, "agent")
    if rng.random() >= team.settles_at_once:
        if rng.random() < 0.35:
            team = rng.choice(others)
            life.add(20, "reassigned", team.name, "agent")
        if rng.random() < 0.4:
            life.add(15, "awaiting_customer", team.name, "agent")
        for _ in range(1 + (rng.random() < 0.3)):
            life.add(90, "contact", team.name, "customer")
            life.add(team.answer_minutes, "contact", team.name, "agent")
    life.add(30, "resolved", team.name, "agent")
    if rng.random() < team.reopened:
        life.add(20 * 60, "reopened", team.name, "customer")
        life.add(team.answer_minutes, "contact", team.name, "agent")
        life.add(120, "resolved", team.name, "agent")
    if rng.random() < 0.8:
        life.add(24 * 60, "closed", team.name, None)
    return life.events


@dataclass(slots=True)
class _Life:
    rng: Random
    ticket: str
    item: Ticket
    time_ms: int
    pace: float
    events: list[Event] = field(default_factory=list)

    def add(self, mean_minutes: float, kind: str, team: str, by: str | None) -> None:
        """The next event, some time around `mean_minutes` of real life after the one before it."""
        if mean_minutes:
            wait_ms = mean_minutes * MINUTE_MS * self.rng.uniform(0.3, 1.7) / self.pace
            self.time_ms += max(TICKET_GAP_MS, int(wait_ms))
        fields: dict[str, object] = {
            "ticket_id": self.ticket,
            "channel": self.item.channel,
            "team": team,
        }
        if by is not None:
            fields["by"] = by
        body = _body(self.rng, kind, self.time_ms, fields)
        body["timestamp"] = rfc3339(self.time_ms)
        self.events.append(Event("tickets", self.ticket, self.time_ms, body, self.item))


def rfc3339(time_ms: int) -> str:
    """`2026-05-01T12:00:00.000Z`"""
    seconds, rest_ms = divmod(time_ms, 1000)
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{rest_ms:03d}Z"


def _labels(arrival: Arrival) -> dict[str, str]:
    if arrival.campaign is None:
        return {"channel": "direct"}
    return {
        "campaign": arrival.campaign.name,
        "channel": arrival.channel.name,
        "variant": arrival.visitor.variant,
    }


def _body(rng: Random, kind: str, time_ms: int, fields: dict[str, object]) -> dict[str, object]:
    return {"event_id": name(rng, "e"), "type": kind, "timestamp": time_ms, **fields}
