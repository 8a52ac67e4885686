"""A situation for each alert: what is exported while something is wrong, and before and after.

A situation is all that differs from a system in which all is well. The tests play it, and play it
again with one thing changed under which the alert must keep silent.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

Value = float | None
"""None: not exported."""
Course = Callable[["Span"], list[Value]]
"""A series' value at each step."""
Series = Mapping[str, Course]

SERVER = 'job="engagement-server",instance="a:8000"'
WORKER = 'job="engagement-worker",instance="b:6066"'
PARTITIONS = 4
TOPICS = ("clicks", "sessions", "tickets")


@dataclass(frozen=True, slots=True)
class Span:
    """Steps of some minutes in which all is well, then not, then well again."""

    before: int
    bad: int
    after: int
    step_minutes: int

    @property
    def steps(self) -> int:
        """All of them."""
        return self.before + self.bad + self.after

    def time_s(self, step: int) -> float:
        """Promtool's clock at a step."""
        return 60.0 * self.step_minutes * step


@dataclass(frozen=True, slots=True)
class Situation:
    """What is exported otherwise than when all is well; which alerts fire then, by their labels.

    `fires` has the labels that tell the alert from others of its name. `with_it` are alerts that
    fire as well. `bad` is for how many steps it is so, and `after` how many it may take to resolve.
    """

    series: Series
    fires: Mapping[str, str] = field(default_factory=dict)
    with_it: frozenset[str] = frozenset()
    bad: int = 8
    after: int = 14
    step_minutes: int = 1
    before: int = 6

    @property
    def span(self) -> Span:
        """Its steps."""
        return Span(self.before, self.bad, self.after, self.step_minutes)


def gauge(well: Value, bad: Value) -> Course:
    """One value while all is well, another while it is not."""
    return lambda span: [well] * span.before + [bad] * span.bad + [well] * span.after


def counter(well: float, bad: float) -> Course:
    """So much more at each step."""

    def course(span: Span) -> list[Value]:
        total, values = 0.0, list[Value]()
        for more in [well] * span.before + [bad] * span.bad + [well] * span.after:
            total += more
            values.append(total)
        return values

    return course


def born(value: float) -> Course:
    """A counter that is not there before it counts for the first time."""
    return lambda span: [None] * span.before + [value] * (span.bad + span.after)


def clock(span: Span) -> list[Value]:
    """A point of time that goes on with promtool's clock."""
    return [span.time_s(step) for step in range(span.steps)]


def stuck(steps_before: int) -> Course:
    """A point of time that stays where it was so long before it went wrong, until all is well."""

    def course(span: Span) -> list[Value]:
        at, end = span.before - steps_before, span.before + span.bad
        return [span.time_s(min(step, at) if step < end else step) for step in range(span.steps)]

    return course


def well() -> Series:
    """All that rules read of a system in which nothing is wrong."""
    return {
        **{f"up{{{target}}}": gauge(1, 1) for target in (SERVER, WORKER)},
        f"engagement_view_age_seconds{{{SERVER}}}": gauge(0.4, 0.4),
        f"engagement_series_dropped{{{SERVER}}}": gauge(0, 0),
        f"stream_redis_up{{{WORKER}}}": gauge(1, 1),
        f"stream_dedupe_horizon_set_seconds{{{WORKER}}}": gauge(600, 600),
        **{name: course for topic in TOPICS for name, course in _topic(topic)},
    }


def as_of(topic: str) -> str:
    """The series that says how far a topic has been counted."""
    return f'engagement_as_of_timestamp_seconds{{{SERVER},topic="{topic}"}}'


def _topic(topic: str) -> Iterator[tuple[str, Course]]:
    yield as_of(topic), clock
    for status in ("live", "recovering", "paused", "unowned"):
        there = PARTITIONS if status == "live" else 0
        yield partitions(topic, status), gauge(there, there)
    for outcome, n in (("counted", 10_000.0), ("dead_letter", 10.0), ("duplicate", 50.0)):
        yield events(topic, outcome), counter(n, n)
    yield f'stream_miskeyed_total{{{WORKER},topic="{topic}"}}', counter(0, 0)
    for name, value in (
        ("stream_lag_records", 0.0),
        ("stream_partition_paused", 0.0),
        ("stream_dedupe_horizon_seconds", 600.0),
    ):
        yield of_partition(name, topic), gauge(value, value)


