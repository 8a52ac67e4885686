"""Chromium, and pages in it that are watched: any error or request to another host fails the test.

One browser serves all browser tests, so all share one event loop: their modules begin with
`pytestmark = pytest.mark.asyncio(loop_scope="session")`, as do fixtures with their `loop_scope`.
"""

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
SIZES = {"wall": (1920, 1080), "laptop": (1366, 768), "phone": (390, 844)}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/browser/" in item.path.as_posix():
            item.add_marker("browser")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium() -> AsyncIterator[Browser]:
    """Debian's Chromium, without a window."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("chromium is not installed")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield browser
        await browser.close()


@dataclass
class Watch:
    """What went wrong in the pages of a test. `away` while servers are down on purpose."""

    hosts: set[str] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)
    away: bool = False

    def follow(self, context: BrowserContext) -> None:
        context.on("request", lambda request: self.hosts.add(urlsplit(request.url).netloc))
        context.on("console", lambda said: self.note(said.type, said.text))
        context.on("weberror", lambda error: self.note("error", str(error.error)))

    def note(self, kind: str, text: str) -> None:
        if kind not in ("error", "warning") or (self.away and "Failed to load resource" in text):
            return
        self.faults.append(f"{kind}: {text}")


Visit = Callable[..., Awaitable[Page]]


@pytest_asyncio.fixture(loop_scope="session")
async def watch() -> Watch:
    """What the pages of this test complained of."""
    return Watch()


@pytest_asyncio.fixture(loop_scope="session")
async def visit(chromium: Browser, watch: Watch) -> AsyncIterator[Visit]:
    """Opens pages; size, theme, locale and all else that a context takes may be given.

    Pages of one test may share a `context=`, as tabs of one browser do.
    """
    contexts: list[BrowserContext] = []
    visited: set[str] = set()

    async def open_page(
        url: str,
        *,
        size: str = "wall",
        theme: Any = "dark",
        context: BrowserContext | None = None,
        script: str | None = None,
        **more: Any,
    ) -> Page:
        width, height = SIZES[size]
        if context is None:
            options = {"locale": "en-GB", "viewport": {"width": width, "height": height}, **more}
            context = await chromium.new_context(color_scheme=theme, **options)
            contexts.append(context)
            if script is not None:
                await context.add_init_script(script)
            watch.follow(context)
        visited.add(urlsplit(url).netloc)
        page = await context.new_page()
        await page.goto(url)
        return page

    yield open_page
    for context in contexts:
        await context.close()
    assert watch.faults == []
    assert watch.hosts <= visited, "a page asked another host"
