"""Sends hostile records, and reads back what became of them: all from outside of the program."""

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition

from tests.hostile.records import Maker, Record

PARTITIONS = 4
BATCH = 200
BATCH_BYTES = 8 << 20

Place = tuple[int, int]
"""Partition and offset."""


@dataclass
class Sent:
    """All that Kafka took. `letters` are the dead letters there must be: value and reason."""

    letters: dict[Place, tuple[bytes | None, str]] = field(default_factory=dict)
    counted: int = 0
    kinds: Counter[str] = field(default_factory=Counter)

    @property
    def records(self) -> int:
        """How many there are."""
        return self.counted + len(self.letters)

    def note(self, partition: int, first: int, records: list[Record]) -> None:
        """Take in a batch that lies in a partition from an offset on."""
        for offset, record in enumerate(records, first):
            self.kinds[record.kind] += 1
            if record.reason is None:
                self.counted += 1
            else:
                self.letters[partition, offset] = record.value, record.reason


async def send(bootstrap: str, topic: str, maker: Maker, hostile: int) -> Sent:
    """Send so many hostile records among sound ones; neighbours stay neighbours."""
    sent = Sent()
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap, max_request_size=BATCH_BYTES, max_batch_size=BATCH_BYTES
    )
    await producer.start()
    try:
        batch: list[Record] = []
        lane = size = 0
        for record in maker.records(hostile):
            batch.append(record)
            size += len(record.value or b"")
            if len(batch) >= BATCH or size > BATCH_BYTES // 2:
                await _send(producer, topic, lane, batch, sent)
                lane, batch, size = (lane + 1) % PARTITIONS, [], 0
        await _send(producer, topic, lane, batch, sent)
    finally:
        await producer.stop()
    return sent


async def _send(
    producer: AIOKafkaProducer, topic: str, partition: int, records: list[Record], sent: Sent
) -> None:
    if not records:
        return
    batch = producer.create_batch()
    for record in records:
        done = batch.append(key=record.key, value=record.value, timestamp=None)
        assert done is not None, "a batch grew too large to send"
    told = await (await producer.send_batch(batch, topic, partition=partition))
    sent.note(partition, told.offset, records)


async def letters(bootstrap: str, topic: str) -> dict[Place, tuple[bytes | None, str]]:
    """The dead letters that are there, by where their records lay; one may be there twice."""
    found: dict[Place, tuple[bytes | None, str]] = {}
    async for record in everything(bootstrap, topic):
        headers = {name: value.decode() for name, value in record.headers}
        place = int(headers["partition"]), int(headers["offset"])
        told = record.value, headers["reason"]
        assert found.setdefault(place, told) == told, f"two letters differ about {place}"
    return found


async def everything(bootstrap: str, topic: str) -> AsyncIterator[ConsumerRecord]:
    """All records of a topic."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, max_partition_fetch_bytes=4 << 20)
    await consumer.start()
    try:
        places = [TopicPartition(topic, number) for number in range(PARTITIONS)]
        consumer.assign(places)
        await consumer.seek_to_beginning()
        ends = await consumer.end_offsets(places)
        for place in places:
            while await consumer.position(place) < ends[place]:
                for records in (await consumer.getmany(place, timeout_ms=200)).values():
                    for record in records:
                        yield record
    finally:
        await consumer.stop()
