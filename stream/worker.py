"""The worker: composition root of agents, ledgers and projection, and its loops.

Faust says which partitions are ours; the ledger says what is true of them. A worker that is in
doubt (fenced, stuck, its consumer dead) ends with WorkerError, and its process starts anew.
"""

import asyncio
import os
import socket
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import asdict
from typing import Any

import structlog
from aiokafka.errors import KafkaError

from stream.agents import add_agents
from stream.core.buckets import Calendar
from stream.core.catalogue import SOURCES
from stream.core.partition import Partition
from stream.core.pseudonyms import Pseudonyms
from stream.core.records import TopicPartition
from stream.engine.batches import PositionLostError
from stream.engine.dead_letters import DeadLetterError, DeadLetters
from stream.engine.faust import EngineError, FaustApp, FaustConfig
from stream.engine.kafka_admin import KafkaAdmin
from stream.engine.kafka_log import KafkaLog
from stream.engine.ledger import Held, Ledger, LedgerError, Recovered
from stream.engine.topics import ensure_topics
from stream.errors import UserError
from stream.health import serve_health
from stream.live.link import Link, stop_if_cancelled
from stream.live.projection import Projection, ProjectionFencedError
from stream.live.rows import About
from stream.meters import Meters
from stream.settings import Settings
from stream.shard import End, Shard
from stream.topic_plan import DEAD_LETTERS, ledger_topic, plan_topics

log = structlog.get_logger(__name__)

ASK_ENDS_S = 1.0
STUCK_S = 30.0
"""A partition with records to read whose position stands still for so long makes a new start."""
KAFKA_PATIENCE_S = 2.0
LAST_FLUSH_S = 3.0


class WorkerError(Exception):
    """The worker must start anew."""


