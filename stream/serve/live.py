"""Server-sent events: what listeners are told, and when.

One reader of the view serves all listeners: every message is encoded once, the snapshot that a
listener begins with too, as long as it holds. Knows no metric.
"""

import asyncio
import contextlib
from collections.abc import Callable

import msgspec
import structlog
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from stream.live.view import View
from stream.serve.answers import status_body, time_or_null
from stream.serve.audience import Audience, Listener
from stream.serve.bodies import Delta, LiveKey, LiveRow, LiveStatus, Snapshot
from stream.serve.parameters import refuse_parameters
from stream.serve.problems import respond
from stream.serve.tiles import NOTHING, TileReader, changes
from stream.serve.times import format_time
from stream.settings import Settings

log = structlog.get_logger(__name__)

PERIOD_S = 1.0
"""Deltas come at most so often."""
STATUS_EVERY_MS = 2_000
"""A status comes at least so often, so that a reader knows how fresh the figures are."""
COMMENT_EVERY_S = 15
NO_STORE = {"Cache-Control": "no-store"}
RETRY = {**NO_STORE, "Retry-After": "5"}


class Hub:
    """All listeners of the live feed. `clock` gives the wall clock in milliseconds."""

    def __init__(
        self, view: View, settings: Settings, clock: Callable[[], int], build: str = ""
    ) -> None:
        self._view = view
        self._reader = TileReader(settings)
        self._clock = clock
        self._build = build
        self.audience = Audience(settings.live_clients)
        self._opening: bytes | None = None
        self._tiles = NOTHING
        self._read_ms = 0
        self._version = -1
        self._status_ms = 0
        self._statuses: list[str] = []

    @property
    def listeners(self) -> int:
        """How many streams are open."""
        return len(self.audience)

    async def run(self) -> None:
        """Tell listeners what changes, at most once a second, until cancelled."""
        while True:
            await self.audience.somebody.wait()
            with contextlib.suppress(TimeoutError):  # nothing changed: a status may be due
                async with asyncio.timeout(PERIOD_S):
                    await self._view.changed(self._version)
            try:
                self._refresh(self._clock())
            except Exception:  # a fault in one reading must not end the feed
                log.exception("live_feed_failed")
            await asyncio.sleep(PERIOD_S)

    def close(self) -> None:
        """End every stream; new ones are refused."""
        self.audience.close()

    async def endpoint(self, request: Request) -> Response:
        """Open a stream: a snapshot first, then what changes."""
        refuse_parameters(request.query_params.multi_items())
        if request.method == "HEAD":
            return Response(media_type="text/event-stream", headers=NO_STORE)
        if not self.audience.admits():
            return respond(503, "no more live streams can be opened here", headers=RETRY)
        return LiveResponse(self)

    def join(self) -> Listener:
        """Add a listener; its first message is a snapshot, which the next delta follows on."""
        now_ms = self._clock()
        if now_ms - self._read_ms >= PERIOD_S * 1000:
            self._refresh(now_ms)
        if self._opening is None:
            self._opening = self._encode("snapshot", self._snapshot(now_ms))
        return self.audience.join(self._opening)

    def _refresh(self, now_ms: int) -> None:
        self._version, self._opening = self._view.version, None
        before, after = self._tiles, self._reader.read(self._view, now_ms)
        self._tiles, self._read_ms = after, now_ms
        rows, gone = changes(before, after)
        if rows or gone or before.active_sessions != after.active_sessions:
            self.audience.tell(self._encode("delta", self._delta(rows, gone, now_ms)))
        status = self._status(now_ms)
        statuses = [partition.status for partition in status.partitions]
        if statuses != self._statuses or now_ms - self._status_ms >= STATUS_EVERY_MS:
            self._statuses, self._status_ms = statuses, now_ms
            self.audience.tell(self._encode("status", status))

    def _encode(self, event: str, body: msgspec.Struct) -> bytes:
        data = msgspec.json.encode(body)
        return b"event: %b\nid: %d\ndata: %b\n\n" % (event.encode(), self._view.version, data)

    def _snapshot(self, now_ms: int) -> Snapshot:
        tiles = self._tiles
        return Snapshot(
            at=format_time(now_ms),
            as_of=time_or_null(tiles.as_of_ms),
            complete=tiles.complete,
            truncated=tiles.truncated,
            active_sessions=tiles.active_sessions,
            rows=list(tiles.rows.values()),
            status=status_body(self._view.status(now_ms)),
            build=self._build,
        )

    def _delta(self, rows: list[LiveRow], gone: list[LiveKey], now_ms: int) -> Delta:
        return Delta(
            at=format_time(now_ms),
            as_of=time_or_null(self._tiles.as_of_ms),
            complete=self._tiles.complete,
            active_sessions=self._tiles.active_sessions,
            rows=rows,
            gone=gone,
        )

    def _status(self, now_ms: int) -> LiveStatus:
        body = status_body(self._view.status(now_ms))
        return LiveStatus(
            ready=body.ready,
            view_age_s=body.view_age_s,
            definition_id=body.definition_id,
            partitions=body.partitions,
            at=format_time(now_ms),
            as_of=time_or_null(self._tiles.as_of_ms),
            complete=self._tiles.complete,
            build=self._build,
        )


class LiveResponse(EventSourceResponse):
    """The stream of one listener, for as long as it keeps up."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        super().__init__(
            iter(()),
            ping=COMMENT_EVERY_S,
            sep="\n",
            ping_message_factory=lambda: ServerSentEvent(comment="still here", sep="\n"),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Join, stream until either side ends it, leave."""
        listener = self._hub.join()
        self.body_iterator = listener.messages()
        try:
            with listener.scope:
                await super().__call__(scope, receive, send)
        finally:
            self._hub.audience.leave(listener)
