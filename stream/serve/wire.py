"""Connections that do not wait for ever: whoever asks and then does not read is hung up on.

Without this, what a client leaves unread would stay in memory, and its connection open, for as long
as the client lives, even after its stream has been ended. Knows nothing of what is sent.
"""

import asyncio
from collections.abc import Iterator
from typing import ClassVar

import structlog
from uvicorn.protocols.http.h11_impl import H11Protocol

from stream.serve.exposition import Family

log = structlog.get_logger(__name__)

PATIENCE_S = 15.0
LEAST_BYTES = 16_384
"""So much has to be taken within `PATIENCE_S`, or all that is left of an answer."""


class Wire:
    """Makes the connections of one server, and counts those that it cut."""

    def __init__(self) -> None:
        self.cut = 0

    def protocol(self) -> type[asyncio.Protocol]:
        """What uvicorn makes for each connection."""
        return type("Connection", (_Connection,), {"wire": self})

    def families(self) -> Iterator[Family]:
        """Samples about connections."""
        yield Family(
            "stream_http_cut",
            "counter",
            "Connections ended because the client did not read its answer.",
            [("_total", "", self.cut)],
        )


class _Connection(H11Protocol):
    """One connection. What the kernel does not take at once is waited for, but not for ever."""

    wire: ClassVar[Wire]
    _unread = 0
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        # Writing is paused while anything waits here, so that a pause tells of every slow reader.
        transport.set_write_buffer_limits(high=1, low=0)
        super().connection_made(transport)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        self._unwatch()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unwatch()
        super().connection_lost(exc)

    def _watch(self) -> None:
        self._unread = self.transport.get_write_buffer_size()
        self._timer = self.loop.call_later(PATIENCE_S, self._judge)

    def _unwatch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _judge(self) -> None:
        """Cut it, unless it has taken something since it was last looked at."""
        if self.transport.get_write_buffer_size() + LEAST_BYTES <= self._unread:
            self._watch()
            return
        self.wire.cut += 1
        log.info("slow_reader_cut", unread=self._unread)
        self.transport.abort()
