"""The ops room over the real thing: Kafka, Redis, a worker and a server as processes."""

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiokafka import AIOKafkaProducer
from playwright.async_api import Page, expect

from stream.clock import wall_clock_ms
from tests.browser.conftest import Visit, Watch
from tests.support.choice import Choice
from tests.support.namespaces import Namespace
from tests.support.processes import StreamProcess
from tests.support.system import System

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(180)]
ACTIVE = '[data-tile="active_sessions"] .number'
WITHIN_S = 1.0
ATTEMPTS = 5

# Resolves when an element's text is the one that is waited for.
BECOMES = """([selector, wanted]) => new Promise((resolve) => {
  const target = document.querySelector(selector);
  const look = () => target.textContent === wanted && (watch.disconnect(), resolve(true));
  const watch = new MutationObserver(look);
  watch.observe(target, { childList: true, characterData: true, subtree: true });
  look();
})"""


class Live:
    """A system, the namespace that it has for itself, and what was started of it."""

    def __init__(self, choice: Choice, folder: Path) -> None:
        self.kafka, self.redis = choice.best_kafka(), choice.best_redis()
        self.namespace = Namespace()
        self.processes: list[StreamProcess] = []
        self._choice, self._folder = choice, folder
        self.system = System(self._start, self.namespace, self.kafka, self.redis)
        self.url = f"http://127.0.0.1:{self.system.http_port}"

    def _start(self, *args: str, env: Any = None) -> StreamProcess:
        log = self._folder / f"{len(self.processes)}-{args[0]}.log"
        process = StreamProcess(args, env or {}, log, self._choice.keeper)
        self.processes.append(process)
        return process

    async def send(self, visitor: str) -> None:
        """One page view of a new visitor, acknowledged by Kafka."""
        event = {
            "event_id": uuid.uuid4().hex,
            "type": "page_view",
            "timestamp": wall_clock_ms(),
            "visitor_id": visitor,
            "campaign": "spring",
        }
        topic = self.namespace.topic("sessions")
        await self.producer.send_and_wait(topic, json.dumps(event).encode(), key=visitor.encode())

    producer: AIOKafkaProducer
    worker: StreamProcess
    server: StreamProcess


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def live(choice: Choice, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Live]:
    live = Live(choice, tmp_path_factory.mktemp("live"))
    live.worker, live.server = live.system.worker(), live.system.server()
    await live.system.ready()
    async with AIOKafkaProducer(bootstrap_servers=live.kafka.bootstrap, acks="all") as producer:
        live.producer = producer
        yield live
    for process in live.processes:
        process.clean_up()
        print(f"--- {process} ({process.returncode})\n{process.text[-4000:]}")


async def shown_after(live: Live, page: Page, visitor: str) -> float:
    """Seconds from before an event is sent until the page counts one more active session."""
    before = int((await page.locator(ACTIVE).text_content() or "0").replace(",", ""))
    waiting = asyncio.ensure_future(page.evaluate(BECOMES, [ACTIVE, f"{before + 1:,}"]))
    began_s = time.monotonic()
    await live.send(visitor)
    await asyncio.wait_for(waiting, 30)
    return time.monotonic() - began_s


async def test_an_event_shows_within_a_second_as_the_api_has_it(live: Live, visit: Visit) -> None:
    page = await visit(live.url)
    await expect(page.locator(ACTIVE)).to_have_text("0")
    took_s = [await shown_after(live, page, f"v-{n}") for n in range(ATTEMPTS)]
    print("shown after", [f"{one:.2f} s" for one in took_s])
    assert min(took_s) < WITHIN_S, took_s  # a busy machine may need longer now and then
    board = live.system.get("/api/v1/board")
    assert board["tiles"][0]["value"] == ATTEMPTS


async def test_it_greys_without_a_worker_and_comes_back_with_one(live: Live, visit: Visit) -> None:
    page = await visit(live.url)
    badge = page.locator("#freshness")
    await expect(badge).to_have_attribute("data-state", "live", timeout=15_000)
    live.worker.kill()
    await expect(page.locator(".tile.stale")).to_have_count(6, timeout=15_000)
    await expect(badge).to_have_attribute("data-state", "delayed")
    live.worker = live.system.worker()
    await expect(badge).to_have_attribute("data-state", "live", timeout=60_000)
    await expect(page.locator(".tile.stale")).to_have_count(0)
    assert await shown_after(live, page, f"after-{uuid.uuid4().hex}") > 0


async def test_it_comes_back_after_redis_and_the_server(
    live: Live, visit: Visit, watch: Watch
) -> None:
    page = await visit(live.url)
    badge = page.locator("#freshness")
    await expect(badge).to_have_attribute("data-state", "live", timeout=15_000)
    counted = await page.locator(ACTIVE).text_content()
    watch.away = True
    live.redis.stop()
    live.server.kill()
    await expect(badge).to_have_attribute("data-state", "stopped", timeout=15_000)
    await expect(page.locator("#say")).to_have_text("The server cannot be reached; trying again.")
    await expect(page.locator(".tile.stale")).to_have_count(6)
    live.redis.start()
    live.server = live.system.server()
    await expect(badge).to_have_attribute("data-state", "live", timeout=60_000)
    await expect(page.locator(ACTIVE)).to_have_text(counted or "", timeout=15_000)
    await expect(page.locator(".tile.stale")).to_have_count(0)
