"""Sparklines: how a figure stood at each of the last 60 minutes. Pure reading of the view.

Each point sums the same length of time before it, so that a line shows what changed and not how few
happened within one minute. All points are judged at one age: the line of a metric with ages ends
that long ago, for what is younger would look worse than it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from stream.core.catalogue import LIVE, TICKETS, Metric
from stream.core.durations import DAY_MS, MINUTE_MS
from stream.live.figures import Figures
from stream.serve.definitions import default_fraction
from stream.serve.ops.comparison import ENOUGH, yardstick
from stream.serve.ops.slices import Sums
from stream.settings import Settings

POINTS = 60
TRAIL_MS = 5 * MINUTE_MS
TICKET_TRAIL_MS = DAY_MS
"""What each point sums: tickets are few, and their figures those of a day."""
DIGITS = 6
AGED_AS_MS = 15 * MINUTE_MS
"""Sessions are judged at the age that goes with a window of this length: a few minutes."""


@dataclass(frozen=True, slots=True)
class Spark:
    """Points a minute apart; the first lies at `from_ms`. None where there is too little."""

    from_ms: int
    trail_ms: int
    age: str | None
    values: Sequence[float | None]
    counts: Sequence[int]


def last_minutes(now_ms: int) -> int:
    """Where the first of the points that end with the last whole minute lies."""
    return now_ms - now_ms % MINUTE_MS - (POINTS - 1) * MINUTE_MS


def ratio_spark(sums: Sums, metric: Metric, settings: Settings) -> Spark:
    """The line of a ratio: at an age where it has one, else as it stands now."""
    trail_ms = TICKET_TRAIL_MS if metric.source is TICKETS else TRAIL_MS
    rule = yardstick(metric, settings, AGED_AS_MS)
    fraction, limit_ms = default_fraction(metric, settings), None
    if rule.state == LIVE:
        fraction, limit_ms = rule.fraction, rule.limit_ms(sums.view, sums.now_ms)
    end_ms = sums.now_ms if limit_ms is None else limit_ms  # nothing known: nothing to leave out
    from_ms = last_minutes(sums.now_ms)
    points = _trailing(sums, Figures(metric, fraction), from_ms, trail_ms)
    least = max(1, ENOUGH[metric.name] // 10)
    known = [from_ms + i * MINUTE_MS <= end_ms for i in range(POINTS)]
    return Spark(
        from_ms,
        trail_ms,
        rule.age,
        [
            round(above / below, DIGITS) if k and below >= least else None
            for (above, below), k in zip(points, known, strict=True)
        ],
        [below if k else 0 for (_, below), k in zip(points, known, strict=True)],
    )


def _trailing(sums: Sums, figures: Figures, from_ms: int, trail_ms: int) -> list[tuple[int, int]]:
    """Numerator and denominator of the time before each point: a minute comes, one goes."""
    source, reach_ms = figures.metric.source, (POINTS - 1) * MINUTE_MS
    came = sums.minutes(source, from_ms, from_ms + reach_ms)
    went = sums.minutes(source, from_ms - trail_ms, from_ms - trail_ms + reach_ms)
    now = figures.tally(sums.over(source, from_ms - trail_ms, from_ms).groups.values())
    points = [(now.numerator, now.denominator)]
    for at_ms in range(from_ms, from_ms + reach_ms, MINUTE_MS):
        plus = figures.tally((came.get(at_ms, {}),))
        minus = figures.tally((went.get(at_ms - trail_ms, {}),))
        now.numerator += plus.numerator - minus.numerator
        now.denominator += plus.denominator - minus.denominator
        points.append((now.numerator, now.denominator))
    return points
