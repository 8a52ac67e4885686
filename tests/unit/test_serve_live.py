"""The live feed: what is sent to whom and when, and what becomes of slow readers."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import jsonschema
import pytest
from starlette.types import ASGIApp, Message, Scope

from stream.core.catalogue import CLICKS, METRICS, SESSIONS, TICKETS
from stream.core.records import TopicPartition
from stream.serve import live
from stream.serve.audience import AT_ONCE, MAX_UNSENT, Audience, Listener
from stream.serve.live import Hub
from stream.serve.openapi import document
from tests.support.serving import Served
from tests.support.views import HandMade

Event = tuple[str, int, dict[str, Any]]


def started() -> HandMade:
    made = HandMade()
    made.count(CLICKS, ("spring", "email", "A"), {"impressions": 100, "clicks": 7})
    made.count(SESSIONS, ("spring", "email", "A"), {"sessions": 5, "converted": 1, "active": 3})
    return made


async def change(served: Served, made: HandMade) -> None:
    await served.view.take_picture(
        TopicPartition("clicks", 0), made.picture("clicks"), made.info("clicks"), served.now_ms
    )
    served.view.publish()


def parse(message: bytes) -> Event:
    fields = dict(line.split(": ", 1) for line in message.decode().strip().split("\n"))
    return fields["event"], int(fields["id"]), json.loads(fields["data"])


def waiting(listener: Listener) -> list[Event]:
    messages = []
    while not listener.unsent.empty():
        message = listener.unsent.get_nowait()
        assert message is not None
        messages.append(parse(message))
    return messages


def refresh(served: Served) -> None:
    served.now_ms += 1_000
    served.parts.hub._refresh(served.now_ms)


def rows_of(body: dict[str, Any]) -> dict[tuple[str, str, str], Any]:
    return {
        (row["metric"], row["window"], "".join(row["labels"].values())): row["value"]
        for row in body["rows"]
    }


async def test_snapshot_first_then_only_what_changed() -> None:
    made = started()
    served = Served(await made.view())
    listener = served.parts.hub.join()
    [(event, number, snapshot)] = waiting(listener)
    assert (event, number) == ("snapshot", served.view.version)
    rows = rows_of(snapshot)
    assert rows["ctr", "5m", ""] == rows["ctr", "1h", "spring"] == 0.07
    assert rows["fcr", "24h", ""] is None
    assert snapshot["active_sessions"] == 3
    assert snapshot["complete"] is True
    assert len(snapshot["status"]["partitions"]) == 3

    made.count(CLICKS, ("autumn", "email", "A"), {"impressions": 100, "clicks": 3})
    await change(served, made)
    refresh(served)
    [(event, number, delta)] = [m for m in waiting(listener) if m[0] == "delta"]
    assert number == served.view.version
    assert rows_of(delta) == {
        ("ctr", "5m", ""): 0.05,
        ("ctr", "1h", ""): 0.05,
        ("ctr", "5m", "autumn"): 0.03,
        ("ctr", "1h", "autumn"): 0.03,
    }
    assert delta["gone"] == []


async def test_rows_that_leave_are_told() -> None:
    served = Served(await started().view())
    listener = served.parts.hub.join()
    waiting(listener)
    served.now_ms += 600_000
    refresh(served)
    [(_, _, delta)] = [message for message in waiting(listener) if message[0] == "delta"]
    assert {"metric": "ctr", "window": "5m", "labels": {"campaign": "spring"}} in delta["gone"]
    assert rows_of(delta)["ctr", "5m", ""] is None
    assert delta["complete"] is False


async def test_without_change_there_is_a_status_now_and_then() -> None:
    served = Served(await started().view())
    listener = served.parts.hub.join()
    waiting(listener)
    served.parts.hub._status_ms = served.now_ms
    for _ in range(4):
        refresh(served)
    assert [event for event, _, _ in waiting(listener)] == ["status", "status"]


async def test_a_changed_partition_is_told_at_once() -> None:
    made = started()
    served = Served(await made.view())
    listener = served.parts.hub.join()
    refresh(served)
    waiting(listener)
    info = made.info("tickets", status="paused")
    served.view.take_step(TopicPartition("tickets", 0), info, served.now_ms)
    served.view.publish()
    refresh(served)
    [(event, _, status)] = waiting(listener)
    assert event == "status"
    assert [p["status"] for p in status["partitions"]] == ["live", "live", "paused"]


async def test_a_slow_reader_is_dropped_after_three_unsent_messages() -> None:
    made = started()
    served = Served(await made.view())
    hub = served.parts.hub
    slow, quick = hub.join(), hub.join()
    for i in range(MAX_UNSENT + 1):
        waiting(quick)
        made.count(CLICKS, ("spring", "email", "A"), {"impressions": i + 1})
        await change(served, made)
        refresh(served)
    assert slow.scope.cancel_called
    assert not quick.scope.cancel_called
    assert hub.listeners == 1


async def test_a_large_audience_is_told_in_turns_everybody_everything_in_order() -> None:
    audience = Audience(1_000)
    first = [audience.join(b"snapshot") for _ in range(3 * AT_ONCE)]
    for listener in first:
        listener.unsent.get_nowait()
    audience.tell(b"one")
    assert sum(listener.unsent.qsize() for listener in first) == AT_ONCE, "others get their turn"
    audience.tell(b"two")
    assert sum(listener.unsent.qsize() for listener in first) == AT_ONCE
    audience.leave(first.pop())
    late = audience.join(b"snapshot")
    audience.tell(b"three")
    for _ in range(20):
        await asyncio.sleep(0)
    told = {tuple(listener.unsent.get_nowait() for _ in range(3)) for listener in first}
    assert told == {(b"one", b"two", b"three")}
    assert [late.unsent.get_nowait() for _ in range(2)] == [b"snapshot", b"three"]
    assert not any(listener.scope.cancel_called for listener in (*first, late))


async def test_a_late_listener_joins_where_the_others_are() -> None:
    made = started()
    served = Served(await made.view())
    first = served.parts.hub.join()
    waiting(first)
    made.count(CLICKS, ("spring", "email", "A"), {"impressions": 100})
    await change(served, made)
    served.now_ms += 5_000
    second = served.parts.hub.join()
    [(_, _, snapshot)] = waiting(second)
    assert rows_of(snapshot)["ctr", "5m", ""] == 0.035
    told = {event: body for event, _, body in waiting(first)}
    assert rows_of(told["delta"])["ctr", "5m", ""] == 0.035


async def test_messages_are_as_openapi_says() -> None:
    made = started()
    served = Served(await made.view())
    listener = served.parts.hub.join()
    served.parts.hub._status_ms = 0
    made.count(CLICKS, ("autumn", "email", "A"), {"impressions": 100, "clicks": 3})
    await change(served, made)
    refresh(served)
    components = document()["components"]
    schemas = {"snapshot": "Snapshot", "delta": "Delta", "status": "LiveStatus"}
    messages = waiting(listener)
    assert {event for event, _, _ in messages} == set(schemas)
    for event, _, body in messages:
        ref = f"#/components/schemas/{schemas[event]}"
        jsonschema.validate(body, {"$ref": ref, "components": components})


class Client:
    """An ASGI client that reads as it likes."""

    def __init__(self, served: Served) -> None:
        self.sent: list[bytes] = []
        self.closed = asyncio.Event()
        self.reads = asyncio.Event()
        self.reads.set()
        self.done = False
        scope: dict[str, Any] = {
            "type": "http",
            "method": "GET",
            "path": "/api/v1/live",
            "query_string": b"",
            "headers": [],
        }
        self.task = asyncio.create_task(self._run(served.parts.app(), scope))

    async def _run(self, app: ASGIApp, scope: Scope) -> None:
        await app(scope, self._receive, self._send)

    async def _receive(self) -> dict[str, Any]:
        await self.closed.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        await self.reads.wait()
        if message["type"] == "http.response.body":
            self.sent.append(message["body"])
            self.done = not message.get("more_body")

    async def until(self, text: bytes) -> None:
        async with asyncio.timeout(5):
            while text not in b"".join(self.sent):  # noqa: ASYNC110
                await asyncio.sleep(0.01)


@asynccontextmanager
async def running(hub: Hub) -> AsyncIterator[None]:
    task = asyncio.create_task(hub.run())
    yield
    task.cancel()


async def test_a_stream_ends_when_the_server_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "PERIOD_S", 0.01)
    served = Served(await started().view())
    async with running(served.parts.hub):
        client = Client(served)
        await client.until(b"event: snapshot\n")
        served.parts.hub.close()
        await asyncio.wait_for(client.task, 2)
        assert client.done
        assert served.parts.hub.listeners == 0
        assert (await served.get("/api/v1/live")).status_code == 503


async def test_who_goes_away_is_forgotten() -> None:
    served = Served(await started().view())
    client = Client(served)
    await client.until(b"event: snapshot\n")
    client.closed.set()
    await asyncio.wait_for(client.task, 2)
    assert served.parts.hub.listeners == 0


async def test_a_reader_that_hangs_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "PERIOD_S", 0.01)
    monkeypatch.setattr(live, "STATUS_EVERY_MS", 0)
    served = Served(await started().view())
    async with running(served.parts.hub):
        client = Client(served)
        await client.until(b"event: snapshot\n")
        client.reads.clear()
        await asyncio.wait_for(client.task, 5)
    assert not client.done
    assert served.parts.hub.listeners == 0


async def test_comments_keep_a_stream_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "COMMENT_EVERY_S", 0.01)
    client = Client(Served(await started().view()))
    await client.until(b": still here\n")
    client.closed.set()
    await client.task


async def test_rows_are_what_the_api_answers() -> None:
    made = started()
    made.count(SESSIONS, ("autumn", "email", "A"), {"sessions": 3, "single_interaction": 2})
    made.count(
        TICKETS,
        ("chat", "billing"),
        {"resolved": 4, "first_contact_111": 3, "answered": 1, "first_response_ms": 30_000},
        durations_ms={"first_response_ms": [30_000]},
    )
    served = Served(await made.view())
    [(_, _, snapshot)] = waiting(served.parts.hub.join())
    seen = 0
    for metric in METRICS.values():
        for window in ("1h", "24h") if metric.source is TICKETS else ("5m", "1h"):
            for by in ("", "team" if metric.source is TICKETS else "campaign"):
                asked = {"metric": metric.name, "window": window} | ({"by": by} if by else {})
                answer = (await served.get("/api/v1/query", **asked)).json()
                expected = [
                    {k: v for k, v in row.items() if k != "quantiles"} for row in answer["rows"]
                ]
                rows = [
                    {k: v for k, v in row.items() if k not in ("metric", "window")}
                    for row in snapshot["rows"]
                    if (row["metric"], row["window"]) == (metric.name, window)
                    and list(row["labels"]) == ([by] if by else [])
                ]
                assert rows == expected, asked
                seen += len(rows)
    assert seen == len(snapshot["rows"])
    assert snapshot["as_of"] == "2025-10-09T08:53:19.800Z"
