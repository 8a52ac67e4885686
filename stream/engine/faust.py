"""The façade over Faust: agents fed with whole batches, and a group whose owner says where to read.

The only module that imports Faust (and mode). Owns the consumer's life: joining the group, its
rebalances, seeking, stopping. Knows nothing of what records mean or where state is kept.

Faust runs its Kafka consumer on a thread with a loop of its own; all else runs on the caller's
loop, the owner and the agents included. What Faust 0.15 does wrong is put right here, each with
its reason beside it; `tests/contract` fails when the code relied on has changed.
"""

# ruff: noqa: SLF001 - Faust's seams are private names; what is used is under contract test

import asyncio
import logging
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Mapping,
)
from concurrent.futures import Future as ThreadFuture
from contextlib import aclosing
from time import monotonic
from typing import Any, TypeVar, cast

import faust
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import (
    ConsumerStoppedError,
    IllegalStateError,
    KafkaConnectionError,
    KafkaError,
)
from aiokafka.structs import OffsetAndMetadata
from aiokafka.structs import TopicPartition as KafkaPartition
from faust.app.base import BootStrategy
from faust.exceptions import ConsumerNotStarted
from faust.serializers.schemas import Schema
from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage
from mode.threads import WorkerThread
from yarl import URL

from stream.core.records import RecordBatch, TopicPartition
from stream.engine import group_consumer
from stream.engine.group_consumer import POLL_S, ConsumerConfig, make_consumer, stop_consumer
from stream.engine.ownership import Owner, Ownership
from stream.signals import wait_at_most

log = logging.getLogger(__name__)

T = TypeVar("T")
AgentFunction = Callable[[AsyncIterator[RecordBatch]], Awaitable[None]]

SEEK_TIMEOUT_S = 5.0
RETRY_FIRST_S, RETRY_MOST_S = 0.25, 5.0
CHECK_EVERY_S = 0.25
STOP_ALL_S = 8.0


class EngineError(Exception):
    """The consumer has died or would stand still; the process should start anew."""


class _RawSchema(Schema[Any, Any]):
    """A message's value is a `RecordBatch`: there is nothing to decode."""

    def compile(self, app: Any, **_: Any) -> Any:
        async def decode(message: Any, *, propagate: bool = False) -> Any:  # noqa: ARG001
            return app.create_event(None, message.value, None, message)

        return decode


class _DaemonThread(WorkerThread):
    """A consumer that hangs while it stops must not keep the process alive."""

    def __init__(self, service: Any, **kwargs: Any) -> None:
        super().__init__(service, **kwargs)
        self.daemon = True

    def run(self) -> None:
        """Without a traceback on standard error: the app has been told."""
        try:
            super().run()
        except Exception as error:  # noqa: BLE001
            log.debug("the consumer's thread ended with %r", error)


