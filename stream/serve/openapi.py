"""The OpenAPI document: made from the types of the bodies and from the catalogue.

Knows no view: it is the same for every server of this version.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

import stream
from stream.core.buckets import STEPS, WINDOWS_MS
from stream.core.catalogue import AGES_MS, BOUNCE_RULES, FCR_CONDITIONS, METRICS
from stream.launch.axis import SPANS
from stream.serve import bodies
from stream.serve.launch import bodies as launches
from stream.serve.launch.endpoints import COMPARED_MOST, CURVES, FORMATS
from stream.serve.ops import bodies as ops
from stream.serve.ops.endpoints import BY as MOVERS_BY
from stream.serve.ops.endpoints import DEFAULT_WINDOW
from stream.serve.ops.endpoints import WINDOWS as BOARD_WINDOWS
from stream.serve.parameters import (
    DEFAULT_LIMIT,
    DEFAULT_ORDER,
    DIMENSIONS,
    MAX_LIMIT,
    ORDERS,
    STATES,
)
from stream.serve.problems import MEDIA_TYPE, Problem

Json = dict[str, Any]

_BODIES = (
    bodies.CatalogueBody,
    bodies.QueryAnswer,
    bodies.SeriesAnswer,
    bodies.ExplainAnswer,
    bodies.StatusBody,
    bodies.Health,
    bodies.Snapshot,
    bodies.Delta,
    bodies.LiveStatus,
    ops.BoardAnswer,
    ops.MoversAnswer,
    ops.AlertsAnswer,
    launches.CampaignsAnswer,
    launches.LaunchAnswer,
    Problem,
)
_REF = "#/components/schemas/{name}"
_TWO = "[0-9]{2}"
_TIME = (
    f"^[0-9]{{4}}-{_TWO}-{_TWO}[Tt ]{_TWO}:{_TWO}:{_TWO}(\\.[0-9]+)?([Zz]|[+\\- ]{_TWO}:{_TWO})$"
)
_LIVE = """\
Server-sent events. First `event: snapshot` (schema Snapshot): every row as it stands. Then, at most
once a second, `event: delta` (schema Delta) with the rows that changed and those that are gone, and
`event: status` (schema LiveStatus) whenever a partition's status changes and every two seconds.
`id` is the version of the view; a comment comes every 15 seconds. Rows are the totals (labels {})
of every metric and its largest 100 campaigns, or teams for tickets, over 5m and 1h (tickets: 1h and
24h), live and under the default definitions. A reader that leaves 3 messages unsent is dropped;
whoever connects again gets a new snapshot. When as many streams are open as are allowed, the answer
is 503 with `Retry-After`."""


class OpenApi:
    """The document, encoded once."""

    def __init__(self) -> None:
        self._content = msgspec.json.encode(document())

    async def endpoint(self, _: Request) -> Response:
        """Send the document."""
        return Response(self._content, media_type="application/json")


def document() -> Json:
    """The whole document."""
    _, schemas = msgspec.json.schema_components(_BODIES, ref_template=_REF)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Engagement metrics, live",
            "version": stream.__version__,
            "description": "Click-through, bounce, conversion and first-contact resolution.",
        },
        "paths": _paths(),
        "components": {"schemas": schemas},
    }


def _paths() -> Json:
    ranged = [_METRIC, *_RANGE, _BY, *_FILTERS, *_CHOICES, *_LISTING]
    return {
        "/api/v1/catalogue": _get("Every metric.", "CatalogueBody", problems=(422,)),
        "/api/v1/query": _get(
            "One metric over a window or a range, by groups.", "QueryAnswer", ranged, (422,)
        ),
        "/api/v1/series": _get(
            "The same in steps. At most 11,000 rows.", "SeriesAnswer", [*ranged, _STEP], (422,)
        ),
        "/api/v1/explain": _get(
            "What stands behind one figure.",
            "ExplainAnswer",
            [_METRIC, *_RANGE, *_FILTERS, *_CHOICES],
            (422,),
        ),
        "/api/v1/status": _get("How far each partition is.", "StatusBody", problems=(422,)),
        "/api/v1/board": _get(
            "The tiles and support teams of the ops room.",
            "BoardAnswer",
            [_BOARD_WINDOW, *_FILTERS],
            (422,),
        ),
        "/api/v1/movers": _get(
            "Whose figures of the last hour moved the most.",
            "MoversAnswer",
            [_MOVERS_BY, *_FILTERS],
            (422,),
        ),
        "/api/v1/alerts": _get("The alerts that fire now.", "AlertsAnswer", problems=(422,)),
        "/api/v1/campaigns": _get(
            "Every campaign, and when it was launched.", "CampaignsAnswer", problems=(422,)
        ),
        "/api/v1/launch/{campaign}": _launch(),
        "/api/v1/live": _text("The live feed.", "text/event-stream", _LIVE, (422, 503)),
        "/metrics": _text("Prometheus text or OpenMetrics, by Accept.", "text/plain", ""),
        "/healthz": _get("The process works.", "Health"),
        "/readyz": _get("Redis answers.", "Health", problems=(503,)),
    }


def _get(
    summary: str, schema: str, parameters: Sequence[Json] = (), problems: Sequence[int] = ()
) -> Json:
    content = {"application/json": {"schema": {"$ref": _REF.format(name=schema)}}}
    return _operation(summary, "", content, parameters, problems)


def _text(summary: str, media_type: str, description: str, problems: Sequence[int] = ()) -> Json:
    content = {media_type: {"schema": {"type": "string"}}}
    if media_type == "text/plain":
        content["application/openmetrics-text"] = {"schema": {"type": "string"}}
    return _operation(summary, description, content, (), problems)


def _launch() -> Json:
    content = {
        "application/json": {"schema": {"$ref": _REF.format(name="LaunchAnswer")}},
        "text/csv": {"schema": {"type": "string"}},
    }
    summary = "The first week of a launch, beside earlier ones, and where it leads."
    return _operation(summary, "", content, [_CAMPAIGN, *_LAUNCH], (404, 422))


def _operation(
    summary: str,
    description: str,
    content: Json,
    parameters: Sequence[Json],
    problems: Sequence[int],
) -> Json:
    problem = {MEDIA_TYPE: {"schema": {"$ref": _REF.format(name="Problem")}}}
    responses: Json = {"200": {"description": "The answer.", "content": content}}
    for status in problems:
        responses[str(status)] = {"description": _WHY[status], "content": problem}
    operation = {"summary": summary, "parameters": list(parameters), "responses": responses}
    return {"get": operation | ({"description": description} if description else {})}


_WHY = {
    404: "There is none.",
    422: "A parameter is wrong, missing or unknown; `param` names it.",
    503: "Not now.",
}


def _parameter(name: str, text: str, schema: Json, required: bool = False, **more: Any) -> Json:
    return {
        "name": name,
        "in": "query",
        "description": text,
        "required": required,
        "schema": schema,
        **more,
    }


def _one_of(choices: Sequence[str], default: str | None = None) -> Json:
    return {"type": "string", "enum": list(choices)} | ({"default": default} if default else {})


_METRIC = _parameter("metric", "What is asked for.", _one_of(list(METRICS)), required=True)
_RANGE = (
    _parameter(
        "window",
        "A window that ends now. Either this, or `from` and `to`.",
        _one_of(list(WINDOWS_MS)),
    ),
    _parameter("from", "Start, inclusive.", {"type": "string", "pattern": _TIME}),
    _parameter("to", "End, exclusive.", {"type": "string", "pattern": _TIME}),
)
_BY = _parameter(
    "by",
    "Dimensions to group by; those that the metric has.",
    {"type": "array", "items": _one_of(DIMENSIONS), "uniqueItems": True, "minItems": 1},
    style="form",
    explode=False,
)
_FILTERS = tuple(
    _parameter(
        name,
        f"Only this {name}; may be repeated.",
        {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "string",
                "minLength": 1,
                "maxLength": 128,
                "pattern": r"^[^\x00-\x1f\x7f-\x9f]+$",
            },
        },
        style="form",
        explode=True,
    )
    for name in DIMENSIONS
)
_CHOICES = (
    _parameter("state", "Settled values are final; ctr has none.", _one_of(STATES, "live")),
    _parameter("bounce", "Bounce rule, for bounce_rate.", _one_of(list(BOUNCE_RULES))),
    _parameter(
        "fcr",
        f"Conditions, for fcr: a list of {', '.join(FCR_CONDITIONS)}; empty or `none` for none.",
        {
            "type": "string",
            "pattern": r"^(none|(({0})(,({0}))*)?)$".format("|".join(FCR_CONDITIONS)),
        },
    ),
    _parameter(
        "age",
        "Outcomes as they stood at this age: conversion_rate, and bounce_rate under `single`.",
        _one_of(list(AGES_MS)),
    ),
)
_LISTING = (
    _parameter(
        "limit",
        "Groups at most.",
        {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
    ),
    _parameter(
        "order", "What groups are sorted by; `-`: downwards.", _one_of(ORDERS, DEFAULT_ORDER)
    ),
)
_BOARD_WINDOW = _parameter(
    "window",
    "The window of the figures; that of tickets is 24h at least.",
    _one_of(BOARD_WINDOWS, DEFAULT_WINDOW),
)
_MOVERS_BY = _parameter("by", "What is compared.", _one_of(MOVERS_BY, MOVERS_BY[0]))
_MINUTE = (
    f"^[0-9]{{4}}-{_TWO}-{_TWO}[Tt]{_TWO}:{_TWO}(:{_TWO}(\\.[0-9]+)?)?([Zz]|[+\\- ]{_TWO}:{_TWO})$"
)
_CAMPAIGN = {
    "name": "campaign",
    "in": "path",
    "description": "As its events name it.",
    "required": True,
    "schema": {"type": "string", "minLength": 1, "maxLength": 128},
}
_LAUNCH = (
    _parameter(
        "at",
        "A moment of the past to look at; without it, now.",
        {"type": "string", "pattern": _MINUTE},
    ),
    _parameter(
        "compare",
        "Launches to compare with, as campaign or campaign@time; without it the last five before "
        "it, empty for none.",
        {"type": "array", "items": {"type": "string"}, "maxItems": COMPARED_MOST},
        style="form",
        explode=True,
    ),
    _parameter("span", "How much of it; without it, what fits its age.", _one_of(list(SPANS))),
    _parameter("curve", "All since the launch, or step by step.", _one_of(CURVES, CURVES[0])),
    _parameter("format", "JSON, or a sheet.", _one_of(FORMATS, FORMATS[0])),
)
_STEP = _parameter("step", "Width of a step.", _one_of(list(STEPS)), required=True)
