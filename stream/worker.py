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
from functools import partial
from typing import Any

import structlog
from aiokafka.errors import KafkaError

from stream.agents import add_agents
from stream.anchor import Anchor
from stream.broker_clock import BrokerClock
from stream.clock import wall_clock_ms
from stream.core.catalogue import SOURCES
from stream.core.partition import Partition
from stream.core.records import TopicPartition
from stream.cores import Cores
from stream.engine.batches import PositionLostError
from stream.engine.dead_letters import DeadLetterError, DeadLetters
from stream.engine.diagnosis import diagnose
from stream.engine.faust import EngineError, FaustApp
from stream.engine.group_consumer import ConsumerConfig
from stream.engine.kafka_admin import KafkaAdmin
from stream.engine.kafka_log import KafkaLog
from stream.engine.ledger import Held, Ledger, LedgerError
from stream.engine.scanner import Scanner
from stream.engine.topics import ensure_topics
from stream.errors import UserError
from stream.flushing import flush_when_due, phase_of
from stream.health import serve_health
from stream.kafka_access import kafka_credentials
from stream.keeper import Keeper
from stream.live.link import stop_if_cancelled
from stream.live.projection import Projection, ProjectionFencedError
from stream.live.rows import About
from stream.meters import Meters
from stream.redis_access import link_to_redis
from stream.settings import Settings
from stream.shard import End, Shard
from stream.signals import wait_at_most
from stream.source_watch import FETCH_BYTES, SourceWatch, check_fresh
from stream.stillness import Stillness
from stream.topic_plan import DEAD_LETTERS, ledger_topic, plan_topics
from stream.turns import noting_turns

log = structlog.get_logger(__name__)

