"""Made-up traffic by the minute: a daily and weekly rhythm, and noise beyond that of coins.

Each campaign's volume and rates follow the same rhythm. On it lie, as factors: the day's mood (a
campaign's own), a slow wander within the day, bursts, and for each minute a beta-binomial draw, so
that what people do within one minute goes together. All of it is drawn at once as arrays of shape
(minutes, campaigns). Knows nothing of views or alerts.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Rng = np.random.Generator

MINUTE_MS, DAY_MINUTES = 60_000, 1_440
MONDAY_MS = 1_759_708_800_000
"""2025-10-06, a Monday, 0:00 UTC: simulated time begins here."""
TEAMS = ("billing", "technical", "shipping", "accounts")
TICKETS_A_MINUTE = 0.1
AGES = ("1m", "5m", "15m", "30m")
CONVERTED_BY = (0.15, 0.55, 0.8, 0.9)
ENGAGED_BY = (0.7, 0.93, 0.98, 1.0)
"""Shares of all conversions, and of all second interactions, that come within each age."""


@dataclass(frozen=True, slots=True)
class Campaign:
    """How many impressions a minute on average, and what becomes of them.

    It runs from `from_minute` on.
    """

    name: str
    impressions: float
    ctr: float
    conversion: float
    bounce: float
    from_minute: int = 0


@dataclass(frozen=True, slots=True)
class Noise:
    """How much traffic differs from its rhythm. Standard deviations are of logarithms.

    `day`: of a whole day's rates; `wander`: of the rates within a day, which forget after
    `wander_minutes`; `within`: correlation within a minute (0: each click is a coin of its own);
    `volume`: of a minute's impressions, half of it slow; `bursts`: a day, each of three times the
    volume for five minutes.
    """

    day: float = 0.02
    wander: float = 0.02
    wander_minutes: float = 60.0
    within: float = 0.0002
    volume: float = 0.2
    bursts: float = 1.0

    def times(self, factor: float) -> "Noise":
        """The same, so many times as strong."""
        return replace(
            self,
            day=self.day * factor,
            wander=self.wander * factor,
            within=self.within * factor**2,
            volume=self.volume * factor,
        )


@dataclass(frozen=True, slots=True)
class Drop:
    """From a minute on, rates are multiplied by these."""

    minute: int
    ctr: float = 1.0
    conversion: float = 1.0
    engaged: float = 1.0
    volume: float = 1.0


@dataclass(frozen=True, slots=True)
class Traffic:
    """What happened, by minute and campaign; tickets by minute and team.

    `converted` and `engaged` are by age, in order.
    """

    impressions: Counts
    clicks: Counts
    sessions: Counts
    converted: Sequence[Counts]
    engaged: Sequence[Counts]
    resolved: Counts
    first_contact: Counts


def fifty(rng: Rng) -> list[Campaign]:
    """Fifty campaigns: a few large ones, many small ones, each with rates of its own."""
    volumes = 3_000.0 / np.arange(1, 51) ** 0.9
    return [
        Campaign(
            f"campaign-{i:02}",
            float(volume),
            ctr=float(rng.uniform(0.01, 0.1)),
            conversion=float(rng.uniform(0.02, 0.12)),
            bounce=float(rng.uniform(0.3, 0.6)),
        )
        for i, volume in enumerate(volumes)
    ]


def generate(
    rng: Rng,
    campaigns: Sequence[Campaign],
    minutes: int,
    noise: Noise,
    drop: Drop | None = None,
) -> Traffic:
    """Traffic from MONDAY_MS on."""
    at = np.arange(minutes)
    shape = minutes, len(campaigns)
    runs = at[:, None] >= np.array([c.from_minute for c in campaigns])
    mean = np.array([c.impressions for c in campaigns]) * _volume(rng, shape, noise)
    mean *= rhythm(at)[:, None] * runs * _after(at, drop, "volume")
    impressions = rng.poisson(mean)

    def rates(of: str, fall: str, swing: float) -> Floats:
        usual = np.array([getattr(c, of) for c in campaigns])
        daily = 1 + swing * np.cos((at / DAY_MINUTES - 0.8) * 2 * np.pi)[:, None]
        drawn = usual * daily * _mood(rng, shape, noise) * _after(at, drop, fall)
        return np.clip(drawn, 1e-6, 0.98)

    clicks = _draw(rng, impressions, rates("ctr", "ctr", 0.12), noise)
    sessions = rng.binomial(clicks, 0.95)
    converted = _draw(rng, sessions, rates("conversion", "conversion", 0.15), noise)
    stays = 1 - rates("bounce", "", 0.05)
    engaged = _draw(rng, sessions, stays * _after(at, drop, "engaged"), noise)
    desk = minutes, len(TEAMS)
    resolved = rng.poisson(TICKETS_A_MINUTE * rhythm(at)[:, None] * _volume(rng, desk, noise))
    first_contact = _draw(rng, resolved, 0.7 * _mood(rng, desk, noise), noise)
    return Traffic(
        impressions,
        clicks,
        sessions,
        _by_age(rng, converted, CONVERTED_BY),
        _by_age(rng, engaged, ENGAGED_BY),
        resolved,
        first_contact,
    )


def rhythm(minute: NDArray[np.int_]) -> Floats:
    """Traffic at a minute as a part of the mean: busiest at 19:00, weekends at 70 %."""
    hours = minute / 60
    day = 1 + 0.6 * np.cos((hours - 19) * np.pi / 12) + 0.15 * np.cos((hours - 12) * np.pi / 6)
    weekend = (minute // DAY_MINUTES) % 7 >= 5
    return np.asarray(day * np.where(weekend, 0.7, 1.0))


def _after(at: NDArray[np.int_], drop: Drop | None, what: str) -> Floats:
    factor = getattr(drop, what) if drop is not None and what else 1.0
    since = drop.minute if drop is not None else 0
    return np.where(at >= since, factor, 1.0)[:, None]


def _mood(rng: Rng, shape: tuple[int, int], noise: Noise) -> Floats:
    """The factor of the day and of the slow wander on a rate."""
    days = -(-shape[0] // DAY_MINUTES)
    day = np.repeat(rng.normal(0, noise.day, (days, shape[1])), DAY_MINUTES, axis=0)[: shape[0]]
    return np.asarray(np.exp(day + _wander(rng, shape, noise.wander, noise.wander_minutes)))


def _volume(rng: Rng, shape: tuple[int, int], noise: Noise) -> Floats:
    part = noise.volume / np.sqrt(2)
    factor = np.exp(_wander(rng, shape, part, 30) + rng.normal(0, part, shape))
    begun = rng.random(shape) < noise.bursts / DAY_MINUTES
    bursting = np.maximum.reduce([np.roll(begun, n, axis=0) for n in range(5)])
    return np.asarray(np.where(bursting, 3.0, 1.0) * factor)


def _wander(rng: Rng, shape: tuple[int, int], sd: float, minutes: float) -> Floats:
    """An Ornstein-Uhlenbeck walk for each column."""
    keep = np.exp(-1 / minutes)
    steps = rng.normal(0, sd * np.sqrt(1 - keep**2), shape)
    steps[0] = rng.normal(0, sd, shape[1])
    for i in range(1, shape[0]):
        steps[i] += keep * steps[i - 1]
    return steps


def _draw(rng: Rng, trials: Counts, rates: Floats, noise: Noise) -> Counts:
    """Beta-binomial: the rate of each minute is drawn first."""
    if noise.within:
        size = 1 / noise.within - 1
        rates = rng.beta(rates * size, (1 - rates) * size)
    return rng.binomial(trials, rates)


def _by_age(rng: Rng, happened: Counts, shares: Sequence[float]) -> list[Counts]:
    """How many of what happened came within each age: parts of parts, oldest first."""
    within: list[Counts] = []
    for share, later in zip(reversed(shares), (1.0, *reversed(shares)), strict=False):
        happened = rng.binomial(happened, share / later)
        within.insert(0, happened)
    return within
