"""Windowed gauges: which there are, and their samples from the groups of a window.

A reading is one source's groups in one window and state; metrics that settle at different times
have readings of their own. Knows the catalogue; knows neither the cap nor HTTP.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from stream.core.buckets import WINDOW_NAMES
from stream.core.catalogue import (
    LIVE,
    METRICS,
    SETTLED,
    SOURCES,
    TICKETS,
    WINDOW_COUNTS,
    Metric,
    Source,
    WindowCount,
)
from stream.live.figures import Figures, Tally
from stream.live.view import settling_family
from stream.serve.definitions import default_fraction
from stream.serve.exposition import Family, Sample, label_text
from stream.serve.levels import TOTAL, Groups, LabelTexts, Level
from stream.settings import Settings

Samples = dict[str, list[Sample]]
"""Samples by the name of their family."""


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """What is read together: one window and state of metrics of one source."""

    source: Source
    metrics: tuple[Metric, ...]
    window_ms: int
    state: str


@dataclass(frozen=True, slots=True)
class Plan:
    """How one metric becomes samples: its own gauge, its quantiles, the counts beside it."""

    metric: Metric
    figures: Figures
    counts: tuple[WindowCount, ...]
    quantiles: tuple[str, ...]

    @property
    def width(self) -> int:
        """Samples of one group at most."""
        return 1 + len(self.counts) + len(self.quantiles)


class Gauges:
    """All windowed gauges under the settings' definitions and windows."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._texts = {source.topic: LabelTexts(source) for source in SOURCES.values()}
        self._plans = {metric.name: _plan(metric, settings) for metric in METRICS.values()}

    def readings(self) -> Iterator[Reading]:
        """Everything that is to be read, in order."""
        for source in SOURCES.values():
            metrics = [metric for metric in METRICS.values() if metric.source is source]
            for window_ms in self.windows_of(source):
                yield Reading(source, tuple(metrics), window_ms, LIVE)
                for family in dict.fromkeys(settling_family(m) for m in metrics if m.settles):
                    settling = (m for m in metrics if m.settles and settling_family(m) == family)
                    yield Reading(source, tuple(settling), window_ms, SETTLED)

    def windows_of(self, source: Source) -> tuple[int, ...]:
        """The windows of a source's gauges."""
        if source is TICKETS:
            return self._settings.metrics_ticket_windows
        return self._settings.metrics_windows

    def width(self, reading: Reading) -> int:
        """Samples of one group of a reading at most."""
        return sum(self._plans[metric.name].width for metric in reading.metrics)

    def add(self, samples: Samples, reading: Reading, groups: Mapping[Level, Groups]) -> None:
        """Append the samples of a reading."""
        pairs = (("window", WINDOW_NAMES[reading.window_ms]), ("state", reading.state))
        head, texts = label_text(pairs) + ",", self._texts[reading.source.topic]
        plans = [self._plans[metric.name] for metric in reading.metrics]
        for level, by_group in groups.items():
            for group, values in by_group.items():
                labels = head + texts.of(level, group)
                for plan in plans:
                    tally = plan.figures.tally((values,))
                    if level is TOTAL or not tally.empty:
                        _append(samples, plan, tally, labels)

    def families(self, samples: Samples) -> Iterator[Family]:
        """The samples under their names, in the catalogue's order."""
        for name, text in self._names():
            if samples.get(name):
                yield Family(name, "gauge", text, samples[name])

    def _names(self) -> Iterator[tuple[str, str]]:
        for plan in self._plans.values():
            metric = plan.metric
            yield metric.gauge, metric.help
            for name, word in zip(plan.quantiles, ("Median", "90th percentile"), strict=False):
                yield name, f"{word} of: {metric.help}"
        for count in WINDOW_COUNTS:
            yield _count_name(count), count.help


def _plan(metric: Metric, settings: Settings) -> Plan:
    stem = metric.gauge.removesuffix("_mean_seconds")
    return Plan(
        metric,
        Figures(metric, default_fraction(metric, settings)),
        tuple(count for count in WINDOW_COUNTS if count.metric == metric.name),
        (f"{stem}_p50_seconds", f"{stem}_p90_seconds") if metric.sketch else (),
    )


def _append(samples: Samples, plan: Plan, tally: Tally, labels: str) -> None:
    metric = plan.metric
    if tally.denominator:
        value = tally.numerator / metric.divisor / tally.denominator
        samples.setdefault(metric.gauge, []).append(("", labels, value))
    for count in plan.counts:
        n = tally.numerator if count.part == "numerator" else tally.denominator
        samples.setdefault(_count_name(count), []).append(("", labels, n))
    if plan.quantiles:
        quantiles = plan.figures.row(tally, {}).quantiles
        found: Sequence[float | None] = (quantiles.p50, quantiles.p90) if quantiles else ()
        for name, value_or_none in zip(plan.quantiles, found, strict=False):
            if value_or_none is not None:
                samples.setdefault(name, []).append(("", labels, value_or_none))


def _count_name(count: WindowCount) -> str:
    return f"engagement_window_{count.name}"
