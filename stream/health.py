"""A worker's own little HTTP server: `/metrics`, `/healthz`, `/readyz`. In a thread of its own."""

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app

from stream.access import Access, check_exposure, load_access
from stream.errors import UserError
from stream.headers import headers_of
from stream.settings import Settings
from stream.tls import load_server_tls

StartResponse = Callable[[str, list[tuple[str, str]]], object]
Application = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]
TEXT = ("Content-Type", "text/plain; charset=utf-8")


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """Say nothing: a client that hangs up, or speaks no TLS, is no fault of ours."""


class _Silent(WSGIRequestHandler):
    timeout = 10.0
    """Seconds; whoever says nothing for so long is hung up on."""

    def log_message(self, *_: Any) -> None:
        """Scrapes are no news."""


@contextlib.contextmanager
def serve_health(
    settings: Settings,
    registry: CollectorRegistry,
    is_ready: Callable[[], bool],
    *,
    part: str = "worker",
) -> Iterator[None]:
    """Listen while the block runs, where the settings of that part (worker, audit) say.

    Raises UserError when the address cannot be had, is open to others without a guard, or a file of
    the settings cannot be used.
    """
    access, tls = load_access(settings), load_server_tls(settings)
    host, port = getattr(settings, f"{part}_host"), getattr(settings, f"{part}_port")
    check_exposure(settings, host, f"STREAM_{part.upper()}_HOST", access)
    app = _guarded(_answers(registry, is_ready), access, headers_of(tls=tls is not None))
    server = _listen(host, port, app, part)
    if tls is not None:
        # The handshake is the handler's thread's business: one client must not hold up all.
        server.socket = tls.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    thread = threading.Thread(target=server.serve_forever, daemon=True, name="health")
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _answers(registry: CollectorRegistry, is_ready: Callable[[], bool]) -> Application:
    metrics = make_wsgi_app(registry)

    def answer(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "/")
        if path == "/metrics":
            found: Iterable[bytes] = metrics(environ, start_response)
            return found
        if path not in ("/healthz", "/readyz"):
            start_response("404 Not Found", [TEXT])
            return [b"not found: /metrics, /healthz, /readyz\n"]
        good = path == "/healthz" or is_ready()
        start_response("200 OK" if good else "503 Service Unavailable", [TEXT])
        return [b"ok\n" if good else b"not ready\n"]

    return answer


def _guarded(app: Application, access: Access | None, headers: dict[str, str]) -> Application:
    """The same, for those whom `access` lets in, with headers that keep browsers strict."""

    def answer(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        def start(status: str, own: list[tuple[str, str]]) -> object:
            return start_response(status, [*own, *headers.items()])

        if (
            access is None
            or environ.get("PATH_INFO") == "/healthz"
            or access.decide(environ.get("HTTP_AUTHORIZATION", ""))
        ):
            return app(environ, start)
        challenges = [("WWW-Authenticate", challenge) for challenge in access.challenges]
        start("401 Unauthorized", [TEXT, *challenges])
        return [b"a token, or a name and a password, is needed here\n"]

    return answer


def _listen(host: str, port: int, app: Application, part: str) -> _Server:
    try:
        return make_server(host, port, app, server_class=_Server, handler_class=_Silent)
    except OSError as error:
        raise UserError(
            f"cannot listen on {host}:{port} for the {part}'s metrics: {error.strerror}; "
            f"choose another with --{part}-port or STREAM_{part.upper()}_PORT"
        ) from None
