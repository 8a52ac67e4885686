"""Alerts on the ops room, from a real Alertmanager and from ones that misbehave."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from stream.serve.ops import alerts
from stream.serve.ops.alerts import AlertWatch
from tests.support.alertmanager import running_alertmanager
from tests.support.choice import Choice
from tests.support.patience import eventually
from tests.support.ports import free_port
from tests.support.serving import Served, settings_of
from tests.support.views import NOW_MS, HandMade

CONFIG = """\
route: {receiver: nobody, group_by: [alertname]}
receivers: [{name: nobody}]
"""


@pytest.fixture
def alertmanager(choice: Choice, tmp_path: Path) -> Iterator[str]:
    config = tmp_path / "alertmanager.yml"
    config.write_text(CONFIG)
    with running_alertmanager(choice, config, tmp_path) as url:
        yield url


@asynccontextmanager
async def answering(content: bytes, status: str = "200 OK") -> AsyncIterator[str]:
    """A server that says this to everybody."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n\r\n")).decode())
        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(content)}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + content)
        await writer.drain()
        writer.close()

    asked: list[str] = []
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        for request in asked:
            assert request.startswith("GET /api/v2/alerts?active=true&silenced=false")
            assert "@" not in request.splitlines()[1]


def firing(name: str, severity: str = "warning", **annotations: str) -> dict[str, Any]:
    return {
        "labels": {"alertname": name, "severity": severity, "campaign": "spring"},
        "annotations": annotations,
        "startsAt": "2026-11-22T10:00:00.000Z",
    }


def watch(url: str | None) -> AlertWatch:
    return AlertWatch(url, lambda: NOW_MS)


async def test_what_a_real_alertmanager_fires_is_shown(alertmanager: str) -> None:
    served = Served(await HandMade().view(), settings_of(alertmanager=alertmanager))
    assert (await served.get("/api/v1/alerts")).json()["state"] == "asking"
    told = [
        firing("CtrDropped", "page", summary="CTR of spring dropped", runbook_url="http://x/run"),
        firing("TrafficDropped", "warning", summary="fewer impressions"),
        firing("Watchdog", "none", summary="alerts arrive"),  # no news on a screen
    ]
    for alert in told:
        del alert["startsAt"]
    async with httpx.AsyncClient() as client:
        (await client.post(f"{alertmanager}/api/v2/alerts", json=told)).raise_for_status()
    room = served.parts.ops
    await room._alerts.ask(alertmanager)
    body = (await served.get("/api/v1/alerts")).json()
    assert (body["state"], body["total"]) == ("ok", 2)
    first, second = body["alerts"]
    assert (first["name"], first["severity"]) == ("CtrDropped", "page")
    assert (first["summary"], first["runbook_url"]) == ("CTR of spring dropped", "http://x/run")
    assert first["labels"] == {"campaign": "spring"}
    assert first["since"] is not None
    assert second["name"] == "TrafficDropped"


async def test_without_an_address_nobody_is_asked() -> None:
    served = Served(await HandMade().view())
    await served.parts.ops._alerts.run()
    body = (await served.get("/api/v1/alerts")).json()
    assert body == {"state": "not_set", "checked_at": None, "total": 0, "alerts": []}


async def test_when_it_goes_away_its_last_alerts_stay_and_are_called_old() -> None:
    one = watch(None)
    async with answering(json.dumps([firing("A")]).encode()) as address:
        await one.ask(f"http://{address}")
    heard = one.answer
    assert (heard.state, heard.total) == ("ok", 1)
    await one.ask(f"http://127.0.0.1:{free_port()}")
    assert one.answer.state == "unreachable"
    assert (one.answer.alerts, one.answer.checked_at) == (heard.alerts, heard.checked_at)


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"<html>", "200 OK"),
        (b'{"status": "error"}', "200 OK"),
        (b'[{"labels": 7}]', "200 OK"),
        (b"[]", "503 Service Unavailable"),
        (b"[" + b" " * alerts.MOST_BYTES + b"]", "200 OK"),
    ],
)
async def test_what_is_no_answer_is_not_believed(content: bytes, status: str) -> None:
    one = watch(None)
    async with answering(content, status) as address:
        await one.ask(f"http://{address}")
    assert one.answer.state == "unreachable"


async def test_one_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alerts, "PATIENCE_S", 0.1)

    left = asyncio.Event()

    async def keep_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()  # until whoever asked hangs up
        writer.close()
        left.set()

    server = await asyncio.start_server(keep_silent, "127.0.0.1", 0)
    async with server:
        one = watch(None)
        await one.ask(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        assert one.answer.state == "unreachable"
        await asyncio.wait_for(left.wait(), 10)


async def test_nobody_waits_for_it_at_the_end() -> None:
    left = asyncio.Event()

    async def keep_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await left.wait()
        writer.close()

    asked = asyncio.Event()
    server = await asyncio.start_server(keep_silent, "127.0.0.1", 0)
    async with server:
        one = watch(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        task = asyncio.create_task(one.run())
        await asyncio.wait_for(asked.wait(), 10)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait_for(task, 1)
        await asyncio.wait_for(asyncio.get_running_loop().shutdown_default_executor(), 1)
        left.set()


async def test_a_password_in_the_address_becomes_a_header() -> None:
    one = watch(None)
    async with answering(b"[]") as address:
        await one.ask(f"http://user:se%40cret@{address}/")
    assert one.answer.state == "ok"


async def test_only_web_links_are_links_and_grave_alerts_come_first() -> None:
    told = [
        firing("Info", "info"),
        firing("Odd", "unheard-of", runbook_url="javascript:alert(1)"),
        firing("Page", "page", dashboard_url="https://grafana/d/x", launch_url="/launch/spring"),
        firing("Way", "info", launch_url="//evil.example/launch"),
    ]
    one = watch(None)
    async with answering(json.dumps(told).encode()) as address:
        await one.ask(f"http://{address}")
    assert [alert.name for alert in one.answer.alerts] == ["Page", "Info", "Way", "Odd"]
    page, _, way, odd = one.answer.alerts
    assert (page.dashboard_url, page.launch_url) == ("https://grafana/d/x", "/launch/spring")
    assert (way.launch_url, odd.runbook_url) == (None, None)


async def test_many_alerts_are_counted_and_some_are_listed() -> None:
    one = watch(None)
    async with answering(json.dumps([firing(f"A{n}") for n in range(80)]).encode()) as address:
        await one.ask(f"http://{address}")
    assert (one.answer.total, len(one.answer.alerts)) == (80, alerts.MOST)


async def test_it_goes_on_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alerts, "PERIOD_S", 0.01)
    async with answering(b"[]") as address:
        one = watch(f"http://{address}")
        task = asyncio.create_task(one.run())
        await eventually(lambda: one.answer.state == "ok")
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
