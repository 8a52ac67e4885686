"""Making and checking topics on real brokers."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from stream.engine.kafka_admin import KafkaAdmin, TopicShape
from stream.engine.topics import LEDGER_CONFIGS, Plan, ensure_topics, judge_topics
from stream.errors import UserError
from tests.support.namespaces import Namespace
from tests.support.services import Service


@pytest.fixture
async def admin(every_kafka: Service) -> AsyncIterator[KafkaAdmin]:
    async with KafkaAdmin(every_kafka.bootstrap) as admin:
        yield admin


@pytest.fixture
def plan(namespace: Namespace) -> Plan:
    names = {namespace.topic(n): namespace.topic(f"ledger-{n}") for n in ("clicks", "tickets")}
    return Plan(names, namespace.topic("dead-letters"), partitions=3)


async def test_missing_topics_are_made_as_they_must_be(admin: KafkaAdmin, plan: Plan) -> None:
    assert [finding.refused for finding in await judge_topics(admin, plan)] == [False] * 5
    assert await ensure_topics(admin, plan) == []
    there = await admin.topics()
    assert {name: there[name] for name in plan.names} == {
        name: TopicShape(name, 3, 1) for name in plan.names
    }
    configs = await admin.configs(plan.names)
    for source, ledger in plan.ledgers.items():
        assert configs[source]["message.timestamp.type"] == "LogAppendTime"
        assert configs[ledger].items() >= LEDGER_CONFIGS.items()
    assert await judge_topics(admin, plan) == []


async def test_many_workers_may_make_them_at_once(every_kafka: Service, plan: Plan) -> None:
    async def worker() -> list[str]:
        async with KafkaAdmin(every_kafka.bootstrap) as admin:
            return await ensure_topics(admin, plan)

    assert await asyncio.gather(*(worker() for _ in range(6))) == [[]] * 6


async def test_a_ledger_follows_a_source_that_exists(admin: KafkaAdmin, plan: Plan) -> None:
    source, ledger = next(iter(plan.ledgers.items()))
    await admin.create(TopicShape(source, 7, 1))
    await ensure_topics(admin, plan)
    there = await admin.topics()
    assert (there[source].partitions, there[ledger].partitions) == (7, 7)


async def test_a_changed_partition_count_is_refused(admin: KafkaAdmin, plan: Plan) -> None:
    source, ledger = next(iter(plan.ledgers.items()))
    await admin.create(TopicShape(ledger, 2, 1, LEDGER_CONFIGS))
    with pytest.raises(UserError, match=f"{ledger} has 2 .* {source} 3: run `stream rebuild`"):
        await ensure_topics(admin, plan)


async def test_a_compacted_ledger_is_refused(admin: KafkaAdmin, plan: Plan) -> None:
    ledger = next(iter(plan.ledgers.values()))
    await admin.create(TopicShape(ledger, 3, 1, {**LEDGER_CONFIGS, "cleanup.policy": "compact"}))
    with pytest.raises(UserError, match=r"cleanup.policy is compact"):
        await ensure_topics(admin, plan)


async def test_a_topic_that_cannot_be_made_is_a_clear_error(
    every_kafka: Service, admin: KafkaAdmin, plan: Plan
) -> None:
    if every_kafka.kind == "embedded":
        return  # it takes any number of replicas
    impossible = Plan(plan.ledgers, plan.dead_letters, 3, replication=5)
    with pytest.raises(UserError, match=r"5 replicas.* cannot be created"):
        await ensure_topics(admin, impossible)


async def test_a_topic_is_made_once(admin: KafkaAdmin, namespace: Namespace) -> None:
    topic = TopicShape(namespace.topic("one"), 1, 1)
    assert [await admin.create(topic), await admin.create(topic)] == [True, False]


async def test_without_topics_there_are_no_settings(admin: KafkaAdmin) -> None:
    assert await admin.configs([]) == {}


async def test_brokers_are_counted(admin: KafkaAdmin) -> None:
    assert await admin.brokers() == 1
