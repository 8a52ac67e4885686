"""A broker and a store for benchmarks, topics filled beforehand, and workers measured on them."""

import asyncio
import itertools
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis

from stream.core.records import TopicPartition
from stream.engine.kafka_admin import KafkaAdmin
from stream.engine.topics import ensure_topics
from stream.live.keys import PartitionKeys
from stream.producer import Producer
from stream.settings import load_settings
from stream.topic_plan import plan_topics
from tests.bench.machine import Cores, cpu_s, peak_mib, pin, resident_mib
from tests.bench.traffic import Record, Workload
from tests.support.brokers import open_kafka
from tests.support.keeper import Keeper
from tests.support.namespaces import Namespace
from tests.support.ports import free_port
from tests.support.processes import StreamProcess
from tests.support.services import LocalService
from tests.support.stores import open_redis

PARTITIONS = 4
_LOOK_S = 0.01
_PATIENCE_S = 60.0
_BEGUN = "partitions_recovered"
"""What a worker logs when it is about to read its first record."""


@dataclass(frozen=True)
class Sample:
    """Where the workers stood at one moment."""

    at_s: float
    through: int
    cpu_s: float
    resident_mib: float


@dataclass
class Drained:
    """A run over a filled topic. `samples` go from when all workers read to the last record."""

    samples: list[Sample] = field(default_factory=list)
    peak_mib: float = 0.0
    start_s: float = 0.0

    @property
    def events_per_s(self) -> float:
        """Records counted a second."""
        first, last = self.samples[0], self.samples[-1]
        return (last.through - first.through) / (last.at_s - first.at_s)

    @property
    def cpu_per_million(self) -> float:
        """CPU seconds of all workers for a million records; what the start costs is left out."""
        return self.cpu_between(0, self.samples[-1].through)

    def cpu_between(self, start: int, end: int) -> float:
        """The same, of the part of the run that lies between two numbers of records."""
        part = [sample for sample in self.samples if start <= sample.through <= end]
        return (part[-1].cpu_s - part[0].cpu_s) / (part[-1].through - part[0].through) * 1e6

    def resident_after(self, records: int) -> float:
        """Resident MiB once so many records were counted."""
        return next(s.resident_mib for s in self.samples if s.through >= records)


class Stage:
    """Apache Kafka and Redis of its own, kept off the cores of what is measured."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="bench-"))
        self.keeper = Keeper()
        self.kafka = open_kafka("apache", self.keeper)
        self.redis = open_redis("redis", self.keeper)
        self._groups = itertools.count()

    def open(self) -> None:
        """Start the servers."""
        self.kafka.start()
        self.redis.start()

    def close(self) -> None:
        """End everything."""
        for service in (self.kafka, self.redis):
            service.close()
        self.keeper.close()

    def cores(self, tested: int) -> Cores:
        """Give so many cores to what is measured, and the others to the servers."""
        cores = Cores.of(tested)
        for service in (self.kafka, self.redis):
            assert isinstance(service, LocalService)
            assert service.server.pid is not None
            pin(service.server.pid, cores.others)
        return cores

    async def fill(self, work: Workload) -> Namespace:
        """Write a workload into new topics; returns their names."""
        space = Namespace()
        await self.make_topics(space)
        await self.send(space, work.topic, work.records())
        return space

    async def make_topics(self, space: Namespace) -> None:
        """Make the topics as a worker would."""
        settings = load_settings(
            {
                "kafka": self.kafka.bootstrap,
                "topic_prefix": space.prefix,
                "partitions": PARTITIONS,
            }
        )
        async with KafkaAdmin(settings.kafka) as admin:
            await ensure_topics(admin, plan_topics(settings))

    async def send(self, space: Namespace, topic: str, records: Iterable[Record]) -> None:
        """Write records, and wait until the broker has them."""
        producer = Producer(self.kafka.bootstrap)
        await producer.start(30)
        name = space.topic(topic)
        await producer.open(name)
        for number, (key, value) in enumerate(records):
            producer.add(name, key, value)
            if number % 2_000 == 0:
                await producer.submit_full()
        await producer.flush()
        await producer.stop()

    def group(self) -> str:
        """A group that has counted nothing yet."""
        return f"bench{next(self._groups)}"

    def start(
        self, space: Namespace, group: str, *args: str, cores: tuple[int, ...] = (), **env: str
    ) -> StreamProcess:
        """Start a command of the project, on these cores only."""
        log = self.folder / f"{group}-{time.monotonic_ns()}.log"
        own = {"STREAM_GROUP": group, "STREAM_WORKER_PORT": str(free_port()), **env}
        process = StreamProcess(args, space.env(self.kafka, self.redis) | own, log, self.keeper)
        if cores:
            pin(process.pid, cores)
        return process

    async def drain(
        self, space: Namespace, topic: str, events: int, *, workers: int = 1, **env: str
    ) -> tuple[Drained, str]:
        """Let new workers count a filled topic, a core each; returns the run and its group."""
        group = self.group()
        cores = self.cores(workers)
        began_s = time.perf_counter()
        processes = [
            self.start(
                space,
                group,
                "worker",
                cores=(cores.tested[number],),
                STREAM_WORKER_ID=f"w{number}",
                **env,
            )
            for number in range(workers)
        ]
        try:
            return await self._watch(group, topic, events, processes, began_s), group
        finally:
            for process in processes:
                process.clean_up()

    async def _watch(
        self,
        group: str,
        topic: str,
        events: int,
        processes: list[StreamProcess],
        began_s: float,
    ) -> Drained:
        run = Drained()
        picture = Picture(self.redis.url, group, topic)
        moved_s, through, begun = time.perf_counter(), 0, False
        while through < events:
            await asyncio.sleep(_LOOK_S)
            now_s, before = time.perf_counter(), through
            begun = begun or all(_BEGUN in process.text for process in processes)
            through = picture.through() if begun else 0
            if through > before or (begun and not run.samples):
                moved_s = now_s
                used = sum(cpu_s(p.pid) for p in processes)
                resident = sum(resident_mib(p.pid) for p in processes)
                run.samples.append(Sample(now_s, through, used, resident))
            elif now_s - moved_s > _PATIENCE_S or not all(p.running for p in processes):
                raise RuntimeError(f"stands at {through}: {processes[0].text[-2_000:]}")
        run.start_s = run.samples[0].at_s - began_s
        run.peak_mib = sum(peak_mib(p.pid) for p in processes)
        picture.close()
        return run


class Picture:
    """How far the read model of a topic goes, asked of Redis alone."""

    def __init__(self, url: str, group: str, topic: str) -> None:
        self._client: Any = redis.Redis.from_url(url)
        self._keys = [
            PartitionKeys.of(group, TopicPartition(topic, number)).at
            for number in range(PARTITIONS)
        ]

    def through(self) -> int:
        """Records counted so far."""
        asked = self._client.pipeline(transaction=False)
        for key in self._keys:
            asked.hget(key, "through")
        return sum(int(found or 0) for found in asked.execute())

    def close(self) -> None:
        """Close the connection."""
        self._client.close()
