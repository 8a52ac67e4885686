"""Clients over real sockets that ask and do not read: nobody waits for them, nothing piles up."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing

import httpx
import pytest
import trustme
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from stream.clock import wall_clock_ms
from stream.core.catalogue import CLICKS
from stream.core.records import TopicPartition
from stream.live.view import View
from stream.serve import live, wire
from stream.serve.audience import MAX_UNSENT
from stream.serve.server import Parts, _listen, _serve
from tests.support.patience import eventually
from tests.support.ports import free_port
from tests.support.serving import settings_of
from tests.support.views import HandMade

ASK = b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n"
BIG = b"x" * 1_000_000
MANY = 100


class Held:
    """A server over a view made by hand; `change` gives it something to tell."""

    def __init__(self, view: View, made: HandMade, **settings: object) -> None:
        self.view, self.made, self.port = view, made, free_port()
        self.parts = Parts(view, settings_of(**settings), self._yes)

    async def change(self) -> None:
        """One more click for every campaign, so that every row has to be told."""
        self.made.now_ms = wall_clock_ms()
        for number in range(MANY):
            self.made.count(CLICKS, (f"campaign-{number}", "email", "A"), {"impressions": 9})
        place = TopicPartition("clicks", 0)
        picture, info = self.made.picture("clicks"), self.made.info("clicks")
        await self.view.take_picture(place, picture, info, self.made.now_ms)
        self.view.publish()

    def ask(self, path: str) -> socket.socket:
        """A client that asks and does not read, with little room for what it is sent."""
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        client.connect(("127.0.0.1", self.port))
        client.sendall(ASK % path.encode())
        return client

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.port}", timeout=20)

    async def _yes(self) -> bool:
        return True


@asynccontextmanager
async def held(
    app: ASGIApp | None = None, tls: ssl.SSLContext | None = None, **settings: object
) -> AsyncIterator[Held]:
    made = HandMade(wall_clock_ms())
    server, stop = Held(await made.view(), made, **settings), asyncio.Event()
    await server.change()
    feed = asyncio.create_task(server.parts.hub.run())
    with closing(_listen("127.0.0.1", server.port)) as listener:
        serving = _serve(server.parts, app or server.parts.app(), tls, listener, stop)
        task = asyncio.create_task(serving)
        try:
            yield server
        finally:
            stop.set()
            await asyncio.wait_for(task, 10)
            feed.cancel()


class Reader:
    """A client that reads what it is told; `told` counts messages by name."""

    def __init__(self, lines: AsyncIterator[str]) -> None:
        self._lines = lines

    async def until(self, event: str) -> None:
        async with asyncio.timeout(20):
            async for line in self._lines:
                if line == f"event: {event}":
                    return
        raise AssertionError(f"the stream ended before {event}")


@asynccontextmanager
async def reader(client: httpx.AsyncClient) -> AsyncIterator[Reader]:
    async with client.stream("GET", "/api/v1/live") as response:
        assert response.status_code == 200
        yield Reader(response.aiter_lines())


async def until_hung_up(client: socket.socket) -> int:
    """Read to the end; how much came."""
    client.setblocking(False)
    loop, total = asyncio.get_running_loop(), 0
    async with asyncio.timeout(20):
        try:
            while chunk := await loop.sock_recv(client, 65_536):
                total += len(chunk)
        except ConnectionResetError:
            pass
    return total


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds become hundredths."""
    monkeypatch.setattr(live, "PERIOD_S", 0.02)
    monkeypatch.setattr(wire, "PATIENCE_S", 0.3)


async def test_who_never_reads_is_cut_and_nobody_else_waits(quick: None) -> None:
    async with held() as server, server.client() as client:
        deaf = [server.ask("/api/v1/live") for _ in range(3)]
        async with reader(client) as first, reader(client) as second:
            for each in (first, second):
                await each.until("snapshot")
            await eventually(lambda: server.parts.hub.listeners == 5, what="all of them listening")
            while server.parts.hub.listeners > 2:  # each message before the next one is made
                await server.change()
                await asyncio.gather(first.until("delta"), second.until("delta"))
                waiting = (each.unsent.qsize() for each in server.parts.hub.audience._listeners)
                assert max(waiting) <= MAX_UNSENT
            await eventually(lambda: server.parts.wire.cut == 3, what="the deaf hung up on")
            for one in deaf:
                await until_hung_up(one)
                one.close()
            text = (await client.get("/metrics")).text
            assert "stream_live_listeners 2\n" in text
            assert "stream_live_dropped_total 3\n" in text
            assert "stream_http_cut_total 3\n" in text


async def test_one_too_many_is_refused_until_another_leaves() -> None:
    async with held(live_clients=2) as server, server.client() as client:
        async with reader(client) as first, reader(client) as second:
            await asyncio.gather(first.until("snapshot"), second.until("snapshot"))
            refused = await client.get("/api/v1/live")
            assert refused.status_code == 503
            assert refused.headers["content-type"] == "application/problem+json"
            assert int(refused.headers["retry-after"]) > 0
            assert refused.json()["status"] == 503
            assert "stream_live_refused_total 1\n" in (await client.get("/metrics")).text
        await eventually(lambda: server.parts.hub.listeners < 2, what="one left")
        async with reader(client) as third:
            await third.until("snapshot")


async def test_asking_only_for_the_head_of_the_feed_takes_no_place() -> None:
    async with held(live_clients=0) as server, server.client() as client:
        answer = await client.head("/api/v1/live")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")


async def big(scope: Scope, receive: Receive, send: Send) -> None:
    await Response(BIG)(scope, receive, send)


async def test_an_answer_that_is_not_read_is_given_up(quick: None) -> None:
    async with held(big) as server, server.client() as client:
        with closing(server.ask("/")) as deaf:
            await eventually(lambda: server.parts.wire.cut == 1, what="hung up on")
            assert await until_hung_up(deaf) < len(BIG)
        assert (await client.get("/")).content == BIG


async def test_over_tls_too(quick: None) -> None:
    authority, tls = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    async with held(big, tls) as server:
        with closing(socket.create_connection(("127.0.0.1", server.port))) as bare:
            deaf = await asyncio.to_thread(trust.wrap_socket, bare, server_hostname="127.0.0.1")
            deaf.sendall(ASK % b"/")
            await eventually(lambda: server.parts.wire.cut == 1, what="hung up on")
            deaf.close()
        url = f"https://127.0.0.1:{server.port}"
        async with httpx.AsyncClient(base_url=url, verify=trust, timeout=20) as client:
            assert (await client.get("/")).content == BIG


async def test_a_slow_client_that_reads_gets_it_all(quick: None) -> None:
    async with held(big) as server:
        with closing(server.ask("/")) as slow:
            slow.setblocking(False)
            loop, total = asyncio.get_running_loop(), 0
            while total < len(BIG):
                chunk = await loop.sock_recv(slow, 65_536)
                assert chunk, "hung up on, though it reads"
                total += len(chunk)
                await asyncio.sleep(0.005)
        assert server.parts.wire.cut == 0


async def test_what_is_sent_leaves_at_once():
    """Otherwise a second small write waits for the client's system to confirm the first, 40 ms."""
    asked = asyncio.Queue[asyncio.StreamWriter]()
    with closing(_listen("127.0.0.1", 0)) as listener:
        server = await asyncio.start_server(lambda _, out: asked.put_nowait(out), sock=listener)
        async with server:
            _, client = await asyncio.open_connection(*listener.getsockname())
            out = await asked.get()
            peer = out.get_extra_info("socket")
            assert peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            for end in (client, out):
                end.close()
                await end.wait_closed()
