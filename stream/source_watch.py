"""Watches that the source topics are those that the ledgers were counted from.

A topic that was deleted and made again starts anew at offset 0; once it has grown beyond where a
ledger stands, offsets alone no longer tell. The anchor does: the record that a ledger included last
must still lie where it lay, as long as Kafka holds that offset at all.
"""

import asyncio
from collections.abc import Mapping

from stream.anchor import Anchor, digest
from stream.core.records import TopicPartition
from stream.engine.scanner import Scanner
from stream.errors import UserError

FETCH_BYTES = 64 << 10
"""Enough for the batch that holds an anchor; a larger one comes too."""

Anchors = Mapping[TopicPartition, Anchor]
"""By partition, under its topic's full name."""


class SourceWatch:
    """Compares anchors with what `source` reads. All raise UserError, and what the scanner does."""

    def __init__(self, source: Scanner) -> None:
        self._source = source
        self._turn = asyncio.Lock()  # the scanner reads one thing at a time
        self._before: Anchors = {}

    async def check(self, anchors: Anchors) -> None:
        """See that these records still lie where they did."""
        async with self._turn:
            offsets = {place: anchor.offset for place, anchor in anchors.items()}
            found = await self._source.records_at(offsets) if offsets else {}
            for place, record in found.items():
                if record is None:
                    await self._explain(place, anchors[place].offset)
                elif digest(record.value) != anchors[place].digest:
                    raise _made_again(place, f"holds another record at offset {record.offset} than")

    async def watch(self, anchors: Anchors) -> None:
        """Check the anchors of the time before: those of now may be of another topic already."""
        before, self._before = self._before, anchors
        await self.check({place: before[place] for place in before.keys() & anchors.keys()})

    async def _explain(self, place: TopicPartition, offset: int) -> None:
        """Why there is no such record: deleted by retention or by compaction is well."""
        bounds = await self._source.bounds(place.topic, [place.partition])
        if bounds[place.partition].end <= offset:
            raise _made_again(place, f"ends before offset {offset}, which is")


def check_fresh(
    committed: Mapping[TopicPartition, int], starts: Mapping[TopicPartition, int]
) -> dict[TopicPartition, int]:
    """Judge partitions whose ledger is empty though nobody voided it.

    `committed` is how far the group was once told they had been counted, `starts` what Kafka holds.
    Returns those whose ledger is gone, but which can be counted again. Raises UserError for one
    that cannot.
    """
    gone = {place: offset for place, offset in committed.items() if offset}
    for place, offset in gone.items():
        if starts[place]:
            raise UserError(
                f"{place}: its ledger is gone ({offset} records had been "
                f"counted, Kafka holds those from offset {starts[place]} on): bring it back with "
                "`stream restore`, or count what is there with `stream rebuild`"
            )
    return gone


def _made_again(place: TopicPartition, what: str) -> UserError:
    return UserError(
        f"{place} {what} was counted: the topic was deleted and made "
        "again; run `stream rebuild` to count all topics again"
    )
