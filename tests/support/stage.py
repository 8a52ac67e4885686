"""A server of this process over a view made by hand: what a page shows is set to the last digit.

Its workers give a sign of life four times a second (more often where `clock` runs faster than time:
`speed`), until `hush`. Everything from the view on is
the real thing: endpoints, live feed, pages, headers, sockets.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import uvicorn

from stream.clock import wall_clock_ms
from stream.core.catalogue import SOURCES, Source
from stream.core.records import TopicPartition
from stream.live.launch_book import LaunchBook
from stream.live.view import View
from stream.serve.server import Parts
from stream.settings import Settings, load_settings
from tests.support.ports import free_port
from tests.support.views import HandMade, Labels

PULSE_S = 0.25


class Stage:
    """Counts go in with `count`, and show with `show`. `clock` is the server's wall clock."""

    def __init__(self, settings: Settings | None = None, speed: float = 1.0) -> None:
        began_ms = wall_clock_ms()
        self._speed = speed
        self.clock = lambda: round(began_ms + (wall_clock_ms() - began_ms) * speed)
        self.made = HandMade(self.clock())
        self.book = LaunchBook()
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._settings = settings or load_settings({})
        self._quiet = False
        self.view: View
        self.parts: Parts

    def count(
        self, source: Source, labels: Labels, fields: Mapping[str, int], ago_ms: int = 5_000
    ) -> None:
        """Count fields some time before now; levels and totals go where they belong."""
        lasting = {n: v for n, v in fields.items() if n in (*source.totals, *source.levels)}
        passing = {n: v for n, v in fields.items() if n not in lasting}
        self.made.now_ms = self.clock()
        if passing:
            self.made.count(source, labels, passing, at_ms=self.made.now_ms - ago_ms)
        if lasting:
            self.made.total(source, labels, lasting)

    async def show(self) -> None:
        """Put what was counted before whoever looks."""
        now_ms = self.made.now_ms = self.clock()
        for topic in SOURCES:
            place = TopicPartition(topic, 0)
            await self.view.take_picture(
                place, self.made.picture(topic), self.made.info(topic), now_ms
            )
        self.view.publish()

    def hush(self, quiet: bool = True) -> None:
        """End the workers' signs of life, or let them go on."""
        self._quiet = quiet

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Stage"]:
        """Serve for as long as the block runs."""
        self.view = await self.made.view()
        self.parts = Parts(self.view, self._settings, _yes, self.clock, self.book)
        config = uvicorn.Config(
            self.parts.app(), port=self.port, log_config=None, lifespan="off", ws="none"
        )
        server = uvicorn.Server(config)
        work = (self.parts.hub.run(), self.parts.ops.run(), self._pulse(), server.serve())
        tasks = [asyncio.ensure_future(one) for one in work]
        try:
            await self.show()
            while not server.started:  # noqa: ASYNC110 - uvicorn offers nothing to wait for
                await asyncio.sleep(0.01)
            yield self
        finally:
            self.parts.hub.close()
            server.should_exit = True
            server.force_exit = True
            await tasks.pop()
            for task in tasks:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    async def _pulse(self) -> None:
        while True:
            if not self._quiet:
                now_ms = self.made.now_ms = self.clock()
                for topic in SOURCES:
                    place = TopicPartition(topic, 0)
                    self.view.take_step(place, self.made.info(topic), now_ms)
                self.view.publish()
            await asyncio.sleep(PULSE_S / self._speed)


async def _yes() -> bool:
    return True
