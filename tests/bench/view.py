"""How fast a server's view answers, and what it holds, without Kafka, Redis or sockets.

Run it with `python -m tests.bench.view`; it takes about a minute. A view is filled as a reader
fills it, with all buckets of a day of clicks; then small steps come in while it is asked. Times are
CPU milliseconds of this process (the median, the 99th percentile or the longest of many), so others
on the machine hardly matter; `longest hold` is the longest time for which the event loop was held.
"""

import argparse
import asyncio
import gc
import json
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from typing import Self

import httpx
import msgspec
import numpy as np
from numpy.typing import NDArray

from stream.core.buckets import RETENTION_MS, Calendar, Size
from stream.core.catalogue import SOURCES
from stream.core.cells import encode_cell
from stream.core.records import TopicPartition
from stream.core.rules import Rules
from stream.garbage import collect_rarely
from stream.live.picture import Picture, Place
from stream.live.rows import About, PartitionInfo
from stream.live.view import View
from stream.serve.server import Parts, _serve
from stream.serve.server import _listen as _listen_on
from stream.settings import load_settings
from tests.bench.memory import resident
from tests.bench.scale import listener
from tests.support.ports import free_port

PARTITIONS, DAY_MS = 4, 86_400_000
LISTENERS, LISTEN_S = 500, 10.0
_OPENING = 10  # half seconds until all streams are open
STEP_EVENTS = 100
Row = dict[str, float]
Step = tuple[int, list[tuple[Place, list[tuple[bytes, bytes]]]]]
"""A partition, and the cells of each bucket that have changed."""


@dataclass(frozen=True)
class Shape:
    """So many clicks of so many label sets, spread evenly over a span of event time."""

    events: int
    campaigns: int
    channels: int
    creatives: int
    span_ms: int

    @property
    def label_sets(self) -> int:
        return self.campaigns * self.channels * self.creatives


SHAPES = {
    "a day of 1,000 campaigns × 10 channels": Shape(2_000_000, 1_000, 10, 1, DAY_MS),
    "100,000 label sets": Shape(1_000_000, 1_000, 10, 10, 240_000),
    "400,000 label sets": Shape(2_000_000, 4_000, 10, 10, 240_000),
}


class Traffic:
    """The cells of a shape's clicks, as the workers of four partitions would write them."""

    def __init__(self, shape: Shape, now_ms: int) -> None:
        chance = np.random.default_rng(3)
        self.now_ms = now_ms
        self._shape = shape
        numbers = np.arange(shape.events)
        self._times = now_ms - shape.span_ms + numbers * shape.span_ms // shape.events
        self._labels = numbers % shape.label_sets
        self._partitions = chance.integers(0, PARTITIONS, shape.events)
        self._clicks = chance.random(shape.events) < 0.04
        self._encoded: dict[tuple[int, int], bytes] = {}
        self._calendar = Calendar()
        places = ((self._partitions == number) for number in range(PARTITIONS))
        self._known = [np.unique(self._labels[mine]) for mine in places]

    def labels(self, number: int) -> bytes:
        """One label set, as it stands in Redis."""
        campaign, rest = number % self._shape.campaigns, number // self._shape.campaigns
        channel, creative = rest % self._shape.channels, rest // self._shape.channels
        names = f"campaign-{campaign:05d}", f"channel-{channel}", "(not set)", f"c-{creative}"
        return msgspec.msgpack.encode(names)

    def picture(self, partition: int) -> Picture:
        """All of one partition."""
        picture, mine = Picture(), self._partitions == partition
        times, labels, clicks = self._times[mine], self._labels[mine], self._clicks[mine]
        picture.learn([(_id(n), self.labels(n)) for n in np.unique(labels).tolist()])
        for size in Size:
            starts = self._starts(size, times)
            for start_ms in np.unique(starts).tolist():
                if size is Size.ALL or start_ms > self.now_ms - RETENTION_MS[size]:
                    a, b = np.searchsorted(starts, [start_ms, start_ms + 1])
                    picture.take_bucket((size, start_ms), self._bucket(labels[a:b], clicks[a:b]))
        return picture

    def step(self, number: int, now_ms: int) -> Step:
        """Some new clicks of now in one of the partitions, in turn."""
        partition = number % PARTITIONS
        chance = np.random.default_rng(number)
        labels = chance.choice(self._known[partition], STEP_EVENTS)
        clicks = chance.random(STEP_EVENTS) < 0.04
        cells = list(self._bucket(labels, clicks, number).items())
        now = np.array([now_ms])
        return partition, [((size, int(self._starts(size, now)[0])), cells) for size in Size]

    def _starts(self, size: Size, times: NDArray[np.int64]) -> NDArray[np.int64]:
        if size is Size.ALL:
            return np.zeros_like(times)
        if size is Size.D1:
            day_ms = self._calendar.start(size, self.now_ms)
            return day_ms - (day_ms - times + DAY_MS - 1) // DAY_MS * DAY_MS * (times < day_ms)
        width_ms = {Size.S10: 10_000, Size.M1: 60_000, Size.H1: 3_600_000}[size]
        return times - times % width_ms

    def _bucket(
        self, labels: NDArray[np.int64], clicks: NDArray[np.bool_], more: int = 0
    ) -> dict[bytes, bytes]:
        found, place, shown = np.unique(labels, return_inverse=True, return_counts=True)
        clicked = np.bincount(place, clicks, len(found)).astype(int)
        return {
            _id(n): self._cell(a + more, b)
            for n, a, b in zip(found.tolist(), shown.tolist(), clicked.tolist(), strict=True)
        }

    def _cell(self, shown: int, clicked: int) -> bytes:
        key = shown, clicked
        if key not in self._encoded:
            fields = {0: shown, 1: clicked} if clicked else {0: shown}
            self._encoded[key] = encode_cell(fields, {})
        return self._encoded[key]


