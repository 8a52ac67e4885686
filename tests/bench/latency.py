"""From record to view: how long after Kafka took a record the API counts it, at a steady rate.

The broker says when it took a record (its own timestamp) and where it lies; the API says how far
each partition is counted. Neither asks the worker.
"""

import asyncio
import http.client
import json
import threading
import time
from collections import deque
from dataclasses import dataclass, field

from aiokafka import AIOKafkaProducer

from stream.clock import wall_clock_ms
from stream.partitioner import partition_of
from tests.bench.stage import PARTITIONS, Stage
from tests.bench.traffic import Workload
from tests.support.namespaces import Namespace
from tests.support.patience import eventually
from tests.support.ports import free_port
from tests.support.system import ask

TICK_S = 0.01
LOOK_S = 0.005
WARM_S = 5.0


@dataclass(frozen=True)
class Batch:
    """Records that were taken together; `last` is the offset of the last of them."""

    last: int
    taken_ms: int
    records: int


@dataclass
class Watch:
    """Asks the API how far it is, and notes how long each batch took to get there."""

    port: int
    waiting: list[deque[Batch]] = field(
        default_factory=lambda: [deque() for _ in range(PARTITIONS)]
    )
    delays: list[tuple[float, int]] = field(default_factory=list)
    stopped: bool = False

    def run(self) -> None:
        """Look until `stopped`; for a thread of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        while not self.stopped:
            connection.request("GET", "/api/v1/status")
            status = json.loads(connection.getresponse().read())
            now_ms = time.time() * 1000
            for place in status["partitions"]:
                if place["topic"] == "clicks":
                    self._pass(self.waiting[place["partition"]], place["through"], now_ms)
            time.sleep(LOOK_S)
        connection.close()

    def _pass(self, waiting: deque[Batch], through: int, now_ms: float) -> None:
        while waiting and waiting[0].last < through:
            batch = waiting.popleft()
            self.delays.append((now_ms - batch.taken_ms, batch.records))

    def quantile_ms(self, share: float) -> float:
        """The delay that so large a share of the records does not exceed."""
        ordered = sorted(self.delays)
        left = share * sum(records for _, records in ordered)
        for delay_ms, records in ordered:
            left -= records
            if left <= 0:
                return delay_ms
        return ordered[-1][0]


async def measure(stage: Stage, rate: int, seconds: float) -> dict[str, float]:
    """p50 and p99 in milliseconds at a rate of records a second."""
    space, group, port = Namespace(), stage.group(), free_port()
    await stage.make_topics(space)
    cores = stage.cores(1)
    worker = stage.start(space, group, "worker", cores=cores.tested)
    server = stage.start(space, group, "serve", cores=cores.others, STREAM_HTTP_PORT=str(port))
    try:
        await eventually(lambda: ask(port, "/api/v1/status")["ready"], 60, what="ready")
        watch = Watch(port)
        looking = threading.Thread(target=watch.run)
        looking.start()
        try:
            sent = await feed(stage, space, watch, rate, seconds)
            await eventually(lambda: not any(watch.waiting), 60, what="all counted")
        finally:
            watch.stopped = True
            looking.join()
    finally:
        worker.clean_up()
        server.clean_up()
    return {
        "records_per_s": sent / (seconds + WARM_S),
        "p50_ms": watch.quantile_ms(0.5),
        "p99_ms": watch.quantile_ms(0.99),
    }


async def feed(stage: Stage, space: Namespace, watch: Watch, rate: int, seconds: float) -> int:
    """Send clicks at a rate, a batch per partition and tick; the first seconds only warm up."""
    producer = AIOKafkaProducer(bootstrap_servers=stage.kafka.bootstrap, linger_ms=0)
    await producer.start()
    began_s = time.perf_counter()
    records = Workload("clicks", int(rate * (seconds + WARM_S)) + 1, wall_clock_ms())
    source, sent, under_way = records.records(), 0, set[asyncio.Task[None]]()
    while (passed_s := time.perf_counter() - began_s) < seconds + WARM_S:
        lanes = [producer.create_batch() for _ in range(PARTITIONS)]
        due = min(int(passed_s * rate) - sent, rate // 10)
        for _ in range(due):
            key, value = next(source)
            lane = lanes[partition_of(key, PARTITIONS)]
            lane.append(key=key, value=value, timestamp=None)
        sent += due
        for number, lane in enumerate(lanes):
            if lane.record_count():
                work = _send(
                    producer, space.topic("clicks"), number, lane, watch, passed_s > WARM_S
                )
                task = asyncio.create_task(work)
                under_way.add(task)
                task.add_done_callback(under_way.discard)
        await asyncio.sleep(TICK_S)
    await asyncio.gather(*under_way)
    await producer.stop()
    return sent


async def _send(
    producer: AIOKafkaProducer, topic: str, partition: int, lane: object, watch: Watch, counts: bool
) -> None:
    records = lane.record_count()  # type: ignore[attr-defined]
    done = await (await producer.send_batch(lane, topic, partition=partition))
    if counts:
        batch = Batch(done.offset + records - 1, done.timestamp, records)
        watch.waiting[partition].append(batch)
