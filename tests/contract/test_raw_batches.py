"""`stream.engine.batches` reads what aiokafka's own reading yields, and judges what it meets."""

import inspect
import struct
from collections import OrderedDict
from typing import Any

import pytest
from aiokafka.consumer.fetcher import FetchError, FetchResult, PartitionRecords
from aiokafka.errors import (
    CorruptRecordException,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
    TopicAuthorizationFailedError,
)
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c
from aiokafka.structs import TopicPartition as KafkaPartition
from hypothesis import example, given
from hypothesis import strategies as st

from stream.engine import stored as stored_module
from stream.engine.batches import PositionLostError, drain, unpack
from stream.engine.frames import FrameError, Stretch, find_records
from stream.engine.stored import CHUNK, StoredRecords

PARTITION = KafkaPartition("p-clicks", 1)
CONTROL, STAMPED = 0x20, 0x08
ABORT, COMMIT = b"\0\0\0\0", b"\0\0\0\1"
MAX_TIMESTAMP_AT = struct.calcsize(">qiibIhiq")


def batch(
    base: int,
    deltas: list[int],
    *,
    attributes: int = 0,
    producer: int = -1,
    transactional: bool = False,
    compression: int = 0,
    keys: list[bytes] | None = None,
    stamp: int | None = None,
    last: int | None = None,
) -> bytes:
    """A stored batch: records at `base + delta`; `last` is kept where compaction took the end."""
    sequence = -1 if producer == -1 else 0
    builder = DefaultRecordBatchBuilder(
        2, compression, transactional, producer, 0, sequence, 1 << 20
    )
    for index, delta in enumerate(deltas):
        key = keys[index] if keys else b"k%d" % (base + delta)
        builder.append(delta, 1_000 + base + delta, key, b"v%d" % (base + delta), [])
    stored = bytearray(builder.build())
    struct.pack_into(">q", stored, 0, base)
    flags = struct.unpack_from(">h", stored, 21)[0] | attributes
    struct.pack_into(">h", stored, 21, flags)
    struct.pack_into(">i", stored, 23, deltas[-1] if last is None else last)
    if stamp is not None:
        struct.pack_into(">q", stored, MAX_TIMESTAMP_AT, stamp)
    struct.pack_into(">I", stored, 17, calc_crc32c(bytes(stored[21:])))
    return bytes(stored)


def marker(base: int, producer: int, kind: bytes) -> bytes:
    return batch(base, [0], attributes=CONTROL, producer=producer, transactional=True, keys=[kind])


def source(
    *stored: bytes,
    position: int = 0,
    aborted: list[tuple[int, int]] | None = None,
    isolation: int = 1,
) -> PartitionRecords:
    records = MemoryRecords(b"".join(stored))
    return PartitionRecords(PARTITION, records, aborted, position, None, None, True, isolation)


def read(found: PartitionRecords, limit: int = 1 << 30) -> Any:
    return unpack(found, "clicks", keyed=True, limit=limit)


def test_batches_in_a_row_make_one() -> None:
    found = read(source(batch(0, [0, 1, 2]), batch(3, [0, 1])))
    assert (found.topic, found.partition, found.start, found.next) == ("clicks", 1, 0, 5)
    assert found.offsets == range(5)
    assert list(found.values) == [b"v0", b"v1", b"v2", b"v3", b"v4"]
    assert list(found.keys) == [b"k0", b"k1", b"k2", b"k3", b"k4"]
    assert list(found.timestamps) == [1_000, 1_001, 1_002, 1_003, 1_004]


def test_keys_only_where_asked_for() -> None:
    found = unpack(source(batch(0, [0, 1])), "clicks", keyed=False, limit=9)
    assert found.keys == []
    assert len(found.values) == 2


def test_records_below_the_position_are_left_out() -> None:
    count = 3 * CHUNK
    found = read(source(batch(0, list(range(count))), position=CHUNK + 7))
    assert found.start == CHUNK + 7
    assert found.offsets == range(CHUNK + 7, count)
    assert found.values[0] == b"v%d" % (CHUNK + 7)


def test_the_brokers_stamp_is_that_of_the_whole_batch() -> None:
    found = read(source(batch(0, [0, 1, 2], attributes=STAMPED, stamp=77), batch(3, [0])))
    assert list(found.timestamps) == [77, 77, 77, 1_003]


