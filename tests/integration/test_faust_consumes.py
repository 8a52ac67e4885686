"""The façade over Faust against a real broker: every record once, in order, whatever happens."""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from stream.clock import wall_clock_ms
from stream.core.records import RecordBatch, TopicPartition
from stream.engine.batches import PositionLostError
from stream.engine.faust import EngineError, FaustApp
from stream.engine.group_consumer import ConsumerConfig
from stream.engine.kafka_admin import KafkaAdmin, TopicShape
from tests.support.namespaces import Namespace
from tests.support.patience import eventually
from tests.support.services import Service

PARTITIONS = 4


@dataclass
class Ledger:
    """What all members of a group have taken in; the group's single truth."""

    positions: dict[TopicPartition, int] = field(default_factory=lambda: defaultdict(int))
    values: dict[TopicPartition, list[bytes | None]] = field(
        default_factory=lambda: defaultdict(list)
    )
    offsets: dict[TopicPartition, list[int]] = field(default_factory=lambda: defaultdict(list))

    @property
    def count(self) -> int:
        return sum(map(len, self.values.values()))


class Member:
    """An owner that judges continuity by offsets alone."""

    def __init__(self, kafka: Service, topic: str, group: str, ledger: Ledger, **options: Any):
        self.ledger = ledger
        self.topic = topic
        self.owned: set[TopicPartition] = set()
        self.revoked: list[set[TopicPartition]] = []
        self.batches: list[RecordBatch] = []
        self.faults: list[Exception] = []
        self.agent_fault: Exception | None = None
        self.delay_s = 0.0
        self.stop = asyncio.Event()
        self.arrivals = asyncio.Event()
        defaults = {"session_timeout_s": 4.0, "request_timeout_s": 10.0}
        config = ConsumerConfig(
            kafka=kafka.bootstrap, group=group, topics=(topic,), **(defaults | options)
        )
        self.app = FaustApp(config, self)
        self.app.agent(topic)(self.consume)

    async def has_partitions(self) -> None:
        await eventually(lambda: self.owned, 20)

    def revoke(self, partitions: set[TopicPartition]) -> None:
        self.revoked.append(partitions)
        self.owned -= partitions

    async def assign(self, partitions: set[TopicPartition]) -> Mapping[TopicPartition, int]:
        if self.faults:
            raise self.faults.pop()
        self.owned = set(partitions)
        return {partition: self.ledger.positions[partition] for partition in partitions}

    async def consume(self, batches: AsyncIterator[RecordBatch]) -> None:
        async for batch in batches:
            if self.agent_fault is not None:
                raise self.agent_fault
            await asyncio.sleep(self.delay_s)
            partition = TopicPartition(self.topic, batch.partition)
            position = self.ledger.positions[partition]
            if partition not in self.owned or batch.next <= position:
                continue
            if batch.start > position:
                await self.app.seek(partition, position)
                continue
            self.take(partition, batch, position)

    def take(self, partition: TopicPartition, batch: RecordBatch, position: int) -> None:
        self.batches.append(batch)
        for offset, value in zip(batch.offsets, batch.values, strict=True):
            if offset >= position:
                self.ledger.offsets[partition].append(offset)
                self.ledger.values[partition].append(value)
        self.ledger.positions[partition] = batch.next
        self.arrivals.set()
        self.arrivals = asyncio.Event()


@asynccontextmanager
async def running(*members: Member) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(member.app.run(member.stop)) for member in members]
    try:
        yield
        for task in tasks:
            if task.done():
                task.result()
    finally:
        for member in members:
            member.stop.set()
        started = time.monotonic()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert time.monotonic() - started < 10


@pytest.fixture
async def topic(kafka: Service, namespace: Namespace) -> str:
    name = namespace.topic("clicks")
    await make_topic(kafka, name, **{"message.timestamp.type": "LogAppendTime"})
    return name


async def make_topic(kafka: Service, name: str, **configs: str) -> None:
    async with KafkaAdmin(kafka.bootstrap) as admin:
        await admin.create(TopicShape(name, PARTITIONS, 1, configs))

        async def there() -> bool:
            return name in await admin.topics()

        await eventually(there)  # who joins before that hears of it a minute later


