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
from itertools import islice

from aiokafka import AIOKafkaProducer
from aiokafka.producer.message_accumulator import BatchBuilder

from stream.clock import wall_clock_ms
from stream.partitioner import partition_of
from tests.bench.stage import PARTITIONS, Stage
from tests.bench.traffic import Workload
from tests.support.namespaces import Namespace
from tests.support.patience import eventually
from tests.support.ports import free_port
from tests.support.system import ask

TICK_S = 0.01
LANE_BYTES = 1 << 20
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
    producer = AIOKafkaProducer(
        bootstrap_servers=stage.kafka.bootstrap,
        linger_ms=0,
        max_batch_size=LANE_BYTES,
        max_request_size=PARTITIONS * LANE_BYTES,
    )
    ticks = prepare(producer, rate, seconds + WARM_S)
    cores = stage.cores(1)
    worker = stage.start(space, group, "worker", cores=cores.tested)
    server = stage.start(space, group, "serve", cores=cores.others, STREAM_HTTP_PORT=str(port))
    try:
        await eventually(lambda: ask(port, "/api/v1/status")["ready"], 60, what="ready")
        watch = Watch(port)
        looking = threading.Thread(target=watch.run)
        looking.start()
        try:
            await producer.start()
            sent_per_s = await feed(producer, space.topic("clicks"), ticks, watch)
            await eventually(lambda: not any(watch.waiting), 60, what="all counted")
        finally:
            watch.stopped = True
            looking.join()
    finally:
        await producer.stop()
        worker.clean_up()
        server.clean_up()
    return {
        "records_per_s": sent_per_s,
        "p50_ms": watch.quantile_ms(0.5),
        "p99_ms": watch.quantile_ms(0.99),
    }


def prepare(producer: AIOKafkaProducer, rate: int, seconds: float) -> list[list[BatchBuilder]]:
    """What is to be sent at each tick, a batch per partition."""
    count = int(rate * TICK_S)
    ticks = round(seconds / TICK_S)
    source = Workload("clicks", ticks * count, wall_clock_ms()).records()
    prepared = []
    for _ in range(ticks):
        lanes = [producer.create_batch() for _ in range(PARTITIONS)]
        for key, value in islice(source, count):
            lane = lanes[partition_of(key, PARTITIONS)]
            if lane.append(key=key, value=value, timestamp=None) is None:
                raise ValueError(f"a batch of {LANE_BYTES} bytes is too small for {rate}/s")
        prepared.append(lanes)
    return prepared


async def feed(
    producer: AIOKafkaProducer, topic: str, ticks: list[list[BatchBuilder]], watch: Watch
) -> float:
    """Send what was prepared, each tick in its time; the first seconds only warm up.

    Returns the records that were really sent a second.
    """
    under_way = set[asyncio.Task[None]]()
    sent, began_s = 0, time.perf_counter()
    for number, lanes in enumerate(ticks):
        await asyncio.sleep(began_s + number * TICK_S - time.perf_counter())
        counts = number * TICK_S > WARM_S
        for partition, lane in enumerate(lanes):
            if lane.record_count():
                sent += lane.record_count()
                work = _send(producer, topic, partition, lane, watch, counts)
                task = asyncio.create_task(work)
                under_way.add(task)
                task.add_done_callback(under_way.discard)
    passed_s = time.perf_counter() - began_s
    await asyncio.gather(*under_way)
    return sent / passed_s


async def _send(
    producer: AIOKafkaProducer,
    topic: str,
    partition: int,
    lane: BatchBuilder,
    watch: Watch,
    counts: bool,
) -> None:
    records = lane.record_count()
    done = await (await producer.send_batch(lane, topic, partition=partition))
    if counts:
        batch = Batch(done.offset + records - 1, done.timestamp, records)
        watch.waiting[partition].append(batch)
