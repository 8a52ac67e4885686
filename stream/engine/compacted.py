"""A compacted topic: read whole or from where one stands, without a group, and written by key.

Owns the Kafka clients of one such topic. Knows nothing of what its records mean, nor who reads.
"""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from stream.engine.credentials import Credentials, client_options

POLL_MS: Final = 200
POLL_RECORDS: Final = 500
QUIET_S: Final = 2.0
"""Compaction may take the last records of a log: after so long, look whether any are left."""

Positions = dict[int, int]
"""Partition -> the offset to read next."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One record; a value of None removes the key."""

    partition: int
    offset: int
    key: bytes
    value: bytes | None


class CompactedTopic:
    """The topic `name`, which must exist. `timeout_s` bounds each request.

    Every call raises KafkaError, OSError or TimeoutError where the brokers do not answer.
    """

    def __init__(
        self,
        bootstrap: str,
        name: str,
        *,
        credentials: Credentials | None = None,
        timeout_s: float = 10.0,
    ) -> None:
        self.name = name
        self._timeout_s = timeout_s
        self._options: dict[str, Any] = {
            "bootstrap_servers": bootstrap,
            "request_timeout_ms": round(timeout_s * 1000),
            **client_options(credentials),
        }
        self._consumer: Any = None
        self._producer: Any = None
        self._places: list[TopicPartition] = []
        self._at = Positions()
        self._ended = Positions()
        self._reached = Positions()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Disconnect; a later call connects again."""
        clients = (self._consumer, self._producer)
        self._consumer = self._producer = None
        for client in clients:
            if client is not None:
                await client.stop()

    async def ends(self) -> Positions:
        """For each partition the offset that its next record will get; empty: no such topic."""
        consumer = await self._reader()
        if not self._places:
            await self.close()  # it may be there when it is asked for again
            return {}
        async with asyncio.timeout(self._timeout_s):
            found = await consumer.end_offsets(self._places)
        ends = {place.partition: int(end) for place, end in found.items()}
        if any(end < self._ended.get(number, 0) for number, end in ends.items()):
            self._reached.clear()  # the topic was made again
        self._ended = ends
        # The embedded broker counts a batch as one record: what was read is known better.
        return {number: max(end, self._reached.get(number, 0)) for number, end in ends.items()}

    async def read(
        self, positions: Mapping[int, int], ends: Mapping[int, int]
    ) -> tuple[list[Entry], Positions]:
        """Some records from these positions on, in order, and the positions after them.

        Returns none once all up to `ends` is read; a few hundred at a time before. That nothing
        came for a while is no evidence that nothing is there: a broker may be slow.
        """
        consumer = await self._reader()
        behind = [place for place in self._places if _lacks(place, positions, ends)]
        self._seek(positions)
        heard, asked = time.monotonic(), time.monotonic()
        while behind:
            fetched = await consumer.getmany(*behind, timeout_ms=POLL_MS, max_records=POLL_RECORDS)
            entries = list(_entries(fetched))
            reached = {p.partition: int(await consumer.position(p)) for p in self._places}
            self._at = reached
            moved = any(reached[p.partition] != positions.get(p.partition, 0) for p in behind)
            if entries or moved:
                self._reached |= {n: max(at, self._reached.get(n, 0)) for n, at in reached.items()}
                return entries, reached
            now = time.monotonic()
            if now - asked > QUIET_S:
                if await self._nothing_is_left(behind, positions):
                    break
                asked = time.monotonic()
            if now - heard > self._timeout_s + QUIET_S:
                raise TimeoutError(f"{self.name}: no record came for {now - heard:.0f} s")
        return [], {**positions, **ends}

    async def _nothing_is_left(
        self, places: Sequence[TopicPartition], positions: Mapping[int, int]
    ) -> bool:
        """Whether fetches from these positions were answered, and had no record.

        A consumer of its own knows a high watermark only once a fetch was answered; the records of
        that answer are there with it. Raises TimeoutError when none is.
        """
        consumer: Any = AIOKafkaConsumer(enable_auto_commit=False, **self._options)
        try:
            async with asyncio.timeout(self._timeout_s):
                await consumer.start()
                consumer.assign(places)
                for place in places:
                    consumer.seek(place, positions.get(place.partition, 0))
                while True:
                    if await consumer.getmany(*places, timeout_ms=POLL_MS, max_records=1):
                        return False
                    if all(consumer.highwater(place) is not None for place in places):
                        return not await consumer.getmany(*places, max_records=1)
        finally:
            await consumer.stop()

    async def read_on(self, start: Mapping[int, int]) -> tuple[list[Entry], Positions]:
        """All records from some positions to the end, in order, and the positions there."""
        positions, ends = Positions(start), await self.ends()
        found: list[Entry] = []
        while any(positions.get(partition, 0) < end for partition, end in ends.items()):
            entries, positions = await self.read(positions, ends)
            found += entries
        return found, positions

    async def write(self, key: bytes, value: bytes | None) -> Entry:
        """Append a record; where it stands, once the brokers have it."""
        producer = await self._writer()
        async with asyncio.timeout(self._timeout_s):
            sent = await producer.send_and_wait(self.name, value, key=key)
        return Entry(int(sent.partition), int(sent.offset), key, value)

    def _seek(self, positions: Mapping[int, int]) -> None:
        for place in self._places:
            wanted = positions.get(place.partition, 0)
            if self._at.get(place.partition) != wanted:  # a seek throws away what was fetched
                self._consumer.seek(place, wanted)
                self._at[place.partition] = wanted

    async def _reader(self) -> Any:
        if self._consumer is None:
            consumer = AIOKafkaConsumer(
                enable_auto_commit=False, auto_offset_reset="earliest", **self._options
            )
            try:
                async with asyncio.timeout(self._timeout_s):
                    await consumer.start()
                    await asyncio.sleep(0)  # one stopped before its tasks ran stops with an error
                    self._places = await self._find_places(consumer)
                    consumer.assign(self._places)
            except BaseException:
                await consumer.stop()
                raise
            self._consumer, self._at = consumer, {}
        return self._consumer

    async def _find_places(self, consumer: Any) -> list[TopicPartition]:
        # To ask for one topic by name makes a broker create it that is set up to do so.
        cluster = await consumer._client.fetch_all_metadata()  # noqa: SLF001
        numbers = cluster.partitions_for_topic(self.name) or ()
        return [TopicPartition(self.name, number) for number in sorted(numbers)]

    async def _writer(self) -> Any:
        if self._producer is None:
            producer = AIOKafkaProducer(acks="all", **self._options)
            try:
                async with asyncio.timeout(self._timeout_s):
                    await producer.start()
            except BaseException:
                await producer.stop()
                raise
            self._producer = producer
        return self._producer


def _lacks(place: TopicPartition, positions: Mapping[int, int], ends: Mapping[int, int]) -> bool:
    return positions.get(place.partition, 0) < ends.get(place.partition, 0)


def _entries(fetched: Mapping[TopicPartition, Iterable[Any]]) -> Iterable[Entry]:
    for place, records in sorted(fetched.items()):
        for record in records:
            if record.key is not None:  # a compacted topic takes none without
                yield Entry(place.partition, record.offset, record.key, record.value)
