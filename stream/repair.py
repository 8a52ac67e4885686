"""What a person does to a running system: resume a partition, write Redis anew, rebuild ledgers."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiokafka.errors import KafkaError
from redis.exceptions import RedisError

from stream.core.catalogue import SOURCES
from stream.core.records import TopicPartition
from stream.engine.credentials import Credentials
from stream.engine.diagnosis import diagnose
from stream.engine.kafka_admin import KafkaAdmin
from stream.engine.kafka_log import KafkaLog
from stream.engine.ledger import Ledger, LedgerError
from stream.errors import UserError
from stream.faults import redis_unusable
from stream.kafka_access import kafka_credentials
from stream.live.feed import read_about
from stream.live.keys import PartitionKeys
from stream.live.link import explain_fault, reach
from stream.live.projection import clear_partition, send_command
from stream.producer import quiet_client_log
from stream.redis_access import link_to_redis
from stream.settings import Settings
from stream.topic_plan import ledger_topic

OBEYED_S = 10.0
_LOOK_S = 0.1


async def resume(settings: Settings, partition: str, skip_to: int | None) -> str:
    """Leave a command for the owner of a partition and wait until it was obeyed."""
    place = parse_place(partition)
    if skip_to is not None and skip_to < 0:
        raise UserError("--skip-to must not be negative")
    async with _redis(settings) as client:
        command = PartitionKeys.of(settings.group, place).command
        await send_command(client, settings.group, place, "" if skip_to is None else str(skip_to))
        try:
            async with asyncio.timeout(OBEYED_S):
                while await client.exists(command):  # noqa: ASYNC110 - Redis tells nobody
                    await asyncio.sleep(_LOOK_S)
        except TimeoutError:
            raise UserError(
                f"no worker took the command for {partition} within {OBEYED_S:g} s; it stays "
                "there and is obeyed by the next owner: see `stream doctor`"
            ) from None
    return f"{partition} goes on" + (f" at offset {skip_to}" if skip_to is not None else "")


async def rewrite(settings: Settings, partitions: Sequence[str]) -> str:
    """Have the owners of partitions (none named: of all) write them to Redis again.

    Readers keep what they show meanwhile. Returns once it is done.
    """
    places = [parse_place(text) for text in partitions]
    waiting: list[TopicPartition] = []
    async with _redis(settings) as client:
        about = await read_about(client, settings.group)
        if about is None:
            raise UserError(f"no worker of group {settings.group} has written to Redis yet")
        all_ = [TopicPartition(t, n) for t in SOURCES for n in range(about.partitions.get(t, 0))]
        if unknown := [place for place in places if place not in all_]:
            raise UserError(f"there is no partition {unknown[0]}")
        ats = {p: PartitionKeys.of(settings.group, p).at for p in places or all_}
        for at in ats.values():
            await client.unlink(at)  # no step fits any more, so the next one writes all anew
        try:
            async with asyncio.timeout(OBEYED_S):
                while waiting := [  # noqa: ASYNC110 - Redis tells nobody
                    p for p, at in ats.items() if not await _is_whole(client, at)
                ]:
                    await asyncio.sleep(_LOOK_S)
        except TimeoutError:
            missing = ", ".join(map(str, waiting))
            raise UserError(
                f"no worker has written {missing} within {OBEYED_S:g} s; their next owners will: "
                "see `stream doctor`"
            ) from None
    return f"{len(ats)} partitions were written again"


@asynccontextmanager
async def _redis(settings: Settings) -> AsyncIterator[Any]:
    """A client for as long as the block lasts; that it cannot be used becomes a UserError."""
    link = link_to_redis(settings)
    try:
        yield await reach(link)
    except (RedisError, OSError) as error:
        raise redis_unusable(error) from None
    finally:
        await link.close()


async def _is_whole(client: Any, at: str) -> bool:
    return bool(await client.hget(at, "state") == b"whole")


async def _grow_ledgers(settings: Settings, credentials: Credentials | None) -> None:
    """A source that got more partitions gets a ledger with as many."""
    async with KafkaAdmin(settings.kafka, credentials=credentials) as admin:
        there = await admin.topics()
        for topic in SOURCES:
            source, ledger = (
                there.get(settings.topic(topic)),
                there.get(ledger_topic(settings, topic)),
            )
            if source and ledger and ledger.partitions < source.partitions:
                await admin.grow(ledger.name, source.partitions)


def parse_place(text: str) -> TopicPartition:
    """`clicks/3` -> the partition; UserError says what it looks like."""
    topic, _, number = text.partition("/")
    if topic not in SOURCES or not number.isdigit():
        raise UserError(f"'{text}' is not a partition; write e.g. clicks/3")
    return TopicPartition(topic, int(number))


async def rebuild(settings: Settings) -> Sequence[str]:
    """Void every partition's ledger and picture; the workers then count from the beginning."""
    quiet_client_log()
    told = []
    link, credentials = link_to_redis(settings), kafka_credentials(settings)
    try:
        client = await reach(link)
        await _grow_ledgers(settings, credentials)
        for topic in SOURCES:
            name = ledger_topic(settings, topic)
            ledger = Ledger(KafkaLog(settings.kafka, name, credentials=credentials))
            try:
                await ledger.start()
                for partition in sorted(ledger.partitions):
                    await ledger.reset(partition)
                    await clear_partition(client, settings.group, TopicPartition(topic, partition))
            finally:
                await ledger.stop()
            told.append(f"{topic}: {len(ledger.partitions)} partitions will be counted again")
    except LedgerError as error:
        raise UserError(f"not rebuilt: {error}; see `stream doctor`") from None
    except RedisError as error:
        why = explain_fault(error).text
        raise UserError(f"not rebuilt: Redis cannot be used: {why}") from None
    except (KafkaError, OSError) as error:
        seen = await diagnose(error, settings.kafka, credentials)
        raise UserError(f"not rebuilt: Kafka at {settings.kafka}: {seen.text}") from None
    finally:
        await link.close()
    return [*told, "start the workers now"]
