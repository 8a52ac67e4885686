"""Support figures by team: what was answered, resolved and reopened. Pure reading of the view."""

from stream.core.catalogue import METRICS, TICKETS
from stream.core.cells import Values
from stream.core.durations import DAY_MS
from stream.live.backlog import Backlog
from stream.live.figures import Figures
from stream.live.query import Row
from stream.serve.answers import time_or_null
from stream.serve.definitions import default_fraction
from stream.serve.ops import bodies
from stream.serve.ops.slices import Sums
from stream.settings import Settings

WEEK_MS = 7 * DAY_MS
MOST = 100
"""Teams listed, those with the most tickets first."""
_BY = ("team",)
_RESPONSE, _FCR = METRICS["first_response_time"], METRICS["fcr"]


def read_teams(sums: Sums, settings: Settings) -> tuple[list[bodies.Team], bool]:
    """A row for each team that has had tickets within a week; whether some are left out."""
    day = sums.now(_FCR, DAY_MS, _BY).groups
    week = sums.now(_FCR, WEEK_MS, _BY).groups
    rows = sums.view.backlog(sums.now_ms, _BY, sums.part.of(TICKETS))
    waiting = {row.labels["team"]: row for row in rows}
    names = {name for (name,) in week} | waiting.keys()
    teams = [
        _team(name, day.get((name,), {}), week.get((name,), {}), waiting.get(name), settings)
        for name in names
    ]
    teams = [team for team in teams if team.open or team.answered or team.resolved_7d]
    teams.sort(key=lambda team: (-team.waiting, -team.resolved_7d, team.team))
    return teams[:MOST], len(teams) > MOST


def _team(
    name: str, day: Values, week: Values, backlog: Backlog | None, settings: Settings
) -> bodies.Team:
    response = _row(Figures(_RESPONSE, _RESPONSE.fraction), day)
    resolved = _row(Figures(_FCR, default_fraction(_FCR, settings)), day)
    stayed = _row(Figures(_FCR, _FCR.definitions["none"]), week)
    quantiles = response.quantiles
    return bodies.Team(
        team=name,
        answered=response.denominator,
        first_response_p50_s=quantiles.p50 if quantiles else None,
        first_response_p90_s=quantiles.p90 if quantiles else None,
        resolved=resolved.denominator,
        fcr=resolved.value,
        resolved_7d=stayed.denominator,
        reopened=None if stayed.value is None else 1 - stayed.value,
        open=backlog.open if backlog else 0,
        waiting=backlog.open - backlog.awaiting if backlog else 0,
        oldest_opened=time_or_null(backlog.oldest_opened_ms if backlog else None),
    )


def _row(figures: Figures, values: Values) -> Row:
    return figures.row(figures.tally((values,)), {})
