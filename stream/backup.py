"""Backup: the ledgers to a file and back.

A snapshot holds, for each partition, the state and the source offset up to which it goes; taking
one disturbs nobody. A restore puts such states in the place of what the ledgers hold, each as a
whole or not at all; the workers then count on from those offsets. Partitions need not be of one
moment: each is true of its own part of the log.
"""

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path

from stream import __version__
from stream.anchor import KEY as ANCHOR
from stream.anchor import Anchor
from stream.clock import wall_clock_ms
from stream.core.catalogue import SOURCES
from stream.core.partition import NAME
from stream.core.records import TopicPartition
from stream.cores import Cores
from stream.engine.kafka_admin import KafkaAdmin, TopicShape
from stream.engine.kafka_log import KafkaLog
from stream.engine.ledger import Ledger, LedgerError
from stream.engine.ledger_chain import Chain
from stream.engine.scanner import CutError, Scanner
from stream.engine.topics import ensure_topics
from stream.errors import UserError
from stream.kafka_access import kafka_credentials
from stream.settings import Settings
from stream.snapshot_file import Head, Header, SnapshotReader, SnapshotWriter
from stream.source_watch import SourceWatch
from stream.topic_plan import ledger_topic, plan_topics

_ATTEMPTS = 5
_LEAVE_S = 5.0
"""How much longer than the session time-out a stopped worker may still be in the group."""


async def snapshot(settings: Settings, file: Path) -> list[str]:
    """Write the state of all ledgers to a file; what was written, in lines.

    Raises UserError for a ledger that is missing or cannot be used, and Kafka's errors.
    """
    cores, credentials = Cores(settings), kafka_credentials(settings)
    async with KafkaAdmin(settings.kafka, credentials=credentials) as admin:
        partitions = _ledgers(settings, await admin.topics())
    header = Header(
        program=__version__,
        group=settings.group,
        made_ms=wall_clock_ms(),
        definition_id=cores.rules.definition_id,
        key_fingerprint=cores.pseudonyms.fingerprint,
        partitions=partitions,
    )
    told = []
    async with Scanner(settings.kafka, credentials=credentials) as log:
        with SnapshotWriter(file, header) as writer:
            for topic, count in partitions.items():
                entries = 0
                for number in range(count):
                    chain = await _read(log, ledger_topic(settings, topic), number)
                    place = TopicPartition(topic, number)
                    cores.load(place, chain.entries)  # what cannot be used is no backup
                    writer.write(Head(*place, chain.next, len(chain.entries)), chain.entries)
                    entries += len(chain.entries)
                told.append(f"{topic}: {count} partitions, {entries:,} entries")
    return [*told, f"{file}: {writer.size:,} bytes"]


async def restore(settings: Settings, file: Path, *, replace: bool, accept_loss: bool) -> list[str]:
    """Put the states in a file in the place of the ledgers'; what was done, in lines.

    All is checked before anything is written. Raises UserError, and Kafka's errors.
    """
    reader = SnapshotReader(file)
    cores, credentials = Cores(settings), kafka_credentials(settings)
    _check_header(file, reader.header, cores)
    async with KafkaAdmin(settings.kafka, credentials=credentials) as admin:
        _check_sources(settings, reader.header, await admin.topics())
        await ensure_topics(admin, plan_topics(settings))
        await _wait_for_leave(settings, admin)
    async with Scanner(settings.kafka, credentials=credentials) as scanner:
        for head, entries in reader.partitions():
            cores.load(TopicPartition(head.topic, head.partition), entries)
            await _check_partition(settings, scanner, head, entries, accept_loss=accept_loss)
            if not replace:
                await _check_empty(scanner, ledger_topic(settings, head.topic), head)
    return await _write(settings, reader)


def _ledgers(settings: Settings, there: Mapping[str, TopicShape]) -> dict[str, int]:
    found = {}
    for topic in SOURCES:
        name = ledger_topic(settings, topic)
        if name not in there:
            raise UserError(
                f"there is no ledger {name} in Kafka at {settings.kafka}: check STREAM_GROUP and "
                "STREAM_TOPIC_PREFIX"
            )
        found[topic] = there[name].partitions
    return found


async def _read(log: Scanner, topic: str, number: int) -> Chain:
    """The state that a partition of a ledger stands for now."""
    for _ in range(_ATTEMPTS):
        begin, end = (await log.bounds(topic, [number]))[number]
        chain = Chain()
        try:
            async for records in log.read(topic, number, begin, end):
                for record in records:
                    chain.apply(record.offset, record.value)
        except CutError:  # its owner has just cut it: it begins elsewhere now
            continue
        if chain.fault is not None:
            raise UserError(f"ledger {topic}/{number} {chain.fault}: it cannot be read")
        return chain
    raise UserError(f"ledger {topic}/{number} is cut all the time: try again")


