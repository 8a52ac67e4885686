"""Composition root of the server: the view, the endpoints over it, and uvicorn around them."""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import structlog
import uvicorn
from redis.exceptions import RedisError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import Route
from starlette.types import ASGIApp

from stream.access import Access, check_exposure, load_access
from stream.clock import wall_clock_ms
from stream.errors import UserError
from stream.live.book_reader import BookReader
from stream.live.launch_book import LaunchBook
from stream.live.link import Link, reach
from stream.live.reader import Reader
from stream.live.view import View
from stream.redis_access import link_to_redis
from stream.serve.api import Api
from stream.serve.exporter import Exporter
from stream.serve.guarded import Guarded
from stream.serve.launch.endpoints import LaunchView
from stream.serve.live import Hub
from stream.serve.openapi import OpenApi
from stream.serve.ops.endpoints import OpsRoom
from stream.serve.pages import Pages
from stream.serve.problems import ParameterError, on_fault, on_http_error, on_parameter_error
from stream.serve.wire import Wire
from stream.settings import Settings
from stream.tls import load_server_tls

log = structlog.get_logger(__name__)
GRACE_S = 1
ANSWER_S = 1.0
KERNEL_BYTES = 131_072
"""What the kernel keeps for a client that does not read; without it, megabytes for each."""


class Parts:
    """What the server is made of, over a view and a book that somebody else fills."""

    def __init__(
        self,
        view: View,
        settings: Settings,
        store_answers: Callable[[], Awaitable[bool]],
        clock: Callable[[], int] = wall_clock_ms,
        book: LaunchBook | None = None,
    ) -> None:
        pages = Pages()
        self.hub = Hub(view, settings, clock, pages.build)
        self.wire = Wire()
        self.exporter = Exporter(
            view, settings, clock, (self.hub.audience.families, self.wire.families)
        )
        self.ops = OpsRoom(view, settings, clock, pages.build)
        self._routes = [
            *self.ops.routes(),
            *LaunchView(view, book or LaunchBook(), settings, clock).routes(),
            *Api(view, settings, clock, store_answers).routes(),
            Route("/api/v1/live", self.hub.endpoint),
            Route("/metrics", self.exporter.endpoint),
            Route("/openapi.json", OpenApi().endpoint),
            *pages.routes(),
        ]

    def app(self, access: Access | None = None, *, tls: bool = False) -> ASGIApp:
        """All endpoints, for those whom `access` lets in (None: for everybody)."""
        handlers: dict[Any, Any] = {
            ParameterError: on_parameter_error,
            HTTPException: on_http_error,
            Exception: on_fault,
        }
        endpoints = Starlette(routes=self._routes, exception_handlers=handlers)
        return Guarded(endpoints, access, tls=tls)


async def run_server(settings: Settings, stop: asyncio.Event) -> None:
    """Serve until `stop` is set; then end open streams and return within two seconds.

    Raises UserError when the address cannot be listened on, or a file of the settings not be used.
    """
    access, tls = load_access(settings), load_server_tls(settings)
    check_exposure(settings, settings.http_host, "STREAM_HTTP_HOST", access)
    link, probe = link_to_redis(settings), StoreProbe(link_to_redis(settings, timeout_s=ANSWER_S))
    with contextlib.closing(_listen(settings.http_host, settings.http_port)) as listener:
        view = View(silent_after_ms=settings.kafka_session_timeout)
        book = LaunchBook()
        parts = Parts(view, settings, probe.answers, book=book)
        try:
            async with asyncio.TaskGroup() as tasks:
                background = [
                    tasks.create_task(Reader(link, settings.group, view).run(), name="reader"),
                    tasks.create_task(BookReader(link, settings.group, book).run(), name="book"),
                    tasks.create_task(parts.hub.run(), name="live-feed"),
                    tasks.create_task(parts.exporter.run(), name="latencies"),
                    tasks.create_task(parts.ops.run(), name="ops-room"),
                ]
                log.info("server_started", url=_url(settings))
                await _serve(parts, parts.app(access, tls=tls is not None), tls, listener, stop)
                for task in background:
                    task.cancel()
        finally:
            await link.close()
            await probe.close()
    log.info("server_stopped")


async def _serve(
    parts: Parts,
    app: ASGIApp,
    tls: ssl.SSLContext | None,
    listener: socket.socket,
    stop: asyncio.Event,
) -> None:
    server = _Server(
        uvicorn.Config(
            app,
            http=parts.wire.protocol(),
            ssl_context_factory=None if tls is None else lambda *_: tls,
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

    def __init__(self, link: Link) -> None:
        self._link = link
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
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BYTES)
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
    scheme = "http" if settings.http_tls_cert is None else "https"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{settings.http_port}"
