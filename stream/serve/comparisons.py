"""What is compared with the past: which metrics, over which windows, in which state and age.

Every ratio of the catalogue is: at an age where it has ages (sessions), else settled where it
settles (tickets), else live (clicks, which are counted at their own time and never change). Knows
the catalogue and the settings, no counts.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from stream.core.buckets import WINDOWS_MS
from stream.core.catalogue import (
    AGES_MS,
    CLICKS,
    LIVE,
    METRICS,
    SESSIONS,
    SETTLED,
    TICKETS,
    WINDOW_COUNTS,
    Fraction,
    Metric,
    Source,
    Unit,
    WindowCount,
)
from stream.core.durations import DAY_MS, format_duration
from stream.live.baseline import RECENT_MS, age_of
from stream.live.view import View, settling_family
from stream.live.windows import Window
from stream.serve.definitions import default_fraction
from stream.settings import Settings

ALERT_WINDOWS_MS = {CLICKS.topic: (600_000,), SESSIONS.topic: (WINDOWS_MS["15m"],)}
"""Compared whatever gauges there are: alerts need a window between 5m and 1h (see ADR 14)."""
_LONGEST_MS = {CLICKS.topic: DAY_MS, SESSIONS.topic: DAY_MS, TICKETS.topic: WINDOWS_MS["7d"]}
TRAFFIC_MS = {
    "impressions": WINDOWS_MS["1h"],
    "sessions": WINDOWS_MS["1h"],
    "resolved_tickets": DAY_MS,
}
"""Counts whose usual traffic is known, and the longest window that it is told for."""


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """One window of one source, and the metrics that are compared over it."""

    source: Source
    window_ms: int
    state: str
    age: str | None
    fractions: tuple[tuple[Metric, Fraction], ...]

    @property
    def metric(self) -> Metric:
        """Any of the metrics: they settle together."""
        return self.fractions[0][0]

    def window(self, view: View, now_ms: int) -> Window | None:
        """The window as it stands; None: nothing to be shown yet.

        At an age it ends that long before all that is recorded, so that every session in it has
        had the time.
        """
        if self.age is None:
            return view.window(self.metric, self.window_ms, self.state, now_ms)
        as_of_ms = view.as_of_ms(self.source.topic)
        if as_of_ms is None:
            return None
        limit_ms = min(as_of_ms, now_ms) - AGES_MS[self.age]
        return view.window_until(
            self.metric, self.window_ms, self.state, limit_ms, f"age-{self.age}", now_ms
        )

    def before(self, view: View, from_ms: int, now_ms: int) -> Window:
        """The 24 hours before the window."""
        name = f"before-{format_duration(self.window_ms)}"
        return view.window_until(self.metric, RECENT_MS, self.state, from_ms, name, now_ms)


@dataclass(frozen=True, slots=True)
class Traffic:
    """A count that is compared with what is usual at that time of the week."""

    count: WindowCount
    window_ms: int

    @property
    def metric(self) -> Metric:
        """The ratio whose denominator is counted."""
        return METRICS[self.count.metric]


def comparisons(source: Source, settings: Settings) -> Iterator[Comparison]:
    """The comparisons of a source: the windows of its gauges, and the one that alerts need."""
    gauges = settings.metrics_ticket_windows if source is TICKETS else settings.metrics_windows
    windows = {*gauges, *ALERT_WINDOWS_MS.get(source.topic, ())}
    for window_ms in sorted(w for w in windows if w <= _LONGEST_MS[source.topic]):
        alike: dict[_Kind, list[tuple[Metric, Fraction]]] = {}
        for metric in METRICS.values():
            if metric.source is source and metric.unit is Unit.RATIO:
                kind, fraction = _kind(metric, window_ms, settings)
                alike.setdefault(kind, []).append((metric, fraction))
        for (state, age, _), fractions in alike.items():
            yield Comparison(source, window_ms, state, age, tuple(fractions))


_Kind = tuple[str, str | None, str]
"""State, age, and the family by which it settles: what metrics of one comparison share."""


def _kind(metric: Metric, window_ms: int, settings: Settings) -> tuple[_Kind, Fraction]:
    if metric.ages:
        age = age_of(window_ms)
        return (LIVE, age, ""), metric.ages[age]
    fraction = default_fraction(metric, settings)
    if metric.settles:
        return (SETTLED, None, settling_family(metric)), fraction
    return (LIVE, None, ""), fraction


def traffic(source: Source, settings: Settings) -> Iterator[Traffic]:
    """The counts of a source that are compared, in windows that have a gauge."""
    windows = settings.metrics_ticket_windows if source is TICKETS else settings.metrics_windows
    for count in WINDOW_COUNTS:
        if count.name in TRAFFIC_MS and METRICS[count.metric].source is source:
            for window_ms in windows:
                if window_ms <= TRAFFIC_MS[count.name]:
                    yield Traffic(count, window_ms)