ASK_ENDS_S = 1.0
WATCH_S = 10.0
STUCK_LOOKS = 30
"""A partition with work to do that stands still for so many looks, a second or more apart, makes a
new start."""
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
        self.meters.limit(self.rules)
        self.topics = {name: settings.topic(name) for name in SOURCES}
        self._names = {full: name for name, full in self.topics.items()}
        self._cores = Cores(settings)
        self._credentials = kafka_credentials(settings)
        self._ledgers = {name: self._ledger(name) for name in SOURCES}
        self._letters = DeadLetters(
            settings.kafka,
            settings.topic(DEAD_LETTERS),
            prefix=settings.topic_prefix,
            credentials=self._credentials,
        )
        self._source = Scanner(
            settings.kafka, credentials=self._credentials, fetch_bytes=FETCH_BYTES
        )
        self._sources = SourceWatch(self._source)
        self._link = link_to_redis(settings)
        self._about = About(self.rules.definition_id, asdict(self.rules), {})
        self._shards: dict[TopicPartition, Shard] = {}
        self._kept: dict[TopicPartition, tuple[Partition, Held]] = {}
        self._tasks: dict[TopicPartition, list[asyncio.Task[None]]] = {}
        self._next_look_s = 0.0
        self._still = Stillness(STUCK_LOOKS)
        self._looped = 0
        self._fault: BaseException | None = None
        self._over = asyncio.Event()
        self._recovered = False
        self._app = FaustApp(self._consumer_config(), self)
        add_agents(self._app, self.topics, self)

    def _ledger(self, topic: str) -> Ledger:
        name = ledger_topic(self.settings, topic)
        return Ledger(KafkaLog(self.settings.kafka, name, credentials=self._credentials))

    def _consumer_config(self) -> ConsumerConfig:
        return ConsumerConfig(
            kafka=self.settings.kafka,
            group=self.settings.group,
            topics=tuple(self.topics.values()),
            instance_id=self.name,
            prefix=self.settings.topic_prefix,
            keyed_topics=frozenset(self.topics.values()),
            session_timeout_s=self.settings.kafka_session_timeout / 1000,
            credentials=self._credentials,
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set. Raises WorkerError to be started anew, UserError to end."""
        with serve_health(self.settings, self.meters.registry, self._is_ready):
            try:
                if await self._prepare(stop):
                    await self._work(stop)
            finally:
                await self._close()

    async def _work(self, stop: asyncio.Event) -> None:
        forward = asyncio.create_task(self._forward(stop))
        watch = asyncio.create_task(self._guarded(self._watch))
        keep = asyncio.create_task(Keeper(self.settings, self._link, self.name).run())
        try:
            await self._app.run(self._over)
        except EngineError as error:
            self._fault = self._fault or _explain(error)
        finally:
            await _end([forward, watch, keep])
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
            partition=str(shard.place),
            at=shard.core.position,
            why="more than half of the last 1,000 records are unreadable",
            then=f"look at the dead letters, then: stream resume {shard.place}",
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
            reusable = shard.is_alive and shard.is_reusable
            shard.is_alive = False
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
                await self._disconnect()
                why = await diagnose(error, self.settings.kafka, self._credentials)
                log.warning("kafka_away", servers=self.settings.kafka, error=why.text)
                await wait_at_most(stop, KAFKA_PATIENCE_S)
            else:
                return True
        return False

    async def _connect(self) -> None:
        settings = self.settings
        plan = plan_topics(settings)
        async with KafkaAdmin(settings.kafka, credentials=self._credentials) as admin:
            for remark in await ensure_topics(admin, plan):
                log.warning("topic", remark=remark)
            shapes = await admin.topics()
        self._about.partitions.update(
            {name: shapes[full].partitions for name, full in self.topics.items()}
        )
        await self._letters.start()
        await self._source.start()
        for ledger in self._ledgers.values():
            await ledger.start()

    async def _recover(self, place: TopicPartition) -> Shard:
        if place.partition not in self._ledgers[place.topic].partitions:
            raise UserError(
                f"topic {self.topics[place.topic]} has got more partitions than its ledger: "
                "stop the workers and run `stream rebuild` to count it again"
            )
        core, held = self._kept.pop(place, (None, None))
        recovered = await self._ledgers[place.topic].claim(place.partition, held)
        if core is None or not recovered.kept:
            core = self._cores.load(place, recovered.entries)
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
            recovered.version,
            BrokerClock(self._ledgers[place.topic].stamp(place.partition)),
        )
        shard.flushed = recovered.next or 0
        shard.is_fresh = recovered.next is None and not recovered.voided
        return shard

    async def _check_starts(self, shards: Iterable[Shard]) -> None:
        """See that ledgers and source topics belong together; UserError where they do not.

        Goes on behind records that Kafka deleted before they were read, and says so.
        """
        places = {self._kafka_place(shard.place): shard for shard in shards}
        starts = await self._app.beginning_offsets(places)
        fresh = {place for place, shard in places.items() if shard.is_fresh}
        for place, offset in check_fresh(await self._app.committed(fresh), starts).items():
            partition = str(self._place(place))
            log.error("ledger_gone", partition=partition, records_counted_again=offset)
        await self._sources.check(_anchors(places, starts))
        for place, shard in places.items():
            position = shard.core.position
            if position < starts[place]:
                missing = starts[place] - position
                if position:
                    log.error("records_lost", partition=str(shard.place), records=missing)
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
            asyncio.create_task(self._guarded(partial(self._while_ours, shard, loop)))
            for loop in (self._flush_loop, self._project_loop)
        ]

    async def _while_ours(
        self, shard: Shard, loop: Callable[[Shard], Coroutine[Any, Any, None]]
    ) -> None:
        """Run a loop of a shard; that another took it over is no fault once we have lost it."""
        try:
            await loop(shard)
        except (LedgerError, ProjectionFencedError):
            if self._shards.get(shard.place) is shard:
                raise

    async def _flush_loop(self, shard: Shard) -> None:
        interval_s, self._looped = self.settings.flush_interval / 1000, self._looped + 1
        await flush_when_due(shard, interval_s, phase_of(self._looped), self.meters)

    async def _project_loop(self, shard: Shard) -> None:
        while shard.is_alive:
            command = await noting_turns(shard.project(), self.meters.turns("project"))
            stop_if_cancelled()
            if command is not None:
                await self._obey(shard, command)

    async def _obey(self, shard: Shard, command: str) -> None:
        """`resume`: "" goes on where it stands, a number skips to that offset."""
        if shard.core.is_paused:
            shard.core.resume(int(command) if command else None)
            await self.read_from(shard)
            self._app.resume([self._kafka_place(shard.place)])
            log.info("partition_resumed", partition=str(shard.place), at=shard.core.position)
        await shard.clear_command(command)

    async def _watch(self) -> None:
        """Ask for the ends of the logs, tell the group how far we are, see that things move."""
        while True:
            await asyncio.sleep(ASK_ENDS_S)
            places = {self._kafka_place(place): shard for place, shard in self._shards.items()}
            if not places:
                continue
            asked_ms = wall_clock_ms()
            broker_ms = {place: shard.clock.now_ms() for place, shard in places.items()}
            try:
                ends = await self._app.end_offsets(places)
            except (KafkaError, TimeoutError, OSError) as error:
                log.warning("kafka_away", error=repr(error)[:200])
                self._still.forget()
                continue
            for place, shard in places.items():
                shard.end = End(ends[place], asked_ms, broker_ms[place])
                self._show(shard)
                self._check_moves(shard)
            await self._app.commit({place: shard.flushed for place, shard in places.items()})
            await self._watch_sources(places)

    async def _watch_sources(self, places: Mapping[TopicPartition, Shard]) -> None:
        """See now and then that ledgers are ours and sources the same, although nothing is new."""
        if time.monotonic() < self._next_look_s:
            return
        self._next_look_s = time.monotonic() + WATCH_S
        try:
            await self._sources.watch(_anchors(places, {}))
            for shard in places.values():
                ledger = self._ledgers[shard.place.topic]
                if not await ledger.still_owner(shard.place.partition) and shard.is_alive:
                    raise WorkerError(f"{shard.place} was claimed by another worker")
        except UserError as error:
            self._stop_for(error)
        except (KafkaError, TimeoutError, OSError) as error:
            log.warning("kafka_away", error=repr(error)[:200])

    def _check_moves(self, shard: Shard) -> None:
        """Raise when what has work to do stands still while Kafka answers."""
        passing = any(s.is_passing for s in self._shards.values())  # others may wait for it
        reads = shard.lag and not shard.core.is_paused and not passing
        reading = shard.core.position if reads else None
        for what, at in (("reading", reading), ("flush", shard.flush_under_way)):
            if self._still.is_stuck((shard.place, what), at):
                raise WorkerError(f"{shard.place}: {what} stands still at {at}")

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
        closing += [self._letters.stop(), self._source.stop()]
        await asyncio.gather(*closing, return_exceptions=True)

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


def _anchors(
    places: Mapping[TopicPartition, Shard], starts: Mapping[TopicPartition, int]
) -> dict[TopicPartition, Anchor]:
    """The anchors that Kafka still holds."""
    found = {place: anchor for place, shard in places.items() if (anchor := shard.anchor)}
    return {place: a for place, a in found.items() if a.offset >= starts.get(place, 0)}


async def _end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
