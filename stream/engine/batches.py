"""Whole fetched runs of raw records, taken from under aiokafka's fetcher without a record object.

Owns the reading of a fetch answer: checksums, control batches, aborted transactions, compaction
gaps, records below the position. Knows nothing of Faust, of groups or of what values mean.
It is the only place that reaches into aiokafka's fetcher; `tests/contract` watches what it needs.
"""

# ruff: noqa: SLF001 - aiokafka offers no way to raw batches; what is used is under contract test

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from itertools import chain, islice
from operator import attrgetter
from typing import Any

from aiokafka.consumer.fetcher import (
    READ_COMMITTED,
    FetchError,
    FetchResult,
    PartitionRecords,
)
from aiokafka.errors import (
    CorruptRecordException,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
)
from aiokafka.structs import TopicPartition as KafkaPartition

from stream.core.records import RecordBatch

LOG_APPEND_TIME = 1

CHUNK = 128
"""Record objects alive at once: few, or the garbage collector traverses them again and again."""

_values = attrgetter("value")
_keys = attrgetter("key")
_offsets = attrgetter("offset")
_timestamps = attrgetter("timestamp")


class PositionLostError(Exception):
    """The log no longer holds the offset that was to be read next."""

    def __init__(self, topic: str, partition: int, offset: int) -> None:
        super().__init__(
            f"{topic}/{partition}: offset {offset} is not in the log (records were deleted before"
            " they were read, or the topic was made again)"
        )
        self.topic, self.partition, self.offset = topic, partition, offset


class _Run:
    """Columns of the records taken so far."""

    __slots__ = ("keyed", "keys", "offsets", "timestamps", "values")

    def __init__(self, keyed: bool) -> None:
        self.keyed = keyed
        self.values: list[bytes | None] = []
        self.keys: list[bytes | None] = []
        self.timestamps: list[int] = []
        self.offsets: range | list[int] = range(0)

    def add(self, batch: Any, position: int) -> None:
        """Take a Kafka batch's records from `position` on."""
        records = chain(batch)
        while chunk := list(islice(records, CHUNK)):
            if chunk[0].offset < position:  # a batch is stored, and sent, as a whole
                chunk = [record for record in chunk if record.offset >= position]
            if chunk:
                self._add(chunk, stamped=batch.timestamp_type == LOG_APPEND_TIME)

    def _add(self, chunk: list[Any], *, stamped: bool) -> None:
        self.values.extend(map(_values, chunk))
        if self.keyed:
            self.keys.extend(map(_keys, chunk))
        if stamped:  # the broker has stamped the batch as a whole
            self.timestamps.extend([chunk[0].timestamp] * len(chunk))
        else:
            self.timestamps.extend(map(_timestamps, chunk))
        self._add_offsets(chunk)

    def _add_offsets(self, chunk: list[Any]) -> None:
        first, end, known = chunk[0].offset, chunk[-1].offset + 1, self.offsets
        if isinstance(known, range):
            if end - first == len(chunk) and (not known or known.stop == first):
                self.offsets = range(known.start if known else first, end)
                return
            self.offsets = known = list(known)
        known.extend(map(_offsets, chunk))


def unpack(source: PartitionRecords, topic: str, *, keyed: bool, limit: int) -> RecordBatch:
    """Read on in a fetch answer until at least `limit` records are taken or it is used up.

    Moves `source.next_fetch_offset`. A batch without records is possible (control records, an
    aborted transaction, compaction): its `start` and `next` still say that the log goes on.
    Raises `CorruptRecordException` where a checksum does not match.
    """
    start = source.next_fetch_offset
    run = _Run(keyed)
    stored = source._records
    while stored.has_next() and len(run.values) < limit:
        batch = stored.next_batch()
        if source._check_crcs and not batch.validate_crc():
            raise CorruptRecordException(f"{source._tp}: checksum does not match after {start}")
        if _is_data(source, batch):
            run.add(batch, source.next_fetch_offset)
        source.next_fetch_offset = max(source.next_fetch_offset, batch.next_offset)
    return RecordBatch(
        topic=topic,
        partition=source._tp.partition,
        start=start,
        next=source.next_fetch_offset,
        offsets=run.offsets,
        values=run.values,
        keys=run.keys,
        timestamps=run.timestamps,
    )


def _is_data(source: PartitionRecords, batch: Any) -> bool:
    """Whether a batch holds records that count; keeps the list of aborted producers."""
    if source._isolation_level == READ_COMMITTED and batch.producer_id is not None:
        source._consume_aborted_up_to(batch.base_offset)
        if batch.is_control_batch and source._contains_abort_marker(batch):
            source._aborted_producers.discard(batch.producer_id)
        if batch.is_transactional and batch.producer_id in source._aborted_producers:
            return False
    return not batch.is_control_batch


def drain(
    fetcher: Any,
    readable: Callable[[KafkaPartition], bool],
    name_of: Callable[[str], str],
    keyed: AbstractSet[str],
    limit: int,
) -> list[tuple[KafkaPartition, RecordBatch]]:
    """Take what has been fetched for `readable` partitions, about `limit` records in all.

    The read positions move with it. `keyed` holds the Kafka topics whose keys are wanted,
    `name_of` gives a topic's name in the batches. Raises `PositionLostError`, and what else the
    fetcher has met.
    """
    taken: list[tuple[KafkaPartition, RecordBatch]] = []
    for partition in list(fetcher._records):
        if limit <= 0:
            break
        if not readable(partition):
            if not fetcher._subscriptions.is_assigned(partition):
                del fetcher._records[partition]
            continue
        entry = fetcher._records[partition]
        if isinstance(entry, FetchError):
            _forget(fetcher, partition)
            _judge(fetcher, partition, entry._error)
            continue
        batch = _take(fetcher, partition, entry, name_of, keyed, limit)
        if batch is not None and batch.next > batch.start:
            taken.append((partition, batch))
            limit -= len(batch.values)
    return taken


def _take(
    fetcher: Any,
    partition: KafkaPartition,
    result: FetchResult,
    name_of: Callable[[str], str],
    keyed: AbstractSet[str],
    limit: int,
) -> RecordBatch | None:
    if not result.check_assignment(partition):  # a seek or a rebalance came in between
        _forget(fetcher, partition)
        return None
    source = result._partition_records
    topic = partition.topic
    batch = unpack(source, name_of(topic), keyed=topic in keyed, limit=limit)
    result._update_position()
    if source._records.has_next():
        fetcher._records.move_to_end(partition)  # the others' turn
    else:
        _forget(fetcher, partition)
    return batch


def _forget(fetcher: Any, partition: KafkaPartition) -> None:
    """Make room for the partition's next fetch."""
    del fetcher._records[partition]
    fetcher._notify(fetcher._wait_consume_future)


def _judge(fetcher: Any, partition: KafkaPartition, error: BaseException) -> None:
    """Raise a fetcher's fault unless it is about a position that is not ours (any more)."""
    if isinstance(error, NoOffsetForPartitionError):  # aiokafka asked before the owner said where
        return
    if isinstance(error, OffsetOutOfRangeError):
        asked = error.args[0].get(partition)
        state = fetcher._subscriptions.subscription.assignment.state_value(partition)
        if state is None or not state.has_valid_position or state.position != asked:
            return
        raise PositionLostError(partition.topic, partition.partition, asked) from error
    raise error