def test_holes_of_compaction_are_kept() -> None:
    found = read(source(batch(0, [0, 2, 5], last=9), batch(12, [0, 1]), batch(14, [0])))
    assert list(found.offsets) == [0, 2, 5, 12, 13, 14]
    assert list(found.values) == [b"v0", b"v2", b"v5", b"v12", b"v13", b"v14"]
    assert found.next == 15


def test_a_hole_at_the_end_still_moves_on() -> None:
    found = read(source(batch(0, [0, 1], last=9)))
    assert (found.offsets, found.next) == (range(2), 10)


def test_markers_are_no_records_but_move_on() -> None:
    found = read(source(marker(4, 7, COMMIT), position=4))
    assert (found.start, found.next, list(found.offsets), list(found.values)) == (4, 5, [], [])


def test_aborted_transactions_are_left_out() -> None:
    stored = (
        batch(0, [0, 1], producer=7, transactional=True),
        batch(2, [0], producer=8, transactional=True),
        marker(3, 7, ABORT),
        batch(4, [0], producer=7, transactional=True),
        marker(5, 7, COMMIT),
        marker(6, 8, COMMIT),
        batch(7, [0]),
    )
    assert list(read(source(*stored, aborted=[(7, 0)])).offsets) == [2, 4, 7]
    uncommitted = read(source(*stored, aborted=[(7, 0)], isolation=0))
    assert list(uncommitted.offsets) == [0, 1, 2, 4, 7]


def test_the_limit_ends_at_a_stored_batch() -> None:
    found = source(batch(0, [0, 1, 2]), batch(3, [0, 1, 2]), batch(6, [0]))
    assert read(found, limit=4).offsets == range(6)
    rest = read(found, limit=4)
    assert (rest.start, rest.offsets) == (6, range(6, 7))


def test_compressed_batches_are_read() -> None:
    assert read(source(batch(0, list(range(500)), compression=1))).offsets == range(500)


def test_a_wrong_checksum_is_an_error() -> None:
    stored = bytearray(batch(0, [0]))
    stored[-3] ^= 1
    with pytest.raises(CorruptRecordException):
        read(source(bytes(stored)))


@st.composite
def logs(draw: st.DrawFn) -> tuple[list[bytes], int, list[tuple[int, int]]]:
    stored, aborted, base = [], [], 0
    for _ in range(draw(st.integers(1, 6))):
        deltas = sorted(draw(st.sets(st.integers(0, 2 * CHUNK), min_size=1, max_size=9)))
        producer = draw(st.sampled_from([-1, 7, 8]))
        if producer != -1 and draw(st.booleans()):
            stored.append(marker(base, producer, draw(st.sampled_from([ABORT, COMMIT]))))
            base += 1
            continue
        if producer != -1 and draw(st.booleans()):
            aborted.append((producer, base))
        last = deltas[-1] + draw(st.integers(0, 3))
        stored.append(
            batch(base, deltas, producer=producer, transactional=producer != -1, last=last)
        )
        base += last + 1 + draw(st.integers(0, 2))
    first_end = MemoryRecords(stored[0]).next_batch().next_offset
    return stored, draw(st.integers(0, first_end - 1)), aborted  # brokers send nothing before


@given(logs(), st.integers(1, 20))
def test_reads_what_aiokafka_reads(
    log: tuple[list[bytes], int, list[tuple[int, int]]], limit: int
) -> None:
    stored, position, aborted = log
    theirs = source(*stored, position=position, aborted=aborted)
    expected = [(r.offset, r.key, r.value, r.timestamp) for r in theirs]
    ours = source(*stored, position=position, aborted=aborted)
    found: list[tuple[Any, ...]] = []
    at = position
    while ours._records.has_next():
        part = read(ours, limit)
        assert part.start == at
        at = part.next
        found += zip(part.offsets, part.keys, part.values, part.timestamps, strict=True)
    assert found == expected
    assert at == theirs.next_fetch_offset


# --- records found in the bytes ------------------------------------------------------------------


def built(
    rows: list[tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]],
    base: int,
    compression: int = 0,
    attributes: int = 0,
) -> bytes:
    """A stored batch of (key, value, headers)."""
    builder = DefaultRecordBatchBuilder(2, compression, 0, -1, -1, -1, 1 << 24)
    for number, (key, value, headers) in enumerate(rows):
        builder.append(number, 1_000 + 70 * number, key, value, headers)
    raw = bytearray(builder.build())
    struct.pack_into(">q", raw, 0, base)
    struct.pack_into(">h", raw, 21, struct.unpack_from(">h", raw, 21)[0] | attributes)
    struct.pack_into(">I", raw, 17, calc_crc32c(bytes(raw[21:])))
    return bytes(raw)


