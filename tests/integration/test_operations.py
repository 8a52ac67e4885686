"""What a person does to a running system, and what it says of bad records and old data."""

import asyncio
import gzip
import json
import re

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from stream.clock import wall_clock_ms
from stream.engine.kafka_admin import KafkaAdmin
from tests.support.patience import eventually
from tests.support.system import System

HOUR_MS = 3_600_000


@pytest.fixture
def system(kafka, redis_server, stream_process, namespace):
    return System(stream_process, namespace, kafka, redis_server)


@pytest.fixture
async def producer(kafka):
    client = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, acks="all")
    await client.start()
    yield client
    await client.stop()


def click(number: int, at_ms: int, **more: object) -> bytes:
    event = {"event_id": f"e{number}", "type": "impression", "timestamp": at_ms} | more
    return json.dumps(event).encode()


async def read_all(kafka, topic: str, count: int):
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        return [await asyncio.wait_for(consumer.getone(), 10) for _ in range(count)]
    finally:
        await consumer.stop()


async def test_bad_records_go_to_the_dead_letters_byte_for_byte(system, namespace, kafka, producer):
    system.worker()
    system.server()
    await system.ready()
    now_ms = wall_clock_ms()
    bad = {
        "malformed": b'{"event_id": "\xff"',
        "invalid": click(1, now_ms, campaign=5),
        "unknown_type": click(2, now_ms, type="view"),
        "oversize": click(3, now_ms, x="y" * 70_000),
        "future": click(4, now_ms + 3_600_000),
        "too_late": click(5, now_ms - 6 * 366 * 24 * HOUR_MS),
    }
    topic = namespace.topic("clicks")
    sent = {}
    await producer.send_and_wait(topic, click(6, now_ms), partition=0)  # it sets the clock
    for reason, value in bad.items():
        told = await producer.send_and_wait(topic, value, key=reason.encode(), partition=0)
        sent[reason] = told.offset
    tombstone = await producer.send_and_wait(topic, None, key=b"k", partition=0)
    await system.counted(8)
    letters = await read_all(kafka, namespace.topic("dead-letters"), 7)
    found = {}
    for letter in letters:
        headers = {name: value.decode() for name, value in letter.headers}
        assert headers["topic"] == topic
        assert headers["partition"] == "0"
        assert headers["detail"]
        found[int(headers["offset"])] = headers["reason"], letter.value, letter.key
    wanted: dict[int, tuple[str, bytes | None, bytes]]
    wanted = {sent[reason]: (reason, value, reason.encode()) for reason, value in bad.items()}
    wanted[tombstone.offset] = ("malformed", None, b"k")
    assert found == wanted
    assert system.rows("ctr", "campaign") == {"(not set)": (0, 1)}


async def test_a_partition_full_of_bad_records_pauses_alone_and_goes_on_after_resume(
    system, namespace, producer
):
    system.worker()
    system.server()
    await system.ready()
    now_ms = wall_clock_ms()
    topic = namespace.topic("clicks")
    for number in range(1_200):
        await producer.send(topic, b"rubbish", partition=0)
        await producer.send(topic, click(number, now_ms), partition=1)
    await producer.flush()

    def status() -> dict[str, object]:
        found = system.get("/api/v1/status")["partitions"]
        return {f"{p['topic']}/{p['partition']}": (p["status"], p["through"]) for p in found}

    await eventually(lambda: status()["clicks/0"] == ("paused", 1_000), 20)
    await eventually(lambda: status()["clicks/1"] == ("live", 1_200), 20)
    assert system.get("/api/v1/status")["ready"] is True
    resumed = system.run("resume", "clicks/0", "--skip-to", "1200")
    assert await resumed.ended(15) == 0, resumed.text
    await producer.send_and_wait(topic, click(9_999, now_ms, campaign="after"), partition=0)
    await eventually(lambda: status()["clicks/0"] == ("live", 1_201), 20)
    assert system.rows("ctr", "campaign")["after"] == (0, 1)


async def test_a_command_for_no_partition_is_refused_in_one_line(system):
    wrong = system.run("resume", "visits/x")
    assert await wrong.ended(10) == 1
    assert wrong.text == "stream: 'visits/x' is not a partition; write e.g. clicks/3\n"