def partitions(topic: str, status: str) -> str:
    """Partitions of a topic in one status."""
    return f'engagement_partitions{{{SERVER},topic="{topic}",status="{status}"}}'


def events(topic: str, outcome: str) -> str:
    """Records of a topic with one outcome."""
    return f'stream_events_total{{{WORKER},topic="{topic}",outcome="{outcome}"}}'


def of_partition(name: str, topic: str) -> str:
    """A worker's series of a topic's partition 0."""
    return f'{name}{{{WORKER},topic="{topic}",partition="0"}}'


# --- engagement ---


def group(level: str, name: str = "") -> str:
    """The labels of a level of clicks and sessions."""
    return f'level="{level}",campaign="{name}",channel="",variant=""'


def desk(level: str, team: str = "") -> str:
    """The labels of a level of tickets."""
    return f'level="{level}",channel="",team="{team}"'


ZScores = Mapping[str, float]
"""By window."""


def changed(
    metric: str, where: str, change: float, zscores: ZScores, state: str = "live"
) -> Series:
    """A metric that has changed by a part of itself."""
    found: dict[str, Course] = {}
    for window, zscore in zscores.items():
        labels = f'{SERVER},window="{window}",state="{state}",{where},metric="{metric}"'
        found[f'engagement_change_ratio{{{labels},basis="weeks"}}'] = gauge(0.01, change)
        found[f'engagement_change_zscore{{{labels},basis="weeks"}}'] = gauge(0.2, zscore)
    return found


def counted(
    name: str, where: str, window: str, well: float, bad: Value, usual: float | None = None
) -> Series:
    """A count in a window, and what is usual if that is told."""
    labels = f'{SERVER},window="{window}",state="live",{where}'
    found = {f"engagement_window_{name}{{{labels}}}": gauge(well, bad)}
    if usual is not None:
        found[f'engagement_expected_{name}{{{labels},basis="weeks"}}'] = gauge(usual, usual)
    return found


TOTAL, SPRING, AUTUMN = group("total"), group("campaign", "spring"), group("campaign", "autumn")
SHARES: Series = {
    **counted("impressions", TOTAL, "5m", 1_000, 1_000),
    **counted("impressions", SPRING, "5m", 700, 700),
    **counted("impressions", AUTUMN, "5m", 300, 300),
    **counted("sessions", TOTAL, "1h", 1_000, 1_000),
    **counted("sessions", SPRING, "1h", 700, 700),
    **counted("sessions", AUTUMN, "1h", 300, 300),
}
"""Spring has more than half of the traffic."""


def overall(metric: str, change: float, campaign_alert: str, zscores: ZScores) -> Situation:
    """A metric that has changed in total, and in the campaign that has most of the traffic."""
    series = {
        **SHARES,
        **changed(metric, TOTAL, change, zscores),
        **changed(metric, SPRING, change, zscores),
    }
    return Situation(series, {"level": "total"}, frozenset({campaign_alert}))


def of_spring(metric: str, change: float, zscores: ZScores) -> Situation:
    """A metric that has changed in one campaign."""
    return Situation(changed(metric, SPRING, change, zscores), {"campaign": "spring"})


YOUNG = Situation(
    {
        **{
            name.replace('basis="weeks"', 'basis="recent"'): course
            for name, course in changed("ctr", SPRING, -0.6, {"10m": -7, "1h": -9}).items()
        },
        f'engagement_impressions_total{{{SERVER},campaign="spring"}}': counter(500, 500),
    },
    {"campaign": "spring"},
    before=26,
    bad=3,
    after=3,
    step_minutes=60,
)
"""A campaign older than a day and younger than two weeks, fallen by more than half."""