class _ConsumerThread(driver.AIOKafkaConsumerThread):
    """aiokafka's consumer and the calls into its loop.

    Calls do not pass Faust's method queue: its two workers wait for the fetch and the commit, and
    a seek behind them would come too late.
    """

    app: "_App"
    Worker = _DaemonThread

    def _create_worker_consumer(self, transport: Any) -> AIOKafkaConsumer:  # noqa: ARG002
        return make_consumer(self.app.facade.config)

    async def on_start(self) -> None:
        """Connect, however long the brokers take to come up."""
        delay_s = RETRY_FIRST_S
        while not self.should_stop:
            try:
                await super().on_start()
                break
            except KafkaConnectionError as error:
                log.warning("no broker can be reached, trying again: %s", error)
            await self._stop_consumer()
            await self.sleep(delay_s)
            delay_s = min(2 * delay_s, RETRY_MOST_S)

    async def on_thread_stop(self) -> None:
        """Stop within seconds: aiokafka would wait for a join that is under way."""
        if self._method_queue is not None:
            await self._method_queue.stop()
        await self._stop_consumer()

    async def _stop_consumer(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await stop_consumer(consumer)

    def on_crash(self, msg: str, *fmt: Any, **kwargs: Any) -> None:  # noqa: ARG002
        """Without a traceback on standard error: `run` raises it."""
        log.debug(msg.format(*fmt))

    def close(self) -> None:
        """Leave it to `on_thread_stop`: Faust would close the client from the wrong loop."""

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Say nothing: Faust compares clocks of two kinds; progress is watched elsewhere."""

    async def call(self, work: Coroutine[Any, Any, T], timeout_s: float) -> T:
        """Run `work` on the consumer's loop. Raises `TimeoutError`."""
        try:
            future: ThreadFuture[T] = asyncio.run_coroutine_threadsafe(work, self.thread_loop)
        except RuntimeError as error:  # its loop is closed
            work.close()
            raise ConsumerStoppedError from error
        return await asyncio.wait_for(asyncio.wrap_future(future), timeout_s)

    async def fetch(self, consumer: "_Consumer") -> list[tuple[KafkaPartition, RecordBatch]]:
        """The next batches; nothing when there are none for `POLL_S`, or while not allowed."""
        return await group_consumer.fetch(
            self._ensure_consumer(),
            self.app.facade.config,
            lambda: consumer.flow_active,
            consumer.is_readable,
        )

    def wake(self) -> None:
        """Let a waiting fetch look again: a partition has become readable."""
        if self._consumer is None or self.thread_loop.is_closed():
            return
        self.thread_loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        group_consumer.wake(self._ensure_consumer())

    async def set_positions(self, offsets: Mapping[Any, int]) -> None:
        """Read on at `offsets`. Raises `IllegalStateError` for a partition that is not ours."""
        kafka = self._ensure_consumer()
        for tp, offset in offsets.items():
            kafka.seek(KafkaPartition(*tp), offset)

    def failure(self) -> BaseException | None:
        """What has ended the group coordination or waits to be told, if anything."""
        return None if self._consumer is None else group_consumer.failure(self._consumer)


class _Consumer(driver.Consumer):
    """Delivers batches as messages, and reads only between a recovery and the next revocation."""

    app: "_App"
    _thread: _ConsumerThread

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.held: frozenset[Any] = frozenset()

    def _new_consumer_thread(self) -> _ConsumerThread:
        return _ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    def is_readable(self, partition: KafkaPartition) -> bool:
        """Asked on the consumer's thread, right before records are taken."""
        return partition in self._active_partitions and partition not in self.held

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Stop reading before anything else; Faust does not when nothing was assigned."""
        self.stop_flow()
        self.app.flow_control.suspend()
        self.app.facade.ownership.revoke(monotonic())
        await super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """The rebalance is over; Faust's recovery is started by what follows."""
        self.app.facade.ownership.agree()
        await super().on_partitions_assigned(assigned, generation_id)

    def on_buffer_drop(self, tp: TP) -> None:
        """Read on at once instead of after the fetch under way has waited in vain."""
        super().on_buffer_drop(tp)
        self._thread.wake()

    async def _drain_messages(self, fetcher: Any) -> None:
        """Hand over batches, in order, until stopped.

        Faust's own loop drops what lies below the last message's offset; after a seek backwards
        that would be the very records asked for.
        """
        try:
            while not (self.should_stop or fetcher.should_stop):
                if not self.flow_active:
                    await self.wait(cast("Any", self.can_resume_flow))
                    continue
                timeout_s = POLL_S + self.app.facade.config.request_timeout_s
                for tp, batch in await self._thread.call(self._thread.fetch(self), timeout_s):
                    if self.suspend_flow.is_set():
                        break  # a rebalance has begun; its end sets every position anew
                    message = self._message(tp, batch)
                    await self.wait_first(self._deliver(message), self.suspend_flow.wait())
        except ConsumerStoppedError:
            if not self.app.should_stop:
                raise

    def _message(self, tp: KafkaPartition, batch: RecordBatch) -> ConsumerMessage:
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            batch.next - 1,
            cast("Any", None),
            0,
            None,
            None,
            cast("Any", batch),
            None,
            tp=cast("Any", TP(*tp)),
            generation_id=self.app.consumer_generation_id,
        )

    async def _deliver(self, message: ConsumerMessage) -> None:
        if self.flow_active and message.generation_id == self.app.consumer_generation_id:
            await self.callback(message)

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Do nothing: the owner says where to read, the committed offset is for lag tools."""
        return {}

    def _new_offset(self, tp: TP) -> int | None:  # noqa: ARG002
        """Commit nothing by itself."""
        return None

    async def verify_all_partitions_active(self) -> None:
        """Say nothing, see `_ConsumerThread.verify_event_path`."""


class _Transport(driver.Transport):
    Consumer = _Consumer


class _Recovery(Recovery):
    """What happens between an assignment and the first record."""

    async def _resume_streams(self, generation_id: int = 0) -> None:
        """Let the owner recover, set every position, only then read.

        Faust resumes before it seeks, ends for ever when seeking takes long, and crashes when
        a listener raises.
        """
        app = cast("_App", self.app)
        consumer = cast("_Consumer", app.consumer)
        if not await app.facade.ownership.recover(
            lambda: app.consumer_generation_id == generation_id
        ):
            return  # a newer rebalance has begun, and signals this service again
        consumer.resume_partitions(consumer.assignment())
        app.flow_control.resume()
        consumer.resume_flow()
        await app._fetcher.maybe_start()
        self.completed.set()
        self.tables.on_actives_ready()
        self.tables.on_standbys_ready()
        app.on_rebalance_end()


class _Tables(TableManager):
    """No tables; only the recovery hangs on this service."""

    @property
    def recovery(self) -> Recovery:
        if self._recovery is None:
            self._recovery = _Recovery(self.app, self, beacon=self.beacon, loop=self.loop)
        return self._recovery

    async def on_start(self) -> None:
        """Without the second that Faust waits for tables to appear."""
        await self._update_channels()
        await self.recovery.start()


class _Boot(BootStrategy):
    """Consumer, agents and conductor: no producer, no web server, no leader election."""

    enable_web = False
    enable_kafka_producer = False
    enable_sensors = False

    def kafka_consumer(self) -> Iterable[Any]:
        return [self.app.consumer]


class _App(faust.App):
    BootStrategy = _Boot
    facade: "FaustApp"

    def _new_transport(self) -> Any:
        return _Transport(self.conf.broker_consumer, self)

    def add_agent(self, name: str, source: Any, consume: Callable[[Any], Any]) -> None:
        """As Faust's decorator, which goes through every module for the source of its caller."""
        agent = cast("Any", self.conf).Agent(
            consume,
            name=name,
            app=self,
            channel=source,
            concurrency=1,
            on_error=self._on_agent_error,
        )
        self.agents[name] = agent
        self.topics.beacon.add(agent)

    def _create_directories(self) -> None:
        """Nothing is kept on disk."""


