"""A worker's own little HTTP server: `/metrics`, `/healthz`, `/readyz`. In a thread of its own."""

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app

from stream.errors import UserError

StartResponse = Callable[[str, list[tuple[str, str]]], object]


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Silent(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Scrapes are no news."""


@contextlib.contextmanager
def serve_health(
    host: str, port: int, registry: CollectorRegistry, is_ready: Callable[[], bool]
) -> Iterator[None]:
    """Listen while the block runs. Raises UserError when the address cannot be had."""
    metrics = make_wsgi_app(registry)

    def answer(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "/")
        if path == "/metrics":
            found: Iterable[bytes] = metrics(environ, start_response)
            return found
        if path not in ("/healthz", "/readyz"):
            start_response("404 Not Found", [("Content-Type", "text/plain")])
            return [b"not found: /metrics, /healthz, /readyz\n"]
        good = path == "/healthz" or is_ready()
        status = "200 OK" if good else "503 Service Unavailable"
        start_response(status, [("Content-Type", "text/plain")])
        return [b"ok\n" if good else b"not ready\n"]

    try:
        server = make_server(host, port, answer, server_class=_Server, handler_class=_Silent)
    except OSError as error:
        raise UserError(
            f"cannot listen on {host}:{port} for the worker's metrics: {error.strerror}; "
            "choose another with --worker-port or STREAM_WORKER_PORT"
        ) from None
    thread = threading.Thread(target=server.serve_forever, daemon=True, name="health")
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