ENGAGEMENT: Mapping[str, Situation] = {
    "CtrDropped": overall("ctr", -0.3, "CampaignCtrDropped", {"5m": -4, "10m": -6}),
    "ConversionDropped": overall(
        "conversion_rate", -0.3, "CampaignConversionDropped", {"15m": -3, "1h": -6}
    ),
    "BounceRose": overall("bounce_rate", 0.3, "CampaignBounceRose", {"5m": 4, "15m": 6}),
    "CampaignCtrDropped": of_spring("ctr", -0.3, {"5m": -4, "10m": -6}),
    "CampaignConversionDropped": of_spring("conversion_rate", -0.3, {"1h": -4, "24h": -8}),
    "CampaignBounceRose": of_spring("bounce_rate", 0.3, {"15m": 3, "1h": 6}),
    "FcrDropped": Situation(
        changed("fcr", desk("team", "billing"), -0.15, {"7d": -5}, "settled"),
        {"team": "billing"},
        after=45,
        step_minutes=10,
    ),
    "TrafficDropped": Situation(
        counted("impressions", TOTAL, "5m", 990, 300, usual=1_000), {"metric": "impressions"}
    ),
    "CampaignSilent": Situation(
        counted("impressions", SPRING, "5m", 400, None, usual=380), {"campaign": "spring"}, bad=14
    ),
    "SupportSilent": Situation(
        counted("resolved_tickets", desk("total"), "24h", 400, 10, usual=410), step_minutes=10
    ),
}


# --- the pipeline ---


def _behind(topic: str) -> Series:
    return {as_of(topic): stuck(0)}


_AUDIT = 'engagement_audit_difference{topic="clicks",partition="0",where="redis"'

PIPELINE: Mapping[str, Situation] = {
    "ViewStale": Situation(
        {f"engagement_view_age_seconds{{{SERVER}}}": gauge(0.4, 45)},
        with_it=frozenset({"InstanceDown"}),
    ),
    "PartitionUnowned": Situation(
        {partitions("clicks", "live"): gauge(4, 3), partitions("clicks", "unowned"): gauge(0, 1)},
        {"topic": "clicks", "status": "unowned"},
    ),
    "PartitionPaused": Situation(
        {of_partition("stream_partition_paused", "tickets"): gauge(0, 1)},
        {"topic": "tickets", "partition": "0"},
    ),
    "CatchUpTooSlow": Situation(_behind("sessions"), {"topic": "sessions"}, bad=12),
    "RedisAway": Situation({f"stream_redis_up{{{WORKER}}}": gauge(1, 0)}),
    "RecordsLost": Situation(
        {of_partition("stream_lost_records_total", "clicks"): born(500)},
        {"topic": "clicks"},
        after=80,
    ),
    "AuditDifference": Situation(
        {f"{_AUDIT},{WORKER}}}": gauge(0, 2)}, {"where": "redis"}, after=65
    ),
    "DeadLetters": Situation(
        {events("clicks", "dead_letter"): counter(10, 500)}, {"topic": "clicks"}, after=30
    ),
    "DedupeHorizonShort": Situation(
        {of_partition("stream_dedupe_horizon_seconds", "clicks"): gauge(600, 120)},
        {"topic": "clicks"},
        step_minutes=5,
    ),
    "Miskeyed": Situation(
        {f'stream_miskeyed_total{{{WORKER},topic="sessions"}}': counter(0, 200)},
        {"topic": "sessions"},
        after=20,
        step_minutes=10,
    ),
    "SeriesDropped": Situation(
        {f"engagement_series_dropped{{{SERVER}}}": gauge(0, 900)}, step_minutes=10
    ),
    "InstanceDown": Situation({f"up{{{WORKER}}}": gauge(1, 0)}, {"job": "engagement-worker"}),
    "RulesFailing": Situation(
        {
            'prometheus_rule_evaluation_failures_total{rule_group="x",job="prometheus"}': counter(
                0, 3
            )
        },
        {"rule_group": "x"},
    ),
}
