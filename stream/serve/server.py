"""Composition root of the server: the view, the endpoints over it, and uvicorn around them."""

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import structlog
import uvicorn
from redis.exceptions import RedisError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stream.errors import UserError
from stream.live.link import Link, reach
from stream.live.reader import Reader
from stream.live.view import View
from stream.serve.api import Api
from stream.serve.exporter import Exporter
from stream.serve.live import Hub
from stream.serve.openapi import OpenApi
from stream.serve.pages import Pages
from stream.serve.problems import ParameterError, on_fault, on_http_error, on_parameter_error
from stream.settings import Settings

log = structlog.get_logger(__name__)
GRACE_S = 1
ANSWER_S = 1.0


def wall_clock_ms() -> int:
    """The wall clock."""
    return time.time_ns() // 1_000_000


class Parts:
    """What the server is made of, over one view that somebody else fills."""

    def __init__(
        self,
        view: View,
        settings: Settings,
        store_answers: Callable[[], Awaitable[bool]],
        clock: Callable[[], int] = wall_clock_ms,
    ) -> None:
        self.hub = Hub(view, settings, clock)
        self.exporter = Exporter(view, settings, clock)
        self._routes = [
            *Api(view, settings, clock, store_answers).routes(),
            Route("/api/v1/live", self.hub.endpoint),
            Route("/metrics", self.exporter.endpoint),
            Route("/openapi.json", OpenApi().endpoint),
            *Pages().routes(),
        ]

    def app(self) -> ASGIApp:
        """All endpoints."""
        handlers: dict[Any, Any] = {
            ParameterError: on_parameter_error,
            HTTPException: on_http_error,
            Exception: on_fault,
        }
        return with_nosniff(Starlette(routes=self._routes, exception_handlers=handlers))


def with_nosniff(app: ASGIApp) -> ASGIApp:
    """The same app, whose answers are never taken for another type than they say."""

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message.get("headers", ()), (b"x-content-type-options", b"nosniff")
                ]  # fmt: skip
            await send(message)

        await app(scope, receive, marked)

    return wrapped


async def run_server(settings: Settings, stop: asyncio.Event) -> None:
    """Serve until `stop` is set; then end open streams and return within two seconds.

    Raises UserError when the address cannot be listened on.
    """
    with contextlib.closing(_listen(settings.http_host, settings.http_port)) as listener:
        link = Link(settings.redis_url)
        view = View(silent_after_ms=settings.kafka_session_timeout)
        probe = StoreProbe(settings.redis_url)
        parts = Parts(view, settings, probe.answers)
        try:
            async with asyncio.TaskGroup() as tasks:
                background = [
                    tasks.create_task(Reader(link, settings.group, view).run(), name="reader"),
                    tasks.create_task(parts.hub.run(), name="live-feed"),
                    tasks.create_task(parts.exporter.run(), name="latencies"),
                ]
                log.info("server_started", url=_url(settings))
                await _serve(parts, listener, stop)
                for task in background:
                    task.cancel()
        finally:
            await link.close()
            await probe.close()
    log.info("server_stopped")


async def _serve(parts: Parts, listener: socket.socket, stop: asyncio.Event) -> None:
    server = _Server(
        uvicorn.Config(
            parts.app(),
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            server_header=False,
            timeout_graceful_shutdown=GRACE_S,
        )
    )
    logging.getLogger("uvicorn.error").addFilter(_is_worth_telling)
    serving = asyncio.create_task(server.serve([listener]), name="http")
    stopping = asyncio.create_task(stop.wait(), name="stop")
    try:
        await asyncio.wait((stopping, serving), return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        parts.hub.close()
        server.should_exit = True
        await serving


class StoreProbe:
    """Asks Redis for a sign of life, over a connection of its own; one at a time."""

    def __init__(self, url: str) -> None:
        self._link = Link(url, timeout_s=ANSWER_S)
        self._turn = asyncio.Lock()

    async def answers(self) -> bool:
        """Whether Redis answers, and soon."""
        try:
            async with asyncio.timeout(2 * ANSWER_S), self._turn:
                return bool(await (await reach(self._link)).ping())
        except (TimeoutError, RedisError, OSError):
            return False

    async def close(self) -> None:
        """Close the connection."""
        await self._link.close()


def _is_worth_telling(record: logging.LogRecord) -> bool:
    """Uvicorn calls a live stream that we cut because its reader is too slow an error."""
    return "without completing response" not in record.getMessage()


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: whoever runs us decides when to stop."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _listen(host: str, port: int) -> socket.socket:
    """A socket that listens, so that a taken port is told before anything else is begun."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise UserError(
            f"cannot listen on {host}:{port}: {error.strerror or error}; "
            "choose another with STREAM_HTTP_HOST and STREAM_HTTP_PORT"
        ) from None
    listener.setblocking(False)
    return listener


def _url(settings: Settings) -> str:
    host = settings.http_host
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.http_port}"
