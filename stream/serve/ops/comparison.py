"""Comparisons: a figure against the same time of the day a week ago, or else against just before.

Both sides are judged at the same age, or the younger one would always look worse (conversions are
still to come) or better (reopenings are). A metric that has ages is read at one of them; one that
can still change and has none is compared by its settled figures; clicks are final at once.
Pure reading of the view.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from stream.core.catalogue import AGES_MS, LIVE, SETTLED, Fraction, Metric
from stream.core.change import Proportion
from stream.core.change import compare as change_of
from stream.core.durations import DAY_MS, HOUR_MS
from stream.live.baseline import age_of
from stream.live.figures import Figures
from stream.live.query import Row
from stream.live.view import View
from stream.serve.definitions import default_key, fraction_of
from stream.serve.ops.slices import Group, Sum, Sums
from stream.settings import Settings

ENOUGH = {"ctr": 200, "bounce_rate": 200, "conversion_rate": 200, "fcr": 20}
"""How many a ratio must be made of before it is shown: fewer make it jump."""


class Basis(StrEnum):
    """What a figure is compared with: the same time a week, an hour or a day before."""

    WEEK = "week"
    HOUR = "hour"
    DAY = "day"


@dataclass(frozen=True, slots=True)
class Yardstick:
    """How a metric is made comparable: its fraction, and either an age, a state, or neither."""

    metric: Metric
    fraction: Fraction
    age: str | None
    state: str

    def limit_ms(self, view: View, now_ms: int) -> int | None:
        """Where the range that can be judged so ends; None: there is none yet."""
        if self.state != LIVE:
            return view.settled_through_ms(self.metric)
        if self.age is None:
            return now_ms
        as_of_ms = view.as_of_ms(self.metric.source.topic)
        return None if as_of_ms is None else as_of_ms - AGES_MS[self.age]


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a comparison: its figures and the range that they cover."""

    row: Row
    from_ms: int
    to_ms: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two figures at the same age. `z` is None where the counts are too small to tell."""

    yardstick: Yardstick
    basis: Basis
    now: Side
    then: Side
    z: float | None

    @property
    def difference(self) -> float:
        """How much higher the figure is now."""
        return (self.now.row.value or 0.0) - (self.then.row.value or 0.0)


def yardstick(metric: Metric, settings: Settings, window_ms: int) -> Yardstick:
    """How a metric over a window is compared, under the definition that the settings choose."""
    key = default_key(metric, settings)
    fraction = fraction_of(metric, key)
    if not metric.settles:
        return Yardstick(metric, fraction, None, LIVE)
    if metric.ages and key in (None, "single"):
        age = age_of(window_ms)
        return Yardstick(metric, metric.ages[age], age, LIVE)
    return Yardstick(metric, fraction, None, SETTLED)


def compare(
    sums: Sums, rule: Yardstick, window_ms: int, by: tuple[str, ...] = ()
) -> dict[Group, Comparison]:
    """The comparison of each group that has enough on both sides."""
    view = sums.view
    limit_ms = rule.limit_ms(view, sums.now_ms)
    if limit_ms is None:
        return {}
    to_ms = view.calendar.start(view.shelf(rule.metric.source.topic).finest(limit_ms), limit_ms)
    from_ms = to_ms - window_ms
    now = sums.over(rule.metric.source, from_ms, to_ms, rule.state, by)
    found: dict[Group, Comparison] = {}
    for group in now.groups:
        for basis, bounds in _bases(view, from_ms, to_ms):
            then = sums.over(rule.metric.source, *bounds, rule.state, by)
            if comparison := _contrast(rule, basis, group, now, then):
                found[group] = comparison
                break
    return found


def _bases(view: View, from_ms: int, to_ms: int) -> Iterable[tuple[Basis, tuple[int, int]]]:
    """Ranges to compare with, best first. Of a week ago only whole hours are kept."""
    week_from_ms = view.calendar.days_before(from_ms, 7)
    week_to_ms = view.calendar.days_before(to_ms, 7) + HOUR_MS - 1
    yield Basis.WEEK, (_floor_hour(week_from_ms), _floor_hour(week_to_ms))
    if to_ms - from_ms <= HOUR_MS:
        yield Basis.HOUR, (from_ms - HOUR_MS, to_ms - HOUR_MS)
    else:
        yield Basis.DAY, (from_ms - DAY_MS, to_ms - DAY_MS)


def _floor_hour(at_ms: int) -> int:
    return at_ms - at_ms % HOUR_MS


def _contrast(
    rule: Yardstick, basis: Basis, group: Group, now: Sum, then: Sum
) -> Comparison | None:
    """One comparison; None where one side has too little."""
    figures, least = Figures(rule.metric, rule.fraction), ENOUGH[rule.metric.name]
    tallies = [figures.tally((one.groups.get(group, {}),)) for one in (now, then)]
    if min(tally.denominator for tally in tallies) < least:
        return None
    change = change_of(*(Proportion(tally.numerator, tally.denominator) for tally in tallies))
    new, old = (
        Side(figures.row(tally, {}), one.from_ms, one.to_ms)
        for tally, one in zip(tallies, (now, then), strict=True)
    )
    return Comparison(rule, basis, new, old, None if change is None else change.zscore)