@asynccontextmanager
async def producing(kafka: Service, **options: Any) -> AsyncIterator[AIOKafkaProducer]:
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, linger_ms=5, **options)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def produce(kafka: Service, topic: str, count: int, first: int = 0, **options: Any) -> None:
    """Values `first` … as decimal digits, in turn over the partitions; keys are `k<value>`."""
    async with producing(kafka, **options) as producer:
        for number in range(first, first + count):
            await producer.send(
                topic,
                b"%d" % number,
                key=b"k%d" % number,
                partition=number % PARTITIONS,
                timestamp_ms=1_600_000_000_000 + number,
            )


def assert_all_once(ledger: Ledger, topic: str, count: int) -> None:
    for number in range(PARTITIONS):
        partition = TopicPartition(topic, number)
        assert ledger.values[partition] == [b"%d" % n for n in range(number, count, PARTITIONS)]
        assert ledger.offsets[partition] == sorted(set(ledger.offsets[partition]))


async def test_every_record_arrives_once_and_in_order(
    every_kafka: Service, namespace: Namespace
) -> None:
    topic = namespace.topic("clicks")
    await make_topic(every_kafka, topic)
    await produce(every_kafka, topic, 50_000)
    member = Member(every_kafka, topic, namespace.group, Ledger(), prefix=namespace.prefix)
    async with running(member):
        await eventually(lambda: member.ledger.count >= 50_000, 30)
        ends = await member.app.end_offsets(member.app.assignment())
        assert ends == {TopicPartition(topic, n): 12_500 for n in range(PARTITIONS)}
        assert {tp: member.app.highwater(tp) for tp in ends} == ends
        assert set((await member.app.beginning_offsets(ends)).values()) == {0}
        assert member.ledger.positions == ends
    assert_all_once(member.ledger, topic, 50_000)
    assert {batch.topic for batch in member.batches} == {"clicks"}
    assert all(isinstance(batch.offsets, range) and not batch.keys for batch in member.batches)
    assert max(len(batch.values) for batch in member.batches) > 100
    assert member.revoked == [set(ends)]


async def test_records_produced_while_running_arrive_at_once(kafka: Service, topic: str) -> None:
    member = Member(kafka, topic, topic, Ledger())
    async with running(member), producing(kafka) as producer:
        await eventually(lambda: member.owned, 45)
        delays: list[float] = []
        for _ in range(20):
            sent, seen = time.monotonic(), member.arrivals
            await producer.send_and_wait(topic, b"x", partition=len(delays) % PARTITIONS)
            await asyncio.wait_for(seen.wait(), 10)
            delays.append(time.monotonic() - sent)
        assert sorted(delays)[10] < 0.2


async def test_keys_and_producer_timestamps(kafka: Service, namespace: Namespace) -> None:
    topic = namespace.topic("sessions")
    await make_topic(kafka, topic, **{"message.timestamp.type": "CreateTime"})
    await produce(kafka, topic, 1_000)
    member = Member(kafka, topic, topic, Ledger(), keyed_topics=frozenset({topic}))
    async with running(member):
        await eventually(lambda: member.ledger.count >= 1_000)
    for batch in member.batches:
        numbers = [int(value or b"") for value in batch.values]
        assert list(batch.keys) == [b"k%d" % number for number in numbers]
        assert list(batch.timestamps) == [1_600_000_000_000 + number for number in numbers]


async def test_the_brokers_timestamps_where_the_topic_says_so(kafka: Service, topic: str) -> None:
    if kafka.kind == "embedded":
        pytest.skip("the embedded broker keeps the producers' timestamps")
    before_ms = wall_clock_ms()
    await produce(kafka, topic, 400)
    after_ms = wall_clock_ms()
    member = Member(kafka, topic, topic, Ledger())
    async with running(member):
        await eventually(lambda: member.ledger.count >= 400)
    stamps = [stamp for batch in member.batches for stamp in batch.timestamps]
    assert len(stamps) == 400
    assert before_ms - 5 <= min(stamps) <= max(stamps) <= after_ms + 5