class Filled:
    """A view of such traffic, and a server's endpoints over it."""

    def __init__(self, shape: Shape, **settings: object) -> None:
        self.now_ms = 1_760_000_000_000 + 43_195_000
        self.traffic = Traffic(shape, self.now_ms)
        self.view = View()
        self.parts = Parts(self.view, load_settings(settings), _yes, lambda: self.now_ms)
        self.client = httpx.AsyncClient(
            transport=httpx.ASGITransport(self.parts.app()), base_url="http://bench"
        )
        self._through = self._steps = 0

    async def fill(self) -> None:
        """Take every partition's picture."""
        self.view.take_redis_time(self.now_ms, self.now_ms)
        partitions = dict.fromkeys(SOURCES, PARTITIONS)
        self.view.take_about(About(Rules().definition_id, asdict(Rules()), partitions))
        for place in self.view.places:
            picture = (
                self.traffic.picture(place.partition) if place.topic == "clicks" else Picture()
            )
            await self.view.take_picture(place, picture, self._info(place), self.now_ms)
        self.view.publish()

    def step(self, later_ms: int = 0) -> None:
        """Take a step and show it."""
        self.now_ms += later_ms
        self._steps += 1
        partition, buckets = self.traffic.step(self._steps, self.now_ms)
        for place in self.view.places:
            changed = buckets if place == TopicPartition("clicks", partition) else []
            self.view.take_step(place, self._info(place), self.now_ms, [], changed)
        self.view.publish()

    def _info(self, place: TopicPartition) -> PartitionInfo:
        self._through += 1
        return PartitionInfo(
            topic=place.topic,
            partition=place.partition,
            status="live",
            through=self._through,
            lag=0,
            clock_ms=self.now_ms,
            newest_event_ms=self.now_ms,
            watermark_ms=self.now_ms - 600_000,
            as_of_ms=self.now_ms,
            caught_up=True,
        )


