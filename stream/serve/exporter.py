"""`/metrics`: everything about a view, rendered once for each of its versions.

What is costly (the figures) is kept; what ages by itself (the view's age) is written each time. A
view that is too old shows its age and its partitions, but no figures.
"""

import asyncio
import gzip
from collections.abc import Callable, Iterable, Sequence

from starlette.requests import Request
from starlette.responses import Response

from stream.live.view import View
from stream.serve.collection import Collection
from stream.serve.exposition import (
    OPEN_METRICS,
    TEXT,
    Family,
    end_mark,
    prefers_open_metrics,
    render,
)
from stream.serve.vitals import LatencyHistogram, vitals
from stream.settings import Settings

_SLIDE_MS = 10_000
"""Windows move on by themselves this often, whatever the version."""
_COMPRESS_FROM = 1_000
_DRAIN_S = 1.0


class Exporter:
    """The endpoint over one view. `clock` gives the wall clock in milliseconds.

    `others` have samples that do not come from the view.
    """

    def __init__(
        self,
        view: View,
        settings: Settings,
        clock: Callable[[], int],
        others: Sequence[Callable[[], Iterable[Family]]] = (),
    ) -> None:
        self._view = view
        self._settings = settings
        self._clock = clock
        self._others = others
        self._collection = Collection(settings)
        self._latency = LatencyHistogram()
        self._turn = asyncio.Lock()
        self._key: tuple[int, int] | None = None
        self._families: list[Family] = []
        self._rendered: dict[bool, bytes] = {}

    async def endpoint(self, request: Request) -> Response:
        """Text 0.0.4 or OpenMetrics, by the Accept header; compressed if asked for."""
        open_metrics = prefers_open_metrics(request.headers.get("accept", ""))
        content = await self.expose(open_metrics)
        headers = {"Vary": "Accept, Accept-Encoding", "Cache-Control": "no-store"}
        if accepts_gzip(request.headers.get("accept-encoding", "")) and (
            len(content) >= _COMPRESS_FROM
        ):
            content = await asyncio.to_thread(gzip.compress, content, 1)
            headers["Content-Encoding"] = "gzip"
        media_type = OPEN_METRICS if open_metrics else TEXT
        return Response(content, headers={**headers, "Content-Type": media_type})

    async def expose(self, open_metrics: bool) -> bytes:
        """The whole exposition as of now."""
        now_ms = self._clock()
        self._latency.drain(self._view)
        vital = [*vitals(self._view, self._settings, now_ms), self._latency.family()]
        vital += (family for families in self._others for family in families())
        figures = b""
        if self._view.fresh(now_ms):
            figures = await self._figures(now_ms, open_metrics)
        return figures + render(vital, open_metrics) + end_mark(open_metrics)

    async def run(self) -> None:
        """Do what a scrape should not wait for, until cancelled.

        Latencies are taken up, of which the view keeps only so many, and changes against the past.
        """
        while True:
            self._latency.drain(self._view)
            now_ms = self._clock()
            if self._view.fresh(now_ms):
                await self._collection.changes.refresh(self._view, now_ms)
            await asyncio.sleep(_DRAIN_S)

    async def _figures(self, now_ms: int, open_metrics: bool) -> bytes:
        async with self._turn:
            key = (self._view.version, now_ms // _SLIDE_MS)
            if key != self._key:
                self._families = await self._collection.collect(self._view, now_ms)
                self._key, self._rendered = key, {}
            if open_metrics not in self._rendered:
                self._rendered[open_metrics] = await _render(self._families, open_metrics)
            return self._rendered[open_metrics]


async def _render(families: Iterable[Family], open_metrics: bool) -> bytes:
    """The families as text; others get their turn after each."""
    texts: list[bytes] = []
    for family in families:
        texts.append(render([family], open_metrics))
        await asyncio.sleep(0)
    return b"".join(texts)


def accepts_gzip(header: str) -> bool:
    """Whether an Accept-Encoding header allows gzip."""
    for part in header.split(","):
        name, _, quality = part.partition(";")
        if name.strip() in ("gzip", "*"):
            return quality.strip().replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False
