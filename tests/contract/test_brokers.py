"""What the project relies on from any Kafka-compatible broker."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from tests.support.namespaces import Namespace
from tests.support.patience import eventually
from tests.support.services import Service

OLD_MS = 1_500_000_000_000


@asynccontextmanager
async def admin_of(kafka: Service) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


@asynccontextmanager
async def producer_of(kafka: Service, **options) -> AsyncIterator[AIOKafkaProducer]:
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, **options)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


@asynccontextmanager
async def consumer_of(kafka: Service, *topics: str, **options) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = AIOKafkaConsumer(*topics, bootstrap_servers=kafka.bootstrap, **options)
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


async def make_topic(kafka: Service, name: str, partitions: int = 2, **configs: str) -> None:
    async with admin_of(kafka) as admin:
        options = {key.replace("_", "."): value for key, value in configs.items()}
        topic = NewTopic(name, partitions, 1, topic_configs=options)
        answer = await admin.create_topics([topic])
        for _, code, *_ in answer.topic_errors:
            if code:
                raise for_code(code)(name)


async def read(kafka: Service, topic: str, partition: int, count: int, start: int = 0) -> list:
    found: list = []
    async with consumer_of(kafka) as consumer:
        where = TopicPartition(topic, partition)
        consumer.assign([where])
        consumer.seek(where, start)
        while len(found) < count:
            batches = await asyncio.wait_for(consumer.getmany(timeout_ms=500), 10)
            for records in batches.values():
                found += records
    return found


async def test_topics_are_made_once_and_listed(every_kafka: Service, namespace: Namespace) -> None:
    topic = namespace.topic("clicks")
    await make_topic(every_kafka, topic, 3)
    with pytest.raises(TopicAlreadyExistsError):
        await make_topic(every_kafka, topic, 3)
    async with consumer_of(every_kafka, topic) as consumer:
        assert topic in await consumer.topics()
        assert consumer.partitions_for_topic(topic) == {0, 1, 2}


async def test_no_topic_appears_by_itself(every_kafka: Service, namespace: Namespace) -> None:
    async with admin_of(every_kafka) as admin:
        await admin.describe_topics([namespace.topic("never-made")])
        made = namespace.topic("never-made") in await admin.list_topics()
    assert made == (every_kafka.kind == "embedded")  # which makes any topic it is asked about


async def test_keys_values_headers_and_null_come_back_as_they_were(
    every_kafka: Service, namespace: Namespace
) -> None:
    topic = namespace.topic("dead-letters")
    await make_topic(every_kafka, topic)
    sent = [(b"k", b"\x00\xff", [("reason", b"malformed")]), (None, b"v", []), (b"k", None, [])]
    async with producer_of(every_kafka) as producer:
        for key, value, headers in sent:
            await producer.send_and_wait(topic, value, key=key, headers=headers, partition=1)
    found = await read(every_kafka, topic, 1, 3)
    assert [(r.key, r.value, list(r.headers)) for r in found] == sent
    assert [r.offset for r in found] == [0, 1, 2]


async def test_the_answer_to_a_produce_names_its_offset(
    every_kafka: Service, namespace: Namespace
) -> None:
    topic = namespace.topic("ledger")
    await make_topic(every_kafka, topic)
    async with producer_of(every_kafka, acks="all") as one, producer_of(every_kafka) as other:
        assert (await one.send_and_wait(topic, b"a", partition=0)).offset == 0
        assert (await other.send_and_wait(topic, b"b", partition=0)).offset == 1
        assert (await one.send_and_wait(topic, b"c", partition=0)).offset == 2


async def test_record_timestamps_can_be_the_brokers(
    every_kafka: Service, namespace: Namespace
) -> None:
    topic = namespace.topic("sessions")
    await make_topic(every_kafka, topic, message_timestamp_type="LogAppendTime")
    async with producer_of(every_kafka) as producer:
        await producer.send_and_wait(topic, b"v", partition=0, timestamp_ms=OLD_MS)
    [record] = await read(every_kafka, topic, 0, 1)
    if every_kafka.kind == "embedded":  # it knows no LogAppendTime: see docs on the demonstration
        assert record.timestamp == OLD_MS
    else:
        assert abs(record.timestamp - time.time() * 1000) < 60_000


async def test_topic_settings_can_be_read(every_kafka: Service, namespace: Namespace) -> None:
    topic = namespace.topic("ledger")
    await make_topic(every_kafka, topic, cleanup_policy="delete", retention_ms="-1")
    async with admin_of(every_kafka) as admin:
        resource = ConfigResource(ConfigResourceType.TOPIC, topic)
        [answer] = await admin.describe_configs([resource])
    [(code, _, _, name, entries, *_)] = answer.resources
    assert (code, name) == (0, topic)
    assert {entry[0]: entry[1] for entry in entries}["retention.ms"] == "-1"


async def test_a_large_record_passes(every_kafka: Service, namespace: Namespace) -> None:
    topic, size = namespace.topic("ledger"), 8 << 20
    await make_topic(every_kafka, topic, max_message_bytes=str(16 << 20))
    async with producer_of(every_kafka, max_request_size=16 << 20) as producer:
        await producer.send_and_wait(topic, b"x" * size, partition=0)
    [record] = await read(every_kafka, topic, 0, 1)
    assert len(record.value) == size


@pytest.mark.parametrize("compression", [None, "gzip"])
async def test_many_records_keep_their_order(
    every_kafka: Service, namespace: Namespace, compression: str | None
) -> None:
    topic, count = namespace.topic("clicks"), 5_000
    await make_topic(every_kafka, topic)
    async with producer_of(every_kafka, linger_ms=5, compression_type=compression) as producer:
        for number in range(count):
            await producer.send(topic, b"%d" % number, partition=0)
        await producer.flush()
    found = await read(every_kafka, topic, 0, count)
    assert [int(r.value) for r in found] == list(range(count))
    assert [r.offset for r in found] == list(range(count))
    later = await read(every_kafka, topic, 0, 10, start=count - 10)
    assert later[0].offset == count - 10


async def test_first_and_last_offsets_are_told(every_kafka: Service, namespace: Namespace) -> None:
    topic = namespace.topic("clicks")
    await make_topic(every_kafka, topic)
    async with producer_of(every_kafka) as producer:
        for _ in range(3):
            await producer.send_and_wait(topic, b"v", partition=0)
    both = [TopicPartition(topic, 0), TopicPartition(topic, 1)]
    async with consumer_of(every_kafka) as consumer:
        assert await consumer.beginning_offsets(both) == {both[0]: 0, both[1]: 0}
        assert await consumer.end_offsets(both) == {both[0]: 3, both[1]: 0}


async def test_deleting_records_moves_the_start_or_is_refused(
    every_kafka: Service, namespace: Namespace
) -> None:
    topic = namespace.topic("ledger")
    await make_topic(every_kafka, topic)
    where = TopicPartition(topic, 0)
    async with producer_of(every_kafka) as producer:
        for _ in range(5):
            await producer.send_and_wait(topic, b"v", partition=0)
    async with admin_of(every_kafka) as admin, consumer_of(every_kafka) as consumer:
        try:
            await admin.delete_records({where: RecordsToDelete(before_offset=3)})
        except (KafkaError, NotImplementedError):
            assert every_kafka.kind == "embedded"
        [start] = (await consumer.beginning_offsets([where])).values()
        assert start == (0 if every_kafka.kind == "embedded" else 3)


async def test_a_group_shares_partitions_and_keeps_offsets(
    every_kafka: Service, namespace: Namespace
) -> None:
    topic = namespace.topic("clicks")
    await make_topic(every_kafka, topic, 4)
    group = {"group_id": namespace.group, "enable_auto_commit": False}

    async def turn(consumer: AIOKafkaConsumer) -> None:
        await consumer.getmany(timeout_ms=50)

    async with consumer_of(every_kafka, topic, **group) as one:
        await eventually(lambda: len(one.assignment()) == 4, what="all four")
        where = TopicPartition(topic, 2)
        await one.commit({where: 7})
        assert await one.committed(where) == 7
        async with consumer_of(every_kafka, topic, **group) as other:

            async def shared() -> bool:
                await asyncio.gather(turn(one), turn(other))
                return (len(one.assignment()), len(other.assignment())) == (2, 2)

            await eventually(shared, 30, what="two and two")

        async def alone() -> bool:
            await turn(one)
            return len(one.assignment()) == 4

        await eventually(alone, 30, what="all four again")
    async with consumer_of(every_kafka, topic, **group) as again:
        assert await again.committed(where) == 7


async def test_a_static_member_comes_back_to_its_partitions(
    every_kafka: Service, namespace: Namespace
) -> None:
    topic = namespace.topic("clicks")
    await make_topic(every_kafka, topic, 2)
    static = {"group_id": namespace.group, "group_instance_id": "w1", "session_timeout_ms": 10_000}
    async with consumer_of(every_kafka, topic, **static) as first:
        await eventually(lambda: len(first.assignment()) == 2, 20)
    started = time.monotonic()
    async with consumer_of(every_kafka, topic, **static) as second:
        await eventually(lambda: len(second.assignment()) == 2, 20)
    assert time.monotonic() - started < 9  # without waiting for the session to time out


async def test_a_restart_keeps_the_address(every_kafka: Service, namespace: Namespace) -> None:
    topic = namespace.topic("clicks")
    await make_topic(every_kafka, topic)
    async with producer_of(every_kafka) as producer:
        await producer.send_and_wait(topic, b"v", partition=0)
    await asyncio.to_thread(every_kafka.restart)
    async with admin_of(every_kafka) as admin:
        kept = topic in await admin.list_topics()
    assert kept == (every_kafka.kind != "embedded")  # which is memory only


async def test_after_a_kill_all_that_was_acknowledged_is_there(
    every_kafka: Service, namespace: Namespace
) -> None:
    if every_kafka.kind == "embedded":
        every_kafka.kill()
        assert not every_kafka.running
        every_kafka.start()
        return
    topic = namespace.topic("ledger")
    await make_topic(every_kafka, topic)
    async with producer_of(every_kafka, acks="all") as producer:
        for number in range(50):
            await producer.send_and_wait(topic, b"%d" % number, partition=0)
    await asyncio.to_thread(every_kafka.kill)
    await asyncio.to_thread(every_kafka.start)
    found = await read(every_kafka, topic, 0, 50)
    assert [int(r.value) for r in found] == list(range(50))