def in_a_process(name: str) -> Row:
    """The figures of a shape, from a process of its own: memory is one of them."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_measure, name).result()


def _measure(name: str) -> Row:
    return asyncio.run(measure(SHAPES[name]))


async def measure(shape: Shape) -> Row:
    """All figures of one shape."""
    before = resident()
    server = Filled(shape, metrics_max_series=100_000)
    began_s = time.process_time()
    await server.fill()
    row = {"fill_s": time.process_time() - began_s}
    collect_rarely()  # as the server does
    with Beats() as beats:
        row["first_scrape_ms"] = await _cpu_ms(server, "/metrics")
    row["first_scrape_hold_ms"] = beats.longest_ms
    row |= await _queries(server)
    row |= await _scrapes(server)
    row |= await _listen(server)
    gc.collect()
    return row | {"resident_mib": (resident() - before) / 2**20}


async def _queries(server: Filled) -> Row:
    """A query after each step: nothing that was made before can be given again."""
    row: Row = {}
    steps = []
    for name, path in (
        ("query", "/api/v1/query?metric=ctr&window=24h&by=campaign&limit=1000"),
        ("filtered", "/api/v1/query?metric=ctr&window=24h&by=channel&campaign=campaign-00007"),
        ("range", f"/api/v1/query?metric=ctr&by=campaign&{_yesterday(server)}"),
        ("series", "/api/v1/series?metric=ctr&window=24h&step=1h"),
    ):
        times = []
        await _cpu_ms(server, path)
        for _ in range(100):
            began_s = time.process_time()
            server.step()
            steps.append((time.process_time() - began_s) * 1000)
            times.append(await _cpu_ms(server, path))
        row[f"{name}_p50_ms"] = statistics.median(times)
        row[f"{name}_p99_ms"] = statistics.quantiles(times, n=100)[98]
    return row | {"step_p50_ms": statistics.median(steps), "step_max_ms": max(steps)}


async def _scrapes(server: Filled) -> Row:
    """Scrapes five seconds apart: windows slide, and changes are found anew at every third."""
    times, held = [], []
    for _ in range(20):
        server.step(5_000)
        with Beats() as beats:
            times.append(await _cpu_ms(server, "/metrics"))
        held.append(beats.longest_ms)
    return {
        "scrape_p50_ms": statistics.median(times),
        "scrape_max_ms": max(times),
        "scrape_hold_ms": max(held),
    }


async def _listen(server: Filled) -> Row:
    """Live streams over real sockets to another process, while a step comes every half second."""
    stop, listening = asyncio.Event(), _listen_on("127.0.0.1", free_port())
    port = listening.getsockname()[1]
    serving = asyncio.create_task(
        _serve(server.parts, server.parts.app(), None, listening, stop), name="serving"
    )
    feeding = asyncio.create_task(server.parts.hub.run())
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        readers = asyncio.get_running_loop().run_in_executor(pool, read_streams, port)
        held, used = [], []
        while not readers.done():
            began_s = time.process_time()
            server.step(500)
            with Beats() as beats:
                await asyncio.sleep(0.5)
            held.append(beats.longest_ms)
            used.append((time.process_time() - began_s) / 0.5)
        gaps = await readers
    feeding.cancel()
    stop.set()
    await serving
    return {
        "live_cpu_share": statistics.mean(used[_OPENING:-2]),
        "live_messages_per_s": len(gaps) / LISTEN_S / LISTENERS,
        "live_longest_gap_s": max(gaps),
        "live_hold_ms": max(held[_OPENING:-2]),
    }


def read_streams(port: int) -> list[float]:
    """The seconds between messages of all streams, in a process of their own."""
    return asyncio.run(_read_streams(port))


async def _read_streams(port: int) -> list[float]:
    gaps: list[float] = []
    streams = [asyncio.create_task(listener(port, gaps)) for _ in range(LISTENERS)]
    await asyncio.sleep(3.0)  # all have connected and have their snapshot
    gaps.clear()
    await asyncio.sleep(LISTEN_S)
    assert not any(stream.done() for stream in streams), "a stream ended"
    for stream in streams:
        stream.cancel()
    return list(gaps)


class Beats:
    """Notes for how long others hold the event loop."""

    def __enter__(self) -> Self:
        self.longest_ms = 0.0
        self._task = asyncio.create_task(self._beat())
        return self

    def __exit__(self, *_: object) -> None:
        self._task.cancel()

    async def _beat(self) -> None:
        while True:
            began_s = time.thread_time()
            await asyncio.sleep(0.001)
            self.longest_ms = max(self.longest_ms, (time.thread_time() - began_s) * 1000)


async def _cpu_ms(server: Filled, path: str) -> float:
    """Ask, and tell the CPU time that it took."""
    began_s = time.process_time()
    answer = await server.client.get(path)
    took_s = time.process_time() - began_s
    assert answer.status_code == 200, answer.text
    return took_s * 1000


def _yesterday(server: Filled) -> str:
    """A range of 19 hours whose ends lie within hours."""
    ends = [server.now_ms - hours * 3_600_000 - 17 * 60_000 for hours in (20, 1)]
    texts = [time.strftime("%Y-%m-%dT%H:%M:00Z", time.gmtime(ms // 1000)) for ms in ends]
    return f"from={texts[0]}&to={texts[1]}"


async def _yes() -> bool:
    return True


def _id(number: int) -> bytes:
    return int(number).to_bytes(4, "big")


def main() -> None:
    """Measure the shapes that were named and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shapes", nargs="*", help=f"of {', '.join(SHAPES)}; default: all")
    options = parser.parse_args()
    for name in options.shapes or SHAPES:
        row = in_a_process(name)
        print(name, json.dumps({key: round(n, 2) for key, n in row.items()}), flush=True)


if __name__ == "__main__":
    main()
