"""The rows of the live feed: every metric, in total and by campaign or team, as it stands now.

Pure reading of the view; who is told and when is `live`'s.
"""

from dataclasses import dataclass

from stream.core.buckets import WINDOW_NAMES
from stream.core.catalogue import METRICS, TICKETS, Metric
from stream.live.query import Answer, Query, Row
from stream.live.view import View
from stream.serve.active import active_sessions
from stream.serve.bodies import LiveKey, LiveRow
from stream.serve.definitions import default_fraction
from stream.settings import Settings

GROUPS = 100
"""Campaigns or teams per metric and window, those with the most traffic first."""
_MINUTES_5, _HOUR, _DAY = 300_000, 3_600_000, 86_400_000
WINDOWS_MS = (_MINUTES_5, _HOUR)
TICKET_WINDOWS_MS = (_HOUR, _DAY)

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


def read_tiles(view: View, settings: Settings, now_ms: int) -> Tiles:
    """Ask the view for every row."""
    rows: dict[Key, LiveRow] = {}
    answers: list[Answer] = []
    for metric in METRICS.values():
        fraction = default_fraction(metric, settings)
        for window_ms in TICKET_WINDOWS_MS if metric.source is TICKETS else WINDOWS_MS:
            window = WINDOW_NAMES[window_ms]
            for by in ((), (group_of(metric),)):
                query = Query(metric, fraction, window_ms, by=by, limit=GROUPS)
                answer = view.query(query, now_ms)
                answers.append(answer)
                for row in answer.rows:
                    name = "".join(row.labels.values())
                    rows[metric.name, window, name] = _tile(metric, window, row)
    return Tiles(
        rows,
        active_sessions=active_sessions(view, now_ms),
        as_of_ms=min((a.as_of_ms for a in answers if a.as_of_ms is not None), default=None),
        complete=all(answer.complete for answer in answers),
        truncated=any(answer.truncated for answer in answers),
    )


def changes(before: Tiles, after: Tiles) -> tuple[list[LiveRow], list[LiveKey]]:
    """Rows that are new or different, and rows that are gone."""
    changed = [row for key, row in after.rows.items() if before.rows.get(key) != row]
    gone = [
        LiveKey(row.metric, row.window, row.labels)
        for key, row in before.rows.items()
        if key not in after.rows
    ]
    return changed, gone


def group_of(metric: Metric) -> str:
    """The dimension that a metric's tiles are grouped by."""
    return "team" if metric.source is TICKETS else "campaign"


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
