"""Kafka's disk runs full while events are counted; with room again, all goes on by itself."""

import asyncio
import json
import os
import subprocess
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from stream.clock import wall_clock_ms
from stream.engine.kafka_admin import KafkaAdmin, TopicShape
from stream.engine.scanner import Scanner
from tests.support.brokers import open_kafka
from tests.support.patience import eventually
from tests.support.services import LocalService, MissingError
from tests.support.system import System

pytestmark = [pytest.mark.chaos, pytest.mark.chaos_long, pytest.mark.timeout(400)]
SMALL, LARGE = "48m", "256m"
PARTITIONS = 2


@pytest.fixture
def disk(tmp_path: Path):
    """A small disk of memory."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SMALL}", "tmpfs", str(folder)],
        check=False,
        capture_output=True,
    )
    if done.returncode:
        pytest.skip(f"no small disk can be mounted: {done.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def broker(choice, disk: Path):
    try:
        service = open_kafka("apache", choice.keeper)
    except MissingError as error:
        pytest.skip(str(error))
    assert isinstance(service, LocalService)
    service.server._home = disk  # type: ignore[attr-defined]
    service.start()
    yield service
    service.close()


async def send(bootstrap: str, topic: str, first: int, count: int) -> None:
    """As many as Kafka takes; what became of the others, the log will say."""
    now_ms = wall_clock_ms()
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap, acks="all", request_timeout_ms=3_000, retry_backoff_ms=500
    )
    await producer.start()
    try:
        for number in range(first, first + count):
            event = {"event_id": f"e{number}", "type": "impression", "timestamp": now_ms}
            await producer.send(topic, json.dumps(event).encode(), partition=number % PARTITIONS)
        async with asyncio.timeout(20):
            await producer.flush()
    except (KafkaError, TimeoutError):
        pass
    finally:
        async with asyncio.timeout(10):
            await producer.stop()


async def fill(service: LocalService, topic: str) -> None:
    """Write until the disk is full and the broker ends."""
    async with KafkaAdmin(service.bootstrap) as admin:
        await admin.create(TopicShape(topic, 1, 1, {}))
    producer = AIOKafkaProducer(bootstrap_servers=service.bootstrap, request_timeout_ms=2_000)
    await producer.start()
    try:
        while service.running:
            async with asyncio.timeout(5):
                await producer.send_and_wait(topic, os.urandom(500_000))
    except (KafkaError, TimeoutError, OSError):
        pass
    finally:
        try:
            async with asyncio.timeout(5):
                await producer.stop()
        except (KafkaError, TimeoutError):
            pass
    await eventually(lambda: not service.running, 60, what="a broker that gives up")


async def ids_in(bootstrap: str, topic: str) -> set[str]:
    """Every event that Kafka holds."""
    found = set()
    async with Scanner(bootstrap) as scanner:
        for number, (begin, end) in (await scanner.bounds(topic, range(PARTITIONS))).items():
            async for records in scanner.read(topic, number, begin, end):
                found |= {json.loads(record.value)["event_id"] for record in records}
    return found


async def test_a_full_disk_loses_and_doubles_nothing(
    broker, disk, redis_server, stream_process, namespace
):
    topic = namespace.topic("clicks")
    system = System(
        stream_process, namespace, broker, redis_server, STREAM_PARTITIONS=str(PARTITIONS)
    )
    worker = system.worker()
    system.server()
    await system.ready()
    await send(broker.bootstrap, topic, 0, 2_000)
    await system.counted(2_000)
    filling = asyncio.create_task(fill(broker, namespace.topic("filler")))
    await send(broker.bootstrap, topic, 2_000, 4_000)
    await filling
    subprocess.run(["mount", "-o", f"remount,size={LARGE}", str(disk)], check=True)
    await asyncio.to_thread(broker.start)
    await send(broker.bootstrap, topic, 6_000, 1_000)
    held = len(await ids_in(broker.bootstrap, topic))
    assert held >= 3_000

    def exact() -> bool:
        return system.rows("ctr", "campaign") == {"(not set)": (0, held)}

    await eventually(exact, 90, what=f"{held} impressions")
    once = system.run("audit", "--once")
    assert await once.ended(60) == 0, once.text
    assert worker.running
