"""Who listens to the live feed: how many at most, and who is too slow. Knows not what is told."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator

import structlog
from anyio import CancelScope

from stream.serve.exposition import Family

log = structlog.get_logger(__name__)

MAX_UNSENT = 3
AT_ONCE = 25
"""Listeners told in one turn of the event loop: hundreds of them must not hold it."""


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


class Audience:
    """All listeners, at most `most`. Whoever leaves too many messages unsent is dropped."""

    def __init__(self, most: int) -> None:
        self.somebody = asyncio.Event()
        self._most = most
        self._listeners: set[Listener] = set()
        self._outbox: deque[tuple[Listener, bytes]] = deque()
        self._handing_out = False
        self._closed = False
        self._refused = 0
        self._dropped = 0

    def __len__(self) -> int:
        return len(self._listeners)

    def admits(self) -> bool:
        """Whether there is room for one more; a refusal is counted."""
        room = not self._closed and len(self._listeners) < self._most
        self._refused += not room
        return room

    def join(self, first: bytes) -> Listener:
        """Add a listener, who is told `first` first."""
        listener = Listener()
        listener.offer(first)
        self._listeners.add(listener)
        self.somebody.set()
        return listener

    def leave(self, listener: Listener) -> None:
        """Forget a listener."""
        self._listeners.discard(listener)
        if not self._listeners:
            self.somebody.clear()

    def tell(self, message: bytes) -> None:
        """Tell everybody who is there now, without waiting for anybody."""
        self._outbox.extend((listener, message) for listener in self._listeners)
        if not self._handing_out:
            self._hand_out()

    def _hand_out(self) -> None:
        """Hand out what is due, in order; some now, and the rest in the loop's next turns."""
        for _ in range(min(AT_ONCE, len(self._outbox))):
            listener, message = self._outbox.popleft()
            if listener in self._listeners and not listener.offer(message):
                self.leave(listener)
                self._dropped += 1
                log.info("live_listener_dropped", unsent=MAX_UNSENT)
        self._handing_out = bool(self._outbox)
        if self._handing_out:
            asyncio.get_running_loop().call_soon(self._hand_out)

    def close(self) -> None:
        """End every stream; new ones are refused."""
        self._closed = True
        for listener in list(self._listeners):
            listener.offer(None)

    def families(self) -> Iterator[Family]:
        """Samples about the audience."""
        yield Family(
            "stream_live_listeners",
            "gauge",
            "Live streams that are open.",
            [("", "", len(self._listeners))],
        )
        yield Family(
            "stream_live_refused",
            "counter",
            "Live streams refused because too many were open.",
            [("_total", "", self._refused)],
        )
        yield Family(
            "stream_live_dropped",
            "counter",
            "Live streams ended because their reader was too slow.",
            [("_total", "", self._dropped)],
        )
