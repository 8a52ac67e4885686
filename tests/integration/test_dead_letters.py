"""Dead letters on real brokers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from stream.core.records import Drop, Reason, RecordBatch
from stream.engine import dead_letters
from stream.engine.dead_letters import MAX_DETAIL, DeadLetters
from stream.engine.kafka_admin import KafkaAdmin, TopicShape
from stream.engine.topics import DEAD_LETTER_CONFIGS
from tests.support.namespaces import Namespace
from tests.support.patience import eventually
from tests.support.services import Service

PARTITIONS = 2


@pytest.fixture
async def topic(every_kafka: Service, namespace: Namespace) -> str:
    return await make(every_kafka, namespace.topic("dead-letters"), DEAD_LETTER_CONFIGS)


async def make(kafka: Service, name: str, configs: dict[str, str]) -> str:
    async with KafkaAdmin(kafka.bootstrap) as admin:
        await admin.create(TopicShape(name, PARTITIONS, 1, configs))

        async def is_there() -> bool:
            return name in await admin.topics()

        await eventually(is_there)
    return name


@contextlib.asynccontextmanager
async def letters_to(
    kafka: Service, topic: str, timeout_s: float = 10
) -> AsyncIterator[DeadLetters]:
    letters = DeadLetters(kafka.bootstrap, topic, prefix="pre-", timeout_s=timeout_s)
    await letters.start()
    try:
        yield letters
    finally:
        await letters.stop()


async def records_of(kafka: Service, topic: str) -> list[ConsumerRecord]:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka.bootstrap, max_partition_fetch_bytes=4 << 20
    )
    await consumer.start()
    try:
        all_ = [TopicPartition(topic, partition) for partition in range(PARTITIONS)]
        consumer.assign(all_)
        await consumer.seek_to_beginning()
        ends = await consumer.end_offsets(all_)
        records = []
        for each in all_:
            while await consumer.position(each) < ends[each]:
                for some in (await consumer.getmany(each, timeout_ms=200)).values():
                    records += some
        return records
    finally:
        await consumer.stop()


def batch_of(
    values: list[bytes | None], keys: list[bytes | None], start: int = 0, partition: int = 1
) -> RecordBatch:
    offsets = range(start, start + len(values))
    return RecordBatch(
        "clicks", partition, start, offsets.stop, offsets, values, keys, [0] * len(values)
    )


async def test_letters_are_byte_for_byte_what_came(every_kafka: Service, topic: str) -> None:
    values = [b"\xff\0not json", b"{}", None, None, b""]
    keys = [b"k\0", None, b"key", None, b""]
    drops = [
        Drop(100, Reason.MALFORMED, "no JSON"),
        Drop(102, Reason.MALFORMED, "null value"),
        Drop(103, Reason.MALFORMED, "null value"),
        Drop(104, Reason.INVALID, "Größe"),
    ]
    async with letters_to(every_kafka, topic) as letters:
        letters.send(batch_of(values, keys, start=100), drops)
        await letters.flushed("clicks", 1)
    records = await records_of(every_kafka, topic)
    assert [(r.key, r.value) for r in records] == [
        (b"k\0", b"\xff\0not json"),
        (b"key", None),
        (None, None),
        (b"", b""),
    ]
    assert dict(records[3].headers) == {
        "reason": b"invalid",
        "detail": "Größe".encode(),
        "topic": b"pre-clicks",
        "partition": b"1",
        "offset": b"104",
    }


async def test_a_long_detail_is_shortened(every_kafka: Service, topic: str) -> None:
    async with letters_to(every_kafka, topic) as letters:
        letters.send(batch_of([b"x"], []), [Drop(0, Reason.INVALID, "d" * 5000)])
        await letters.flushed("clicks", 1)
    (record,) = await records_of(every_kafka, topic)
    assert dict(record.headers)["detail"] == b"d" * MAX_DETAIL


async def test_more_than_a_batch_of_letters_keep_their_order(
    every_kafka: Service, topic: str
) -> None:
    values: list[bytes | None] = [b"%07d" % n * 100 for n in range(3000)]
    values[7] = b"x" * (3 << 20)
    async with letters_to(every_kafka, topic) as letters:
        letters.send(batch_of(values, []), [Drop(n, Reason.LATE, "") for n in range(3000)])
        await letters.flushed("clicks", 1)
    assert [record.value for record in await records_of(every_kafka, topic)] == values


async def test_a_flood_waits_for_room_and_one_that_is_forgotten_does_not(
    every_kafka: Service, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letters, "MOST_WAITING_BYTES", 5_000)
    drops = [Drop(n, Reason.MALFORMED, "") for n in range(30)]
    async with letters_to(every_kafka, topic) as letters:
        await letters.room("clicks", 1)
        letters.send(batch_of([b"x" * 100] * 30, []), drops)
        await letters.room("clicks", 0)
        waiting = asyncio.create_task(letters.room("clicks", 1))
        done, _ = await asyncio.wait([waiting], timeout=0.1)
        assert not done
        await letters.flushed("clicks", 1)
        await asyncio.wait_for(waiting, 10)
        letters.send(batch_of([b"x" * 100] * 30, []), drops)
        waiting = asyncio.create_task(letters.room("clicks", 1))
        await asyncio.sleep(0)
        letters.forget("clicks", 1)
        await asyncio.wait_for(waiting, 10)


async def test_without_letters_nothing_is_waited_for(every_kafka: Service, topic: str) -> None:
    async with letters_to(every_kafka, topic) as letters:
        letters.send(batch_of([b"good"], []), [])
        await letters.flushed("clicks", 1)
        await letters.flushed("tickets", 0)
    assert await records_of(every_kafka, topic) == []


async def test_a_letter_that_the_topic_does_not_take_is_sent_without_its_contents(
    every_kafka: Service, namespace: Namespace
) -> None:
    if every_kafka.kind == "embedded":
        return  # it takes anything
    topic = await make(every_kafka, namespace.topic("small"), {"max.message.bytes": "2000"})
    values: list[bytes | None] = [b"a" * 500, b"b" * 3000, b"c" * 1500]
    async with letters_to(every_kafka, topic) as letters:
        letters.send(
            batch_of(values, [b"key"] * 3), [Drop(n, Reason.OVERSIZE, "") for n in range(3)]
        )
        await letters.flushed("clicks", 1)
    records = await records_of(every_kafka, topic)
    assert [record.value for record in records] == [values[0], None, values[2]]
    assert dict(records[1].headers)["offset"] == b"1"


async def test_flushed_waits_for_a_broker_that_stands_still(
    every_kafka: Service, topic: str
) -> None:
    async with letters_to(every_kafka, topic, timeout_s=0.7) as letters:
        letters.send(batch_of([b"bad"], []), [Drop(0, Reason.MALFORMED, "")])
        every_kafka.freeze()
        try:
            flushed = asyncio.create_task(letters.flushed("clicks", 1))
            await asyncio.sleep(1.5)
            assert not flushed.done()
        finally:
            every_kafka.thaw()
        await asyncio.wait_for(flushed, 20)
    records = await records_of(every_kafka, topic)
    assert {record.value for record in records} == {b"bad"}  # at least once


async def test_what_is_forgotten_is_not_waited_for(every_kafka: Service, topic: str) -> None:
    async with letters_to(every_kafka, topic, timeout_s=0.5) as letters:
        letters.send(batch_of([b"bad"], []), [Drop(0, Reason.MALFORMED, "")])
        every_kafka.freeze()
        try:
            flushed = asyncio.create_task(letters.flushed("clicks", 1))
            await asyncio.sleep(0.2)
            letters.forget("clicks", 1)
            await asyncio.wait_for(flushed, 10)
        finally:
            every_kafka.thaw()
