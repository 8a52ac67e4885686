"""How long a worker takes to count again after `kill -9`, with ledgers of many keys."""

import time
from collections.abc import Iterator

from stream.clock import wall_clock_ms
from tests.bench.machine import peak_mib
from tests.bench.stage import Picture, Stage
from tests.bench.traffic import Record
from tests.support.namespaces import Namespace
from tests.support.patience import eventually

MORE = 1_000
"""Records that are sent while the worker is dead: it has recovered when they are counted."""


async def measure(stage: Stage, visitors: int) -> dict[str, float]:
    """Seconds from the start of the process that takes over, until it counts again.

    Each visitor is an open session: a key of the ledger.
    """
    space, group = Namespace(), stage.group()
    await stage.make_topics(space)
    await stage.send(space, "sessions", strangers(0, visitors))
    picture = Picture(stage.redis.url, group, "sessions")
    cores = stage.cores(1)
    first = stage.start(space, group, "worker", cores=cores.tested, STREAM_WORKER_ID="w")
    await eventually(lambda: picture.through() >= visitors, 900, what="all visitors counted")
    first.kill()
    await stage.send(space, "sessions", strangers(visitors, visitors + MORE))
    began_s = time.perf_counter()
    second = stage.start(space, group, "worker", cores=cores.tested, STREAM_WORKER_ID="w")
    try:
        wanted = visitors + MORE
        await eventually(lambda: picture.through() >= wanted, 300, interval_s=0.01, what="back")
        return {"seconds": time.perf_counter() - began_s, "peak_mib": peak_mib(second.pid)}
    finally:
        second.clean_up()
        picture.close()


def strangers(start: int, end: int) -> Iterator[Record]:
    """A page view each of so many visitors."""
    now_ms = wall_clock_ms()
    for number in range(start, end):
        visitor = f"visitor-{number:09d}"
        value = (
            f'{{"event_id":"e{number}","type":"page_view","timestamp":{now_ms},'
            f'"visitor_id":"{visitor}","campaign":"campaign-{number % 50:05d}"}}'
        )
        yield visitor.encode(), value.encode()
