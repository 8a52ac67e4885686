"""The auditor: it finds what was altered by hand, and says nothing of a system that is right."""

import json
import re
import time
import urllib.request
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from redis.asyncio import Redis

from stream.clock import wall_clock_ms
from stream.core.cells import SPAN_LABEL, decode_cell, encode_cell, parse_cell_key
from stream.core.records import TopicPartition
from stream.engine.kafka_admin import KafkaAdmin
from stream.engine.kafka_log import KafkaLog
from stream.engine.ledger import Ledger
from stream.live.keys import PartitionKeys, bucket_name
from stream.settings import load_settings
from stream.topic_plan import ledger_topic
from tests.support.patience import eventually
from tests.support.ports import free_port
from tests.support.system import System

pytestmark = pytest.mark.slow
FOUND_S = 60.0


class Audited:
    """A system with an auditor beside it."""

    def __init__(self, system, namespace, kafka, redis_server, port):
        self.system, self.namespace = system, namespace
        self.kafka, self.redis, self.port = kafka, redis_server, port

    def sample(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that have these labels."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as answer:
            text = answer.read().decode()
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        found = re.findall(rf"^{name}(?:\{{(.*)\}})? (\S+)$", text, re.MULTILINE)
        assert found, f"no {name}"
        return sum(float(n) for given, n in found if all(each in given for each in wanted))

    def differences(self, where: str) -> float:
        return self.sample("engagement_audit_difference", where=where)

    async def quiet(self, timeout_s: float = FOUND_S) -> None:
        """Wait until all was compared up to now and nothing is different."""
        since = self.sample("engagement_audit_checked_total", where="redis")

        def looked() -> bool:
            return (
                self.sample("engagement_audit_checked_total", where="redis") > since
                and self.sample("stream_audit_coverage_ratio") == 6
                and self.sample("engagement_audit_age_seconds") < 5
                and self.differences("redis") == 0
                and self.differences("ledger") == 0
            )

        await eventually(looked, timeout_s, interval_s=0.2, what="a quiet auditor")

    async def edit_ledger(self, place: TopicPartition, by: int, key: bytes | None = None) -> bytes:
        """Add to a cell of the ledger as its owner would; the worker is fenced and starts anew.

        Without a key it is the first hour that has a cell, which a late event may change.
        """
        env = self.system.env
        settings = load_settings(
            {"group": env["STREAM_GROUP"], "topic_prefix": env["STREAM_TOPIC_PREFIX"]}
        )
        name = ledger_topic(settings, place.topic)
        ledger = Ledger(KafkaLog(self.kafka.bootstrap, name))
        await ledger.start()
        try:
            got = await ledger.claim(place.partition)
            key = key or min(
                key
                for key in got.entries
                if key[:1] == b"c" and key[1] == 3 and parse_cell_key(key)[2] != SPAN_LABEL
            )
            live, settled = decode_cell(got.entries[key])
            live[0] = live.get(0, 0) + by
            entries = {key: encode_cell(live, settled)}
            through = got.next or 0
            await ledger.flush(place.partition, entries, through, through)
            return key
        finally:
            await ledger.stop()


@pytest.fixture
async def audited(kafka, redis_server, stream_process, namespace):
    port = free_port()
    system = System(
        stream_process,
        namespace,
        kafka,
        redis_server,
        STREAM_AUDIT_PORT=str(port),
        STREAM_ALLOWED_LATENESS="2s",
        STREAM_SESSION_TIMEOUT="4s",
        STREAM_PARTITIONS="2",
        COLUMNS="220",
    )
    system.worker()
    system.server()
    await system.ready()
    return Audited(system, namespace, kafka, redis_server, port)


def simulate(audited: Audited, seed: int, *more: str):
    return audited.system.run(
        "simulate", "--scenario", "mixed", "--seed", str(seed), "--backfill", "10m",
        "--ticket-speed", "400", *more,
    )  # fmt: skip


async def test_a_live_system_raises_no_alarm_and_an_alteration_is_found(audited):
    """Late, repeated and hostile events, then +1 in Redis and in the ledger; then all is mended."""
    load = simulate(audited, 3, "--rate", "150", "--duration", "2h")
    auditor = audited.system.run("audit", "--every", "1s")
    await auditor_ready(audited)
    for _ in range(5):
        await audited.quiet()
    assert "audit_difference" not in auditor.text
    await find_and_mend_redis(audited, auditor)
    await find_and_mend_ledger(audited, auditor)
    load.terminate()
    await load.ended()
    assert "no difference: 6 partitions, " in await check_once(audited, code=0)


async def auditor_ready(audited: Audited) -> None:
    def heard() -> bool:
        return audited.sample("engagement_audit_checked_total", where="redis") > 0

    await eventually(heard, 30, what="the auditor")


async def find_and_mend_redis(audited: Audited, auditor) -> None:
    client: Any = Redis.from_url(audited.redis.url)
    place = TopicPartition("clicks", 1)
    keys = PartitionKeys.of(audited.namespace.group, place)
    bucket = keys.bucket(bucket_name(0, 0))
    label, raw = min((await client.hgetall(bucket)).items())
    live, settled = decode_cell(raw)
    live[0] = live.get(0, 0) + 1
    altered = encode_cell(live, settled)

    async def alter() -> bool:
        """A cell that changes all the time is soon right again, so it is altered again."""
        await client.hset(bucket, label, altered)
        return audited.differences("redis") > 0

    await eventually(alter, FOUND_S, interval_s=0.02)
    mended = audited.system.run("rewrite", "clicks/1")
    assert await mended.ended(20) == 0, mended.text
    await audited.quiet()
    told = [json.loads(line) for line in auditor.text.splitlines() if "audit_difference" in line]
    assert {(t["where"], t["partition"], t["size"]) for t in told} == {("redis", "clicks/1", 0)}
    await client.aclose()


async def find_and_mend_ledger(audited: Audited, auditor) -> None:
    began = time.monotonic()
    place = TopicPartition("clicks", 0)
    key = await audited.edit_ledger(place, 1)
    await eventually(lambda: audited.differences("ledger") == 1, FOUND_S)
    assert time.monotonic() - began < FOUND_S
    told = [json.loads(line) for line in auditor.text.splitlines() if "audit_difference" in line]
    told = [each for each in told if each["where"] == "ledger"]
    assert [(t["partition"], t["size"], t["start_ms"], t["figure"]) for t in told] == [
        ("clicks/0", 3, parse_cell_key(key)[1], "impressions")
    ]
    assert told[0]["found"] - told[0]["expected"] == 1
    await audited.edit_ledger(place, -1, key)
    await audited.quiet()


async def test_a_single_check_says_what_is_different_and_what_it_could_not_count(audited, kafka):
    """Over a partition that was resumed beyond some records, and one that Kafka has cut."""
    system, topic = audited.system, audited.namespace.topic("clicks")
    now_ms = wall_clock_ms()
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, acks="all") as producer:
        for number in range(1_200):
            await producer.send(topic, b"rubbish", partition=0)
            await producer.send(topic, impression(number, now_ms), partition=1)
        await producer.flush()
        await system.counted(2_200)
        resumed = system.run("resume", "clicks/0", "--skip-to", "1100")
        assert await resumed.ended(20) == 0, resumed.text
        await system.counted(2_400)
        for number in range(1_200, 1_210):
            await producer.send_and_wait(topic, impression(number, now_ms), partition=0)
    await system.counted(2_410)
    right = await check_once(audited, code=0)
    assert right.startswith("no difference: 6 partitions, 2,310 records counted again")
    key = await audited.edit_ledger(TopicPartition("clicks", 0), 1)
    wrong = await check_once(audited, code=1)
    rows = [line for line in wrong.splitlines() if "clicks/0" in line]
    assert len(rows) == 1
    for cell in ("ctr", "impressions (live)", "1h from 20", "(not set)", " 10 ", " 11 ", "ledger"):
        assert cell in rows[0]
    assert wrong.splitlines()[-1].startswith("1 difference: 6 partitions")
    await audited.edit_ledger(TopicPartition("clicks", 0), -1, key)
    async with KafkaAdmin(kafka.bootstrap) as admin:
        await admin.delete_records(topic, 1, 700)
    part = await check_once(audited, code=0)
    assert re.search(r"^clicks/1: counted again from offset [\d,]+ on", part, re.MULTILINE), part


def impression(number: int, at_ms: int) -> bytes:
    event = {"event_id": f"e{number}", "type": "impression", "timestamp": at_ms}
    return json.dumps(event).encode()


async def check_once(audited: Audited, code: int) -> str:
    """Its output, without what it logs."""
    once = audited.system.run("audit", "--once")
    assert await once.ended(60) == code, once.text
    return "\n".join(line for line in once.text.splitlines() if not line.startswith("{"))
