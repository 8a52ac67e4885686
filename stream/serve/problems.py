"""Refusals as `application/problem+json` (RFC 9457), with the parameter that is to blame."""

from http import HTTPStatus

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"


class Problem(msgspec.Struct, omit_defaults=True):
    """Body of every answer that is not a success."""

    title: str
    status: int
    detail: str
    param: str | None = None
    """The query parameter that is wrong, missing or unknown."""


class ParameterError(Exception):
    """A query parameter that cannot be answered; becomes a 422 that names it."""

    def __init__(self, param: str, detail: str) -> None:
        super().__init__(detail)
        self.param = param
        self.detail = detail


def respond(
    status: int, detail: str, param: str | None = None, headers: dict[str, str] | None = None
) -> Response:
    """The response that tells a problem."""
    body = Problem(HTTPStatus(status).phrase, status, detail, param)
    return Response(msgspec.json.encode(body), status, headers, MEDIA_TYPE)


async def on_parameter_error(_: Request, error: Exception) -> Response:
    """Answer a wrong parameter."""
    if not isinstance(error, ParameterError):
        raise error
    return respond(422, error.detail, error.param)


async def on_http_error(request: Request, error: Exception) -> Response:
    """Answer a wrong path or method."""
    if not isinstance(error, HTTPException):
        raise error
    detail = {
        404: "there is nothing at this path; /openapi.json lists what there is",
        405: f"{request.method} is not possible here",
    }.get(error.status_code, error.detail)
    return respond(error.status_code, detail, headers=dict(error.headers or {}))


async def on_fault(_: Request, __: Exception) -> Response:
    """Answer a fault of ours; the log has the rest."""
    return respond(500, "the server failed to answer; its log says why")
