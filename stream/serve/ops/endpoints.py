"""The endpoints of the ops room: parameters in, readers asked, bodies out.

Many screens ask every second, most of them the same: what was read is kept, for each question, as
long as nothing can have changed.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from stream.core.buckets import WINDOWS_MS
from stream.live.view import View
from stream.serve.api import NO_STORE, as_json
from stream.serve.given import Given
from stream.serve.ops.alerts import AlertWatch
from stream.serve.ops.board import BoardReader, Slow
from stream.serve.ops.movers import MoversReader
from stream.serve.ops.samples import Samples
from stream.serve.ops.slices import Slice
from stream.serve.parameters import DIMENSIONS, read_filters, refuse_parameters
from stream.settings import Settings

WINDOWS = ("5m", "15m", "1h", "24h")
DEFAULT_WINDOW = "1h"
BY = ("campaign", "channel", "variant")
"""What movers may be grouped by."""
SLOW_MS = 5_000
TICK_MS = 250
MOST_KEPT = 500


T = TypeVar("T")
Question = tuple[Hashable, ...]


class Kept(Generic[T]):
    """What was read, by question; those asked longest ago leave."""

    def __init__(self) -> None:
        self._held: OrderedDict[Question, T] = OrderedDict()

    def get(self, question: Question, still_true: Callable[[T], bool], read: Callable[[], T]) -> T:
        """What was read for a question if it is still true, else what is read now."""
        held = self._held.get(question)
        if held is None or not still_true(held):
            held = self._held[question] = read()
        self._held.move_to_end(question)
        if len(self._held) > MOST_KEPT:
            self._held.popitem(last=False)
        return held


@dataclass(frozen=True, slots=True)
class Encoded:
    """An answer as bytes, and when it was read."""

    read_ms: int
    content: bytes


class OpsRoom:
    """The endpoints and what runs behind them. `clock` gives the wall clock in milliseconds."""

    def __init__(
        self, view: View, settings: Settings, clock: Callable[[], int], build: str
    ) -> None:
        self._view = view
        self._clock = clock
        self._samples = Samples(view, clock)
        self._alerts = AlertWatch(settings.alertmanager, clock)
        self._boards = BoardReader(view, self._samples, settings, build)
        self._movers = MoversReader(view, settings)
        self._slow: Kept[Slow] = Kept()
        self._encoded: Kept[Encoded] = Kept()

    def routes(self) -> list[Route]:
        """Where the endpoints are."""
        return [
            Route("/api/v1/board", self.board),
            Route("/api/v1/movers", self.movers),
            Route("/api/v1/alerts", self.alerts),
        ]

    async def run(self) -> None:
        """Take samples and ask Alertmanager, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._samples.run(), name="samples")
            tasks.create_task(self._alerts.run(), name="alertmanager")

    async def board(self, request: Request) -> Response:
        """The tiles and teams of a slice."""
        given = Given(request.query_params.multi_items(), ("window",), DIMENSIONS)
        window_ms = WINDOWS_MS[given.choice("window", WINDOWS, DEFAULT_WINDOW)]
        part = _slice(given)

        def read(now_ms: int) -> msgspec.Struct:
            slow = self._slow.get(
                (part, window_ms),
                lambda held: 0 <= now_ms - held.read_ms < SLOW_MS,
                lambda: self._boards.read_slow(part, window_ms, now_ms),
            )
            return self._boards.read(part, window_ms, slow, now_ms)

        return self._answer(("board", part, window_ms), TICK_MS, read)

    async def movers(self, request: Request) -> Response:
        """Whose figures moved the most."""
        given = Given(request.query_params.multi_items(), ("by",), DIMENSIONS)
        by, part = given.choice("by", BY, BY[0]), _slice(given)
        return self._answer(
            ("movers", part, by), SLOW_MS, lambda now_ms: self._movers.read(part, by, now_ms)
        )

    async def alerts(self, request: Request) -> Response:
        """The alerts that fire now."""
        refuse_parameters(request.query_params.multi_items())
        return as_json(self._alerts.answer)

    def _answer(
        self, question: Question, keep_ms: int, read: Callable[[int], msgspec.Struct]
    ) -> Response:
        """An answer of now, or one of at most `keep_ms` ago."""
        now_ms = self._clock()
        encoded = self._encoded.get(
            question,
            lambda held: 0 <= now_ms - held.read_ms < keep_ms,
            lambda: Encoded(now_ms, msgspec.json.encode(read(now_ms))),
        )
        return Response(encoded.content, headers=NO_STORE, media_type="application/json")


def _slice(given: Given) -> Slice:
    return Slice(tuple(sorted(read_filters(given).items())))
