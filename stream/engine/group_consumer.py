"""aiokafka's consumer as a member of the group: how it is made, and what is asked of its inside.

All of it runs on the consumer's own loop. Knows nothing of Faust, nor of who owns which partition.
"""

# ruff: noqa: SLF001 - what aiokafka does not offer is taken from its inside, under contract test

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import cast

from aiokafka import AIOKafkaConsumer
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import ConsumerStoppedError, KafkaError
from aiokafka.structs import TopicPartition as KafkaPartition

from stream.core.records import RecordBatch
from stream.engine.batches import drain, keep_stored_bytes
from stream.engine.credentials import Credentials, client_options

log = logging.getLogger(__name__)

POLL_S = 1.0
"""How long one fetch waits for records; what became readable meanwhile wakes it."""
STOP_S = 3.0


@dataclass(frozen=True)
class ConsumerConfig:
    """What the consumer needs to know. Topic names are Kafka's, prefix included."""

    kafka: str
    """Bootstrap servers, `host:port` separated by commas."""
    group: str
    topics: tuple[str, ...]
    instance_id: str | None = None
    """Static membership: a restart within the session time-out moves nobody's partitions."""
    prefix: str = ""
    """Taken off the topic's name in a `RecordBatch`."""
    keyed_topics: frozenset[str] = frozenset()
    """Topics whose batches carry keys."""
    session_timeout_s: float = 10.0
    request_timeout_s: float = 20.0
    batch_records: int = 20_000
    """About so many records are handed over at once (whole Kafka batches)."""
    fetch_bytes: int = 4 << 20
    buffered_batches: int = 16
    credentials: Credentials | None = None

    def name_of(self, topic: str) -> str:
        """A Kafka topic's name without the prefix."""
        return topic.removeprefix(self.prefix)


def make_consumer(config: ConsumerConfig) -> AIOKafkaConsumer:
    """A consumer that has yet to be started, and told where to read."""
    session_ms = int(config.session_timeout_s * 1000)
    keep_stored_bytes()
    return AIOKafkaConsumer(
        bootstrap_servers=config.kafka.split(","),
        client_id=config.instance_id or "stream-worker",
        group_id=config.group,
        group_instance_id=config.instance_id,
        partition_assignment_strategy=[RoundRobinPartitionAssignor],
        enable_auto_commit=False,
        # The owner alone says where to read. A position that the log no longer holds must
        # be an error: going on elsewhere would lose or repeat records in silence.
        auto_offset_reset="none",
        isolation_level="read_committed",
        check_crcs=True,
        max_partition_fetch_bytes=config.fetch_bytes,
        # Until a fetch that waits in vain is answered, no other goes to its broker: neither behind
        # a seek, nor for partitions whose records were still in hand when it was sent.
        fetch_max_wait_ms=50,
        request_timeout_ms=int(config.request_timeout_s * 1000),
        session_timeout_ms=session_ms,
        heartbeat_interval_ms=max(100, min(1000, session_ms // 4)),
        rebalance_timeout_ms=max(30_000, session_ms),
        max_poll_interval_ms=900_000,  # a long recovery does not poll
        metadata_max_age_ms=60_000,
        **client_options(config.credentials),
    )


async def stop_consumer(consumer: AIOKafkaConsumer) -> None:
    """Have it leave, within seconds."""
    try:
        await asyncio.wait_for(consumer.stop(), STOP_S)
    # aiokafka lets the cancellation of its own tasks through
    except (TimeoutError, KafkaError, asyncio.CancelledError) as error:
        log.debug("the consumer left without a farewell: %r", error)
        await asyncio.wait_for(consumer._client.close(), STOP_S)


async def fetch(
    consumer: AIOKafkaConsumer,
    config: ConsumerConfig,
    may_read: Callable[[], bool],
    is_readable: Callable[[KafkaPartition], bool],
) -> list[tuple[KafkaPartition, RecordBatch]]:
    """The next batches of what is readable; nothing when there are none for `POLL_S`.

    Nothing either while nothing may be read, or a rebalance is under way. Raises
    `ConsumerStoppedError`, and what its group coordinator has met.
    """
    fetcher, end = consumer._fetcher, monotonic() + POLL_S
    with fetcher._subscriptions.fetch_context():
        while True:
            # Without this call aiokafka's group coordinator waits for ever with its error.
            consumer._coordinator.check_errors()
            if consumer._closed or fetcher._closed:
                raise ConsumerStoppedError
            if fetcher._subscriptions.reassignment_in_progress or not may_read():
                await asyncio.sleep(0.02)
                return []
            batches = drain(
                fetcher, is_readable, config.name_of, config.keyed_topics, config.batch_records
            )
            left = end - monotonic()
            if batches or left <= 0:
                return batches
            waiter = fetcher._create_fetch_waiter()
            try:
                await asyncio.wait_for(waiter, left)  # raises what the coordinator has met
            except TimeoutError:
                return []


def wake(consumer: AIOKafkaConsumer) -> None:
    """Let a waiting fetch look again: a partition has become readable."""
    fetcher = consumer._fetcher
    for waiter in list(fetcher._fetch_waiters):
        fetcher._notify(waiter)


def failure(consumer: AIOKafkaConsumer) -> BaseException | None:
    """What has ended the group coordination or waits to be told, if anything."""
    coordinator = consumer._coordinator
    if coordinator is None:
        return None
    task = coordinator._coordination_task
    if task.done() and not task.cancelled() and task.exception() is not None:
        return cast("BaseException", task.exception())
    return cast("BaseException | None", coordinator._pending_exception)


def highwater(consumer: AIOKafkaConsumer, partition: KafkaPartition) -> int | None:
    """The end that the last fetch has seen: what is readable lies below it."""
    current = consumer._subscription.subscription
    assignment = None if current is None else current.assignment
    state = None if assignment is None else assignment.state_value(partition)
    if state is None:
        return None
    stable = cast("int | None", state.lso)
    if stable is None or stable < 0:  # a broker without transactions
        return cast("int | None", state.highwater)
    return stable
