"""Recount: a partition's state, counted by us out of the source topic.

Owns what the log alone does not say: where the workers passed over records or were resumed, and up
to when they let the wall clock settle; both are read from the ledger. Everything else follows from
the records. Knows nothing of cells.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from stream.core.partition import META, Partition, settled_ms, skips
from stream.core.records import RecordBatch, TopicPartition
from stream.engine.scanner import Scanner


class Recount:
    """The state of `core`, carried on along `topic` (its full name)."""

    def __init__(self, place: TopicPartition, topic: str, core: Partition) -> None:
        self.place = place
        self.core = core
        self.started_at = core.position
        self.records = 0
        self._topic = topic

    async def follow(
        self, source: Scanner, entries: Mapping[bytes, bytes], through: int, budget_s: float
    ) -> bool:
        """Count on up to `through`, where the ledger's state `entries` stands; True: it is there.

        Stops early once `budget_s` is used up. Raises CutError when the topic no longer holds the
        records, and what the scanner raises.
        """
        core, until_s = self.core, time.monotonic() + budget_s
        passed = skips(entries)
        while core.position < through:
            if time.monotonic() > until_s:
                return False
            skip = passed.get(core.position)
            if core.is_paused:
                core.resume(skip)  # the workers are beyond: somebody resumed the partition
            elif skip is not None:
                core.skip_to(skip)
            else:
                ahead = [start for start in passed if start > core.position]
                await self._read(source, min([through, *ahead]), until_s)
        if META in entries:
            core.settle_until(settled_ms(entries))  # silence may have settled it: no record tells
        return True

    async def _read(self, source: Scanner, stop: int, until_s: float) -> None:
        start = self.core.position
        async for records in source.read(self._topic, self.place.partition, start, stop):
            if records:
                self.core.fold(self._batch(records, records[-1].offset + 1))
                self.records += len(records)
            if self.core.is_paused or time.monotonic() > until_s:
                return
        if not self.core.is_paused:
            self.core.fold(self._batch((), stop))  # over what are no records, up to the end

    def _batch(self, records: Sequence[Any], stop: int) -> RecordBatch:
        return RecordBatch(
            self.place.topic,
            self.place.partition,
            self.core.position,
            stop,
            [record.offset for record in records],
            [record.value for record in records],
            [record.key for record in records],
            [record.timestamp for record in records],
        )
