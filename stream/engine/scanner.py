"""Reading partitions of any topic from one offset to another, without a group.

Owns a consumer that belongs to no group and commits nothing, so that a look at a topic disturbs
nobody. Knows no record formats. One reading at a time; who needs several at once opens several.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import OffsetOutOfRangeError

from stream.core.records import TopicPartition as Place
from stream.engine.credentials import Credentials, client_options

POLL_MS: Final = 200
STOP_S: Final = 0.5
POLL_RECORDS: Final = 2_000
FETCH_BYTES: Final = 4 << 20


class Bounds(NamedTuple):
    """The first offset that a partition holds, and the one that its next record will get."""

    begin: int
    end: int


class CutError(Exception):
    """The log no longer holds the offset that was to be read, or does not reach it yet."""


class Scanner:
    """A connection for reading. Every wait is bounded: KafkaError, OSError or TimeoutError.

    `committed` leaves out what belongs to a transaction that was not committed. `fetch_bytes` is
    how much a broker is asked for at once; a larger record still comes, alone.
    """

    def __init__(
        self,
        bootstrap: str,
        *,
        credentials: Credentials | None = None,
        committed: bool = False,
        fetch_bytes: int = FETCH_BYTES,
        timeout_s: float = 10.0,
    ) -> None:
        self._timeout_s = timeout_s
        self._consumer: Any = None
        self._options: dict[str, Any] = {
            "bootstrap_servers": bootstrap,
            "enable_auto_commit": False,
            "auto_offset_reset": "none",
            "isolation_level": "read_committed" if committed else "read_uncommitted",
            "fetch_max_bytes": fetch_bytes,
            "max_partition_fetch_bytes": fetch_bytes,
            "fetch_max_wait_ms": 100,
            "request_timeout_ms": round(timeout_s * 1000),
            **client_options(credentials),
        }

    async def start(self) -> None:
        """Connect."""
        self._consumer = AIOKafkaConsumer(**self._options)
        try:
            await self._consumer.start()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Disconnect; may be called at any time, more than once."""
        consumer, self._consumer = self._consumer, None
        if consumer is None:
            return
        await asyncio.sleep(0)  # one that is stopped before its tasks ran stops with an error
        closing = asyncio.ensure_future(consumer.stop())
        while not (await asyncio.wait({closing}, timeout=STOP_S))[0]:
            # A fetcher that is taking up a new assignment swallows the cancellation, and goes on.
            consumer._fetcher._fetch_task.cancel()  # noqa: SLF001
        closing.result()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    async def bounds(self, topic: str, partitions: Iterable[int]) -> dict[int, Bounds]:
        """Where partitions begin and end now."""
        places = [TopicPartition(topic, number) for number in partitions]
        if not places:
            return {}
        async with asyncio.timeout(self._timeout_s):
            begins = await self._consumer.beginning_offsets(places)
            ends = await self._consumer.end_offsets(places)
            for place, end in (await self._fetched_ends(begins, ends)).items():
                ends[place] = max(end, ends[place])
        return {p.partition: Bounds(int(begins[p]), int(ends[p])) for p in places}

    async def _fetched_ends(
        self, begins: Mapping[Any, int], ends: Mapping[Any, int]
    ) -> dict[Any, int]:
        """The ends as a fetch tells them: the embedded broker's other answer is a batch late."""
        filled = [place for place, end in ends.items() if end > begins[place]]
        self._consumer.assign(filled)
        for place in filled:
            self._consumer.seek(place, ends[place] - 1)
        found: dict[Any, int] = {}
        while len(found) < len(filled):
            await self._fetch(max_records=1)
            known = {place: self._consumer.highwater(place) for place in filled}
            found = {place: int(end) for place, end in known.items() if end is not None}
        return found

    async def offsets_at(self, topic: str, times_ms: Mapping[int, int]) -> dict[int, int | None]:
        """By partition, the first offset whose record is not older than a moment; None: none is."""
        asked = {TopicPartition(topic, number): at_ms for number, at_ms in times_ms.items()}
        if not asked:
            return {}
        async with asyncio.timeout(self._timeout_s):
            found = await self._consumer.offsets_for_times(asked)
        return {
            place.partition: None if (at := found.get(place)) is None else int(at.offset)
            for place in asked
        }

    async def read(
        self, topic: str, partition: int, start: int, end: int
    ) -> AsyncGenerator[Sequence[Any], None]:
        """Yield the records (aiokafka's) from `start` up to, not including, `end`, run by run.

        Raises CutError where the log does not hold `start`, TimeoutError where nothing comes.
        """
        place, heard_s = TopicPartition(topic, partition), time.monotonic()
        if start >= end:
            return
        self._consumer.assign([place])
        self._consumer.seek(place, start)
        at = start
        while at < end:
            try:
                fetched = await self._fetch(max_records=POLL_RECORDS)
            except OffsetOutOfRangeError:
                raise CutError(f"{topic}/{partition} does not hold offset {at}") from None
            records = fetched.get(place, [])
            before, at = at, int(await self._consumer.position(place))
            if at > before:  # without records too: marks of transactions are none
                heard_s = time.monotonic()
            elif time.monotonic() - heard_s > self._timeout_s:
                raise TimeoutError(f"{topic}/{partition}: no record came for {self._timeout_s:g} s")
            if records and records[-1].offset >= end:
                records = [record for record in records if record.offset < end]
            yield records

    async def records_at(self, wanted: Mapping[Place, int]) -> dict[Place, Any | None]:
        """The records at these offsets, one of each partition.

        None: the log holds no such offset, or no record there. A partition that says nothing in
        time is left out.
        """
        found: dict[Place, Any | None] = {}
        waiting = {TopicPartition(*place): offset for place, offset in wanted.items()}
        until_s = time.monotonic() + self._timeout_s
        while waiting and time.monotonic() < until_s:
            self._consumer.assign(list(waiting))
            for place, offset in waiting.items():
                self._consumer.seek(place, offset)
            try:
                await self._collect(waiting, found, until_s)
            except OffsetOutOfRangeError as error:
                for place in error.args[0].keys() & waiting.keys():
                    del waiting[place]
                    found[Place(*place)] = None
        return found

    async def _fetch(self, max_records: int | None = None) -> Mapping[Any, Sequence[Any]]:
        """What has come for the partitions assigned. Raises OffsetOutOfRangeError."""
        try:
            fetched: Mapping[Any, Sequence[Any]] = await self._consumer.getmany(
                timeout_ms=POLL_MS, max_records=max_records
            )
        except OffsetOutOfRangeError as error:
            ours = error.args[0].keys() & self._consumer.assignment()
            if any([await self._consumer.position(p) == error.args[0][p] for p in ours]):
                raise
            return {}  # it is about where we read before
        return fetched

    async def _collect(
        self, waiting: dict[Any, int], found: dict[Place, Any | None], until_s: float
    ) -> None:
        while waiting and time.monotonic() < until_s:
            fetched = await self._fetch()
            for place, records in fetched.items():
                offset = waiting.pop(place, None)
                if offset is not None:
                    first = records[0]
                    found[Place(*place)] = first if first.offset == offset else None
