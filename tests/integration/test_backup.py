"""Snapshots of the ledgers: taken under load, put back, and the figures are exact."""

import asyncio
import json
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from stream.backup import restore, snapshot
from stream.clock import wall_clock_ms
from stream.core.catalogue import SOURCES
from stream.engine.kafka_admin import KafkaAdmin, TopicShape
from stream.engine.scanner import Scanner
from stream.engine.topics import SOURCE_CONFIGS
from stream.errors import UserError
from stream.settings import Settings, load_settings
from stream.snapshot_file import SnapshotReader
from stream.topic_plan import ledger_topic
from tests.support.patience import eventually
from tests.support.system import System, check_against_truth

pytestmark = pytest.mark.slow
RECORDS = 6_000
RULES = {
    "STREAM_ALLOWED_LATENESS": "10s",
    "STREAM_PARTITIONS": "2",
    "STREAM_KAFKA_SESSION_TIMEOUT": "4s",
}


def settings_of(system: System, **more: str) -> Settings:
    """In this process, what the system's processes have."""
    given = {name.removeprefix("STREAM_").lower(): value for name, value in system.env.items()}
    return load_settings({**given, **more})


async def delete_ledgers(settings: Settings) -> None:
    names = {ledger_topic(settings, topic) for topic in SOURCES}
    async with KafkaAdmin(settings.kafka) as admin:
        await admin._client.delete_topics(sorted(names))

        async def gone() -> bool:
            return not names & set(await admin.topics())

        await eventually(gone, 20)


async def cut_sources(settings: Settings, throughs: dict[tuple[str, int], int]) -> None:
    """Delete what the snapshot includes: nobody can count it again."""
    async with KafkaAdmin(settings.kafka) as admin:
        for (topic, partition), through in throughs.items():
            await admin.delete_records(settings.topic(topic), partition, through)


async def copy_topics(settings: Settings, other: str) -> None:
    """The source topics with their offsets on another cluster."""
    async with (
        Scanner(settings.kafka) as scanner,
        KafkaAdmin(other) as admin,
        AIOKafkaProducer(bootstrap_servers=other) as producer,
    ):
        for topic in map(settings.topic, SOURCES):
            await admin.create(TopicShape(topic, 2, 1, SOURCE_CONFIGS))
            for number, (begin, end) in (await scanner.bounds(topic, range(2))).items():
                assert begin == 0
                async for records in scanner.read(topic, number, begin, end):
                    for record in records:
                        batch = producer.create_batch()
                        batch.append(key=record.key, value=record.value, timestamp=record.timestamp)
                        await producer.send_batch(batch, topic, partition=number)
        await producer.flush()


@pytest.fixture
def system(kafka, redis_server, stream_process, namespace, tmp_path):
    key = tmp_path / "id.key"
    key.write_text("ab" * 32)
    key.chmod(0o600)
    return System(
        stream_process, namespace, kafka, redis_server, STREAM_ID_KEY_FILE=str(key), **RULES
    )


async def send(system: System, truth: Path, speed: str = "0") -> None:
    start_ms = wall_clock_ms() - 3_600_000
    sender = system.run(
        "simulate", "--scenario", "mixed", "--seed", "5", "--count", str(RECORDS), "--speed", speed,
        "--start", str(start_ms), "--truth", str(truth),
    )  # fmt: skip
    assert await sender.ended(60) == 0, sender.text


