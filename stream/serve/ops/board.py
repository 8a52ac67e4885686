"""The board: the tiles and support teams of one slice of the traffic, as they stand now.

Pure reading of the view and of the samples. What changes slowly (comparisons, sparklines) is read
again every few seconds only; figures are read anew each time.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stream.core.buckets import WINDOW_NAMES
from stream.core.catalogue import LIVE, METRICS, SESSIONS, SOURCES, TICKETS, Metric, Source
from stream.core.durations import DAY_MS, HOUR_MS, MINUTE_MS
from stream.live.figures import Figures
from stream.live.view import View
from stream.serve.active import ACTIVE
from stream.serve.answers import time_or_null
from stream.serve.definitions import default_fraction
from stream.serve.ops import bodies
from stream.serve.ops.comparison import ENOUGH, Basis, Comparison, Side, compare, yardstick
from stream.serve.ops.samples import Samples
from stream.serve.ops.slices import Slice, Sums
from stream.serve.ops.sparks import POINTS, Spark, last_minutes, ratio_spark
from stream.serve.ops.teams import read_teams
from stream.serve.times import format_time
from stream.settings import Settings

RATIOS = ("ctr", "bounce_rate", "conversion_rate", "fcr")
ACTIVE_WINDOW_MS = 300_000
BETTER = {
    "ctr": "higher",
    "bounce_rate": "lower",
    "conversion_rate": "higher",
    "fcr": "higher",
    "tickets_waiting": "lower",
}
"""Which way a figure should go; more sessions are neither good nor bad."""
ENOUGH_COUNTED = 40
"""Sessions on both sides together, before a change of their number is told."""


@dataclass(frozen=True, slots=True)
class Slow:
    """What of a board changes slowly: comparisons and lines by metric, and when they were read."""

    read_ms: int
    changes: Mapping[str, Comparison]
    sparks: Mapping[str, Spark]


class BoardReader:
    """Reads boards, again and again."""

    def __init__(self, view: View, samples: Samples, settings: Settings, build: str) -> None:
        self._view = view
        self._samples = samples
        self._settings = settings
        self._build = build
        self._figures = {
            name: Figures(METRICS[name], default_fraction(METRICS[name], settings))
            for name in RATIOS
        }

    def read_slow(self, part: Slice, window_ms: int, now_ms: int) -> Slow:
        """Comparisons and sparklines of the ratios."""
        sums = Sums(self._view, part, now_ms)
        changes, sparks = {}, {}
        for metric in (METRICS[name] for name in RATIOS):
            span = _window_ms(metric, window_ms)
            rule = yardstick(metric, self._settings, span)
            if comparison := compare(sums, rule, span).get(()):
                changes[metric.name] = comparison
            sparks[metric.name] = ratio_spark(sums, metric, self._settings)
        return Slow(now_ms, changes, sparks)

    def read(self, part: Slice, window_ms: int, slow: Slow, now_ms: int) -> bodies.BoardAnswer:
        """The whole board."""
        view, sums = self._view, Sums(self._view, part, now_ms)
        ratios = [self._ratio(name, sums, window_ms, slow) for name in RATIOS]
        teams, truncated = read_teams(sums, self._settings)
        return bodies.BoardAnswer(
            at=format_time(now_ms),
            as_of=time_or_null(min(filter(None, map(view.as_of_ms, SOURCES)), default=None)),
            complete=view.complete(now_ms),
            build=self._build,
            window=WINDOW_NAMES[window_ms],
            tiles=[self._active(sums), *ratios, self._waiting(sums)],
            teams=teams,
            truncated=truncated,
        )

    def _ratio(self, name: str, sums: Sums, window_ms: int, slow: Slow) -> bodies.Tile:
        metric, figures = METRICS[name], self._figures[name]
        span = _window_ms(metric, window_ms)
        row = figures.row(figures.tally(sums.now(metric, span).groups.values()), {})
        enough = row.denominator >= ENOUGH[name]
        comparison = slow.changes.get(name)
        return self._tile(
            name,
            metric.source,
            sums,
            unit="ratio",
            window=WINDOW_NAMES[span],
            value=row.value if enough else None,
            low=row.low if enough else None,
            high=row.high if enough else None,
            n=row.denominator,
            needed=ENOUGH[name],
            of=metric.shown[1],
            change=change_body(comparison) if comparison and enough else None,
            spark=_spark_body(slow.sparks[name]),
        )

    def _active(self, sums: Sums) -> bodies.Tile:
        now = sums.now(METRICS["conversion_rate"], ACTIVE_WINDOW_MS).groups.get((), {})
        window = WINDOW_NAMES[ACTIVE_WINDOW_MS]
        return self._count("active_sessions", SESSIONS, sums, now.get(ACTIVE, 0), window)

    def _waiting(self, sums: Sums) -> bodies.Tile:
        [backlog] = self._view.backlog(sums.now_ms, filters=sums.part.of(TICKETS))
        waiting = backlog.open - backlog.awaiting
        tile = self._count("tickets_waiting", TICKETS, sums, waiting, "")
        tile.n = backlog.open
        return tile

    def _count(self, name: str, source: Source, sums: Sums, count: int, window: str) -> bodies.Tile:
        """A tile of what is so now, with the server's own samples of what was."""
        known = self._samples.counts(source, sums.part)
        minute_ms = sums.now_ms - sums.now_ms % MINUTE_MS
        return self._tile(
            name,
            source,
            sums,
            unit="count",
            window=window,
            value=None if self._view.as_of_ms(source.topic) is None else count,
            of=source.topic,
            change=_count_change(count, minute_ms, known),
            spark=_count_spark(last_minutes(sums.now_ms), known),
        )

    def _tile(self, name: str, source: Source, sums: Sums, **more: Any) -> bodies.Tile:
        """A tile with what holds for all of them filled in."""
        absent: dict[str, Any] = dict.fromkeys(("low", "high", "n", "needed", "change", "spark"))
        return bodies.Tile(
            name=name,
            better=BETTER.get(name),
            as_of=time_or_null(self._view.as_of_ms(source.topic)),
            ignored=sums.part.ignored(source),
            target=self._settings.targets.get(name),
            **{**absent, **more},
        )


