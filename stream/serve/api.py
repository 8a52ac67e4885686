"""The JSON endpoints: parameters in, the view asked, bodies out."""

from collections.abc import Awaitable, Callable

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from stream.live.query import TooManyRowsError
from stream.live.view import View
from stream.serve import bodies
from stream.serve.answers import catalogue_body, explain_body, query_body, series_body, status_body
from stream.serve.parameters import read_explain, read_query, read_series, refuse_parameters
from stream.serve.problems import ParameterError, respond
from stream.settings import Settings

NO_STORE = {"Cache-Control": "no-store"}


class Api:
    """Endpoints over one view.

    `clock` gives the wall clock in milliseconds, `store_answers` whether Redis answers.
    """

    def __init__(
        self,
        view: View,
        settings: Settings,
        clock: Callable[[], int],
        store_answers: Callable[[], Awaitable[bool]],
    ) -> None:
        self._view = view
        self._settings = settings
        self._clock = clock
        self._store_answers = store_answers
        self._catalogue = msgspec.json.encode(catalogue_body())

    def routes(self) -> list[Route]:
        """Where the endpoints are."""
        return [
            Route("/api/v1/catalogue", self.catalogue),
            Route("/api/v1/query", self.query),
            Route("/api/v1/series", self.series),
            Route("/api/v1/explain", self.explain),
            Route("/api/v1/status", self.status),
            Route("/healthz", self.healthz),
            Route("/readyz", self.readyz),
        ]

    async def catalogue(self, request: Request) -> Response:
        """Every metric."""
        refuse_parameters(request.query_params.multi_items())
        return Response(self._catalogue, headers=NO_STORE, media_type="application/json")

    async def query(self, request: Request) -> Response:
        """One metric over a range, by groups."""
        query = read_query(request.query_params.multi_items(), self._settings)
        return as_json(query_body(self._view.query(query, self._clock())))

    async def series(self, request: Request) -> Response:
        """One metric over a range, by groups and steps."""
        query, step = read_series(request.query_params.multi_items(), self._settings)
        try:
            return as_json(series_body(self._view.series(query, step, self._clock()), step))
        except TooManyRowsError as error:
            raise ParameterError("step", str(error)) from None

    async def explain(self, request: Request) -> Response:
        """What stands behind one figure."""
        query = read_explain(request.query_params.multi_items(), self._settings)
        return as_json(explain_body(self._view.explain(query, self._clock())))

    async def status(self, request: Request) -> Response:
        """How far each partition is."""
        refuse_parameters(request.query_params.multi_items())
        return as_json(status_body(self._view.status(self._clock())))

    async def healthz(self, _: Request) -> Response:
        """The process works."""
        return as_json(bodies.Health("ok"))

    async def readyz(self, _: Request) -> Response:
        """Redis answers; workers do not matter here."""
        if await self._store_answers():
            return as_json(bodies.Health("ok"))
        return respond(503, "Redis does not answer", headers=NO_STORE)


def as_json(body: msgspec.Struct) -> Response:
    """A body that must not be kept: it is true now."""
    return Response(msgspec.json.encode(body), headers=NO_STORE, media_type="application/json")