async def test_a_snapshot_taken_under_load_brings_the_exact_figures_back(
    system, tmp_path, namespace, choice
):
    truth, file = tmp_path / "truth.json", tmp_path / "ledger.snapshot"
    worker = system.worker()
    system.server()
    await system.ready()
    sending = asyncio.create_task(send(system, truth, speed="6"))
    await system.counted(RECORDS // 4)
    taken = system.run("snapshot", str(file))
    assert await taken.ended(40) == 0, taken.text
    worker.kill()  # the next claim has a higher epoch than any after the restore
    worker = system.worker()
    await worker.says("partitions_recovered", 40)
    await sending
    await system.counted(RECORDS)
    worker.terminate()
    assert await worker.ended(20) == 0
    settings = settings_of(system)
    if choice.kafka("embedded"):
        await copy_topics(settings, choice.kafka("embedded").bootstrap)
    await delete_ledgers(settings)
    throughs = {
        (head.topic, head.partition): head.through or 0
        for head, _ in SnapshotReader(file).partitions()
    }
    assert sum(throughs.values()) < RECORDS  # the rest is to be counted after the restore
    await cut_sources(settings, throughs)
    restored = system.run("restore", str(file))
    assert await restored.ended(60) == 0, restored.text
    system.worker("w2")
    await owned_by(system, "w2")
    await system.counted(RECORDS)
    wanted = json.loads(truth.read_text())
    check_against_truth(system, wanted)
    await check_the_other_cluster(system, namespace, file, choice, wanted)


async def owned_by(system: System, worker: str) -> None:
    """Wait until nothing that is shown is a former worker's."""

    def mine() -> bool:
        partitions = system.get("/api/v1/status")["partitions"]
        return {p["worker"] for p in partitions} == {worker}

    await eventually(mine, 60)


async def check_the_other_cluster(system, namespace, file, choice, wanted) -> None:
    """The same file, and a copy of the topics, on a cluster and a Redis of another kind."""
    other = System(
        system._start, namespace, choice.kafka("embedded"), choice.redis("embedded"),
        STREAM_ID_KEY_FILE=system.env["STREAM_ID_KEY_FILE"], **RULES,
    )  # fmt: skip
    restored = other.run("restore", str(file))
    assert await restored.ended(60) == 0, restored.text
    other.worker("w3")
    other.server()
    await other.counted(RECORDS)
    check_against_truth(other, wanted)


async def test_what_does_not_fit_is_refused_in_one_line(system, tmp_path):
    file = tmp_path / "ledger.snapshot"
    worker = system.worker()
    system.server()
    await system.ready()
    await send(system, tmp_path / "truth.json")
    await system.counted(RECORDS)
    settings = settings_of(system)
    await snapshot(settings, file)

    async def refusal(settings: Settings = settings, **how: bool) -> str:
        options = {"replace": False, "accept_loss": False} | how
        with pytest.raises(UserError) as caught:
            await restore(settings, file, **options)
        text = str(caught.value)
        assert "\n" not in text
        return text

    assert "1 worker(s) of group" in await refusal()
    worker.terminate()
    assert await worker.ended(20) == 0
    assert "holds a state, up to offset" in await refusal()
    assert "was made with other rules" in await refusal(settings_of(system, session_max="3h"))
    other_key = tmp_path / "other.key"
    other_key.write_text("cd" * 32)
    other_key.chmod(0o600)
    assert "was made with another key" in await refusal(
        settings_of(system, id_key_file=str(other_key))
    )
    prefixed = settings_of(system, topic_prefix=settings.topic_prefix + "x-")
    assert "does not exist: a snapshot goes on with" in await refusal(prefixed)
    whole = file.read_bytes()
    file.write_bytes(whole[:-10])
    assert "ends in the middle" in await refusal(replace=True)
    file.write_bytes(whole)
    reader = SnapshotReader(file)
    head = next(head for head, _ in reader.partitions() if head.topic == "clicks")
    topic = settings.topic("clicks")
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka) as producer:
        await producer.send_and_wait(topic, b"{}", partition=head.partition)
    async with KafkaAdmin(settings.kafka) as admin:
        await admin.delete_records(topic, head.partition, (head.through or 0) + 1)
    assert ": 1 records are gone; restore without them with --accept-loss" in await refusal(
        replace=True
    )
    told = await restore(settings, file, replace=True, accept_loss=True)
    assert told[-1] == "start the workers now"
