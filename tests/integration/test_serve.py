"""The server over a real Redis and real sockets: start, streams, stop, and Redis' absence."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict
from functools import partial

import httpx
import pytest

from stream.clock import wall_clock_ms
from stream.core.catalogue import CLICKS, SOURCES
from stream.errors import UserError
from stream.live.link import Link
from stream.live.projection import Projection
from stream.live.rows import About
from stream.serve.server import run_server
from stream.settings import Settings, load_settings
from tests.support.namespaces import Namespace
from tests.support.ports import free_port
from tests.support.services import Service
from tests.support.views import HandMade, entries

ABOUT = About("d", asdict(load_settings({}).rules()), dict.fromkeys(SOURCES, 1))


def settings_for(store: Service, namespace: Namespace) -> Settings:
    return load_settings(
        {"redis_url": store.url, "group": namespace.group, "http_port": free_port()}
    )


async def write(store: Service, namespace: Namespace, made: HandMade) -> None:
    """What three workers would have written."""
    link = Link(store.url)
    for topic in SOURCES:
        picture = entries(made, topic)
        cells = [(key, value) for key, value in picture.items() if value is not None]
        projection = Projection(link, namespace.group, topic, 0, about=ABOUT)
        await projection.push(1, 0, 42, picture, made.info(topic), partial(iter, cells))
    await link.close()


def launch() -> HandMade:
    made = HandMade(wall_clock_ms())
    made.count(CLICKS, ("spring", "email", "A"), {"impressions": 100, "clicks": 7})
    return made.total(CLICKS, ("spring", "email", "A"), {"impressions": 100, "clicks": 7})


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    stop = asyncio.Event()
    task = asyncio.create_task(run_server(settings, stop))
    url = f"http://127.0.0.1:{settings.http_port}"
    async with httpx.AsyncClient(base_url=url, timeout=20) as client:
        try:
            await eventually(client, "/healthz", {})
            yield client
        finally:
            stop.set()
            await asyncio.wait_for(task, 5)


async def eventually(client: httpx.AsyncClient, path: str, expected: Mapping[str, object]) -> None:
    async with asyncio.timeout(15):
        while True:
            with contextlib.suppress(httpx.TransportError):
                answer = await client.get(path)
                if answer.status_code == 200 and answer.json().items() >= expected.items():
                    return
            await asyncio.sleep(0.05)


async def test_from_redis_to_the_answer(redis_server: Service, namespace: Namespace) -> None:
    settings = settings_for(redis_server, namespace)
    await write(redis_server, namespace, launch())
    async with serving(settings) as client:
        await eventually(client, "/api/v1/status", {"ready": True})
        answer = (await client.get("/api/v1/query?metric=ctr&window=5m&by=campaign")).json()
        assert answer["rows"][0]["value"] == 0.07
        assert (
            'engagement_clicks_total{campaign="spring"} 7\n' in (await client.get("/metrics")).text
        )
        assert (await client.get("/readyz")).status_code == 200


async def test_nothing_in_redis_is_an_answer_too(
    redis_server: Service, namespace: Namespace
) -> None:
    async with serving(settings_for(redis_server, namespace)) as client:
        assert (await client.get("/readyz")).status_code == 200
        status = (await client.get("/api/v1/status")).json()
        assert status == {
            "ready": False,
            "view_age_s": None,
            "definition_id": None,
            "partitions": [],
        }
        answer = (await client.get("/api/v1/query?metric=ctr&window=5m")).json()
        assert (answer["complete"], answer["as_of"]) == (False, None)
        assert [row["value"] for row in answer["rows"]] == [None]


async def test_it_stops_within_two_seconds_with_streams_open(
    redis_server: Service, namespace: Namespace
) -> None:
    settings = settings_for(redis_server, namespace)
    await write(redis_server, namespace, launch())
    stop = asyncio.Event()
    task = asyncio.create_task(run_server(settings, stop))
    url = f"http://127.0.0.1:{settings.http_port}"
    async with httpx.AsyncClient(base_url=url, timeout=20) as client:
        await eventually(client, "/healthz", {})
        opened = asyncio.Semaphore(0)
        streams = [asyncio.create_task(listen(client, opened)) for _ in range(5)]
        # One that never reads: its socket buffer fills, and it must not hold up the end.
        deaf = socket.create_connection(("127.0.0.1", settings.http_port))
        deaf.sendall(b"GET /api/v1/live HTTP/1.1\r\nHost: x\r\n\r\n")
        for _ in streams:
            await opened.acquire()
        began_s = time.monotonic()
        stop.set()
        await asyncio.wait_for(task, 5)
        assert time.monotonic() - began_s < 2
        events = await asyncio.wait_for(asyncio.gather(*streams), 2)
        assert all(names[0] == "snapshot" for names in events)
        deaf.close()


async def listen(client: httpx.AsyncClient, opened: asyncio.Semaphore) -> list[str]:
    names = []
    async with client.stream("GET", "/api/v1/live") as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        async for line in response.aiter_lines():
            if line.startswith("event: "):
                names.append(line.removeprefix("event: "))
                opened.release()
    return names


async def test_a_port_in_use_is_one_clear_line(redis_server: Service, namespace: Namespace) -> None:
    settings = settings_for(redis_server, namespace)
    async with serving(settings):
        with pytest.raises(UserError, match=rf"listen on 127.0.0.1:{settings.http_port}.*in use"):
            await run_server(settings, asyncio.Event())


async def test_without_redis_it_lives_and_is_not_ready(namespace: Namespace) -> None:
    settings = load_settings(
        {
            "redis_url": f"redis://127.0.0.1:{free_port()}/0",
            "group": namespace.group,
            "http_port": free_port(),
        }
    )
    async with serving(settings) as client:
        answer = await client.get("/readyz")
        assert answer.status_code == 503
        assert answer.json()["status"] == 503
        assert (await client.get("/metrics")).status_code == 200
