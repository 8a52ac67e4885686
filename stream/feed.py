"""The live feed of a server, read over HTTP: what `stream top` shows.

Knows only the HTTP interface; blocks, and so belongs in a thread of its own.
"""

import http.client
from collections.abc import Callable, Iterable, Iterator
from urllib.parse import urlsplit

import msgspec

from stream.errors import UserError
from stream.serve.bodies import Delta, LiveStatus, Snapshot
from stream.sign_in import NEEDED, NOBODY, SignIn

SILENCE_S = 20.0
"""The server sends something at least every 15 s; after so long it is taken for unreachable."""

Message = Snapshot | Delta | LiveStatus
_TYPES: dict[str, type[Message]] = {"snapshot": Snapshot, "delta": Delta, "status": LiveStatus}


class FeedError(Exception):
    """The server cannot be reached, ended the feed, or is none of ours."""


Address = tuple[Callable[..., http.client.HTTPConnection], str, int | None, str]


def parse_url(url: str) -> Address:
    """Where the feed of a server is. Raises UserError."""
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        port = parts.port
    except ValueError:
        raise UserError(f"'{url}' is not a URL; write one like http://127.0.0.1:8000") from None
    kinds = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
    if parts.scheme not in kinds or not parts.hostname:
        raise UserError(f"'{url}' is not a URL; write one like http://127.0.0.1:8000")
    return kinds[parts.scheme], parts.hostname, port, parts.path.rstrip("/") + "/api/v1/live"


def read_feed(address: Address, sign_in: SignIn = NOBODY) -> Iterator[Message]:
    """Messages of one connection, until it ends with a FeedError."""
    try:
        yield from _messages(address, sign_in)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise FeedError(str(error) or type(error).__name__) from None
    raise FeedError("the server ended the feed")


def _messages(address: Address, sign_in: SignIn) -> Iterator[Message]:
    kind, host, port, path = address
    tls = {"context": sign_in.context} if kind is http.client.HTTPSConnection else {}
    connection = kind(host, port, timeout=SILENCE_S, **tls)
    try:
        headers = {"Accept": "text/event-stream", **sign_in.headers}
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        if response.status == http.client.UNAUTHORIZED:
            raise http.client.HTTPException(NEEDED)
        if response.status != http.client.OK:
            raise http.client.HTTPException(f"answered {response.status} {response.reason}")
        yield from decode_events(response)
    finally:
        connection.close()


def decode_events(lines: Iterable[bytes]) -> Iterator[Message]:
    """Messages out of the lines of an event stream; comments and other events are passed over."""
    event, data = "", b""
    for raw in lines:
        line = raw.rstrip(b"\r\n")
        name, _, value = line.partition(b": ")
        if name == b"event":
            event = value.decode(errors="replace")
        elif name == b"data":
            data = value
        elif not line and event in _TYPES:
            yield msgspec.json.decode(data, type=_TYPES[event])
            event, data = "", b""
