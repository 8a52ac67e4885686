"""What happens to the logs themselves: mended without a word too much, or refused in one line."""

import json
import re

import msgspec
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from stream.clock import wall_clock_ms
from stream.engine.kafka_admin import KafkaAdmin, TopicShape
from stream.engine.ledger_records import FORMAT, Kind
from stream.engine.scanner import Scanner
from stream.engine.topics import SOURCE_CONFIGS
from stream.settings import load_settings
from stream.topic_plan import ledger_topic
from tests.support.patience import eventually
from tests.support.system import System

pytestmark = pytest.mark.slow
PARTITIONS = 2


def click(number: int) -> bytes:
    now_ms = wall_clock_ms()
    return json.dumps(
        {"event_id": f"e{number}", "type": "impression", "timestamp": now_ms}
    ).encode()


class Site:
    """A system, and hands to lay on its topics."""

    def __init__(self, system: System, kafka, namespace, producer):
        self.system, self.producer = system, producer
        self.bootstrap, self.sent = kafka.bootstrap, 0
        names = {"group": namespace.group, "topic_prefix": namespace.prefix}
        self.clicks = namespace.topic("clicks")
        self.ledger = ledger_topic(load_settings(names), "clicks")

    async def begin(self, records: int):
        """Start a system and have so many records counted; its worker."""
        worker = self.system.worker()
        self.system.server()
        await self.system.ready()
        await self.send(records)
        await self.counted(records)
        return worker

    async def send(self, count: int) -> None:
        for number in range(self.sent, self.sent + count):
            await self.producer.send(self.clicks, click(number), partition=number % PARTITIONS)
        await self.producer.flush()
        self.sent += count

    async def counted(self, records: int) -> None:
        """Wait until exactly so many show, whatever showed before."""

        def rows() -> bool:
            status = self.system.get("/api/v1/status")
            shown = self.system.rows("ctr", "campaign")
            return status["ready"] and shown == {"(not set)": (0, records)}

        await eventually(rows, 60, what=f"{records} impressions")

    async def stop(self, worker) -> None:
        worker.terminate()
        assert await worker.ended(40) == 0

    async def refusal(self) -> str:
        """The last line of a worker that ends."""
        worker = self.system.worker()
        assert await worker.ended(60) == 1, worker.text
        return worker.text.strip().splitlines()[-1]

    async def bounds(self, topic: str):
        async with Scanner(self.bootstrap) as scanner:
            return await scanner.bounds(topic, range(PARTITIONS))

    async def delete(self, topic: str) -> None:
        async with KafkaAdmin(self.bootstrap) as admin:
            await admin._client.delete_topics([topic])

            async def gone() -> bool:
                return topic not in await admin.topics()

            await eventually(gone, 20)

    async def make(self, topic: str) -> None:
        async with KafkaAdmin(self.bootstrap) as admin:

            async def made() -> bool:
                try:
                    await admin.create(TopicShape(topic, PARTITIONS, 1, SOURCE_CONFIGS))
                except KafkaError:
                    return False
                return topic in await admin.topics()

            await eventually(made, 20)


@pytest.fixture
async def site(kafka, redis_server, stream_process, namespace):
    system = System(
        stream_process, namespace, kafka, redis_server, STREAM_PARTITIONS=str(PARTITIONS)
    )
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, acks="all") as producer:
        yield Site(system, kafka, namespace, producer)


async def test_foreign_and_damaged_records_and_a_lost_ledger_mend_themselves(site):
    """Rubbish in the ledger, a worker that starts over it, and then no ledger at all."""
    system = site.system
    worker = await site.begin(1_000)
    async with Scanner(site.bootstrap) as scanner:
        for partition, (begin, end) in (await site.bounds(site.ledger)).items():
            last = [r async for rs in scanner.read(site.ledger, partition, begin, end) for r in rs]
            for rubbish in (b"?", b"\xc1", last[-1].value[:-7], json.dumps({"a": 1}).encode()):
                await site.producer.send_and_wait(site.ledger, rubbish, partition=partition)
    await site.send(1_000)
    await site.counted(2_000)
    await site.stop(worker)
    worker = system.worker()
    await worker.says("are passed over", 40)
    await site.send(1_000)
    await site.counted(3_000)
    await site.stop(worker)
    await site.delete(site.ledger)
    worker = system.worker()
    await worker.says("ledger_gone", 40)
    await site.send(10)
    await site.counted(3_010)


