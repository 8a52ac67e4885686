"""Reading stretches of a topic's partitions, many at a time, over one connection per broker.

Owns the ledger's Kafka consumer. Knows no record formats, groups or commits.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from stream.engine.credentials import Credentials, client_options
from stream.engine.log import Sink

FETCH_BYTES: Final = 8 << 20  # small enough to be unpacked without holding up the event loop
PARTITION_BYTES: Final = 2 << 20  # a larger record still comes, alone
POLL_RECORDS: Final = 500
POLL_MS: Final = 200
HOLD_S: Final = 0.005  # how long others may wait for the event loop while records are applied


class LogReader:
    """Reads `topic` from any offset to any other, never following it.

    All partitions stay assigned and paused; a read moves one to its start and lets it flow. So any
    number of reads share the fetches without disturbing each other.
    """

    def __init__(
        self, bootstrap: str, topic: str, *, credentials: Credentials | None, timeout_s: float
    ) -> None:
        self._topic = topic
        self._timeout_s = timeout_s
        self._busy: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._applying = asyncio.Lock()  # one at a time, or each would hold the loop for its share
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=bootstrap,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_bytes=FETCH_BYTES,
            max_partition_fetch_bytes=PARTITION_BYTES,
            fetch_max_wait_ms=100,
            request_timeout_ms=round(timeout_s * 1000),
            **client_options(credentials),
        )

    async def start(self, partitions: AbstractSet[int]) -> None:
        """Connect. `partitions` are those of the topic. Raises KafkaError."""
        await self._consumer.start()
        assigned = [TopicPartition(self._topic, partition) for partition in partitions]
        self._consumer.assign(assigned)
        self._consumer.pause(*assigned)
        for each in assigned:
            self._consumer.seek(each, 0)

    async def stop(self) -> None:
        """Disconnect; reads under way fail."""
        await self._consumer.stop()

    async def end(self, partition: int) -> int:
        """Return the offset that the next record will get. Raises KafkaError, TimeoutError."""
        which = TopicPartition(self._topic, partition)
        async with asyncio.timeout(self._timeout_s):
            return int((await self._consumer.end_offsets([which]))[which])

    async def read(self, partition: int, start: int, end: int, sink: Sink) -> None:
        """Hand a stretch of the log to `sink`; see `Log`.

        Raises KafkaError, TimeoutError when nothing comes for the time-out, and what `sink` raises.
        """
        which = TopicPartition(self._topic, partition)
        async with self._busy[partition]:
            self._consumer.seek(which, start)
            self._consumer.resume(which)
            try:
                await self._drain(which, end, sink)
            finally:
                self._consumer.pause(which)
                self._consumer.seek(which, end)  # what was fetched too far must not block others

    async def _drain(self, which: TopicPartition, end: int, sink: Sink) -> None:
        at, silent = -1, 0  # the last offset seen; polls in a row that brought nothing
        while at < end - 1:
            fetched = await self._consumer.getmany(
                which, timeout_ms=POLL_MS, max_records=POLL_RECORDS
            )
            async with self._applying:
                at = await self._apply(fetched.get(which, ()), end, sink, at)
            silent = 0 if fetched else silent + 1
            if silent * POLL_MS > self._timeout_s * 1000:  # not timed: whoever starves is not deaf
                raise TimeoutError(f"no record came for {self._timeout_s:g} s")

    async def _apply(self, records: Iterable[Any], end: int, sink: Sink, at: int) -> int:
        turn = time.monotonic()
        for record in records:
            at = record.offset
            if at < end:
                sink(at, record.value)
            if time.monotonic() - turn > HOLD_S:
                await asyncio.sleep(0)
                turn = time.monotonic()
        return at
