"""What the benchmarks send: clicks, sessions and tickets that come to known sums.

A workload gives (key, value) pairs in order of event time, spread evenly over four minutes that end
at `end_ms`. Its sums are what the API must say once the last record is counted.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

Record = tuple[bytes, bytes]
Sums = dict[str, dict[str, tuple[int, int]]]
"""Metric -> campaign or team -> numerator and denominator."""

CHANNELS = ("email", "social", "search", "display", "affiliate")
SPAN_MS = 240_000
WOVEN = 1_000
"""Visits and tickets that go on at the same time."""


@dataclass(frozen=True)
class Shape:
    """How many different things the traffic speaks of."""

    campaigns: int = 50
    visitors: int = 100_000
    teams: int = 20


@dataclass
class Workload:
    """Traffic of one topic."""

    topic: str
    events: int
    end_ms: int
    shape: Shape = field(default_factory=Shape)
    sums: Sums = field(default_factory=dict)

    @property
    def by(self) -> str:
        """The dimension that the sums are kept by."""
        return "team" if self.topic == "tickets" else "campaign"

    def records(self) -> Iterator[Record]:
        """The events; `sums` is complete when the last one was taken."""
        return _MAKERS[self.topic](self, random.Random(7))

    def at_ms(self, number: int) -> int:
        """When an event happened."""
        return self.end_ms - SPAN_MS + number * SPAN_MS // self.events


def _clicks(work: Workload, chance: random.Random) -> Iterator[Record]:
    """4 % clicks among impressions."""
    pick, bits = chance.random, chance.getrandbits
    campaigns, visitors = work.shape.campaigns, work.shape.visitors
    shown: Counter[str] = Counter()
    clicked: Counter[str] = Counter()
    for number in range(work.events):
        campaign = f"campaign-{int(pick() * campaigns):05d}"
        visitor = f"visitor-{int(pick() * visitors):09d}"
        is_click = pick() < 0.04
        (clicked if is_click else shown)[campaign] += 1
        value = (
            f'{{"event_id":"{bits(128):032x}","type":"{"click" if is_click else "impression"}",'
            f'"timestamp":{work.at_ms(number)},"visitor_id":"{visitor}","campaign":"{campaign}",'
            f'"channel":"{CHANNELS[int(pick() * 5)]}","variant":"{"ab"[int(pick() * 2)]}"}}'
        )
        yield visitor.encode(), value.encode()
    work.sums["ctr"] = {name: (clicked[name], n) for name, n in shown.items()}


@dataclass(slots=True)
class _Visit:
    visitor: str
    campaign: str
    channel: str
    left: int
    events: int = 0
    converted: bool = False


def _sessions(work: Workload, chance: random.Random) -> Iterator[Record]:
    """Visits of one to eight interactions, a visitor each; one in 25 later ones is a conversion."""
    pick, bits = chance.random, chance.getrandbits
    visits: list[_Visit] = []
    over: list[_Visit] = []
    for number in range(work.events):
        if len(visits) < WOVEN:
            place = len(visits)
            name = f"visitor-{place + len(over):09d}"
            campaign = f"campaign-{int(pick() * work.shape.campaigns):05d}"
            visits.append(_Visit(name, campaign, CHANNELS[int(pick() * 5)], int(pick() * 8)))
        else:
            place = int(pick() * WOVEN)
        visit = visits[place]
        kind = "page_view"
        if visit.events and pick() < 0.3:
            kind = "conversion" if pick() < 0.12 else "action"
        visit.events += 1
        visit.converted |= kind == "conversion"
        value = (
            f'{{"event_id":"{bits(128):032x}","type":"{kind}","timestamp":{work.at_ms(number)},'
            f'"visitor_id":"{visit.visitor}","campaign":"{visit.campaign}",'
            f'"channel":"{visit.channel}","page":"/products/{number % 997}"}}'
        )
        yield visit.visitor.encode(), value.encode()
        if visit.events > visit.left:
            over.append(visit)
            visits[place] = visits[-1]
            visits.pop()
    _sum_visits(work, [*over, *visits])


def _sum_visits(work: Workload, visits: list[_Visit]) -> None:
    total = Counter(visit.campaign for visit in visits)
    bounced = Counter(visit.campaign for visit in visits if visit.events == 1)
    converted = Counter(visit.campaign for visit in visits if visit.converted)
    work.sums["bounce_rate"] = {name: (bounced[name], n) for name, n in total.items()}
    work.sums["conversion_rate"] = {name: (converted[name], n) for name, n in total.items()}


_LIFE = ("opened", "contact", "reassigned", "contact", "resolved", "reopened", "resolved", "closed")
_SINGLE = ("opened", "contact", "resolved", "closed")


@dataclass(slots=True)
class _Ticket:
    name: str
    team: str
    channel: str
    life: tuple[str, ...]
    done: int = 0


def _tickets(work: Workload, chance: random.Random) -> Iterator[Record]:
    """Seven in ten tickets are resolved at first contact; the others are moved and reopened."""
    pick, bits = chance.random, chance.getrandbits
    tickets: list[_Ticket] = []
    over: list[_Ticket] = []
    for number in range(work.events):
        if len(tickets) < WOVEN:
            place = len(tickets)
            team = f"team-{int(pick() * work.shape.teams):03d}"
            life = _SINGLE if pick() < 0.7 else _LIFE
            name = f"ticket-{place + len(over):09d}"
            tickets.append(_Ticket(name, team, CHANNELS[int(pick() * 5)], life))
        else:
            place = int(pick() * WOVEN)
        ticket = tickets[place]
        kind = ticket.life[ticket.done]
        ticket.done += 1
        value = (
            f'{{"event_id":"{bits(128):032x}","type":"{kind}","timestamp":{work.at_ms(number)},'
            f'"ticket_id":"{ticket.name}","team":"{ticket.team}","channel":"{ticket.channel}",'
            f'"by":"agent"}}'
        )
        yield ticket.name.encode(), value.encode()
        if ticket.done == len(ticket.life):
            over.append(ticket)
            tickets[place] = tickets[-1]
            tickets.pop()
    _sum_tickets(work, [*over, *tickets])


def _sum_tickets(work: Workload, tickets: list[_Ticket]) -> None:
    resolved = [ticket for ticket in tickets if "resolved" in ticket.life[: ticket.done]]
    reopened = [ticket for ticket in resolved if "reopened" in ticket.life[: ticket.done]]
    total = Counter(ticket.team for ticket in resolved)
    again = Counter(ticket.team for ticket in reopened)
    work.sums["fcr"] = {team: (n - again[team], n) for team, n in total.items()}


_MAKERS: dict[str, Callable[[Workload, random.Random], Iterator[Record]]] = {
    "clicks": _clicks,
    "sessions": _sessions,
    "tickets": _tickets,
}
