"""The traffic: an endless, seeded stream of records for the three topics, in order of sending.

Pure: random numbers come from the seed, time from the caller. Who paces it, cuts it off and sends
it is the simulator's business.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from math import floor
from random import Random

from stream.demo.faults import Record, plain, records_of
from stream.demo.people import Arrival, Event, Visitor, name, ticket, visit
from stream.demo.scenarios import Scenario

LOOK_AGAIN_MS = 5_000.0
"""How often the rate is read again while nobody comes."""
VISITORS_KEPT = 5_000
RETURNING_SHARE = 0.25
ANONYMOUS_SHARE = 0.1
CALIBRATION_ARRIVALS = 2_000


@dataclass(frozen=True, slots=True)
class Plan:
    """What to make. The same plan always makes the same bytes.

    `start_ms` is the first event time. Episodes and faults begin at `live_ms`: before it (a
    backfill) all records are good and in order of event time. `rate` is good records per second of
    event time at the usual level. A ticket lives `ticket_speed` times faster than in life.
    `lateness_ms` is the lateness that the workers allow.
    """

    scenario: Scenario
    seed: int
    start_ms: int
    live_ms: int
    rate: float
    ticket_speed: float = 60.0
    lateness_ms: int = 600_000


def records(plan: Plan) -> Iterator[Record]:
    """Records without end, ordered by `at_ms`."""
    # Ids follow from the seed: with the start in it, a second run is not taken for a repetition.
    rng = Random(f"{plan.seed}/{plan.start_ms}")
    crowd = _Crowd(plan, rng)
    per_ms = plan.rate / 1000 / _events_per_arrival(plan)
    waiting: list[tuple[int, int, Record]] = []
    order, now_ms = 0, float(plan.start_ms)
    while True:
        gap_ms = rng.expovariate(per_ms * crowd.level(now_ms))
        now_ms += min(gap_ms, LOOK_AGAIN_MS)
        while waiting and waiting[0][0] <= now_ms:
            yield heappop(waiting)[2]
        if gap_ms > LOOK_AGAIN_MS:
            continue
        for event in crowd.arrive(int(now_ms)):
            for record in _sent(rng, plan, event):
                order += 1
                heappush(waiting, (record.at_ms, order, record))


def _sent(rng: Random, plan: Plan, event: Event) -> Iterator[Record]:
    if event.time_ms < plan.live_ms:
        yield plain(event)
    else:
        yield from records_of(rng, plan.scenario.faults, event, plan.lateness_ms)


def _events_per_arrival(plan: Plan) -> float:
    """How many events an arrival brings at the usual level, measured on some."""
    crowd = _Crowd(plan, Random(1))
    time_ms = plan.start_ms - 1
    count = sum(len(crowd.arrive(time_ms, -1.0)) for _ in range(CALIBRATION_ARRIVALS))
    return count / CALIBRATION_ARRIVALS


class _Crowd:
    """Who comes next: somebody who sees an advertisement, a direct visitor, or a customer."""

    def __init__(self, plan: Plan, rng: Random) -> None:
        self._plan, self._rng = plan, rng
        self._scenario = plan.scenario
        self._visitors: list[str] = []
        self._weights: tuple[int, list[float]] | None = None
        self._usual = sum(self._campaign_weights(-1.0))
        self._channel_weights = [channel.weight for channel in plan.scenario.channels]
        self._team_weights = [team.weight for team in plan.scenario.teams]

    def level(self, time_ms: float) -> float:
        """How many come, as a share of the usual, at this time of day and of the story."""
        elapsed_s = self._elapsed_s(time_ms)
        seen = sum(self._campaign_weights(elapsed_s)) / self._usual
        return self._scenario.rhythm(int(time_ms)) * seen

    def arrive(self, time_ms: int, elapsed_s: float | None = None) -> list[Event]:
        """All that the next to come will do."""
        rng, scenario = self._rng, self._scenario
        elapsed_s = self._elapsed_s(time_ms) if elapsed_s is None else elapsed_s
        tickets = scenario.ticket_share * scenario.factor("tickets", None, elapsed_s)
        lot = rng.random()
        if lot < tickets:
            team = rng.choices(scenario.teams, self._team_weights)[0]
            return ticket(rng, team, scenario.teams, time_ms, self._plan.ticket_speed)
        campaign = None
        if lot >= tickets + scenario.direct_share:
            weights = self._campaign_weights(elapsed_s)
            campaign = rng.choices(scenario.campaigns, weights)[0]
        channel = rng.choices(scenario.channels, self._channel_weights)[0]
        arrival = Arrival(time_ms, elapsed_s, self._visitor(), campaign, channel)
        return visit(rng, scenario, arrival)

    def _visitor(self) -> Visitor:
        """Somebody new, or one of those who were here before."""
        if self._visitors and self._rng.random() < RETURNING_SHARE:
            return Visitor(self._rng.choice(self._visitors), known=True)
        visitor = Visitor(name(self._rng, "v"), anonymous=self._rng.random() < ANONYMOUS_SHARE)
        if visitor.anonymous:
            return visitor
        if len(self._visitors) < VISITORS_KEPT:
            self._visitors.append(visitor.id)
        else:
            self._visitors[self._rng.randrange(VISITORS_KEPT)] = visitor.id
        return visitor

    def _campaign_weights(self, elapsed_s: float) -> list[float]:
        """How much of each campaign there is, looked at once a second."""
        second = floor(elapsed_s)
        if self._weights is None or self._weights[0] != second:
            factor, campaigns = self._scenario.factor, self._scenario.campaigns
            self._weights = second, [c.weight * factor("volume", c.name, second) for c in campaigns]
        return self._weights[1]

    def _elapsed_s(self, time_ms: float) -> float:
        return (time_ms - self._plan.live_ms) / 1000
