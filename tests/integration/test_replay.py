"""Replay and simulator on real brokers: everything arrives, in order, in its partition."""

import asyncio
import json
import time
from collections import defaultdict
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from stream.demo.simulator import SimulateOptions, bounded, make_plan, simulate
from stream.errors import UserError
from stream.partitioner import partition_of
from stream.producer import Producer, quiet_client_log
from stream.progress import NoProgress
from stream.replay import ReplayOptions, ReplayReport, replay
from tests.support.namespaces import Namespace
from tests.support.patience import eventually
from tests.support.services import Service

PARTITIONS = 4
START_MS = 1_780_000_000_000
Pair = tuple[bytes | None, bytes | None]


@pytest.fixture(autouse=True)
def _quiet() -> None:
    quiet_client_log()


async def create(kafka: Service, *topics: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, PARTITIONS, 1) for topic in topics])
    finally:
        await admin.close()


async def read(kafka: Service, topic: str, count: int) -> dict[int, list[Pair]]:
    """At least `count` records by partition, and whatever else comes within a second."""
    places = [TopicPartition(topic, number) for number in range(PARTITIONS)]
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    found: dict[int, list[Pair]] = defaultdict(list)
    try:
        consumer.assign(places)
        deadline_s = time.monotonic() + 30
        while time.monotonic() < deadline_s:
            batches = await consumer.getmany(timeout_ms=1_000)
            for place, records in batches.items():
                found[place.partition] += [(record.key, record.value) for record in records]
            if not batches and sum(map(len, found.values())) >= count:
                return found
    finally:
        await consumer.stop()
    raise AssertionError(f"{sum(map(len, found.values()))} of {count} records")


def lines_of(count: int) -> list[bytes]:
    return [
        json.dumps(
            {
                "event_id": f"e{i}",
                "type": "click",
                "timestamp": START_MS,
                "visitor_id": f"v{i % 97}",
            }
        ).encode()
        for i in range(count)
    ]


async def send(
    kafka: Service, file: Path, topic: str, namespace: Namespace, stop: asyncio.Event | None = None
) -> tuple[ReplayReport, Producer]:
    producer = Producer(kafka.bootstrap)
    await producer.start(timeout_s=20)
    try:
        options = ReplayOptions(str(file), topic, topic_prefix=namespace.prefix)
        return await replay(options, producer, NoProgress(), stop), producer
    finally:
        await producer.stop()


async def test_all_lines_arrive_once_in_order_by_key(
    every_kafka: Service, namespace: Namespace, tmp_path: Path
) -> None:
    topic, lines, file = namespace.topic("clicks"), lines_of(30_000), tmp_path / "clicks.ndjson"
    file.write_bytes(b"\n".join(lines))
    await create(every_kafka, topic)
    report, producer = await send(every_kafka, file, "clicks", namespace)
    assert (report.sent, report.through) == (30_000, 30_000)
    assert producer.idempotent == (every_kafka.kind != "embedded")
    found = await read(every_kafka, topic, 30_000)
    expected: dict[int, list[Pair]] = defaultdict(list)
    for number, line in enumerate(lines):
        key = f"v{number % 97}".encode()
        expected[partition_of(key, PARTITIONS)].append((key, line))
    assert found == expected


async def test_what_stands_before_a_bad_line_is_there(
    kafka: Service, namespace: Namespace, tmp_path: Path
) -> None:
    topic, lines, file = namespace.topic("clicks"), lines_of(500), tmp_path / "clicks.ndjson"
    file.write_bytes(b"\n".join([*lines[:321], b"{", *lines[321:]]))
    await create(kafka, topic)
    with pytest.raises(UserError, match="line 322: not a JSON object"):
        await send(kafka, file, "clicks", namespace)
    found = await read(kafka, topic, 321)
    assert {value for pairs in found.values() for _, value in pairs} == set(lines[:321])


async def test_a_missing_topic_is_named_and_not_created(
    kafka: Service, namespace: Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream.producer.TOPIC_PATIENCE_S", 0.5)
    file = tmp_path / "x"
    file.write_bytes(lines_of(1)[0])
    with pytest.raises(UserError, match=f"topic '{namespace.topic('tickets')}' does not exist"):
        await send(kafka, file, "tickets", namespace)
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        assert namespace.topic("tickets") not in await admin.list_topics()
    finally:
        await admin.close()


async def test_a_broker_that_is_not_there_is_named() -> None:
    said: list[str] = []
    producer = Producer("127.0.0.1:1", say=said.append)
    with pytest.raises(UserError, match=r"Kafka cannot be reached at 127\.0\.0\.1:1"):
        await producer.start(timeout_s=1.0)
    assert said == ["Kafka at 127.0.0.1:1 does not answer; trying again"]


async def test_simulated_records_arrive_as_planned(
    every_kafka: Service, namespace: Namespace, tmp_path: Path
) -> None:
    """Keys, null values and broken bytes too; the truth tells how many."""
    options = SimulateOptions(
        kafka=every_kafka.bootstrap,
        topic_prefix=namespace.prefix,
        scenario="chaos",
        seed=11,
        start_ms=START_MS,
        speed=0,
        count=6_000,
        truth=tmp_path / "truth.json",
    )
    await create(every_kafka, *(namespace.topic(t) for t in ("clicks", "sessions", "tickets")))
    report = await simulate(options)
    assert report.complete
    plan = list(bounded(options, make_plan(options, 0)))
    for topic in ("clicks", "sessions", "tickets"):
        expected: dict[int, list[Pair]] = defaultdict(list)
        for record in plan:
            if record.topic == topic:
                key = record.key.encode()
                expected[partition_of(key, PARTITIONS)].append((key, record.value))
        count = sum(map(len, expected.values()))
        assert await read(every_kafka, namespace.topic(topic), count) == expected
    told = json.loads((tmp_path / "truth.json").read_text())
    assert sum(sum(one.values()) for one in told["outcomes"].values()) == 6_000


async def test_an_outage_is_told_and_survived(namespace: Namespace, kafka: Service) -> None:
    """The broker stands still in the middle; nothing is lost, order by key holds."""
    topic = namespace.topic("clicks")
    await create(kafka, topic)
    said: list[str] = []
    producer = Producer(kafka.bootstrap, say=said.append)
    await producer.start(timeout_s=20)
    try:
        await producer.open(topic)
        kafka.freeze()
        try:
            for number in range(1_000):
                producer.add(topic, b"k", str(number).encode())
            await producer.submit()
            await eventually(lambda: said, timeout_s=15, what="words about the outage")
        finally:
            kafka.thaw()
        await asyncio.wait_for(producer.flush(), 60)
    finally:
        await producer.stop()
    assert said[0] == f"Kafka at {kafka.bootstrap} does not answer; trying again"
    assert said[-1] == f"Kafka at {kafka.bootstrap} answers again"
    found = await read(kafka, topic, 1_000)
    (values,) = ([value for _, value in pairs] for pairs in found.values())
    first_seen = list(dict.fromkeys(values))
    assert first_seen == [str(number).encode() for number in range(1_000)]