class FaustApp:
    """A consumer-group member whose agents get whole batches. Create it, add agents, `run` it."""

    def __init__(self, config: ConsumerConfig, owner: Owner) -> None:
        self.config = config
        self.ownership = Ownership(owner, self, self._fail)
        self._app = _new_app(config)
        self._app.facade = self
        self._failure: BaseException | None = None
        self._stopping = False

    def agent(self, topic: str) -> Callable[[AgentFunction], AgentFunction]:
        """Run the decorated function over the batches of `topic` (one agent per topic).

        The function must catch what can go wrong with a record; one that raises, or ends, ends
        `run` with an error, for its batch would be lost.
        """
        if topic not in self.config.topics:
            raise ValueError(f"{topic} is none of the topics {self.config.topics}")

        def add(function: AgentFunction) -> AgentFunction:
            async def consume(stream: Any) -> None:
                try:
                    async with aclosing(_batches(stream)) as batches:
                        await function(batches)
                    self._fail(EngineError(f"the agent of {topic} has ended"))
                except Exception as error:  # noqa: BLE001 - told by run()
                    self._fail(error)

            source = self._app.topic(topic, schema=_RawSchema(), internal=False, acks=False)
            self._app.add_agent(f"stream.{topic}", source, consume)
            return function

        return add

    async def run(self, stop: asyncio.Event) -> None:
        """Consume until `stop` is set; returns or raises within seconds of it.

        Raises `EngineError` when the consumer has died. A worker then starts anew. At the end
        the owner's partitions are revoked; who wants a last flush makes it before setting `stop`.
        """
        starting = asyncio.create_task(self._app.start(), name="faust")
        try:
            while not stop.is_set():
                self._check(starting)
                await wait_at_most(stop, CHECK_EVERY_S)
        finally:
            self._stopping = True
            self.ownership.revoke(monotonic())
            await self._stop(starting)

    def assignment(self) -> set[TopicPartition]:
        """The partitions the group has given us; they may still be in recovery."""
        try:
            return {TopicPartition(*tp) for tp in self._thread.assignment()}
        except ConsumerNotStarted:
            return set()

    async def seek(self, partition: TopicPartition, offset: int) -> None:
        """Read on at `offset`; batches handed over before may still be under way.

        Without effect for a partition that is not ours any more.
        """
        try:
            await self.set_positions({partition: offset})
        except (IllegalStateError, ConsumerNotStarted):
            return
        self._thread.wake()

    async def set_positions(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Read on at these offsets. Raises `IllegalStateError` if one is not ours any more."""
        await self._thread.call(self._thread.set_positions(offsets), SEEK_TIMEOUT_S)

    def pause(self, partitions: Iterable[TopicPartition]) -> None:
        """Stop reading these until `resume`; holds over rebalances, also for one that comes back.

        A batch that is under way is still delivered: who drops it must seek before resuming.
        """
        self._consumer.held |= {TP(*partition) for partition in partitions}

    def resume(self, partitions: Iterable[TopicPartition]) -> None:
        """Read these again, from where reading stopped or was sought to."""
        self._consumer.held -= {TP(*partition) for partition in partitions}
        self._thread.wake()

    async def commit(self, offsets: Mapping[TopicPartition, int], timeout_s: float = 5.0) -> bool:
        """Tell the group how far we are, for lag tools. False when it could not be told."""
        ours = self.assignment()
        wanted = {
            KafkaPartition(*tp): OffsetAndMetadata(offset, "")
            for tp, offset in offsets.items()
            if tp in ours
        }
        if not wanted:  # aiokafka refuses an empty commit
            return False
        try:
            kafka = self._thread._ensure_consumer()
            await self._thread.call(kafka.commit(wanted), timeout_s)
        except (KafkaError, TimeoutError) as error:
            log.debug("offsets not committed: %r", error)
            return False
        return True

    def highwater(self, partition: TopicPartition) -> int | None:
        """The end that the last fetch has seen: what is readable lies below it."""
        kafka = self._thread._consumer
        return (
            None if kafka is None else group_consumer.highwater(kafka, KafkaPartition(*partition))
        )

    async def end_offsets(
        self, partitions: Iterable[TopicPartition], timeout_s: float = 5.0
    ) -> dict[TopicPartition, int]:
        """Ask the brokers for the ends of these logs. Raises `KafkaError` or `TimeoutError`.

        The embedded broker names the last batch's first record; a fetch has often seen more.
        """
        kafka = self._thread._ensure_consumer()
        found = await self._offsets(kafka.end_offsets, partitions, timeout_s)
        return {tp: max(offset, self.highwater(tp) or 0) for tp, offset in found.items()}

    async def beginning_offsets(
        self, partitions: Iterable[TopicPartition], timeout_s: float = 5.0
    ) -> dict[TopicPartition, int]:
        """Ask the brokers for the first offsets. Raises `KafkaError` or `TimeoutError`."""
        kafka = self._thread._ensure_consumer()
        return await self._offsets(kafka.beginning_offsets, partitions, timeout_s)

    async def committed(
        self, partitions: Iterable[TopicPartition], timeout_s: float = 5.0
    ) -> dict[TopicPartition, int]:
        """What the group has been told with `commit`; without those it was told nothing of.

        Raises `KafkaError` or `TimeoutError`.
        """
        kafka = self._thread._ensure_consumer()

        async def ask(wanted: Iterable[KafkaPartition]) -> dict[KafkaPartition, int]:
            told = {tp: await kafka.committed(tp) for tp in wanted}
            return {tp: offset for tp, offset in told.items() if offset is not None}

        return await self._offsets(ask, partitions, timeout_s)

    async def _offsets(
        self, ask: Callable[..., Any], partitions: Iterable[TopicPartition], timeout_s: float
    ) -> dict[TopicPartition, int]:
        wanted = [KafkaPartition(*partition) for partition in partitions]
        if not wanted:
            return {}
        found = await self._thread.call(ask(wanted), timeout_s)
        return {TopicPartition(*partition): offset for partition, offset in found.items()}

    def _fail(self, error: Exception) -> None:
        if self._failure is None and not self._stopping:
            self._failure = error

    def _check(self, starting: "asyncio.Task[None]") -> None:
        """Raise when Faust or aiokafka has died; many of their ends are silent."""
        fault = self._failure
        if fault is None:
            fault = self._app.crash_reason
        if fault is None:
            fault = self._thread.failure()
        if fault is None and starting.done():
            fault = starting.exception()
            if fault is None and not self._alive():
                raise EngineError("a service of the consumer has ended by itself")
        if fault is not None:
            raise EngineError(f"the consumer has died: {fault!r}") from fault

    def _alive(self) -> bool:
        services = (cast("_Tables", self._app.tables).recovery, self._app._fetcher)
        return all(service.started and bool(service._futures) for service in services)

    async def _stop(self, starting: "asyncio.Task[None]") -> None:
        starting.cancel()
        stopping = asyncio.create_task(self._app.stop(), name="faust-stop")
        _, late = await asyncio.wait({starting, stopping}, timeout=STOP_ALL_S)
        for task in (starting, stopping):
            if task in late:
                log.warning(
                    "%s has not stopped in %s s; it is left behind", task.get_name(), STOP_ALL_S
                )
            elif not task.cancelled() and task.exception() is not None:
                log.debug("%s ended with %r", task.get_name(), task.exception())

    @property
    def _consumer(self) -> _Consumer:
        return cast("_Consumer", self._app.consumer)

    @property
    def _thread(self) -> _ConsumerThread:
        return self._consumer._thread


async def _batches(stream: Any) -> AsyncGenerator[RecordBatch, None]:
    async for event in stream.noack().events():
        yield event.value


def _new_app(config: ConsumerConfig) -> _App:
    return _App(
        config.group,
        broker=[URL(f"kafka://{server.strip()}") for server in config.kafka.split(",")],
        broker_session_timeout=config.session_timeout_s,
        broker_request_timeout=config.request_timeout_s,
        store="memory://",
        web_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        stream_wait_empty=False,  # a revocation waits for nobody
        stream_buffer_maxsize=config.buffered_batches,
        stream_recovery_delay=0.0,
        autodiscover=False,
        TableManager=_Tables,
    )
