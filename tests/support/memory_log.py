"""A log in memory that several ledgers share, and that misbehaves as a broker and a network do."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from collections.abc import Set as AbstractSet
from enum import Enum

from stream.engine.log import Appended, LogError, Sink


class Fault(Enum):
    """What may go wrong with one record that is sent."""

    NONE = "none"
    TWICE = "twice"  # the answer got lost, so it was sent again
    LATE = "late"  # a copy is still under way and lands some time
    LOST = "lost"  # never arrives, and the sender gives up
    UNANSWERED = "unanswered"  # arrives, but the sender gives up


class MemoryPartition:
    """All records ever written, of which those before `start` are deleted."""

    def __init__(self) -> None:
        self.records: list[bytes] = []
        self.start = 0
        self.late: list[bytes] = []
        self.cuts: list[int] = []

    def put(self, record: bytes) -> int:
        self.records.append(record)
        return len(self.records) - 1

    def land(self, index: int) -> None:
        """A late copy arrives."""
        if self.late:
            self.put(self.late.pop(index % len(self.late)))

    def cut(self, index: int) -> None:
        """A deletion that was asked for some time ago takes place."""
        if self.cuts:
            self.start = max(self.start, self.cuts.pop(index % len(self.cuts)))


class MemoryLog:
    """One worker's way to the log. `faults` and `between` apply to the records it sends next."""

    name = "ledger"

    def __init__(self, partitions: dict[int, MemoryPartition]) -> None:
        self.partitions = partitions
        self.faults: deque[Fault] = deque()
        self.between: deque[Callable[[], Awaitable[None]] | None] = deque()
        self.read_records = 0

    async def start(self) -> AbstractSet[int]:
        return self.partitions.keys()

    async def stop(self) -> None:
        pass

    async def append(self, partition: int, record: bytes, check: Callable[[], None]) -> Appended:
        check()
        await asyncio.sleep(0)
        if self.between and (action := self.between.popleft()):
            await action()
        log = self.partitions[partition]
        fault = self.faults.popleft() if self.faults else Fault.NONE
        if fault is Fault.LOST:
            raise LogError("no answer")
        offset = log.put(record)
        if fault is Fault.UNANSWERED:
            raise LogError("no answer")
        if fault is Fault.TWICE:
            offset = log.put(record)
        if fault is Fault.LATE:
            log.late.append(record)
        return Appended(offset)

    async def read(self, partition: int, start: int, end: int, sink: Sink) -> None:
        log = self.partitions[partition]
        if start < log.start or start > len(log.records):
            start = log.start
        for offset in range(start, end):
            self.read_records += 1
            sink(offset, log.records[offset])
            await asyncio.sleep(0)

    async def end(self, partition: int) -> int:
        return len(self.partitions[partition].records)

    async def delete_before(self, partition: int, offset: int) -> None:
        self.partitions[partition].cuts.append(offset)
