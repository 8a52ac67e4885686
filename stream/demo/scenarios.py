"""Scenarios: who advertises where, how people behave, and what happens to it over time, as data.

A scenario is read by the traffic generator; to tell another story is to add a record here.
Knows nothing of events, random numbers or Kafka.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import cos, pi

from stream.core.durations import DAY_MS, HOUR_MS

BUSIEST_HOUR_UTC = 19


@dataclass(frozen=True, slots=True)
class Campaign:
    """A campaign: its share of the traffic and how well it does at its usual level."""

    name: str
    weight: float
    ctr: float
    conversion: float


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel: its share, how it multiplies a campaign's CTR, and how many leave at once."""

    name: str
    weight: float
    ctr_factor: float
    bounce: float


@dataclass(frozen=True, slots=True)
class Team:
    """A support team: its share, minutes to its first answer, and how its tickets tend to end."""

    name: str
    weight: float
    answer_minutes: float
    settles_at_once: float
    reopened: float


@dataclass(frozen=True, slots=True)
class Episode:
    """Something that happens: a factor on `what` along a curve of (second, factor) points.

    Seconds count from the moment the traffic goes live; before it the first factor holds, after the
    last point the last one. With `every_s` the curve begins again. `campaign` None means all.
    `what` is `volume`, `ctr`, `conversion`, `bounce` or `tickets`.
    """

    what: str
    curve: tuple[tuple[float, float], ...]
    campaign: str | None = None
    every_s: float | None = None

    def factor(self, elapsed_s: float) -> float:
        """The factor at that time, straight lines between the points."""
        if self.every_s is not None and elapsed_s > 0:
            elapsed_s %= self.every_s
        if elapsed_s <= self.curve[0][0]:
            return self.curve[0][1]
        for (left_s, left), (right_s, right) in pairwise(self.curve):
            if elapsed_s < right_s:
                return left + (right - left) * (elapsed_s - left_s) / (right_s - left_s)
        return self.curve[-1][1]


@dataclass(frozen=True, slots=True)
class Faults:
    """How often what goes wrong goes wrong, as shares of the good records."""

    delayed: float = 0.0
    duplicated: float = 0.0
    late: float = 0.0
    bad: float = 0.0


@dataclass(frozen=True, slots=True)
class Brief:
    """What a manager says of a campaign. Seconds count from the moment the traffic goes live.

    `targets` are written as for `stream campaign set`, `notes` are (second, text).
    """

    campaign: str
    launched_s: float
    name: str
    owner: str
    targets: tuple[str, ...] = ()
    notes: tuple[tuple[float, str], ...] = ()
    channels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Scenario:
    """Everything the generator needs to know of a story.

    `history_s` is how much of it is worth sending beforehand.
    """

    name: str
    help: str
    campaigns: tuple[Campaign, ...]
    channels: tuple[Channel, ...]
    teams: tuple[Team, ...]
    episodes: tuple[Episode, ...] = ()
    faults: Faults = Faults()
    briefs: tuple[Brief, ...] = ()
    history_s: float = 900.0
    daily_swing: float = 0.35
    direct_share: float = 0.08
    ticket_share: float = 0.03
    told: Mapping[str, tuple[Episode, ...]] = field(init=False, repr=False, compare=False)
    """The episodes, by what they touch."""

    def __post_init__(self) -> None:
        touched = {episode.what for episode in self.episodes}
        told = {what: tuple(e for e in self.episodes if e.what == what) for what in touched}
        object.__setattr__(self, "told", told)

    def factor(self, what: str, campaign: str | None, elapsed_s: float) -> float:
        """The product of all episodes that touch `what` of this campaign at that time."""
        product = 1.0
        for episode in self.told.get(what, ()):
            if episode.campaign in (None, campaign):
                product *= episode.factor(elapsed_s)
        return product

    def rhythm(self, time_ms: int) -> float:
        """The share of its mean that traffic has at that time of the day (UTC)."""
        hours = time_ms % DAY_MS / HOUR_MS
        return 1 + self.daily_swing * cos((hours - BUSIEST_HOUR_UTC) * pi / 12)


CAMPAIGNS = (
    Campaign("spring", 4.0, 0.09, 0.12),
    Campaign("summer-sale", 3.0, 0.07, 0.16),
    Campaign("loyalty", 1.5, 0.14, 0.25),
    Campaign("newsletter", 1.0, 0.11, 0.08),
)
NEWCOMER = Campaign("launch", 5.0, 0.12, 0.18)
CHANNELS = (
    Channel("search", 3.0, 1.4, 0.30),
    Channel("social", 3.0, 0.9, 0.50),
    Channel("display", 2.5, 0.5, 0.60),
    Channel("email", 1.5, 1.7, 0.25),
    Channel("affiliate", 0.7, 1.0, 0.45),
)
TEAMS = (
    Team("billing", 3.0, 25, 0.75, 0.10),
    Team("technical", 2.5, 60, 0.45, 0.22),
    Team("shipping", 2.0, 35, 0.65, 0.12),
    Team("accounts", 1.0, 15, 0.85, 0.05),
)
USUAL_FAULTS = Faults(delayed=0.05, duplicated=0.004, late=0.001, bad=0.001)

