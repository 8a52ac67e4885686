"""What `stream doctor` looks at: each check asks one thing and answers with findings.

Nothing is changed anywhere. Faults of the surroundings are findings, not exceptions.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from enum import StrEnum
from typing import Any, NamedTuple

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from redis.exceptions import RedisError

from stream.clock import wall_clock_ms
from stream.core.catalogue import SOURCES
from stream.core.durations import format_duration
from stream.core.records import TopicPartition as Place
from stream.engine.credentials import Credentials, client_options
from stream.engine.diagnosis import diagnose
from stream.engine.kafka_admin import KafkaAdmin, TopicShape
from stream.engine.topics import judge_topics
from stream.kafka_access import kafka_credentials
from stream.live.feed import read_about
from stream.live.keys import PartitionKeys
from stream.live.link import explain_fault, reach
from stream.live.rows import About, PartitionInfo
from stream.redis_access import link_to_redis, show_redis
from stream.settings import Settings, SettingsError
from stream.topic_plan import plan_topics

CLOCK_TOLERANCE_MS = 2_000
PATIENCE_S = 5.0

_decode_info = msgspec.msgpack.Decoder(PartitionInfo).decode


class Mark(StrEnum):
    """How a finding is shown. Only BAD is a failure."""

    GOOD = "✓"
    NOTE = "!"
    BAD = "✗"


class Finding(NamedTuple):
    """One line: what was found, and what to do about it."""

    mark: Mark
    text: str
    advice: str = ""


def good(text: str) -> Finding:
    """All is well."""
    return Finding(Mark.GOOD, text)


def bad(text: str, advice: str) -> Finding:
    """Something that keeps the system from working rightly."""
    return Finding(Mark.BAD, text, advice)


# --- Kafka ---


async def check_kafka(settings: Settings) -> list[Finding]:
    """Reachable, topics, settings, partition counts, record timestamps."""
    try:
        credentials = kafka_credentials(settings)
    except SettingsError as error:
        return [bad(str(error), "set it right")]
    try:
        async with KafkaAdmin(
            settings.kafka, credentials=credentials, timeout_s=PATIENCE_S
        ) as admin:
            brokers = await admin.brokers()
            topics = await admin.topics()
            found = [good(f"Kafka at {settings.kafka} answers: {brokers} broker(s)")]
            if (settings.kafka_security, settings.kafka_mechanism) == ("SASL_PLAINTEXT", "PLAIN"):
                text = "the password goes to Kafka in the clear"
                found.append(Finding(Mark.NOTE, text, "use SASL_SSL, or SCRAM-SHA-512"))
            found += await _check_topics(settings, admin, topics)
        return found + await _check_record_times(settings, credentials, topics)
    except (KafkaError, OSError) as error:  # TimeoutError is one
        why = await diagnose(error, settings.kafka, credentials)
        if why.refused:
            return [bad(f"Kafka at {settings.kafka} refuses us: {why.text}", "set it right")]
        return [
            bad(
                f"Kafka at {settings.kafka} does not answer: {why.text}",
                "start it, or set STREAM_KAFKA to where it is",
            )
        ]


async def _check_topics(
    settings: Settings, admin: KafkaAdmin, topics: dict[str, TopicShape]
) -> list[Finding]:
    plan = plan_topics(settings)
    findings = []
    for name in sorted(plan.names):
        if name in topics:
            findings.append(good(f"topic {name} has {topics[name].partitions} partition(s)"))
        else:
            findings.append(bad(f"topic {name} is missing", "start `stream worker`: it makes it"))
    for judged in await judge_topics(admin, plan):
        if judged.refused:
            findings.append(bad(judged.text, "set it right with your Kafka's tools"))
        elif not judged.text.endswith("does not exist"):
            findings.append(Finding(Mark.NOTE, judged.text))
    return findings


async def _check_record_times(
    settings: Settings, credentials: Credentials | None, topics: dict[str, TopicShape]
) -> list[Finding]:
    """The newest record of each source topic must not lie in the future."""
    findings = []
    names = [settings.topic(name) for name in SOURCES if settings.topic(name) in topics]
    if not names:
        return []
    async with _consumer(settings, credentials) as consumer:
        for name in names:
            newest_ms = await _newest_timestamp(consumer, name, topics[name].partitions)
            if newest_ms is not None:
                findings.append(_judge_clock(f"record timestamps of {name}", newest_ms))
    return findings


def _judge_clock(what: str, newest_ms: int) -> Finding:
    ahead_ms = newest_ms - wall_clock_ms()
    if ahead_ms > CLOCK_TOLERANCE_MS:
        return bad(
            f"{what} are {ahead_ms / 1000:.1f} s ahead of this machine's clock",
            "set the clocks right (NTP) here, on the brokers and, for CreateTime, the producers",
        )
    return good(f"{what} are not ahead of this machine's clock")


@asynccontextmanager
async def _consumer(settings: Settings, credentials: Credentials | None) -> AsyncIterator[Any]:
    consumer: Any = AIOKafkaConsumer(
        bootstrap_servers=settings.kafka,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        request_timeout_ms=round(PATIENCE_S * 1000),
        max_partition_fetch_bytes=65_536,
        **client_options(credentials),
    )
    try:
        async with asyncio.timeout(PATIENCE_S):
            await consumer.start()
            await asyncio.sleep(0)  # one that is stopped before its tasks ran stops with an error
        yield consumer
    finally:
        await consumer.stop()


async def _newest_timestamp(consumer: Any, topic: str, partitions: int) -> int | None:
    places = [TopicPartition(topic, number) for number in range(partitions)]
    consumer.assign(places)
    newest: int | None = None
    async with asyncio.timeout(PATIENCE_S):
        begins, ends = await consumer.beginning_offsets(places), await consumer.end_offsets(places)
        waiting = {place for place in places if ends[place] > begins[place]}
        for place in places:
            consumer.seek(place, max(begins[place], ends[place] - 1))
    deadline = time.monotonic() + PATIENCE_S
    while waiting and time.monotonic() < deadline:
        for place, records in (await consumer.getmany(timeout_ms=200)).items():
            waiting.discard(place)
            for record in records:
                newest = max(newest or 0, record.timestamp)
    return newest


# --- Redis and what the workers keep there ---


async def check_redis(settings: Settings) -> list[Finding]:
    """Reachable, eviction policy, clock, definition, every partition."""
    try:
        link = link_to_redis(settings, timeout_s=PATIENCE_S)
    except SettingsError as error:
        return [bad(str(error), "set it right")]
    try:
        async with asyncio.timeout(4 * PATIENCE_S):
            redis = await reach(link)
            before_ms = wall_clock_ms()
            seconds, micros = await redis.time()
            redis_ms = seconds * 1000 + micros // 1000
            found = [good(f"Redis at {show_redis(settings)} answers")]
            found.append(_judge_redis_clock(redis_ms, before_ms, wall_clock_ms()))
            found.append(_judge_eviction(await redis.info("memory")))
            about = await read_about(redis, settings.group)
            found.append(_judge_definition(about, settings))
            if about is not None:
                found += await _check_partitions(redis, settings, about, redis_ms)
            return found
    except (RedisError, OSError, ValueError) as error:  # TimeoutError is an OSError
        fault = explain_fault(error)
        if fault.refused:
            return [
                bad(f"Redis at {show_redis(settings)} refuses us: {fault.text}", "set it right")
            ]
        return [
            bad(
                f"Redis at {show_redis(settings)} does not answer: {fault.text}",
                "start it, or set STREAM_REDIS_URL to where it is",
            )
        ]
    finally:
        await link.close()


def _judge_redis_clock(redis_ms: int, before_ms: int, after_ms: int) -> Finding:
    off_ms = redis_ms - (before_ms + after_ms) // 2
    if abs(off_ms) > CLOCK_TOLERANCE_MS + (after_ms - before_ms) // 2:
        return bad(
            f"Redis' clock is {off_ms / 1000:+.1f} s off this machine's",
            "set both right (NTP); ages and windows depend on them",
        )
    return good("Redis' clock agrees with this machine's")


def _judge_eviction(memory: dict[str, Any]) -> Finding:
    policy = memory.get("maxmemory_policy", "unknown")
    if policy == "noeviction":
        return good("Redis evicts nothing (noeviction)")
    return bad(
        f"Redis' eviction policy is {policy}: figures may vanish without a word",
        "set `maxmemory-policy noeviction`, or give the system a Redis of its own",
    )


def _judge_definition(about: About | None, settings: Settings) -> Finding:
    if about is None:
        return bad(
            f"no worker of group {settings.group} has written to Redis yet",
            "start `stream worker`, with the same STREAM_GROUP and STREAM_REDIS_URL",
        )
    wanted = settings.rules().definition_id
    if about.definition_id != wanted:
        return bad(
            f"the workers count under definition {about.definition_id}, these settings are "
            f"{wanted}",
            "give both the same settings, or run `stream rebuild`",
        )
    return good(f"the workers count under these settings (definition {wanted})")


async def _check_partitions(
    redis: Any, settings: Settings, about: About, redis_ms: int
) -> list[Finding]:
    findings = []
    for topic in SOURCES:
        problems: list[Finding] = []
        count = about.partitions.get(topic, 0)
        for number in range(count):
            place = Place(topic, number)
            problem = await _judge_partition(redis, settings, place, redis_ms)
            problems += [problem] if problem else []
        findings += problems
        if count and not problems:
            findings.append(good(f"all {count} partition(s) of {topic} are live"))
        if not count:
            findings.append(bad(f"no worker knows the topic {topic}", "start `stream worker`"))
    return findings


async def _judge_partition(
    redis: Any, settings: Settings, place: Place, redis_ms: int
) -> Finding | None:
    """What is wrong with a partition; None: it is live."""
    keys = PartitionKeys.of(settings.group, place)
    name = str(place)
    state, meta = await redis.hmget(keys.at, "state", "meta")
    last = await redis.xrevrange(keys.feed, count=1)
    heard_ms = int(last[0][0].split(b"-")[0]) if last else None
    if heard_ms is None or redis_ms - heard_ms > settings.kafka_session_timeout:
        since = "" if heard_ms is None else f" for {format_duration(redis_ms - heard_ms)}"
        return bad(f"partition {name} has had no worker{since}", "start `stream worker`")
    info = _decode_info(meta) if meta else None
    if state != b"whole" or info is None or info.status == "recovering":
        return bad(f"partition {name} is recovering", "wait; `--wait` does")
    if info.status == "paused":
        return bad(
            f"partition {name} is paused: most of its records cannot be read",
            f"see the topic dead-letters, mend the producer, then `stream resume {name}`",
        )
    return None


def failed(findings: Iterable[Finding]) -> bool:
    """Whether anything keeps the system from working rightly."""
    return any(finding.mark is Mark.BAD for finding in findings)
