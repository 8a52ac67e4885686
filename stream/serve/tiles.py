"""The rows of the live feed: every metric, in total and by campaign or team, as it stands now.

Pure reading of the view; who is told and when is `live`'s.
"""

from dataclasses import dataclass
from heapq import nsmallest

from stream.core.buckets import WINDOW_NAMES
from stream.core.catalogue import LIVE, METRICS, SOURCES, TICKETS, Metric, Source
from stream.core.durations import DAY_MS, HOUR_MS, MINUTE_MS
from stream.live.figures import Figures
from stream.live.query import Row
from stream.live.view import View
from stream.serve.active import active_sessions
from stream.serve.bodies import LiveKey, LiveRow
from stream.serve.definitions import default_fraction
from stream.serve.levels import TOTAL, Level, Rollup
from stream.settings import Settings

GROUPS = 100
"""Campaigns or teams per metric and window, those with the most traffic first."""
WINDOWS_MS = (5 * MINUTE_MS, HOUR_MS)
TICKET_WINDOWS_MS = (HOUR_MS, DAY_MS)

Key = tuple[str, str, str]
"""Metric, window, and the group's name (empty for the total)."""


@dataclass(frozen=True, slots=True)
class Tiles:
    """All rows at one moment. `truncated`: more groups have data than are listed.

    `as_of_ms` is the earliest of all metrics, None while nothing is known.
    """

    rows: dict[Key, LiveRow]
    active_sessions: int
    as_of_ms: int | None
    complete: bool
    truncated: bool


NOTHING = Tiles({}, 0, None, complete=False, truncated=False)


class TileReader:
    """Reads the view into rows, again and again.

    The same figures as the API's, but each window is added up once for all of its metrics and the
    total: asking query by query costs ten times as much where label sets are many.
    """

    def __init__(self, settings: Settings) -> None:
        self._figures = {
            metric.name: Figures(metric, default_fraction(metric, settings))
            for metric in METRICS.values()
        }
        self._rollups = {
            source.topic: Rollup(source, [_group_level(source)]) for source in SOURCES.values()
        }

    def read(self, view: View, now_ms: int) -> Tiles:
        """Every row as it stands now."""
        rows: dict[Key, LiveRow] = {}
        truncated = False
        for source in SOURCES.values():
            for window_ms in TICKET_WINDOWS_MS if source is TICKETS else WINDOWS_MS:
                truncated |= self._read_window(view, source, window_ms, now_ms, rows)
        return Tiles(
            rows,
            active_sessions=active_sessions(view, now_ms),
            as_of_ms=min(filter(None, map(view.as_of_ms, SOURCES)), default=None),
            complete=view.complete(now_ms),
            truncated=truncated,
        )

    def _read_window(
        self, view: View, source: Source, window_ms: int, now_ms: int, rows: dict[Key, LiveRow]
    ) -> bool:
        """Add the rows of one window; whether some were left out."""
        metrics = [metric for metric in METRICS.values() if metric.source is source]
        window = view.window(metrics[0], window_ms, LIVE, now_ms)
        if window is None:
            return False
        by_level = self._rollups[source.topic].counts(window.counts)
        level, name, truncated = _group_level(source), WINDOW_NAMES[window_ms], False
        for metric in metrics:
            figures = self._figures[metric.name]
            total = figures.tallies(by_level[TOTAL]).find(())
            rows[metric.name, name, ""] = _tile(metric, name, figures.row(total, {}))
            tallies = figures.tallies(by_level[level])
            many = tallies.with_data()
            for n in nsmallest(GROUPS, many, key=tallies.rank):
                (group,) = tallies.labels[n]
                row = figures.row(tallies.of(n), {level.name: group})
                rows[metric.name, name, group] = _tile(metric, name, row)
            truncated |= len(many) > GROUPS
        return truncated


def changes(before: Tiles, after: Tiles) -> tuple[list[LiveRow], list[LiveKey]]:
    """Rows that are new or different, and rows that are gone."""
    changed = [row for key, row in after.rows.items() if before.rows.get(key) != row]
    gone = [
        LiveKey(row.metric, row.window, row.labels)
        for key, row in before.rows.items()
        if key not in after.rows
    ]
    return changed, gone


def _group_level(source: Source) -> Level:
    """What a source's tiles are grouped by."""
    name = "team" if source is TICKETS else "campaign"
    return Level(name, (name,))


def _tile(metric: Metric, window: str, row: Row) -> LiveRow:
    return LiveRow(
        metric=metric.name,
        window=window,
        labels=dict(row.labels),
        value=row.value,
        numerator=row.numerator,
        denominator=row.denominator,
        low=row.low,
        high=row.high,
    )
