"""Compacted topics, over every kind of broker: read whole, from anywhere, however slow it goes."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from stream.engine import compacted
from stream.engine.compacted import CompactedTopic
from stream.engine.kafka_admin import KafkaAdmin, TopicShape
from stream.engine.topics import COMPACTED_CONFIGS
from tests.support.namespaces import Namespace
from tests.support.services import Service

MANY = 11


@pytest.fixture
async def topic(every_kafka: Service, namespace: Namespace) -> AsyncIterator[CompactedTopic]:
    name = namespace.topic("campaigns")
    async with KafkaAdmin(every_kafka.bootstrap) as admin:
        await admin.create(TopicShape(name, 1, 1, COMPACTED_CONFIGS))
    async with CompactedTopic(every_kafka.bootstrap, name) as topic:
        yield topic


async def send_batch(every_kafka: Service, topic: CompactedTopic, start: int = 0) -> None:
    """Records that reach the broker as one batch, as a simulator's do."""
    producer = AIOKafkaProducer(bootstrap_servers=every_kafka.bootstrap, acks="all", linger_ms=50)
    await producer.start()
    keys = [f"{start + n}".encode() for n in range(MANY)]
    sent = [await producer.send(topic.name, b"v" + key, key=key) for key in keys]
    await asyncio.gather(*sent)
    await producer.stop()


def keys_of(entries: list[compacted.Entry]) -> list[str]:
    return [str(entry.key, "utf-8") for entry in entries]


async def test_a_batch_is_read_whole_and_then_no_more_is_lacking(every_kafka, topic) -> None:
    assert await topic.ends() == {0: 0}
    await send_batch(every_kafka, topic)
    entries, positions = await topic.read_on({})
    assert keys_of(entries) == [str(n) for n in range(MANY)]
    assert positions == {0: MANY}
    assert await topic.ends() == positions
    assert await topic.read_on(positions) == ([], positions)
    await send_batch(every_kafka, topic, MANY)
    entries, positions = await topic.read_on(positions)
    assert keys_of(entries) == [str(n) for n in range(MANY, 2 * MANY)]
    assert positions == {0: 2 * MANY}


async def test_what_is_written_is_read_in_order(topic) -> None:
    written = [await topic.write(b"a", b"1"), await topic.write(b"a", None)]
    assert [entry.offset for entry in written] == [0, 1]
    entries, _ = await topic.read_on({})
    assert [(e.key, e.value) for e in entries] == [(b"a", b"1"), (b"a", None)]


async def test_a_fetch_that_is_slow_is_waited_for(
    every_kafka, topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records were skipped for good once, because none came for two seconds."""
    await send_batch(every_kafka, topic)
    await topic.ends()
    monkeypatch.setattr(compacted, "QUIET_S", 0.1)
    consumer, slow = topic._consumer, iter(range(6))
    fetch = consumer.getmany

    async def getmany(*places: Any, **options: Any) -> Any:
        if next(slow, None) is not None:
            await asyncio.sleep(0.05)
            return {}
        return await fetch(*places, **options)

    monkeypatch.setattr(consumer, "getmany", getmany)
    entries, positions = await topic.read_on({})
    assert (len(entries), positions) == (MANY, {0: MANY})


async def test_an_end_that_compaction_has_emptied_is_an_end(
    every_kafka, topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    await send_batch(every_kafka, topic)
    monkeypatch.setattr(compacted, "QUIET_S", 0.1)
    assert await topic.read({0: MANY}, {0: MANY + 3}) == ([], {0: MANY + 3})


async def test_a_topic_that_is_not_there_is_not_made(every_kafka, namespace) -> None:
    async with CompactedTopic(every_kafka.bootstrap, namespace.topic("none")) as missing:
        assert await missing.ends() == {}
        assert await missing.read_on({}) == ([], {})
    async with KafkaAdmin(every_kafka.bootstrap) as admin:
        assert namespace.topic("none") not in await admin.topics()