async def test_old_data_replayed_gives_the_figures_of_its_time(system, tmp_path):
    system.worker()
    system.server()
    await system.ready()
    start_ms = 1_500_000_000_000
    lines = []
    for number in range(3_000):
        at_ms = start_ms + number * 1_000
        visitor = f"v{number % 40}"
        lines.append(
            {"event_id": f"e{number}", "type": "page_view", "visitor_id": visitor}
            | {"timestamp": at_ms, "campaign": "old"}
        )
    file = tmp_path / "old.ndjson.gz"
    file.write_bytes(gzip.compress("\n".join(map(json.dumps, lines)).encode()))
    sender = system.run("replay", str(file), "--topic", "sessions")
    assert await sender.ended(30) == 0, sender.text
    await system.counted(3_000)
    answer = system.get(
        "/api/v1/query",
        metric="pages_per_session",
        **{"from": "2017-07-14T00:00:00Z", "to": "2017-07-15T00:00:00Z"},
    )
    assert answer["rows"][0]["numerator"] == 3_000
    assert answer["rows"][0]["denominator"] == 40


async def test_several_workers_share_the_partitions_and_hand_them_over(system, producer, namespace):
    system.server()
    first, second = system.worker("w1"), system.worker("w2")

    def owners() -> set[str]:
        return {p["worker"] for p in system.get("/api/v1/status")["partitions"]}

    await eventually(lambda: owners() == {"w1", "w2"}, 60)
    await system.ready()
    now_ms = wall_clock_ms()
    for number in range(4_000):
        await producer.send(namespace.topic("clicks"), click(number, now_ms), partition=number % 4)
    await producer.flush()
    await system.counted(4_000)
    second.terminate()
    assert await second.ended(15) == 0
    await eventually(lambda: owners() == {"w1"}, 60)
    for number in range(4_000, 5_000):
        await producer.send(namespace.topic("clicks"), click(number, now_ms), partition=number % 4)
    await producer.flush()
    await system.counted(5_000)
    assert system.rows("ctr", "campaign") == {"(not set)": (0, 5_000)}
    assert first.running


async def test_other_rules_are_refused_in_one_line_that_names_rebuild(system, producer, namespace):
    worker = system.worker()
    system.server()
    await system.ready()
    now_ms = wall_clock_ms()
    await producer.send_and_wait(namespace.topic("clicks"), click(1, now_ms), partition=0)
    await system.counted(1)
    worker.terminate()
    assert await worker.ended(15) == 0
    changed = System.worker(_with(system, STREAM_SESSION_TIMEOUT="10m"))
    assert await changed.ended(40) == 1
    last = changed.text.strip().splitlines()[-1]
    assert re.fullmatch(r"stream: \w+/\d: .*other rules.*`stream rebuild`.*", last)
    rebuilt = system.run("rebuild", "--yes")
    assert await rebuilt.ended(30) == 0, rebuilt.text
    again = System.worker(_with(system, STREAM_SESSION_TIMEOUT="10m"))
    await system.counted(1)
    assert system.rows("ctr", "campaign") == {"(not set)": (0, 1)}
    assert again.running


async def test_more_partitions_are_refused_in_one_line_until_a_rebuild_counts_them(
    system, namespace, kafka, producer
):
    worker = system.worker()
    system.server()
    await system.ready()
    now_ms = wall_clock_ms()
    await producer.send_and_wait(namespace.topic("clicks"), click(1, now_ms), partition=0)
    await system.counted(1)
    worker.terminate()
    assert await worker.ended(15) == 0
    async with KafkaAdmin(kafka.bootstrap) as admin:
        await admin.grow(namespace.topic("clicks"), 6)
    refused = system.worker()
    assert await refused.ended(40) == 1
    last = refused.text.strip().splitlines()[-1]
    assert re.fullmatch(r"stream: .*has 4 partition.* 6: run `stream rebuild`.*", last), last
    rebuilt = system.run("rebuild", "--yes")
    assert await rebuilt.ended(30) == 0, rebuilt.text
    system.worker("w2")  # Kafka gives a static member that comes back its old partitions
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap) as newcomer:
        await newcomer.send_and_wait(namespace.topic("clicks"), click(2, now_ms), partition=5)
    await system.counted(2)
    assert system.rows("ctr", "campaign") == {"(not set)": (0, 2)}


def _with(system: System, **more: str) -> System:
    system.env = {**system.env, **more}
    return system


async def test_sessions_settle_although_no_record_comes(
    kafka, redis_server, stream_process, namespace, producer
):
    system = System(
        stream_process,
        namespace,
        kafka,
        redis_server,
        STREAM_ALLOWED_LATENESS="1s",
        STREAM_SESSION_TIMEOUT="2s",
    )
    system.worker()
    system.server()
    await system.ready()
    now_ms = wall_clock_ms()
    event = {"event_id": "a", "type": "page_view", "visitor_id": "v", "timestamp": now_ms}
    await producer.send_and_wait(
        namespace.topic("sessions"), json.dumps(event).encode(), key=b"v", partition=0
    )
    await system.counted(1)

    def settled() -> bool:
        answer = system.get("/api/v1/query", metric="bounce_rate", window="1h", state="settled")
        return answer["rows"][0]["denominator"] == 1

    await eventually(settled, 60)
