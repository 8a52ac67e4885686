"""The best loop that can be written by hand over aiokafka: whole batches, msgspec, a dictionary.

It only counts: no duplicates are dropped, nothing is kept, a crash loses all.
`python -m tests.bench.loops.hand_written SERVERS TOPIC EVENTS`
"""

import asyncio
import json
import sys
import time
from collections.abc import Iterable
from operator import attrgetter

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

PARTITIONS = 4


class Event(msgspec.Struct, gc=False):
    type: str
    timestamp: int
    campaign: str | None = None
    channel: str | None = None
    variant: str | None = None
    team: str | None = None


_decode, _value = msgspec.json.Decoder(Event).decode, attrgetter("value")
Counts = dict[tuple[int, str, str | None, str | None, str | None, str | None], int]


def count(values: Iterable[bytes], counts: Counts) -> None:
    """Decode and count, one by one. The guard's ratios rest on it: never change it."""
    for value in values:
        event = _decode(value)
        key = (
            event.timestamp // 10_000,
            event.type,
            event.campaign,
            event.channel,
            event.variant,
            event.team,
        )
        counts[key] = counts.get(key, 0) + 1


async def main(servers: str, topic: str, events: int) -> None:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=servers,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=4 << 20,
        fetch_max_bytes=32 << 20,
    )
    await consumer.start()
    partitions = [TopicPartition(topic, number) for number in range(PARTITIONS)]
    consumer.assign(partitions)
    await consumer.seek_to_beginning(*partitions)
    counts: Counts = {}
    seen = 0
    began_s = began_cpu_s = 0.0
    while seen < events:
        batches = await consumer.getmany(timeout_ms=1_000, max_records=20_000)
        if not began_s:
            began_s, began_cpu_s = time.perf_counter(), time.process_time()
        for records in batches.values():
            count(map(_value, records), counts)
            seen += len(records)
    seconds, cpu = time.perf_counter() - began_s, time.process_time() - began_cpu_s
    await consumer.stop()
    assert sum(counts.values()) == events
    print(json.dumps({"events_per_s": events / seconds, "cpu_per_million": cpu / events * 1e6}))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
