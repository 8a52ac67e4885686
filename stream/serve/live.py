"""Server-sent events: who listens, what they have been told, and who is too slow.

One reader of the view serves all listeners: every message is encoded once. Knows no metric.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import msgspec
import structlog
from anyio import CancelScope
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from stream.live.view import View
from stream.serve.answers import status_body, time_or_null
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
MAX_UNSENT = 3
MAX_LISTENERS = 1_000
RETRY = {"Retry-After": "5", "Cache-Control": "no-store"}


class Listener:
    """One open stream: messages that wait to be sent, and the means to drop it."""

    def __init__(self) -> None:
        self.unsent: asyncio.Queue[bytes | None] = asyncio.Queue(MAX_UNSENT)
        self.scope = CancelScope()

    def offer(self, message: bytes | None) -> bool:
        """Queue a message (None: the end); False if too many wait already."""
        try:
            self.unsent.put_nowait(message)
        except asyncio.QueueFull:
            self.scope.cancel()
            return False
        return True

    async def messages(self) -> AsyncIterator[bytes]:
        """Yield messages as they come, until the end."""
        while (message := await self.unsent.get()) is not None:
            yield message


class Hub:
    """All listeners of the live feed. `clock` gives the wall clock in milliseconds."""

    def __init__(
        self, view: View, settings: Settings, clock: Callable[[], int], build: str = ""
    ) -> None:
        self._view = view
        self._reader = TileReader(settings)
        self._clock = clock
        self._build = build
        self._listeners: set[Listener] = set()
        self._arrived = asyncio.Event()
        self._closed = False
        self._tiles = NOTHING
        self._read_ms = 0
        self._version = -1
        self._status_ms = 0
        self._statuses: list[str] = []

    @property
    def listeners(self) -> int:
        """How many streams are open."""
        return len(self._listeners)

    async def run(self) -> None:
        """Tell listeners what changes, at most once a second, until cancelled."""
        while True:
            await self._arrived.wait()
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
        self._closed = True
        for listener in list(self._listeners):
            listener.offer(None)

    async def endpoint(self, request: Request) -> Response:
        """Open a stream: a snapshot first, then what changes."""
        refuse_parameters(request.query_params.multi_items())
        if self._closed or len(self._listeners) >= MAX_LISTENERS:
            return respond(503, "no more live streams can be opened here", headers=RETRY)
        return LiveResponse(self)

    def join(self) -> Listener:
        """Add a listener; its first message is a snapshot, which the next delta follows on."""
        now_ms = self._clock()
        if now_ms - self._read_ms >= PERIOD_S * 1000:
            self._refresh(now_ms)
        listener = Listener()
        listener.offer(self._encode("snapshot", self._snapshot(now_ms)))
        self._listeners.add(listener)
        self._arrived.set()
        return listener

    def leave(self, listener: Listener) -> None:
        """Forget a listener."""
        self._listeners.discard(listener)
        if not self._listeners:
            self._arrived.clear()

    def _refresh(self, now_ms: int) -> None:
        self._version = self._view.version
        before, after = self._tiles, self._reader.read(self._view, now_ms)
        self._tiles, self._read_ms = after, now_ms
        rows, gone = changes(before, after)
        if rows or gone or before.active_sessions != after.active_sessions:
            self._tell("delta", self._delta(rows, gone, now_ms))
        status = self._status(now_ms)
        statuses = [partition.status for partition in status.partitions]
        if statuses != self._statuses or now_ms - self._status_ms >= STATUS_EVERY_MS:
            self._statuses, self._status_ms = statuses, now_ms
            self._tell("status", status)

    def _tell(self, event: str, body: msgspec.Struct) -> None:
        message = self._encode(event, body)
        for listener in list(self._listeners):
            if not listener.offer(message):
                self.leave(listener)
                log.info("live_listener_dropped", unsent=MAX_UNSENT)

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
            self._hub.leave(listener)