class Worker:
    """Owns the shards of this process."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.rules = settings.rules()
        self.name = settings.worker_id or f"{socket.gethostname()}-{settings.worker_port}"
        self.meters = Meters()
        self.meters.limit("event_ids", self.rules.dedupe_max_ids)
        self.meters.limit("label_sets", self.rules.max_label_sets)
        self.topics = {name: settings.topic(name) for name in SOURCES}
        self._names = {full: name for name, full in self.topics.items()}
        self._calendar = Calendar(self.rules.timezone)
        self._pseudonyms = Pseudonyms(bytes(32))
        self._ledgers = {
            name: Ledger(KafkaLog(settings.kafka, ledger_topic(settings, name))) for name in SOURCES
        }
        self._letters = DeadLetters(
            settings.kafka, settings.topic(DEAD_LETTERS), prefix=settings.topic_prefix
        )
        self._link = Link(settings.redis_url)
        self._about = About(self.rules.definition_id, asdict(self.rules), {})
        self._shards: dict[TopicPartition, Shard] = {}
        self._kept: dict[TopicPartition, tuple[Partition, Held]] = {}
        self._tasks: dict[TopicPartition, list[asyncio.Task[None]]] = {}
        self._moved: dict[TopicPartition, tuple[int, float]] = {}
        self._fault: BaseException | None = None
        self._over = asyncio.Event()
        self._recovered = False
        self._app = FaustApp(
            FaustConfig(
                kafka=settings.kafka,
                group=settings.group,
                topics=tuple(self.topics.values()),
                instance_id=self.name,
                prefix=settings.topic_prefix,
                keyed_topics=frozenset(self.topics.values()),
                session_timeout_s=settings.kafka_session_timeout / 1000,
            ),
            self,
        )
        add_agents(self._app, self.topics, self)

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set. Raises WorkerError to be started anew, UserError to end."""
        settings = self.settings
        with serve_health(
            settings.worker_host, settings.worker_port, self.meters.registry, self._is_ready
        ):
            try:
                if await self._prepare(stop):
                    await self._work(stop)
            finally:
                await self._close()

    async def _work(self, stop: asyncio.Event) -> None:
        forward = asyncio.create_task(self._forward(stop))
        watch = asyncio.create_task(self._guarded(self._watch))
        try:
            await self._app.run(self._over)
        except EngineError as error:
            self._fault = self._fault or _explain(error)
        finally:
            await _end([forward, watch])
        if not stop.is_set():
            self._raise()

    def _is_ready(self) -> bool:
        return self._recovered

    def find(self, place: TopicPartition) -> Shard | None:
        """The shard of a partition, if it is ours now."""
        return self._shards.get(place)

    async def paused(self, shard: Shard) -> None:
        """Say so, and stop fetching it."""
        self._app.pause([self._kafka_place(shard.place)])
        log.error(
            "partition_paused",
            partition=_spell(shard.place),
            at=shard.core.position,
            why="more than half of the last 1,000 records are unreadable",
            then=f"look at the dead letters, then: stream resume {_spell(shard.place)}",
        )

    async def read_from(self, shard: Shard) -> None:
        """Fetch a shard's records again from its position."""
        await self._app.seek(self._kafka_place(shard.place), shard.core.position)

    def revoke(self, partitions: set[TopicPartition]) -> None:
        """These are no longer ours: stop their loops, keep what is sure."""
        self._kept.clear()
        for partition in partitions:
            place = self._place(partition)
            shard = self._shards.pop(place, None)
            if shard is None:
                continue
            shard.is_alive = False
            reusable = shard.is_reusable
            for task in self._tasks.pop(place, []):
                task.cancel()
            held = self._ledgers[place.topic].release(place.partition)
            self._letters.forget(*place)
            self.meters.forget(place)
            if held is not None and reusable:
                self._kept[place] = shard.core, held

    async def assign(self, partitions: set[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Recover these partitions from their ledgers."""
        try:
            shards = await asyncio.gather(
                *(self._recover(self._place(partition)) for partition in partitions)
            )
            await self._check_starts(shards)
        except UserError as error:
            self._stop_for(error)
            raise
        for shard in shards:
            self._adopt(shard)
        self._recovered = True
        log.info("partitions_recovered", count=len(shards), worker=self.name)
        return {self._kafka_place(shard.place): shard.core.position for shard in shards}

    async def _prepare(self, stop: asyncio.Event) -> bool:
        """Connect, with patience while Kafka is away. False when it was stopped before that."""
        while not stop.is_set():
            try:
                await self._connect()
            except (KafkaError, OSError, TimeoutError) as error:
                log.warning("kafka_away", servers=self.settings.kafka, error=repr(error)[:200])
                await self._disconnect()
                await _wait(stop, KAFKA_PATIENCE_S)
            else:
                return True
        return False

    async def _connect(self) -> None:
        settings = self.settings
        plan = plan_topics(settings)
        async with KafkaAdmin(settings.kafka) as admin:
            for remark in await ensure_topics(admin, plan):
                log.warning("topic", remark=remark)
            shapes = await admin.topics()
        self._about.partitions.update(
            {name: shapes[full].partitions for name, full in self.topics.items()}
        )
        await self._letters.start()
        for ledger in self._ledgers.values():
            await ledger.start()

    async def _recover(self, place: TopicPartition) -> Shard:
        core, held = self._kept.pop(place, (None, None))
        recovered = await self._ledgers[place.topic].claim(place.partition, held)
        if core is None or not recovered.kept:
            core = self._load(place, recovered)
        name = core.name(os.urandom(8))
        shard = Shard(
            place,
            core,
            self._ledgers[place.topic],
            self._letters,
            Projection(
                self._link,
                self.settings.group,
                *place,
                ledger=name.hex(),
                about=self._about,
            ),
            self.meters,
            self.name,
            recovered.epoch,
        )
        shard.flushed = recovered.next or 0
        return shard

    def _load(self, place: TopicPartition, recovered: Recovered) -> Partition:
        core = Partition(place.topic, self.rules, self._calendar, self._pseudonyms)
        try:
            core.load(recovered.entries)
        except ValueError as error:
            raise UserError(
                f"{_spell(place)}: {error}; go back to the rules it was made with, or run "
                "`stream rebuild` to count all topics again"
            ) from None
        return core

    async def _check_starts(self, shards: Iterable[Shard]) -> None:
        """Go on behind records that Kafka deleted before they were read, and say so."""
        places = {self._kafka_place(shard.place): shard for shard in shards}
        starts = await self._app.beginning_offsets(places)
        for place, shard in places.items():
            position = shard.core.position
            if position < starts[place]:
                missing = starts[place] - position
                if position:
                    log.error("records_lost", partition=_spell(shard.place), records=missing)
                    self.meters.lost.labels(*map(str, shard.place)).inc(missing)
                shard.core.skip_to(starts[place])

    def _adopt(self, shard: Shard) -> None:
        place, kafka_place = shard.place, self._kafka_place(shard.place)
        self._shards[place] = shard
        if shard.core.is_paused:
            self._app.pause([kafka_place])
        else:
            self._app.resume([kafka_place])
        self._tasks[place] = [
            asyncio.create_task(self._guarded(lambda: self._flush_loop(shard))),
            asyncio.create_task(self._guarded(lambda: self._project_loop(shard))),
        ]

    async def _flush_loop(self, shard: Shard) -> None:
        interval_s = self.settings.flush_interval / 1000
        while shard.is_alive:
            await asyncio.sleep(interval_s)
            await shard.flush()

    async def _project_loop(self, shard: Shard) -> None:
        while shard.is_alive:
            command = await shard.project()
            stop_if_cancelled()
            if command is not None:
                await self._obey(shard, command)

    async def _obey(self, shard: Shard, command: str) -> None:
        """`resume`: "" goes on where it stands, a number skips to that offset."""
        if shard.core.is_paused:
            shard.core.resume(int(command) if command else None)
            await self.read_from(shard)
            self._app.resume([self._kafka_place(shard.place)])
            log.info("partition_resumed", partition=_spell(shard.place), at=shard.core.position)
        await shard.clear_command(command)

    async def _watch(self) -> None:
        """Ask for the ends of the logs, tell the group how far we are, see that things move."""
        while True:
            await asyncio.sleep(ASK_ENDS_S)
            places = {self._kafka_place(place): shard for place, shard in self._shards.items()}
            if not places:
                continue
            asked_ms = time.time_ns() // 1_000_000
            try:
                ends = await self._app.end_offsets(places)
            except (KafkaError, TimeoutError, OSError) as error:
                log.warning("kafka_away", error=repr(error)[:200])
                self._moved.clear()
                continue
            for place, shard in places.items():
                shard.end = End(ends[place], asked_ms)
                self._show(shard)
                self._check_moves(shard)
            await self._app.commit({place: shard.flushed for place, shard in places.items()})

    def _check_moves(self, shard: Shard) -> None:
        now_s = time.monotonic()
        position, since_s = self._moved.get(shard.place, (-1, now_s))
        if position != shard.core.position or not shard.lag or shard.core.is_paused:
            self._moved[shard.place] = shard.core.position, now_s
        elif now_s - since_s > STUCK_S:
            raise WorkerError(f"{_spell(shard.place)} stands still at {position}")

    def _show(self, shard: Shard) -> None:
        self.meters.show(shard.info(), shard.core.sizes())

    async def _guarded(self, loop: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a loop; its failure ends the worker, for what it left behind is unknown."""
        try:
            await loop()
        except (LedgerError, DeadLetterError, ProjectionFencedError, WorkerError) as error:
            self._stop_for(WorkerError(str(error)))
        except Exception as error:
            log.exception("loop_failed")
            self._stop_for(WorkerError(repr(error)))

    def _stop_for(self, fault: Exception) -> None:
        self._fault = self._fault or fault
        self._over.set()

    async def _forward(self, stop: asyncio.Event) -> None:
        """A friendly stop: one last flush of all, then the consumer leaves."""
        await stop.wait()
        shards = list(self._shards.values())
        for shard in shards:
            shard.is_alive = False
        tasks = [task for tasks in self._tasks.values() for task in tasks]
        if tasks:
            await asyncio.wait(tasks, timeout=LAST_FLUSH_S)
        try:
            async with asyncio.timeout(LAST_FLUSH_S):
                await asyncio.gather(*(shard.flush() for shard in shards))
                await asyncio.gather(*(shard.project() for shard in shards))
        except Exception as error:  # noqa: BLE001 - what is not flushed is read again
            log.warning("last_flush_failed", error=repr(error)[:200])
        self._over.set()

    async def _close(self) -> None:
        for tasks in self._tasks.values():
            await _end(tasks)
        await self._disconnect()
        await self._link.close()

    async def _disconnect(self) -> None:
        closing = [ledger.stop() for ledger in self._ledgers.values()]
        await asyncio.gather(self._letters.stop(), *closing, return_exceptions=True)

    def _raise(self) -> None:
        if isinstance(self._fault, UserError):
            raise self._fault
        if self._fault is not None:
            raise WorkerError(str(self._fault)) from self._fault

    def _place(self, partition: TopicPartition) -> TopicPartition:
        return TopicPartition(self._names[partition.topic], partition.partition)

    def _kafka_place(self, place: TopicPartition) -> TopicPartition:
        return TopicPartition(self.topics[place.topic], place.partition)


def _explain(error: EngineError) -> Exception:
    """A position that its log does not hold is for a person; all else a new start mends."""
    if isinstance(error.__cause__, PositionLostError):
        return UserError(
            f"{error.__cause__}: the topic was deleted and made again, or cut; "
            "run `stream rebuild` to count all topics again"
        )
    return error


def _spell(place: TopicPartition) -> str:
    return f"{place.topic}/{place.partition}"


async def _wait(event: asyncio.Event, timeout_s: float) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        return


async def _end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
