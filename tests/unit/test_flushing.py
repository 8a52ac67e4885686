"""When partitions are flushed, in which slices they are folded, and what is said of it."""

import asyncio
from collections.abc import Coroutine, Sequence
from itertools import pairwise
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.buckets import Calendar
from stream.core.durations import HOUR_MS
from stream.core.partition import Partition
from stream.core.pseudonyms import Pseudonyms
from stream.core.records import Drop, RecordBatch, TopicPartition
from stream.core.rules import Rules
from stream.engine.dead_letters import DeadLetters
from stream.flushing import flush_when_due, next_due_s, phase_of
from stream.meters import Meters
from stream.shard import Shard
from stream.slices import FEWEST_RECORDS, SLICE_RECORDS, SLICE_S, SliceSize
from stream.turns import noting_turns

INTERVAL_S = 0.25
T0_MS = 1_760_000_000_000
TIMES = st.floats(0, 1e6)


class Flushed:
    """What `flush_when_due` asks of a shard."""

    def __init__(self) -> None:
        self.is_alive = True
        self.changed = asyncio.Event()
        self.changed_s = 0.0
        self.flushes = asyncio.Semaphore(0)

    async def flush(self) -> None:
        self.changed.clear()
        self.flushes.release()


async def test_what_comes_after_a_quiet_time_is_flushed_at_once() -> None:
    shard = Flushed()
    hours = flush_when_due(cast("Shard", shard), 3_600.0, 0.5, Meters())
    flushing = asyncio.create_task(hours)
    await asyncio.sleep(0)
    shard.changed.set()
    await asyncio.wait_for(shard.flushes.acquire(), 10)
    flushing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await flushing


async def test_a_flush_comes_without_records_too() -> None:
    shard = Flushed()
    flushing = asyncio.create_task(
        flush_when_due(cast("Shard", shard), 0.001, phase_of(1), Meters())
    )
    for _ in range(3):
        await asyncio.wait_for(shard.flushes.acquire(), 10)
    shard.is_alive = False
    await asyncio.wait_for(flushing, 10)


@given(began_s=TIMES, took_s=st.floats(0, 1), number=st.integers(0, 1_000))
def test_the_next_flush_is_due_about_an_interval_later(
    began_s: float, took_s: float, number: int
) -> None:
    due_s = next_due_s(began_s, began_s + took_s, INTERVAL_S, phase_of(number))
    assert due_s >= began_s + 0.5 * INTERVAL_S - 1e-6
    assert due_s >= began_s + took_s + min(took_s, INTERVAL_S) - 1e-6  # as long for the folds
    assert due_s <= began_s + max(1.5 * INTERVAL_S, took_s + min(took_s, INTERVAL_S)) + 1e-6


@given(began_s=TIMES, number=st.integers(0, 1_000))
def test_flushes_keep_their_phase(began_s: float, number: int) -> None:
    first_s = next_due_s(began_s, began_s, INTERVAL_S, phase_of(number))
    second_s = next_due_s(first_s, first_s, INTERVAL_S, phase_of(number))
    assert second_s - first_s == pytest.approx(INTERVAL_S, abs=1e-6)


@given(first=st.integers(0, 1_000), count=st.integers(2, 32))
def test_the_phases_of_neighbours_lie_apart(first: int, count: int) -> None:
    phases = sorted(phase_of(first + number) for number in range(count))
    gaps = [after - before for before, after in pairwise((*phases, phases[0] + 1))]
    assert min(gaps) > 0.35 / count


@pytest.mark.parametrize(("topic", "slice_s"), SLICE_S.items())
def test_slices_shrink_to_what_fits_and_grow_again(topic: str, slice_s: float) -> None:
    size = SliceSize(topic)
    for _ in range(20):
        size.took(size.records, slice_s / 10 * size.records / 400)  # 4,000 fit in it
    assert size.records > 0.9 * SLICE_RECORDS
    size.took(size.records, 4 * slice_s)
    assert size.records <= SLICE_RECORDS / 4
    for _ in range(20):
        size.took(size.records, 100 * slice_s)
    assert size.records == FEWEST_RECORDS
    size.took(1, 100 * slice_s)
    for _ in range(20):
        size.took(size.records, 1e-6)
    assert size.records > 0.9 * SLICE_RECORDS


