"""What a person does to a running system: resume a paused partition, rebuild the ledgers."""

import asyncio
from collections.abc import Sequence

from aiokafka.errors import KafkaError
from redis.exceptions import RedisError

from stream.core.catalogue import SOURCES
from stream.core.records import TopicPartition
from stream.engine.kafka_admin import KafkaAdmin
from stream.engine.kafka_log import KafkaLog
from stream.engine.ledger import Ledger, LedgerError
from stream.errors import UserError
from stream.live.keys import PartitionKeys
from stream.live.link import Link, reach
from stream.live.projection import clear_partition, send_command
from stream.settings import Settings
from stream.topic_plan import ledger_topic

OBEYED_S = 10.0
_LOOK_S = 0.1


async def resume(settings: Settings, partition: str, skip_to: int | None) -> str:
    """Leave a command for the owner of a partition and wait until it was obeyed."""
    place = parse_place(partition)
    if skip_to is not None and skip_to < 0:
        raise UserError("--skip-to must not be negative")
    link = Link(settings.redis_url)
    try:
        client = await reach(link)
        command = PartitionKeys.of(settings.group, place).command
        await send_command(client, settings.group, place, "" if skip_to is None else str(skip_to))
        async with asyncio.timeout(OBEYED_S):
            while await client.exists(command):  # noqa: ASYNC110 - Redis tells nobody
                await asyncio.sleep(_LOOK_S)
    except TimeoutError:
        raise UserError(
            f"no worker took the command for {partition} within {OBEYED_S:g} s; it stays there "
            "and is obeyed by the next owner: see `stream doctor`"
        ) from None
    except (RedisError, OSError) as error:
        raise UserError(f"Redis cannot be reached ({error}); see `stream doctor`") from None
    finally:
        await link.close()
    return f"{partition} goes on" + (f" at offset {skip_to}" if skip_to is not None else "")


async def _grow_ledgers(settings: Settings) -> None:
    """A source that got more partitions gets a ledger with as many."""
    async with KafkaAdmin(settings.kafka) as admin:
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
    told = []
    link = Link(settings.redis_url)
    try:
        client = await reach(link)
        await _grow_ledgers(settings)
        for topic in SOURCES:
            ledger = Ledger(KafkaLog(settings.kafka, ledger_topic(settings, topic)))
            try:
                await ledger.start()
                for partition in sorted(ledger.partitions):
                    await ledger.reset(partition)
                    await clear_partition(client, settings.group, TopicPartition(topic, partition))
            finally:
                await ledger.stop()
            told.append(f"{topic}: {len(ledger.partitions)} partitions will be counted again")
    except (KafkaError, LedgerError, OSError, RedisError) as error:
        raise UserError(f"not rebuilt: {error}; see `stream doctor`") from None
    finally:
        await link.close()
    return [*told, "start the workers now"]