def _check_header(file: Path, header: Header, cores: Cores) -> None:
    if header.definition_id != cores.rules.definition_id:
        raise UserError(
            f"{file} was made with other rules ({header.definition_id}, now "
            f"{cores.rules.definition_id}): restore it with the settings of that time"
        )
    if header.key_fingerprint != cores.pseudonyms.fingerprint:
        raise UserError(
            f"{file} was made with another key for ids ({header.key_fingerprint}, now "
            f"{cores.pseudonyms.fingerprint}): set STREAM_ID_KEY_FILE to that key"
        )


def _check_sources(settings: Settings, header: Header, there: Mapping[str, TopicShape]) -> None:
    for topic, count in header.partitions.items():
        source, ledger = there.get(settings.topic(topic)), there.get(ledger_topic(settings, topic))
        if source is None:
            raise UserError(
                f"topic {settings.topic(topic)} does not exist: a snapshot goes on with the "
                "records that it does not include, so the source topics must be there"
            )
        for shape in filter(None, (source, ledger)):
            if shape.partitions != count:
                raise UserError(
                    f"topic {shape.name} has {shape.partitions} partition(s), the snapshot {count}"
                )


async def _wait_for_leave(settings: Settings, admin: KafkaAdmin) -> None:
    """Workers that were stopped stay in the group for the session time-out."""
    until_s = time.monotonic() + settings.kafka_session_timeout / 1000 + _LEAVE_S
    while members := await admin.members(settings.group):
        if time.monotonic() > until_s:
            raise UserError(
                f"{members} worker(s) of group {settings.group} are running: stop them first"
            )
        await asyncio.sleep(0.5)


async def _check_partition(
    settings: Settings,
    scanner: Scanner,
    head: Head,
    entries: Mapping[bytes, bytes],
    *,
    accept_loss: bool,
) -> None:
    """See that the source topic goes on where the snapshot ends."""
    topic, through = settings.topic(head.topic), head.through or 0
    begin, end = (await scanner.bounds(topic, [head.partition]))[head.partition]
    if end < through:
        raise UserError(
            f"{topic}/{head.partition} ends at offset {end}, the snapshot goes to {through}: "
            "it is of another topic"
        )
    if begin > through and not accept_loss:
        raise UserError(
            f"{topic}/{head.partition} begins at offset {begin}, the snapshot goes to {through}: "
            f"{begin - through} records are gone; restore without them with --accept-loss"
        )
    if (raw := entries.get(ANCHOR)) is not None and (anchor := Anchor.decode(raw)).offset >= begin:
        try:
            await SourceWatch(scanner).check({TopicPartition(topic, head.partition): anchor})
        except UserError as error:
            raise UserError(f"the snapshot is of another topic: {error}") from None


async def _check_empty(log: Scanner, topic: str, head: Head) -> None:
    try:
        through = (await _read(log, topic, head.partition)).next
    except UserError as error:
        raise UserError(f"{error}; put the snapshot in its place with --replace") from None
    if through is not None:
        raise UserError(
            f"ledger {topic}/{head.partition} holds a state, up to offset {through}: "
            "put the snapshot in its place with --replace"
        )


async def _write(settings: Settings, reader: SnapshotReader) -> list[str]:
    credentials = kafka_credentials(settings)
    done: dict[str, int] = {}
    for topic in reader.header.partitions:
        log = KafkaLog(settings.kafka, ledger_topic(settings, topic), credentials=credentials)
        ledger = Ledger(log)
        try:
            await ledger.start()
            for head, entries in reader.partitions():
                if head.topic == topic:
                    await _put(ledger, head, entries)
                    done[topic] = done.get(topic, 0) + 1
        except LedgerError as error:
            raise UserError(
                f"not restored: {error}; is a worker running? Stop it and run this again "
                f"({sum(done.values())} partitions were restored, which does no harm)"
            ) from None
        finally:
            await ledger.stop()
    told = [f"{topic}: {count} partitions restored" for topic, count in done.items()]
    return [*told, "start the workers now"]


async def _put(ledger: Ledger, head: Head, entries: Mapping[bytes, bytes]) -> None:
    if head.through is None:
        await ledger.reset(head.partition)
        return
    # Another ledger for all who follow it: its epochs may begin anew, below those in Redis.
    nameless = {key: value for key, value in entries.items() if key != NAME}
    await ledger.replace(head.partition, nameless, head.through)