_RAMP = ((0.0, 0.0), (60.0, 0.02), (180.0, 0.25), (480.0, 1.0), (900.0, 0.8))
_DIP = ((420.0, 1.0), (450.0, 0.25), (780.0, 0.25), (870.0, 1.0), (1500.0, 1.0))
_RISE = ((420.0, 1.0), (450.0, 1.7), (780.0, 1.7), (870.0, 1.0))
_LAUNCH = (Episode("volume", _RAMP, "launch"),)
_DROP = (
    Episode("ctr", _DIP, "summer-sale", every_s=1500),
    Episode("conversion", _DIP, "summer-sale", every_s=1500),
    Episode("bounce", _RISE, "summer-sale", every_s=1500),
    Episode("tickets", ((420.0, 1.0), (510.0, 2.0), (900.0, 1.0)), every_s=1500),
)

STEADY = Scenario(
    "steady", "usual traffic, usual faults", CAMPAIGNS, CHANNELS, TEAMS, (), USUAL_FAULTS
)
LAUNCH = replace(
    STEADY,
    name="launch",
    help="a new campaign comes up from nothing within eight minutes",
    campaigns=(*CAMPAIGNS, NEWCOMER),
    episodes=_LAUNCH,
)
DROP = replace(
    STEADY,
    name="drop",
    help="engagement of summer-sale drops to a quarter, seven minutes in, every 25 minutes",
    episodes=_DROP,
)
MIXED = replace(
    LAUNCH, name="mixed", help="a launch, then a drop, and so on", episodes=(*_LAUNCH, *_DROP)
)
CHAOS = replace(
    MIXED,
    name="chaos",
    help="mixed, with many delayed, repeated, late and bad records",
    faults=Faults(delayed=0.30, duplicated=0.05, late=0.01, bad=0.03),
)
CLEAN = replace(STEADY, name="clean", help="usual traffic, nothing goes wrong", faults=Faults())


def _launched(campaign: str, at_s: float, scale: float, slowness: float) -> Episode:
    """How a launch's traffic comes and goes: up in minutes, down in hours, a tail of days."""
    shape = (
        *((0, 0.3), (4, 1.0), (20, 0.8), (50, 0.55), (110, 0.36), (240, 0.22)),
        *((600, 0.12), (1440, 0.05), (2880, 0.02), (10_080, 0.0)),
    )
    points = ((at_s + 60 * minute * slowness, scale * share) for minute, share in shape)
    return Episode("volume", ((at_s - 1, 0.0), *points), campaign)


_HOUR = 3_600.0
_QUIET = (
    *((-2.5 * _HOUR - 1, 0.0015), (-2.5 * _HOUR, 0.2)),
    *((-901.0, 0.2), (-900.0, 1.0)),
)
"""Two days at full traffic would be seventeen million events; the last hours are compared with."""
_PAST = (
    (Campaign("members-day", 1.0, 0.30, 0.42), -46.5 * _HOUR, 0.10, 1.0),
    (Campaign("free-shipping", 1.0, 0.26, 0.46), -41.0 * _HOUR, 0.075, 1.3),
    (Campaign("new-season", 1.0, 0.28, 0.40), -36.0 * _HOUR, 0.13, 0.8),
    (Campaign("last-chance", 1.0, 0.32, 0.38), -31.0 * _HOUR, 0.085, 1.1),
    (Campaign("thank-you", 1.0, 0.24, 0.44), -25.5 * _HOUR, 0.11, 0.9),
)
_AUTUMN_S = -47 * 60.0
_AUTUMN = Campaign("autumn", 1.0, 0.29, 0.43)
_SAID = (
    *(("members-day", "Members’ day", "Ana"), ("free-shipping", "Free shipping", "Jonas")),
    *(("new-season", "New season", "Ana"), ("last-chance", "Last chance", "Mei")),
    ("thank-you", "Thank you", "Jonas"),
)
_BRIEFS = (
    *(
        Brief(campaign, at_s, name, owner, ("conversions=600@24h",))
        for (campaign, name, owner), (_, at_s, _, _) in zip(_SAID, _PAST, strict=True)
    ),
    *(
        Brief(campaign.name, -30 * 24 * _HOUR, campaign.name.replace("-", " ").title(), "Mei")
        for campaign in CAMPAIGNS
    ),
    Brief("launch", 0.0, "The newcomer", "Jonas"),
    Brief(
        "autumn",
        _AUTUMN_S,
        "Autumn sale",
        "Ana",
        ("conversions=650@24h", "value=120000@7d"),
        ((_AUTUMN_S + 120, "mail sent"), (_AUTUMN_S + 1_500, "on the home page")),
        ("email", "social", "search", "podcast"),
    ),
)
LAUNCHES = replace(
    MIXED,
    name="launches",
    help="mixed, two days after the first of five launches, 47 minutes into a sixth",
    campaigns=(*MIXED.campaigns, *(campaign for campaign, *_ in _PAST), _AUTUMN),
    episodes=(
        *MIXED.episodes,
        *(Episode("volume", _QUIET, campaign.name) for campaign in CAMPAIGNS),
        *(_launched(campaign.name, *when) for campaign, *when in _PAST),
        _launched("autumn", _AUTUMN_S, 0.12, 1.0),
    ),
    briefs=_BRIEFS,
    history_s=47.5 * _HOUR,
)

SCENARIOS: Mapping[str, Scenario] = {
    scenario.name: scenario for scenario in (MIXED, STEADY, LAUNCHES, LAUNCH, DROP, CHAOS, CLEAN)
}