def read_both(data: bytes, position: int) -> tuple[Any, Any]:
    """What our way through the bytes yields, and what aiokafka's own reading does."""
    theirs = PartitionRecords(PARTITION, MemoryRecords(data), None, position, None, None, True, 1)
    kept = PartitionRecords(PARTITION, StoredRecords(data), None, position, None, None, True, 1)
    ours = read(kept)
    found = zip(ours.offsets, ours.keys, ours.values, ours.timestamps, strict=True)
    return list(found), [(r.offset, r.key, r.value, r.timestamp) for r in theirs]


_SIZES = st.sampled_from([0, 1, 3, 50, 63, 64, 190, 8_200])
_BYTES = st.one_of(
    st.none(),
    st.binary(max_size=12),
    st.tuples(_SIZES, st.sampled_from([b"x", b"\0", b"\xff"])).map(lambda part: part[1] * part[0]),
)
_ROWS = st.tuples(
    _BYTES, _BYTES, st.one_of(st.just([]), st.just([("trace", b"\0\0")]), st.just([("h", b"")]))
)
_BATCHES = st.lists(
    st.tuples(
        st.lists(_ROWS, min_size=1, max_size=12),
        st.sampled_from([0, 0, 1, 2, 3, 4]),
        st.sampled_from([0, 0, STAMPED]),
    ),
    min_size=1,
    max_size=4,
)


@given(_BATCHES, st.integers(0, 12))
def test_records_found_in_the_bytes_are_those_that_aiokafka_reads(
    batches: list[Any], position: int
) -> None:
    data, base = b"", 0
    for rows, compression, attributes in batches:
        data += built(rows, base, compression, attributes)
        base += len(rows)
    position = min(position, len(batches[0][0]) - 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stored_module, "FEW", 1)
        ours, theirs = read_both(data, position)
    assert ours == theirs


@pytest.mark.parametrize("headers", [[], [("trace", b"1")]])
def test_many_small_batches_are_read_at_once(headers: list[tuple[str, bytes]]) -> None:
    value = b"x" * 100
    data = b"".join(built([(b"k", value, headers)] * 20, 20 * n) for n in range(30))
    ours, theirs = read_both(data, 7)
    assert ours == theirs
    assert len(ours) == 593


def test_what_looks_like_a_record_inside_a_value_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """A header hides where the second record begins, and a value shows a beginning of its own."""
    monkeypatch.setattr(stored_module, "FEW", 1)
    looks_so = b"x" * 20 + b"\0\x0c\0" + b"x" * 20
    data = built([(b"k", looks_so, [("h", b"1")]), (b"k", b"v", [])], 0)
    ours, theirs = read_both(data, 0)
    assert ours == theirs


def test_records_without_headers_are_not_walked_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream.engine.frames._walk", None)
    for value in (b"x" * 5, b"x" * 100, b"x" * 9_000):
        data = b"".join(built([(b"k", value, [])] * 150, 150 * n) for n in range(3))
        ours, theirs = read_both(data, 0)
        assert ours == theirs


@given(st.binary(min_size=1, max_size=60), st.integers(1, 5))
@example(b"\0\0\0", 1)
@example(b"\x1e\0\0\0" + b"\xfe" + b"\xff" * 8 + b"\x01\0\0", 1)
def test_bytes_that_are_no_records_are_refused_or_fit(data: bytes, count: int) -> None:
    try:
        found = find_records(data, [Stretch(0, len(data), count)])
    except FrameError:
        return
    assert len(found.values) == count
    assert (found.values.starts + found.values.sizes <= len(data)).all()


def test_a_wrong_checksum_is_found_in_the_bytes_too() -> None:
    data = bytearray(built([(b"k", b"v", [])] * 300, 0))
    data[-9] ^= 1
    with pytest.raises(CorruptRecordException):
        read_both(bytes(data), 0)


def test_aiokafka_makes_its_fetch_answers_by_the_name_that_is_replaced() -> None:
    from aiokafka.consumer import fetcher

    assert "MemoryRecords(" in inspect.getsource(fetcher.Fetcher._proc_fetch_request)
    assert issubclass(StoredRecords, MemoryRecords)


class State:
    """A partition's position, as aiokafka keeps it."""

    has_valid_position = True
    paused = False

    def __init__(self, position: int) -> None:
        self.position = position

    def consumed_to(self, position: int) -> None:
        self.position = position


