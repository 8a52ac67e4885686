"""How much one worker, one server and their Redis hold, and how fast they answer when they do."""

import asyncio
import http.client
import random
import statistics
import time
from collections.abc import Callable, Iterator

import redis

from stream.clock import wall_clock_ms
from tests.bench.machine import cpu_s, resident_mib
from tests.bench.stage import Picture, Stage
from tests.bench.traffic import Record
from tests.support.namespaces import Namespace
from tests.support.patience import eventually
from tests.support.ports import free_port
from tests.support.processes import StreamProcess
from tests.support.system import ask

DAY_MS = 86_400_000
QUERIES, SCRAPES = 500, 20
QUERY = "/api/v1/query?metric=ctr&window=24h&by=campaign&limit=1000"
LISTENERS, LISTEN_S = 500, 20.0
_PATIENCE_S = 1_800.0
Row = dict[str, float]


async def measure(
    stage: Stage, topic: str, count: int, records: Callable[[int, int], Iterator[Record]]
) -> Row:
    """Memory and answering times once a worker and a server hold `count` records of a kind."""
    space, group, port = Namespace(), stage.group(), free_port()
    await stage.make_topics(space)
    await stage.send(space, topic, records(count, wall_clock_ms()))
    client = redis.Redis.from_url(stage.redis.url)
    before = client.info("memory")["used_memory"]
    cores = stage.cores(1)
    worker = stage.start(space, group, "worker", cores=cores.tested)
    server = stage.start(
        space,
        group,
        "serve",
        cores=(cores.others[-1],),
        STREAM_HTTP_PORT=str(port),
        STREAM_METRICS_MAX_SERIES="100000",
    )
    picture = Picture(stage.redis.url, group, topic)
    try:
        await eventually(
            lambda: picture.through() >= count, _PATIENCE_S, interval_s=0.2, what="all counted"
        )
        await eventually(lambda: ask(port, "/api/v1/status")["ready"], 60, what="ready")
        await eventually(lambda: _counted(port, topic) >= count, 60, what="all seen")
        return {
            "worker_mib": resident_mib(worker.pid),
            "redis_mib": (client.info("memory")["used_memory"] - before) / 2**20,
            "server_mib": resident_mib(server.pid),
            "scrape_ms": max(_times_ms(port, "/metrics", SCRAPES)),  # others may find it ready
            "query_p99_ms": statistics.quantiles(_times_ms(port, QUERY, QUERIES), n=100)[98],
            **(await _listen(stage, space, server, port) if topic == "clicks" else {}),
        }
    finally:
        picture.close()
        client.close()
        worker.clean_up()
        server.clean_up()


def _counted(port: int, topic: str) -> int:
    places = ask(port, "/api/v1/status")["partitions"]
    return sum(place["through"] for place in places if place["topic"] == topic)


def _times_ms(port: int, path: str, times: int) -> list[float]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    found = []
    for _ in range(times):
        began_s = time.perf_counter()
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200, path
        found.append((time.perf_counter() - began_s) * 1000)
    connection.close()
    return found


async def _listen(stage: Stage, space: Namespace, server: StreamProcess, port: int) -> Row:
    """Hold many live streams open while events come, on the server's one core."""
    gaps: list[float] = []
    listeners = [asyncio.create_task(listener(port, gaps)) for _ in range(LISTENERS)]
    await asyncio.sleep(5)  # all have connected and have their snapshot
    gaps.clear()
    began_s, began_cpu_s = time.perf_counter(), cpu_s(server.pid)
    while time.perf_counter() - began_s < LISTEN_S:
        now_ms = wall_clock_ms()  # the seed: the same ids again would be duplicates
        await stage.send(space, "clicks", day_of_clicks(200, now_ms, 60_000, seed=now_ms))
        await asyncio.sleep(0.5)
    seconds, used_s = time.perf_counter() - began_s, cpu_s(server.pid) - began_cpu_s
    broken = sum(task.done() for task in listeners)
    for task in listeners:
        task.cancel()
    await asyncio.gather(*listeners, return_exceptions=True)
    assert not broken, f"{broken} of {LISTENERS} streams ended"
    return {
        "listeners_cpu": used_s / seconds,
        "messages_per_s": len(gaps) / seconds / LISTENERS,
        "longest_gap_s": max(gaps),
    }


async def listener(port: int, gaps: list[float]) -> None:
    """Read a live stream; note the seconds between its messages."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 24)
    writer.write(b"GET /api/v1/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
    last_s = time.perf_counter()
    try:
        while line := await reader.readline():
            if line.startswith(b"event:"):
                now_s = time.perf_counter()
                gaps.append(now_s - last_s)
                last_s = now_s
    finally:
        writer.close()


# --- what is held ---------------------------------------------------------------------------------


def day_of_clicks(
    count: int, end_ms: int, span_ms: int = DAY_MS, seed: int = 3
) -> Iterator[Record]:
    """Clicks of 1,000 campaigns and 10 channels, over a day of event time."""
    chance = random.Random(seed)
    for number in range(count):
        at_ms = end_ms - span_ms + number * span_ms // count
        yield _click(chance, at_ms, f"{number % 1_000:05d}", f"channel-{number // 1_000 % 10}", "")


def label_sets(count: int, end_ms: int) -> Iterator[Record]:
    """Clicks of 100,000 label sets: 1,000 campaigns, 10 channels, 10 creatives; four minutes."""
    chance = random.Random(4)
    for number in range(count):
        at_ms = end_ms - 240_000 + number * 240_000 // count
        creative = f',"creative":"creative-{number // 10_000 % 10}"'
        channel = f"channel-{number // 1_000 % 10}"
        yield _click(chance, at_ms, f"{number % 1_000:05d}", channel, creative)


def open_sessions(count: int, end_ms: int) -> Iterator[Record]:
    """A page view each of so many visitors."""
    for number in range(count):
        visitor = f"visitor-{number:09d}"
        value = (
            f'{{"event_id":"e{number}","type":"page_view","timestamp":{end_ms},'
            f'"visitor_id":"{visitor}","campaign":"campaign-{number % 50:05d}"}}'
        )
        yield visitor.encode(), value.encode()


def open_tickets(count: int, end_ms: int) -> Iterator[Record]:
    """So many tickets that are opened."""
    for number in range(count):
        ticket = f"ticket-{number:09d}"
        value = (
            f'{{"event_id":"e{number}","type":"opened","timestamp":{end_ms},'
            f'"ticket_id":"{ticket}","channel":"email","team":"team-{number % 20}"}}'
        )
        yield ticket.encode(), value.encode()


def _click(chance: random.Random, at_ms: int, campaign: str, channel: str, creative: str) -> Record:
    visitor = f"visitor-{int(chance.random() * 100_000):09d}"
    kind = "click" if chance.random() < 0.04 else "impression"
    value = (
        f'{{"event_id":"{chance.getrandbits(128):032x}","type":"{kind}","timestamp":{at_ms},'
        f'"visitor_id":"{visitor}","campaign":"campaign-{campaign}","channel":"{channel}"'
        f"{creative}}}"
    )
    return visitor.encode(), value.encode()