def change_body(comparison: Comparison) -> bodies.Change:
    """A comparison as JSON has it."""
    return bodies.Change(
        basis=comparison.basis,
        age=comparison.yardstick.age,
        state=comparison.yardstick.state,
        difference=comparison.difference,
        z=comparison.z,
        now=_side(comparison.now),
        then=_side(comparison.then),
    )


def _side(side: Side) -> bodies.Side:
    row = side.row
    return bodies.Side(
        format_time(side.from_ms),
        format_time(side.to_ms),
        row.value or 0.0,
        row.denominator,
        row.low,
        row.high,
    )


def _spark_body(spark: Spark) -> bodies.Spark:
    return bodies.Spark(
        format_time(spark.from_ms),
        MINUTE_MS // 1000,
        spark.trail_ms // 1000,
        spark.age,
        list(spark.values),
        list(spark.counts),
    )


def _count_change(value: int, minute_ms: int, known: Mapping[int, int]) -> bodies.Change | None:
    """A count against the one an hour before; None where nobody counted then, or too few."""
    then_ms = minute_ms - HOUR_MS
    before = known.get(then_ms)
    if not before or value + before < ENOUGH_COUNTED:
        return None
    sides = [
        bodies.Side(format_time(at_ms), format_time(at_ms), float(n), None, None, None)
        for at_ms, n in ((minute_ms, value), (then_ms, before))
    ]
    z = (value - before) / math.sqrt(value + before)
    return bodies.Change(Basis.HOUR, None, LIVE, float(value - before), z, *sides)


def _count_spark(from_ms: int, known: Mapping[int, int]) -> bodies.Spark:
    places = [from_ms + i * MINUTE_MS for i in range(POINTS)]
    values = [float(known[at_ms]) if at_ms in known else None for at_ms in places]
    return bodies.Spark(format_time(from_ms), MINUTE_MS // 1000, None, None, values, None)


def _window_ms(metric: Metric, window_ms: int) -> int:
    """The window that a metric is shown over: that of tickets is a day at least."""
    return max(window_ms, DAY_MS) if metric.source is TICKETS else window_ms