class Fetcher:
    """As much of aiokafka's fetcher as `drain` touches, over real results."""

    def __init__(self) -> None:
        self._records: OrderedDict[Any, Any] = OrderedDict()
        self._subscriptions = self.subscription = self.assignment = self
        self._wait_consume_future = object()
        self.states: dict[Any, State] = {}
        self.active = True
        self.notified = 0

    def add(self, partition: Any, *stored: bytes, position: int = 0) -> None:
        self.states[partition] = State(position)
        self._records[partition] = FetchResult(
            partition,
            assignment=self,
            partition_records=source(*stored, position=position),
            backoff=0,
        )

    def fail(self, partition: Any, error: Exception, position: int = 0) -> None:
        self.states[partition] = State(position)
        self._records[partition] = FetchError(error=error, backoff=0)

    def state_value(self, partition: Any) -> State | None:
        return self.states.get(partition)

    def is_assigned(self, partition: Any) -> bool:
        return partition in self.states

    def _notify(self, future: object) -> None:
        assert future is self._wait_consume_future
        self.notified += 1

    def drain(self, limit: int = 100, readable: Any = lambda _: True) -> dict[Any, Any]:
        taken = drain(self, readable, lambda topic: topic.removeprefix("p-"), set(), limit)
        return dict(taken)


OTHER = KafkaPartition("p-clicks", 2)


def test_draining_moves_the_position_and_makes_room() -> None:
    fetcher = Fetcher()
    fetcher.add(PARTITION, batch(0, [0, 1]), batch(2, [0]))
    [(partition, found)] = fetcher.drain().items()
    assert (partition, found.offsets) == (PARTITION, range(3))
    assert fetcher.states[PARTITION].position == 3
    assert not fetcher._records
    assert fetcher.notified == 1


def test_what_is_not_readable_is_kept_and_what_is_not_ours_is_dropped() -> None:
    fetcher = Fetcher()
    fetcher.add(PARTITION, batch(0, [0]))
    fetcher.add(OTHER, batch(0, [0]))
    del fetcher.states[OTHER]
    assert not fetcher.drain(readable=lambda _: False)
    assert list(fetcher._records) == [PARTITION]


def test_what_was_fetched_before_a_seek_is_dropped() -> None:
    fetcher = Fetcher()
    fetcher.add(PARTITION, batch(0, [0]))
    fetcher.states[PARTITION].position = 40
    assert not fetcher.drain()
    assert fetcher.states[PARTITION].position == 40
    assert not fetcher._records
    assert fetcher.notified == 1


def test_the_limit_leaves_the_rest_for_the_next_turn_behind_the_others() -> None:
    fetcher = Fetcher()
    fetcher.add(PARTITION, batch(0, [0, 1, 2]), batch(3, [0]))
    fetcher.add(OTHER, batch(0, [0]))
    assert list(fetcher.drain(limit=2)) == [PARTITION]
    assert list(fetcher._records) == [OTHER, PARTITION]
    assert fetcher.notified == 0
    rest = fetcher.drain()
    assert [rest[OTHER].offsets, rest[PARTITION].offsets] == [range(1), range(3, 4)]


def test_a_run_of_markers_is_told_and_nothing_new_is_not() -> None:
    fetcher = Fetcher()
    fetcher.add(PARTITION, marker(0, 7, COMMIT))
    assert fetcher.drain()[PARTITION].next == 1
    fetcher.add(PARTITION, batch(0, [0]), position=1)
    assert not fetcher.drain()


def test_a_missing_committed_offset_means_nothing() -> None:
    fetcher = Fetcher()
    fetcher.fail(PARTITION, NoOffsetForPartitionError(PARTITION))
    assert not fetcher.drain()
    assert not fetcher._records
    assert fetcher.notified == 1


def test_a_position_out_of_the_log_is_an_error_unless_it_was_left_since() -> None:
    fetcher = Fetcher()
    fetcher.fail(PARTITION, OffsetOutOfRangeError({PARTITION: 5}), position=6)
    assert not fetcher.drain()
    fetcher.fail(PARTITION, OffsetOutOfRangeError({PARTITION: 6}), position=6)
    with pytest.raises(PositionLostError, match="p-clicks/1: offset 6") as caught:
        fetcher.drain()
    assert (caught.value.topic, caught.value.partition, caught.value.offset) == ("p-clicks", 1, 6)


def test_other_faults_are_raised() -> None:
    fetcher = Fetcher()
    fetcher.fail(PARTITION, TopicAuthorizationFailedError("p-clicks"))
    with pytest.raises(TopicAuthorizationFailedError):
        fetcher.drain()
