"""The JSON bodies of the ops room, as types. Times are RFC 3339 in UTC."""

from typing import Annotated

import msgspec

from stream.serve.bodies import Time

Basis = Annotated[str, msgspec.Meta(extra_json_schema={"enum": ["week", "hour", "day"]})]
TileUnit = Annotated[str, msgspec.Meta(extra_json_schema={"enum": ["ratio", "count"]})]
Better = Annotated[str, msgspec.Meta(extra_json_schema={"enum": ["higher", "lower"]})]


class Side(msgspec.Struct, rename={"from_": "from"}):
    """One side of a comparison. `low` and `high` are the 95 % interval of a ratio."""

    from_: Time
    to: Time
    value: float
    n: int | None
    low: float | None
    high: float | None


class Change(msgspec.Struct):
    """A figure against an earlier one, both at the same age.

    `basis`: the same time of the day a week ago, or the hour before (the day, for 24h).
    `age`: outcomes within that time of the start count; `state`: live or settled figures are
    compared. `z`: how many standard errors they are apart; null where that cannot be told.
    """

    basis: Basis
    age: str | None
    state: str
    difference: float
    z: float | None
    now: Side
    then: Side


class Spark(msgspec.Struct, rename={"from_": "from"}):
    """Points a minute apart, from `from` on; each sums the `trail_s` seconds before it.

    A point is null where there is too little. `n` has the denominators, null for counts.
    """

    from_: Time
    step_s: int
    trail_s: int | None
    age: str | None
    values: list[float | None]
    n: list[int] | None


class Tile(msgspec.Struct):
    """One figure, and all that is said of it. `value` is null where `n` is less than `needed`.

    `n` of waiting tickets is all that are open, those that wait for the customer too. `ignored`
    names filters that do not apply, since the figure lacks the dimension.
    """

    name: str
    unit: TileUnit
    better: Better | None
    window: str
    as_of: Time | None
    value: float | None
    low: float | None
    high: float | None
    n: int | None
    needed: int | None
    of: str
    ignored: list[str]
    target: float | None
    change: Change | None
    spark: Spark | None


class Team(msgspec.Struct):
    """Support figures of one team. Seconds are null where nothing was answered.

    First responses, resolutions and first-contact resolutions of 24 hours; `reopened` is the share
    of `resolved_7d`, the tickets first resolved within 7 days, that was reopened since. `waiting`
    of the `open` tickets do not wait for the customer; the oldest was opened at `oldest_opened`, as
    finely as that is kept.
    """

    team: str
    answered: int
    first_response_p50_s: float | None
    first_response_p90_s: float | None
    resolved: int
    fcr: float | None
    resolved_7d: int
    reopened: float | None
    open: int
    waiting: int
    oldest_opened: Time | None


class BoardAnswer(msgspec.Struct):
    """Answer of `/api/v1/board`: the tiles and the teams of a slice."""

    at: Time
    as_of: Time | None
    complete: bool
    build: str
    window: str
    tiles: list[Tile]
    teams: list[Team]
    truncated: bool


class Mover(msgspec.Struct):
    """One group whose figure moved, at the same age on both sides. `z` is never null here."""

    metric: str
    labels: dict[str, str]
    better: Better
    change: Change


class MoversAnswer(msgspec.Struct):
    """Answer of `/api/v1/movers`: the highest rises and the deepest falls, by z-score.

    `compared` counts the figures that had enough on both sides to be ranked.
    """

    at: Time
    as_of: Time | None
    complete: bool
    by: str
    compared: int
    up: list[Mover]
    down: list[Mover]


class Alert(msgspec.Struct):
    """One alert that fires, as Alertmanager tells it. Links lead to the web or to a path here."""

    name: str
    severity: str
    summary: str
    description: str
    since: Time | None
    labels: dict[str, str]
    runbook_url: str | None
    dashboard_url: str | None
    launch_url: str | None


AlertsState = Annotated[
    str, msgspec.Meta(extra_json_schema={"enum": ["not_set", "asking", "ok", "unreachable"]})
]


class AlertsAnswer(msgspec.Struct):
    """Answer of `/api/v1/alerts`. `state` says whether Alertmanager is known and answers.

    Where it is `unreachable`, `alerts` are those of `checked_at`, the last answer.
    """

    state: AlertsState
    checked_at: Time | None
    total: int
    alerts: list[Alert]