class Letters:
    """Dead letters that nobody writes."""

    def send(self, batch: RecordBatch, drops: Sequence[Drop]) -> None:
        assert not drops


def shard_of_sessions() -> Shard:
    core = Partition("sessions", Rules(), Calendar(), Pseudonyms(bytes(32)))
    nobody, letters = cast("Any", None), cast("DeadLetters", Letters())
    place = TopicPartition("sessions", 0)
    return Shard(place, core, nobody, letters, nobody, Meters(), "worker", 1)


def page_views(stamps: Sequence[int]) -> RecordBatch:
    """A page view of another visitor at each instant, recorded then."""
    values: list[bytes | None] = [
        b'{"event_id":"%d","type":"page_view","timestamp":%d,"visitor_id":"%d"}' % (n, at_ms, n)
        for n, at_ms in enumerate(stamps)
    ]
    return RecordBatch("sessions", 0, 0, len(stamps), range(len(stamps)), values, [], stamps)


@pytest.mark.parametrize("many", [1, 100])
def test_what_a_pause_in_the_log_makes_final_is_settled_some_at_a_time(
    many: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream.shard.SETTLE_AT_ONCE", 10)
    monkeypatch.setattr("stream.shard.PIECE_S", 0.0)
    shard = shard_of_sessions()
    core = shard.core
    stamps = [T0_MS + n * 1_000 for n in range(many)]
    stamps.append(stamps[-1] + 7 * 24 * HOUR_MS)
    turns = sum(1 for _ in shard.fold(page_views(stamps)))
    assert core.sizes()["open"] == 1
    assert core.tally["counted"] == many + 1
    assert turns >= 2 + (many - 1) // 20


def test_a_record_that_is_passed_over_settles_nothing() -> None:
    shard = shard_of_sessions()
    shard.core.fold(page_views([T0_MS]))
    shard.core.skip_to(2)
    for _ in shard.fold(page_views([T0_MS, T0_MS + 7 * 24 * HOUR_MS, T0_MS + 1])):
        pass
    assert (shard.core.sizes()["open"], shard.core.tally["counted"]) == (2, 2)


def test_what_does_not_follow_the_position_is_not_folded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream.slices.SLICE_RECORDS", 10)
    monkeypatch.setattr("stream.slices.FEWEST_RECORDS", 5)
    shard = shard_of_sessions()
    folding = shard.fold(page_views([T0_MS + n for n in range(30)]))
    next(folding)
    assert shard.core.position == 10
    shard.core.position = 5  # it is to be read again from there
    assert list(folding) == []
    assert shard.core.position == 5


async def test_every_turn_of_the_loop_is_noted_and_nothing_is_changed_by_it() -> None:
    turns = list[float]()

    async def work(waits: int) -> str:
        for _ in range(waits):
            await asyncio.sleep(0)
        return "done"

    assert await noting_turns(work(3), turns.append) == "done"
    assert len(turns) == 4


async def test_a_cancellation_and_a_fault_reach_what_is_noted() -> None:
    seen = list[str]()

    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    async def noted(work: Coroutine[Any, Any, None]) -> None:
        await noting_turns(work, lambda _: None)

    task = asyncio.create_task(noted(waits()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == ["cancelled"]

    async def fails() -> None:
        await asyncio.sleep(0)
        raise ValueError("told")

    with pytest.raises(ValueError, match="told"):
        await noted(fails())


def test_the_longest_is_told_beside_the_spread() -> None:
    meters = Meters()
    for seconds in (0.01, 0.2, 0.03):
        meters.turns("flush")(seconds)
        meters.note_delay(seconds)

    def of(name: str, labels: dict[str, str] | None = None) -> float | None:
        return meters.registry.get_sample_value(name, labels or {})

    assert of("stream_loop_blocked_max_seconds", {"work": "flush"}) == 0.2
    assert of("stream_loop_blocked_max_seconds", {"work": "fold"}) == 0.0
    assert of("stream_loop_blocked_seconds_count", {"work": "flush"}) == 3
    assert of("stream_flush_delay_max_seconds") == 0.2