async def test_a_ledger_that_is_gone_is_missed_where_kafka_no_longer_has_it_all(site):
    system = site.system
    worker = await site.begin(100)
    await site.stop(worker)
    await site.delete(site.ledger)
    async with KafkaAdmin(site.bootstrap) as admin:
        await admin.delete_records(site.clicks, 1, 10)
    told = await site.refusal()
    assert re.fullmatch(
        r"stream: \S*clicks/1: its ledger is gone \(50 records had been counted, Kafka holds those "
        r"from offset 10 on\): .*`stream restore`.*`stream rebuild`",
        told,
    ), told
    rebuilt = system.run("rebuild", "--yes")
    assert await rebuilt.ended(40) == 0, rebuilt.text
    system.worker()
    await site.counted(90)


@pytest.mark.chaos_long
async def test_a_ledger_of_an_older_format_or_cut_by_hand_is_refused(site):
    worker = await site.begin(100)
    await site.send(100)
    await site.counted(200)
    await site.stop(worker)
    ends = await site.bounds(site.ledger)
    async with Scanner(site.bootstrap) as scanner:
        claims = [
            record
            async for records in scanner.read(site.ledger, 0, 0, ends[0].end)
            for record in records
        ]
    nonce = msgspec.msgpack.decode(claims[0].value)[2]
    older = msgspec.msgpack.encode([FORMAT - 1, Kind.FLUSH, nonce, "of", "old"])
    await site.producer.send_and_wait(site.ledger, older, partition=0)
    assert await site.refusal() == (
        f"stream: ledger {site.ledger}/0 was written by an older version (format {FORMAT - 1}, "
        f"this one reads {FORMAT}): run `stream rebuild` to count its source topic again"
    )
    async with KafkaAdmin(site.bootstrap) as admin:
        await admin.delete_records(site.ledger, 0, 2)
    assert await site.refusal() == (
        f"stream: ledger {site.ledger}/0 was cut at a record that begins no snapshot: "
        "run `stream rebuild` to count its source topic again"
    )


@pytest.mark.parametrize(
    "records",
    [pytest.param(60, id="shorter", marks=pytest.mark.chaos_long), pytest.param(400, id="longer")],
)
async def test_a_source_topic_that_was_made_again_is_refused(site, records):
    worker = await site.begin(200)
    await site.stop(worker)
    await site.delete(site.clicks)
    await site.make(site.clicks)
    async with AIOKafkaProducer(bootstrap_servers=site.bootstrap, acks="all") as producer:
        site.producer = producer
        await site.send(records)
    told = await site.refusal()
    how = {60: r"ends before offset 99, which is", 400: r"holds another record at offset 99 than"}
    assert re.fullmatch(
        rf"stream: \S*clicks/[01] {how[records]} was counted: the topic was deleted and made "
        r"again; run `stream rebuild` to count all topics again",
        told,
    ), told


@pytest.mark.chaos_long
@pytest.mark.timeout(240)
async def test_topics_that_are_made_again_under_a_running_worker_are_noticed(site):
    """First its ledger, which it makes anew by itself; then its source, which is for a person."""
    worker = await site.begin(200)
    await site.delete(site.ledger)
    await site.send(200)
    await site.counted(400)
    await eventually(lambda: "ledger_gone" in worker.text, 10)
    await site.delete(site.clicks)
    await site.make(site.clicks)
    async with AIOKafkaProducer(bootstrap_servers=site.bootstrap, acks="all") as producer:
        site.producer = producer
        await site.send(2_000)
    assert await worker.ended(90) == 1, worker.text
    assert "made again" in worker.text.strip().splitlines()[-1]
