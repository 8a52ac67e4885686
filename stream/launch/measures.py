"""What is drawn of a launch: counts and rates, as they stood at a moment, or step by step."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from stream.core.catalogue import BOUNCE_RULES, Fraction
from stream.launch.axis import WEEK, Floats, Ints
from stream.launch.profile import AGES, Profile

MICROS = 1_000_000
YOUNG_AGE, OLD_AGE = "5m", "30m"
"""At which age outcomes are read minute by minute, and in longer steps."""
FEW, FEW_IN_STEP = 20, 5
"""A rate of fewer says nothing and is not drawn: since the launch, and of one step."""


@dataclass(frozen=True, slots=True)
class Measure:
    """A count, or the ratio of two; `unit` is count, money or ratio."""

    name: str
    unit: str


COUNTS = tuple(Measure(n, "count") for n in ("impressions", "clicks", "sessions", "conversions"))
VALUE = Measure("value", "money")
RATIOS = tuple(Measure(name, "ratio") for name in ("ctr", "bounce_rate", "conversion_rate"))
MEASURES = {m.name: m for m in (*COUNTS, VALUE, *RATIOS)}


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads measures out of profiles, under one bounce rule."""

    bounce: Fraction = BOUNCE_RULES["single"]

    def stood(self, profile: Profile, measure: str, at: Floats) -> Floats:
        """A measure of all since the launch, as it stood at each moment; NaN: no value."""
        if measure == "ctr":
            return _ratio(profile.counted("clicks", at), profile.counted("impressions", at))
        if measure == "conversion_rate":
            return _ratio(profile.stood("converted", at), profile.counted("sessions", at))
        if measure == "bounce_rate":
            return self._bounced(profile, at)
        if measure == "conversions":
            return profile.stood("converted", at)
        if measure == "value":
            return profile.stood("value", at) / MICROS
        return profile.counted(measure, at)

    def stepwise(self, profile: Profile, measure: str, grid: Ints, wings: int = 0) -> Floats:
        """A measure of each step by itself; counts are those of a minute.

        With `wings` so many minutes on both sides of a step are taken in. Outcomes of a ratio are
        read at one age, so that the last minutes do not seem to fail.
        """
        values = np.full(len(grid), np.nan)
        from_, to = np.maximum(0, grid[:-1] - wings), np.minimum(WEEK, grid[1:] + wings)
        if measure in (m.name for m in (*COUNTS, VALUE)):
            begun, ended = (self.stood(profile, measure, at.astype(float)) for at in (from_, to))
            values[:-1] = (ended - begun) / (to - from_)
            return values
        above, below, age = self._cohort(measure, int(grid[1] - grid[0]))
        top, bottom = (_between(each(profile), from_, to) for each in (above, below))
        ratio = _ratio(top, bottom, FEW_IN_STEP)
        values[:-1] = np.where(to + age <= profile.known, ratio, np.nan)
        return values

    def age(self, step: int) -> str:
        """At which age the outcomes of steps of so many minutes are read."""
        return YOUNG_AGE if step < AGES[OLD_AGE] // 3 else OLD_AGE

    def _bounced(self, profile: Profile, at: Floats) -> Floats:
        if self.bounce == BOUNCE_RULES["single"]:
            sessions = profile.counted("sessions", at)
            return _ratio(sessions - profile.stood("engaged", at), sessions)
        above, below = (
            sum(profile.counted(name, at) for name in side)
            for side in (self.bounce.numerator, self.bounce.denominator)
        )
        return _ratio(np.asarray(above), np.asarray(below))

    def _cohort(
        self, measure: str, step: int
    ) -> tuple[Callable[[Profile], Floats], Callable[[Profile], Floats], int]:
        age = self.age(step)
        if measure == "ctr":
            return _field("clicks"), _field("impressions"), 0
        if measure == "conversion_rate":
            return _field(f"converted_within_{age}"), _field("sessions"), AGES[age]
        if self.bounce == BOUNCE_RULES["single"]:
            return _bounced_within(age), _field("sessions"), AGES[age]
        return _fields(self.bounce.numerator), _fields(self.bounce.denominator), AGES[age]


def _field(name: str) -> Callable[[Profile], Floats]:
    return lambda profile: profile.sums[name]


def _fields(names: tuple[str, ...]) -> Callable[[Profile], Floats]:
    return lambda profile: np.asarray(sum(profile.sums[name] for name in names))


def _bounced_within(age: str) -> Callable[[Profile], Floats]:
    return lambda profile: profile.sums["sessions"] - profile.sums[f"engaged_within_{age}"]


def _between(values: Floats, from_: Ints, to: Ints) -> Floats:
    ends = np.concatenate(([0.0], np.cumsum(values)))
    sums: Floats = ends[to] - ends[from_]
    return sums


def _ratio(above: Floats, below: Floats, least: int = FEW) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio: Floats = np.where(below >= least, above / below, np.nan)
    return ratio
