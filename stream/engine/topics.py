"""The topics that the system needs: made when missing, judged when there.

Owns the settings that each kind of topic must have. What exists is never changed: a setting that
would lose or mix up data is refused in one line, others are remarked on.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    InvalidConfigurationError,
    InvalidPartitionsError,
    InvalidReplicationFactorError,
    InvalidTopicError,
    KafkaError,
    PolicyViolationError,
    TopicAuthorizationFailedError,
)

from stream.core.durations import DAY_MS, format_duration
from stream.engine.kafka_admin import KafkaAdmin, TopicShape
from stream.engine.retry import is_transient, pauses_s
from stream.errors import UserError

MAX_MESSAGE_BYTES: Final = 16 << 20
LEAST_LEDGER_MESSAGE_BYTES: Final = 2 << 20
DEFAULT_REPLICATION: Final = 3
PATIENCE_S: Final = 30.0

SOURCE_CONFIGS: Final = {"message.timestamp.type": "LogAppendTime"}
DEAD_LETTER_CONFIGS: Final = {
    "cleanup.policy": "delete",
    "message.timestamp.type": "LogAppendTime",
    "max.message.bytes": str(MAX_MESSAGE_BYTES),
}
LEDGER_CONFIGS: Final = {
    "cleanup.policy": "delete",
    "message.timestamp.type": "LogAppendTime",  # its answers tell what time it is at the brokers
    "retention.ms": "-1",
    "retention.bytes": "-1",
    "max.message.bytes": str(MAX_MESSAGE_BYTES),
}
COMPACTED_CONFIGS: Final = {
    "cleanup.policy": "compact",
    "max.message.bytes": str(MAX_MESSAGE_BYTES),
    "delete.retention.ms": "604800000",  # whoever was away for less than a week hears of removals
}
_NOT_CREATED: Final = (
    ClusterAuthorizationFailedError,
    InvalidConfigurationError,
    InvalidPartitionsError,
    InvalidReplicationFactorError,
    InvalidTopicError,
    PolicyViolationError,
    TopicAuthorizationFailedError,
)


@dataclass(frozen=True, slots=True)
class Plan:
    """Which topics there are to be, by their full names.

    `ledgers` names the ledger of each source topic. `partitions` and `replication` are for new
    topics; without a replication it is up to 3, as many as there are brokers. Ledgers follow their
    sources in both; `compacted` topics keep the last record of each key, in one partition.
    """

    ledgers: Mapping[str, str]
    dead_letters: str
    partitions: int
    replication: int | None = None
    dead_letters_ms: int = 14 * DAY_MS
    """How long Kafka keeps dead letters, which are raw records with all they say."""
    compacted: tuple[str, ...] = ()

    @property
    def names(self) -> set[str]:
        """All topics."""
        return {*self.ledgers, *self.ledgers.values(), self.dead_letters, *self.compacted}


class Finding(NamedTuple):
    """Something about a topic; `refused` means that the system must not run like that."""

    text: str
    refused: bool


async def ensure_topics(admin: KafkaAdmin, plan: Plan) -> list[str]:
    """Create what is missing and judge what is there; return remarks.

    Any number of workers may do it at once. Raises UserError for what is refused, KafkaError or
    OSError when the brokers cannot be asked.
    """
    replication = plan.replication or min(DEFAULT_REPLICATION, await admin.brokers())
    sources = {
        name: TopicShape(name, plan.partitions, replication, SOURCE_CONFIGS)
        for name in plan.ledgers
    }
    letters = dead_letters_shape(plan, replication)
    compacted = {
        name: TopicShape(name, 1, replication, COMPACTED_CONFIGS) for name in plan.compacted
    }
    there = await _create_missing(admin, {**sources, letters.name: letters, **compacted})
    await _create_missing(
        admin, {name: ledger_shape(name, there[source]) for source, name in plan.ledgers.items()}
    )
    findings = await judge_topics(admin, plan)
    for finding in findings:
        if finding.refused:
            raise UserError(finding.text)
    return [finding.text for finding in findings]


async def judge_topics(admin: KafkaAdmin, plan: Plan) -> list[Finding]:
    """Judge the topics as they are. Raises KafkaError or OSError."""
    there = await admin.topics()
    configs = await admin.configs(plan.names & there.keys())
    shapes = {
        name: TopicShape(name, there[name].partitions, there[name].replication, settings)
        for name, settings in configs.items()
    }
    return judge(plan, shapes, await admin.brokers())


def ledger_shape(name: str, source: TopicShape) -> TopicShape:
    """Return the shape of a ledger topic for a source topic."""
    configs = dict(LEDGER_CONFIGS)
    if source.replication >= DEFAULT_REPLICATION:
        configs["min.insync.replicas"] = "2"  # or one broker's disk alone may hold a flush
    return TopicShape(name, source.partitions, source.replication, configs)


def dead_letters_shape(plan: Plan, replication: int) -> TopicShape:
    """Return the shape of the topic of dead letters."""
    configs = {**DEAD_LETTER_CONFIGS, "retention.ms": str(plan.dead_letters_ms)}
    return TopicShape(plan.dead_letters, plan.partitions, replication, configs)


def judge(plan: Plan, topics: Mapping[str, TopicShape], brokers: int) -> list[Finding]:
    """Judge existing topics, given with their settings; pure. Refusals come first."""
    findings = [
        Finding(f"topic {name} does not exist", refused=False)
        for name in sorted(plan.names - topics.keys())
    ]
    for source, ledger in plan.ledgers.items():
        if source in topics:
            findings += _judge_source(topics[source], brokers)
        if ledger in topics:
            findings += _judge_ledger(topics[ledger], topics.get(source))
    if plan.dead_letters in topics:
        findings += _judge_dead_letters(topics[plan.dead_letters], plan.dead_letters_ms)
    for name in plan.compacted:
        if topics.get(name) and topics[name].configs.get("cleanup.policy", "compact") != "compact":
            text = f"topic {name} is not compacted: Kafka will forget what it holds"
            findings.append(Finding(text, refused=False))
    return sorted(findings, key=lambda finding: not finding.refused)


def _judge_source(topic: TopicShape, brokers: int) -> list[Finding]:
    findings = []
    if topic.configs.get("message.timestamp.type", "LogAppendTime") != "LogAppendTime":
        findings.append(
            f"topic {topic.name}: message.timestamp.type is not LogAppendTime: "
            "lateness and settling rely on the producers' clocks"
        )
    if "compact" in topic.configs.get("cleanup.policy", ""):
        findings.append(f"topic {topic.name} is compacted: events may vanish before they are read")
    if topic.replication < min(DEFAULT_REPLICATION, brokers):
        findings.append(
            f"topic {topic.name} has {topic.replication} replica(s) on {brokers} brokers"
        )
    return [Finding(text, refused=False) for text in findings]


def _judge_ledger(topic: TopicShape, source: TopicShape | None) -> list[Finding]:
    findings = [
        Finding(
            f"ledger {topic.name}: {name} is {found} and must be {wanted}, "
            "or what has been counted is lost",
            refused=True,
        )
        for name in ("cleanup.policy", "retention.ms", "retention.bytes")
        if (found := topic.configs.get(name, wanted := LEDGER_CONFIGS[name])) != wanted
    ]
    bytes_ = int(topic.configs.get("max.message.bytes", MAX_MESSAGE_BYTES))
    if bytes_ < MAX_MESSAGE_BYTES:
        text = f"ledger {topic.name}: max.message.bytes is {bytes_}, less than {MAX_MESSAGE_BYTES}"
        findings.append(Finding(text, refused=bytes_ < LEAST_LEDGER_MESSAGE_BYTES))
    if source is not None and topic.partitions != source.partitions:
        text = (
            f"ledger {topic.name} has {topic.partitions} partition(s), its source topic "
            f"{source.name} {source.partitions}: run `stream rebuild` to count it again"
        )
        findings.append(Finding(text, refused=True))
    if source is not None and topic.replication < source.replication:
        text = f"ledger {topic.name} has fewer replicas than its source topic {source.name}"
        findings.append(Finding(text, refused=False))
    return findings


def _judge_dead_letters(topic: TopicShape, wanted_ms: int) -> list[Finding]:
    findings = []
    kept_ms = int(topic.configs.get("retention.ms", wanted_ms))
    if kept_ms != wanted_ms:
        text = (
            f"topic {topic.name} keeps raw records for {_spell(kept_ms)}, not for "
            f"{_spell(wanted_ms)} (STREAM_DEAD_LETTERS_RETENTION): set its retention.ms to "
            f"{wanted_ms}"
        )
        findings.append(Finding(text, refused=False))
    if "compact" in topic.configs.get("cleanup.policy", ""):
        text = f"topic {topic.name} is compacted: it would refuse or merge dead letters"
        findings.append(Finding(text, refused=True))
    return findings


def _spell(ms: int) -> str:
    return "ever" if ms < 0 else format_duration(ms)


async def _create_missing(
    admin: KafkaAdmin, wanted: Mapping[str, TopicShape]
) -> dict[str, TopicShape]:
    """Create those topics that are not there; return all of them once the brokers show them."""
    deadline = time.monotonic() + PATIENCE_S
    for pause_s in pauses_s():
        try:
            there = await admin.topics()
            missing = sorted(wanted.keys() - there.keys())
            if not missing:
                return {name: there[name] for name in wanted}
            for name in missing:
                await _create(admin, wanted[name])
        except (KafkaError, OSError) as error:
            if not is_transient(error) or time.monotonic() > deadline:
                raise
        if time.monotonic() > deadline:
            break
        await asyncio.sleep(pause_s)
    raise UserError(f"topics are not there after {PATIENCE_S:g} s: {', '.join(sorted(wanted))}")


async def _create(admin: KafkaAdmin, topic: TopicShape) -> None:
    try:
        await admin.create(topic)
    except _NOT_CREATED as error:
        why = error.args[0] if error.args else type(error).__name__
        raise UserError(
            f"topic {topic.name} ({topic.partitions} partitions, {topic.replication} replicas) "
            f"cannot be created: {why}"
        ) from error