@pytest.mark.parametrize("static", [True, False])
async def test_a_second_member_shares_and_hands_back(
    kafka: Service, topic: str, static: bool
) -> None:
    ledger = Ledger()
    names = ("one", "two") if static else (None, None)
    first, second = (
        Member(kafka, topic, topic, ledger, instance_id=name, session_timeout_s=3.0)
        for name in names
    )
    total = 24_000
    async with running(first):
        await produce(kafka, topic, total // 3)
        await eventually(lambda: ledger.count >= total // 3)
        async with running(second):
            await eventually(lambda: len(first.owned) == len(second.owned) == 2)
            await produce(kafka, topic, total // 3, total // 3)
            await eventually(lambda: ledger.count >= 2 * total // 3)
            assert second.batches
        await eventually(lambda: len(first.owned) == PARTITIONS, 20)
        await produce(kafka, topic, total // 3, 2 * total // 3)
        await eventually(lambda: ledger.count >= total)
    assert_all_once(ledger, topic, total)


async def test_members_come_and_go_while_records_flow(kafka: Service, topic: str) -> None:
    ledger, total = Ledger(), 40_000
    steady = Member(kafka, topic, topic, ledger)
    async with running(steady):
        await eventually(lambda: steady.owned, 45)
        flow = asyncio.create_task(produce(kafka, topic, total))
        for _ in range(4):
            guest = Member(kafka, topic, topic, ledger)
            async with running(guest):
                await guest.has_partitions()
            await eventually(lambda: len(steady.owned) == PARTITIONS, 20)
        await flow
        await eventually(lambda: ledger.count >= total, 20)
    assert_all_once(ledger, topic, total)


async def test_aborted_transactions_do_not_count(kafka: Service, topic: str) -> None:
    if kafka.kind == "embedded":
        pytest.skip("the embedded broker has no transactions")
    async with producing(kafka, transactional_id=topic) as producer:
        for number in range(30):
            await producer.begin_transaction()
            for _ in range(7):
                await producer.send(topic, b"%d" % number, partition=0)
            await (producer.abort_transaction() if number % 3 else producer.commit_transaction())
    member = Member(kafka, topic, topic, Ledger())
    partition = TopicPartition(topic, 0)
    async with running(member):
        await eventually(lambda: member.ledger.positions[partition] == 30 * 8)
        assert (await member.app.end_offsets({partition}))[partition] == 30 * 8
        async with producing(kafka, transactional_id=topic) as producer:
            await producer.begin_transaction()
            await producer.send_and_wait(topic, b"open", partition=0)
            assert (await member.app.end_offsets({partition}))[partition] == 30 * 8
            await producer.abort_transaction()
            await eventually(lambda: member.ledger.positions[partition] == 30 * 8 + 2)
    counted = [b"%d" % number for number in range(0, 30, 3) for _ in range(7)]
    assert member.ledger.values[partition] == counted


async def test_a_seek_backwards_reads_again(kafka: Service, topic: str) -> None:
    await produce(kafka, topic, 4_000)
    member = Member(kafka, topic, topic, Ledger())
    partition = TopicPartition(topic, 1)
    async with running(member):
        await eventually(lambda: member.ledger.count >= 4_000)
        member.ledger.positions[partition] = 400
        started = time.monotonic()
        await member.app.seek(partition, 400)
        await eventually(lambda: member.ledger.count >= 4_600)
        assert time.monotonic() - started < 2
        await member.app.seek(TopicPartition(topic, 99), 5)  # not ours: nothing happens
    assert member.ledger.offsets[partition] == [*range(1_000), *range(400, 1_000)]


async def test_a_paused_partition_stays_so_over_a_rebalance(kafka: Service, topic: str) -> None:
    ledger = Ledger()
    member, guest = (Member(kafka, topic, topic, ledger) for _ in range(2))
    partition = TopicPartition(topic, 2)
    async with running(member):
        await eventually(lambda: member.owned, 45)
        member.app.pause({partition})
        await produce(kafka, topic, 400)
        await eventually(lambda: ledger.count >= 300)
        async with running(guest):
            guest.app.pause({partition})
            await eventually(lambda: guest.owned, 45)
        await eventually(lambda: len(member.owned) == PARTITIONS, 20)
        await produce(kafka, topic, 400, 400)
        await eventually(lambda: ledger.count >= 600)
        assert ledger.positions[partition] == 0
        member.app.resume({partition})
        await eventually(lambda: ledger.count >= 800)
    assert_all_once(ledger, topic, 800)


async def test_a_slow_agent_gets_everything(kafka: Service, topic: str) -> None:
    await produce(kafka, topic, 8_000, max_batch_size=300)
    member = Member(kafka, topic, topic, Ledger(), batch_records=10, fetch_bytes=4_000)
    member.delay_s = 0.002
    async with running(member):
        await eventually(lambda: member.ledger.count >= 8_000, 60)
    assert_all_once(member.ledger, topic, 8_000)
    assert len(member.batches) > 100


async def test_a_failed_recovery_is_tried_again(kafka: Service, topic: str) -> None:
    await produce(kafka, topic, 400)
    member = Member(kafka, topic, topic, Ledger())
    member.faults = [OSError("the ledger is away"), TimeoutError()]
    async with running(member):
        await eventually(lambda: member.ledger.count >= 400)
    assert_all_once(member.ledger, topic, 400)


async def test_a_partition_that_the_owner_leaves_out_is_read_from_its_beginning(
    kafka: Service, topic: str
) -> None:
    await produce(kafka, topic, 400)
    member = Member(kafka, topic, topic, Ledger())

    async def know_nothing(partitions: set[TopicPartition]) -> Mapping[TopicPartition, int]:
        member.owned = partitions
        return {}

    member.assign = know_nothing  # type: ignore[method-assign]
    async with running(member):
        await eventually(lambda: member.ledger.count >= 400)


async def test_an_agent_that_raises_ends_the_run(kafka: Service, topic: str) -> None:
    await produce(kafka, topic, 4)
    member = Member(kafka, topic, topic, Ledger())
    member.agent_fault = ZeroDivisionError("a bug")
    with pytest.raises(EngineError, match="a bug"):
        await asyncio.wait_for(member.app.run(member.stop), 15)


async def test_a_position_beyond_the_log_ends_the_run(kafka: Service, topic: str) -> None:
    member = Member(kafka, topic, topic, Ledger())
    member.ledger.positions[TopicPartition(topic, 0)] = 1_000
    with pytest.raises(EngineError, match="1000 is not in the log") as caught:
        await asyncio.wait_for(member.app.run(member.stop), 15)
    assert isinstance(caught.value.__cause__, PositionLostError)


async def test_commits_are_for_lag_tools(kafka: Service, topic: str) -> None:
    member = Member(kafka, topic, topic, Ledger())
    partition = TopicPartition(topic, 0)
    assert not await member.app.commit({partition: 1})  # not even started
    await produce(kafka, topic, 40)
    async with running(member):
        await eventually(lambda: member.ledger.count >= 40)
        assert await member.app.commit({partition: 7, TopicPartition("other", 0): 3})
        assert not await member.app.commit({TopicPartition("other", 0): 3})
        assert not await member.app.commit({})
    reader = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap, group_id=topic)
    await reader.start()
    try:
        reader.assign([TopicPartition(topic, 0)])
        assert await reader.committed(TopicPartition(topic, 0)) == 7
    finally:
        await reader.stop()


@pytest.mark.slow
@pytest.mark.parametrize("how", ["kill", "freeze"])
async def test_reads_on_when_the_broker_comes_back(kafka: Service, topic: str, how: str) -> None:
    if kafka.kind == "embedded" and how == "kill":
        pytest.skip("the embedded broker forgets everything")
    member = Member(kafka, topic, topic, Ledger(), instance_id="one")
    await produce(kafka, topic, 4_000)
    async with running(member):
        await eventually(lambda: member.ledger.count >= 4_000)
        await asyncio.to_thread(kafka.kill if how == "kill" else kafka.freeze)
        try:
            await asyncio.sleep(15)  # longer than the session and the requests' patience
        finally:
            await asyncio.to_thread(kafka.start if how == "kill" else kafka.thaw)
        await produce(kafka, topic, 4_000, 4_000)
        await eventually(lambda: member.ledger.count >= 8_000, 30)
    assert_all_once(member.ledger, topic, 8_000)


@pytest.mark.slow
async def test_stops_within_seconds_while_the_broker_hangs(kafka: Service, topic: str) -> None:
    member = Member(kafka, topic, topic, Ledger())
    run = asyncio.create_task(member.app.run(member.stop))
    await eventually(lambda: member.owned, 45)
    await asyncio.to_thread(kafka.freeze)
    try:
        await asyncio.sleep(1)
        member.stop.set()
        started = time.monotonic()
        with suppress(EngineError):
            await asyncio.wait_for(run, 15)
        assert time.monotonic() - started < 9
        assert member.revoked
    finally:
        await asyncio.to_thread(kafka.thaw)
