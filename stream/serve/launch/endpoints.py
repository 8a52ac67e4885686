"""The endpoints of the launch view: parameters in, the teller asked, bodies out.

An answer is kept as long as neither the view nor the book has moved: many may watch one launch.
"""

from collections import OrderedDict
from collections.abc import Callable
from urllib.parse import quote

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from stream.core.campaigns import check_name, parse_instant
from stream.core.catalogue import METRICS, NOT_SET, OTHER
from stream.launch.answer import Ask, UnknownCampaignError, UnknownLaunchError
from stream.launch.axis import SPANS
from stream.launch.cells import campaigns_of
from stream.launch.teller import Teller
from stream.live.launch_book import LaunchBook
from stream.live.view import View
from stream.serve.api import NO_STORE
from stream.serve.definitions import default_fraction
from stream.serve.given import Given, Pairs
from stream.serve.launch.sheet import MEDIA_TYPE, sheet_of
from stream.serve.launch.translation import campaigns_body, launch_body
from stream.serve.parameters import refuse_parameters
from stream.serve.problems import ParameterError, respond
from stream.settings import Settings

CURVES = ("cumulative", "per_minute")
FORMATS = ("json", "csv")
PARAMETERS = ("at", "span", "curve", "format")
COMPARED_MOST = 10
_KEPT = 64


class LaunchView:
    """The endpoints. `clock` gives the wall clock in milliseconds."""

    def __init__(
        self, view: View, book: LaunchBook, settings: Settings, clock: Callable[[], int]
    ) -> None:
        self._view, self._book, self._clock = view, book, clock
        bounce = default_fraction(METRICS["bounce_rate"], settings)
        self._teller = Teller(view, book, bounce)
        self._kept: OrderedDict[tuple[object, ...], tuple[tuple[int, int], bytes]] = OrderedDict()

    def routes(self) -> list[Route]:
        """Where the endpoints are."""
        return [
            Route("/api/v1/campaigns", self.campaigns),
            Route("/api/v1/launch/{campaign:path}", self.launch),
        ]

    async def campaigns(self, request: Request) -> Response:
        """Every campaign."""
        refuse_parameters(request.query_params.multi_items())

        def make() -> bytes:
            names = (self._book.names() | campaigns_of(self._view)) - {NOT_SET, OTHER}
            complete = self._view.complete(self._clock())
            return msgspec.json.encode(campaigns_body(self._book, names, complete))

        return _send(self._keep(("campaigns",), make), "application/json")

    async def launch(self, request: Request) -> Response:
        """One launch, as JSON or as a sheet."""
        now_ms = self._clock()
        ask, kind = read_ask(
            request.path_params["campaign"], request.query_params.multi_items(), now_ms
        )
        try:
            content = self._keep((ask, kind), lambda: self._make(ask, kind, now_ms))
        except UnknownLaunchError as error:
            raise ParameterError("compare", str(error)) from None
        except UnknownCampaignError as error:
            return respond(404, str(error), headers=NO_STORE)
        if kind == "json":
            return _send(content, "application/json")
        name = quote(f"{ask.campaign}.csv", safe="")
        return _send(content, MEDIA_TYPE, f"attachment; filename*=UTF-8''{name}")

    def _make(self, ask: Ask, kind: str, now_ms: int) -> bytes:
        body = launch_body(self._teller.tell(ask, now_ms))
        return msgspec.json.encode(body) if kind == "json" else sheet_of(body).encode()

    def _keep(self, question: tuple[object, ...], make: Callable[[], bytes]) -> bytes:
        stands = self._view.version, self._book.version
        held = self._kept.get(question)
        if held is None or held[0] != stands:
            held = self._kept[question] = stands, make()
        self._kept.move_to_end(question)
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return held[1]


def read_ask(campaign: str, pairs: Pairs, now_ms: int) -> tuple[Ask, str]:
    """The question, and the format it is answered in. Raises ParameterError."""
    given = Given(pairs, PARAMETERS, ("compare",))
    at_ms = given.parsed("at", _moment) if "at" in given else None
    if at_ms is not None and at_ms > now_ms:
        raise ParameterError("at", "lies in the future; a moment of the past can be looked at")
    compare = tuple(map(_launch, filter(None, given.every("compare"))))
    if len(compare) > COMPARED_MOST:
        raise ParameterError("compare", f"names more than {COMPARED_MOST} launches")
    ask = Ask(
        campaign=campaign,
        at_ms=at_ms,
        compare=compare if "compare" in given else None,
        span=given.choice("span", SPANS) if "span" in given else None,
        stepwise=given.choice("curve", CURVES, CURVES[0]) == CURVES[1],
    )
    return ask, given.choice("format", FORMATS, FORMATS[0])


def _moment(text: str) -> int:
    # A query string turns the + of an offset into a space.
    return parse_instant(text.strip().replace(" ", "+"))


def _launch(text: str) -> tuple[str, int | None]:
    """`spring` or `spring@2026-03-01T09:00Z`"""
    name, at, when = text.rpartition("@")
    try:
        if at:
            return name, _moment(when)
    except ValueError:
        pass  # a campaign with an @ in its name
    try:
        return check_name("campaign", text), None
    except ValueError as error:
        raise ParameterError("compare", str(error)) from None


def _send(content: bytes, media_type: str, disposition: str | None = None) -> Response:
    headers = NO_STORE | ({"Content-Disposition": disposition} if disposition else {})
    return Response(content, headers=headers, media_type=media_type)
