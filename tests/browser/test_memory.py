"""A page that is open for long does not grow."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio
from playwright.async_api import CDPSession, Page, expect

from stream.core.catalogue import CLICKS, SESSIONS, TICKETS
from tests.browser.conftest import Visit
from tests.support.patience import eventually
from tests.support.stage import Stage

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(180)]
SPEED = 360
SPRING = ("spring", "email", "A")
WARM_MS, HOUR_MS = 1_800_000, 3_600_000
"""Before the first look, and until the second: of the server's and the page's fast time."""
LEAST_DRAWN = 75
PATIENT, SETTLE_MS = 8, 600
"""Requests may take an eighth of the usual time, 500 ms; after so long none is under way."""
GROWTH = 1.10

# The page's timers run as fast as the server's clock, and boards that were drawn are counted.
FASTER = f"""(() => {{
  const wait = globalThis.setInterval;
  globalThis.setInterval = (work, ms) => wait(work, ms / {SPEED});
  const limit = AbortSignal.timeout;
  AbortSignal.timeout = (ms) => limit.call(AbortSignal, ms / {PATIENT});
  const fetched = globalThis.fetch;
  globalThis.boards = 0;
  globalThis.fetch = async (url, options) => {{
    const answer = await fetched(url, options);
    if (url.includes("/board")) globalThis.boards += 1;
    return answer;
  }};
}})()"""


@dataclass(frozen=True)
class Held:
    """What a page holds after rubbish was collected."""

    heap_bytes: int
    nodes: int
    listeners: int


async def held(page: Page) -> Held:
    """A look while the page is paused, so that no answer is under way."""
    await page.locator("#pause").click()
    await page.wait_for_timeout(SETTLE_MS)
    session: CDPSession = await page.context.new_cdp_session(page)
    for _ in range(3):
        await session.send("HeapProfiler.collectGarbage")
    heap = await session.send("Runtime.getHeapUsage")
    counts = await session.send("Memory.getDOMCounters")
    await session.detach()
    await page.locator("#pause").click()
    return Held(heap["usedSize"], counts["nodes"], counts["jsEventListeners"])


@pytest_asyncio.fixture(loop_scope="session")
async def stage() -> AsyncIterator[Stage]:
    async with Stage(speed=SPEED).open() as stage:
        yield stage


async def let_pass(stage: Stage, passed_ms: int) -> None:
    """Let traffic go on for so long."""
    until_ms = stage.clock() + passed_ms

    async def passed() -> bool:
        for campaign in ("spring", "autumn"):
            seconds = stage.clock() // 1_000
            labels = (campaign, "email", "A")
            fields = {"impressions": 300, "clicks": 20 + seconds % 17}
            stage.count(CLICKS, labels, fields, ago_ms=1_000)
            stage.count(SESSIONS, labels, {"sessions": 40, "active": 3}, ago_ms=1_000)
        stage.count(TICKETS, ("chat", "billing"), {"resolved": 2, "open": 1}, ago_ms=1_000)
        await stage.show()
        return stage.clock() >= until_ms

    await eventually(passed, timeout_s=60, interval_s=0.25)


async def test_an_hour_leaves_nothing_behind(stage: Stage, visit: Visit) -> None:
    page = await visit(stage.url, script=FASTER)
    await page.locator('[data-tile="ctr"] summary').click()  # its table is drawn again and again
    await let_pass(stage, WARM_MS)
    before = await held(page)
    await let_pass(stage, HOUR_MS)
    after, drawn = await held(page), await page.evaluate("globalThis.boards")
    print(f"before {before}, after {after}, {drawn} boards drawn")
    assert drawn >= LEAST_DRAWN
    assert after.heap_bytes <= before.heap_bytes * GROWTH
    assert after.nodes <= before.nodes * GROWTH
    assert after.listeners <= before.listeners
    await expect(page.locator('[data-tile="ctr"] .number')).to_contain_text("%")
