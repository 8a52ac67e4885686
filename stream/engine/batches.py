"""Whole fetched runs of raw records, taken from under aiokafka's fetcher without a record object.

Owns the reading of a fetch answer: checksums, control batches, aborted transactions, compaction
gaps, records below the position. Knows nothing of Faust, of groups or of what values mean.
It is the only place that reaches into aiokafka's fetcher; `tests/contract` watches what it needs.
"""

# ruff: noqa: SLF001 - aiokafka offers no way to raw batches; what is used is under contract test

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import Any

from aiokafka.consumer import fetcher as fetcher_module
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
from stream.engine.stored import Stored, StoredRecords, read_stored


class PositionLostError(Exception):
    """The log no longer holds the offset that was to be read next."""

    def __init__(self, topic: str, partition: int, offset: int) -> None:
        super().__init__(
            f"{topic}/{partition}: offset {offset} is not in the log (records were deleted before"
            " they were read, or the topic was made again)"
        )
        self.topic, self.partition, self.offset = topic, partition, offset


def keep_stored_bytes() -> None:
    """Let aiokafka's fetchers keep the bytes of what they have fetched, from now on."""
    fetcher_module.MemoryRecords = StoredRecords


def unpack(source: PartitionRecords, topic: str, *, keyed: bool, limit: int) -> RecordBatch:
    """Read on in a fetch answer until at least `limit` records are taken or it is used up.

    Moves `source.next_fetch_offset`. A batch without records is possible (control records, an
    aborted transaction, compaction): its `start` and `next` still say that the log goes on.
    Raises `CorruptRecordException` where a checksum does not match.
    """
    start = source.next_fetch_offset
    answer = source._records
    found: list[Stored] = []
    count = 0
    while answer.has_next() and count < limit:
        place = (answer.data, *answer.next_bounds()) if isinstance(answer, StoredRecords) else ()
        batch = answer.next_batch()
        stored = Stored(batch, *place)
        if source._check_crcs and not stored.is_sound:
            raise CorruptRecordException(f"{source._tp}: checksum does not match after {start}")
        if _is_data(source, batch):
            found.append(stored)
            count += batch.next_offset - max(batch.base_offset, start)
        source.next_fetch_offset = max(source.next_fetch_offset, batch.next_offset)
    columns = read_stored(found).since(start)
    return RecordBatch(
        topic=topic,
        partition=source._tp.partition,
        start=start,
        next=source.next_fetch_offset,
        offsets=columns.offsets,
        values=columns.values,
        keys=columns.keys if keyed else [],
        timestamps=columns.times,
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
        source._records_iterator = None  # it refers to itself, and so kept the answer's bytes
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
