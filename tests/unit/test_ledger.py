"""Owning, flushing and giving up partitions, over a log in memory."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from stream.engine import ledger_records
from stream.engine.ledger import Fenced, Ledger, LedgerError, Recovered
from stream.engine.ledger_records import encode_claim
from stream.engine.log import Sink
from stream.errors import UserError
from tests.support.memory_log import Fault, MemoryLog, MemoryPartition


class World:
    """Two workers at one log of two partitions."""

    def __init__(self) -> None:
        self.partitions = {0: MemoryPartition(), 1: MemoryPartition()}
        self.logs = [MemoryLog(self.partitions) for _ in range(2)]
        self.a, self.b = map(Ledger, self.logs)

    @property
    def records(self) -> list[bytes]:
        return self.partitions[0].records


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(ledger_records, "MAX_PART_ENTRIES", 2)
    world = World()
    await asyncio.gather(world.a.start(), world.b.start())
    return world


async def test_a_new_partition_is_empty(world: World) -> None:
    assert await world.a.claim(0) == Recovered({}, None, epoch=0)


async def test_the_next_owner_takes_up_where_the_last_one_stood(world: World) -> None:
    await world.a.claim(0)
    await world.a.flush(0, {b"a": b"1", b"b": b"1"}, 5, 9)
    await world.a.flush(0, {b"a": None, b"c": b"2"}, 9, 12)
    got = await world.b.claim(0)
    assert (got.entries, got.next, got.kept) == ({b"b": b"1", b"c": b"2"}, 12, False)


async def test_an_owner_that_was_fenced_hears_of_it_with_its_next_flush(world: World) -> None:
    await world.a.claim(0)
    await world.a.flush(0, {b"a": b"1"}, 0, 1)
    await world.b.claim(0)
    with pytest.raises(Fenced, match="ledger/0: was claimed by another"):
        await world.a.flush(0, {b"a": b"2"}, 1, 2)
    with pytest.raises(Fenced):
        await world.a.flush(0, {b"a": b"2"}, 1, 2)
    assert world.a.release(0) is None
    assert (await world.a.claim(0)).entries == {b"a": b"1"}


async def test_an_idle_owner_hears_of_it_when_it_asks(world: World) -> None:
    await world.a.claim(0)
    assert await world.a.still_owner(0)
    await world.b.claim(0)
    assert not await world.a.still_owner(0)
    assert await world.b.still_owner(0)
    assert not await world.a.still_owner(1)


async def test_a_zombies_flush_does_not_make_the_owner_doubt(world: World) -> None:
    await world.a.claim(0)
    await world.b.claim(0)
    with pytest.raises(Fenced):
        await world.a.flush(0, {b"a": b"1"}, 0, 1)
    assert await world.b.still_owner(0)
    await world.b.flush(0, {b"b": b"1"}, 0, 1)
    assert (await world.a.claim(0)).entries == {b"b": b"1"}


async def test_the_epoch_grows_with_every_claim(world: World) -> None:
    epochs = []
    for ledger in (world.a, world.b, world.b, world.a):
        epochs.append((await ledger.claim(0)).epoch)
        await ledger.flush(0, {}, 0, 0)
    assert epochs == sorted(set(epochs))


async def test_partitions_are_independent(world: World) -> None:
    await asyncio.gather(world.a.claim(0), world.a.claim(1))
    await world.b.claim(1)
    await world.a.flush(0, {b"a": b"1"}, 0, 1)
    with pytest.raises(Fenced):
        await world.a.flush(1, {b"a": b"1"}, 0, 1)


async def test_there_must_be_such_a_partition(world: World) -> None:
    with pytest.raises(LedgerError, match="ledger/7"):
        await world.a.claim(7)


@pytest.mark.parametrize(("from_", "next_"), [(4, 6), (6, 7), (5, 4)])
async def test_a_flush_that_does_not_continue_is_a_mistake(
    world: World, from_: int, next_: int
) -> None:
    await world.a.claim(0)
    await world.a.flush(0, {}, 0, 5)
    with pytest.raises(ValueError, match="does not continue at 5"):
        await world.a.flush(0, {}, from_, next_)
    await world.a.flush(0, {}, 5, 5)


async def test_only_one_flush_at_a_time(world: World) -> None:
    await world.a.claim(0)
    outcomes = await asyncio.gather(
        world.a.flush(0, {}, 0, 1), world.a.flush(0, {}, 0, 1), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes] == [int, LedgerError]


# --- flushes that end badly ----------------------------------------------------------------------


@pytest.mark.parametrize("fault", [Fault.LOST, Fault.UNANSWERED])
async def test_after_a_flush_of_unknown_outcome_the_partition_is_read_again(
    world: World, fault: Fault
) -> None:
    await world.a.claim(0)
    world.logs[0].faults.append(fault)
    with pytest.raises(LedgerError):
        await world.a.flush(0, {b"a": b"1"}, 0, 1)
    assert world.a.release(0) is None
    got = await world.a.claim(0)
    assert (got.entries, got.next) == (({}, None) if fault is Fault.LOST else ({b"a": b"1"}, 1))


async def test_a_flush_under_way_is_not_kept_over_a_release(world: World) -> None:
    await world.a.claim(0)
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def pause() -> None:
        reached.set()
        await go_on.wait()

    world.logs[0].between.extend([None, pause])
    flush = asyncio.create_task(world.a.flush(0, dict.fromkeys([b"a", b"b", b"c"], b"1"), 0, 1))
    await reached.wait()
    assert world.a.release(0) is None
    go_on.set()
    with pytest.raises(Fenced):
        await flush
    again = await world.b.claim(0)
    assert again.entries == dict.fromkeys([b"a", b"b", b"c"], b"1")  # it did reach the log


async def test_a_flush_that_is_cancelled_gives_the_partition_up(world: World) -> None:
    await world.a.claim(0)
    forever = asyncio.Event().wait
    world.logs[0].between.append(lambda: _ignore(forever))
    flush = asyncio.create_task(world.a.flush(0, {b"a": b"1"}, 0, 1))
    await asyncio.sleep(0.01)
    flush.cancel()
    with pytest.raises(asyncio.CancelledError):
        await flush
    assert world.a.release(0) is None
    with pytest.raises(Fenced):
        await world.a.flush(0, {}, 0, 1)


async def _ignore(wait: Callable[[], Awaitable[object]]) -> None:
    await wait()


async def test_a_claim_between_two_parts_voids_the_flush(world: World) -> None:
    await world.a.claim(0)
    claimed: list[Recovered] = []

    async def claim() -> None:
        claimed.append(await world.b.claim(0))

    world.logs[0].between.extend([None, claim])
    with pytest.raises(Fenced):
        await world.a.flush(0, dict.fromkeys([b"a", b"b", b"c"], b"1"), 0, 1)
    await world.b.flush(0, {b"z": b"1"}, 0, 1)
    assert (await world.a.claim(0)).entries == {b"z": b"1"}


async def test_a_record_that_was_written_twice_does_no_harm(world: World) -> None:
    world.logs[0].faults.extend([Fault.TWICE] * 4)
    await world.a.claim(0)
    await world.a.flush(0, dict.fromkeys([b"a", b"b", b"c"], b"1"), 0, 1)
    await world.a.flush(0, {b"a": b"2"}, 1, 2)
    got = await world.b.claim(0)
    assert got.entries == {b"a": b"2", b"b": b"1", b"c": b"1"}
    assert len(world.records) == 9


async def test_a_log_that_lost_its_end_is_noticed(world: World) -> None:
    await world.a.claim(0)
    await world.a.flush(0, {b"a": b"1"}, 0, 1)
    await world.a.flush(0, {b"a": b"2"}, 1, 2)
    del world.records[-1:]
    with pytest.raises(LedgerError, match="lost the end"):
        await world.a.flush(0, {b"a": b"3"}, 2, 3)
    got = await world.a.claim(0)
    assert (got.entries, got.next) == ({b"a": b"1"}, 1)


async def test_an_idle_owner_notices_a_log_that_lost_its_end(world: World) -> None:
    await world.a.claim(0)
    await world.a.flush(0, {b"a": b"1"}, 0, 1)
    world.records.clear()
    assert not await world.a.still_owner(0)


async def test_a_claim_ends_when_the_partition_is_released(world: World) -> None:
    async def release() -> None:
        world.a.release(0)

    world.logs[0].between.append(release)
    with pytest.raises(Fenced):
        await world.a.claim(0)


async def test_a_claim_ends_when_the_partition_is_claimed_again(world: World) -> None:
    outcomes = await asyncio.gather(world.a.claim(0), world.a.claim(0), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [Fenced, Recovered]
    await world.a.flush(0, {}, 0, 1)


# --- keeping what is held ------------------------------------------------------------------------


async def test_what_is_held_need_not_be_read_again(world: World) -> None:
    await world.a.claim(0)
    await world.a.flush(0, {b"a": b"1"}, 0, 1)
    held = world.a.release(0)
    read = world.logs[0].read_records
    got = await world.a.claim(0, held)
    assert (got.kept, got.entries, got.next) == (True, {}, 1)
    assert world.logs[0].read_records - read == 2
    await world.a.flush(0, {b"b": b"1"}, 1, 2)
    assert (await world.b.claim(0)).entries == {b"a": b"1", b"b": b"1"}


async def test_what_is_held_still_stands_when_another_only_claimed(world: World) -> None:
    await world.a.claim(0)
    await world.a.flush(0, {b"a": b"1"}, 0, 1)
    held = world.a.release(0)
    await world.b.claim(0)
    assert (await world.a.claim(0, held)).kept


async def test_what_is_held_is_outdated_when_another_flushed(world: World) -> None:
    await world.a.claim(0)
    await world.a.flush(0, {b"a": b"1"}, 0, 1)
    held = world.a.release(0)
    await world.b.claim(0)
    await world.b.flush(0, {b"a": b"2"}, 1, 1)
    got = await world.a.claim(0, held)
    assert (got.kept, got.entries) == (False, {b"a": b"2"})


async def test_what_is_held_is_outdated_when_the_log_was_cut_beyond_it(world: World) -> None:
    await world.a.claim(0)
    await world.a.flush(0, {b"a": b"1"}, 0, 1)
    held = world.a.release(0)
    await world.b.claim(0)
    await world.b.flush(0, {b"a": b"2"}, 1, 2, round_done=True)
    await settle(world)
    assert world.partitions[0].start == 3
    got = await world.a.claim(0, held)
    assert (got.kept, got.entries, got.next) == (False, {b"a": b"2"}, 2)


async def test_what_is_held_is_void_when_the_log_was_made_again(world: World) -> None:
    await world.a.claim(0)
    await world.a.flush(0, {b"a": b"1"}, 0, 1)
    held = world.a.release(0)
    world.records.clear()
    await world.b.claim(0)
    await world.b.flush(0, {b"b": b"1"}, 0, 1)
    got = await world.a.claim(0, held)
    assert (got.kept, got.entries) == (False, {b"b": b"1"})


async def test_what_is_held_is_void_when_the_log_was_made_again_and_is_still_short(
    world: World,
) -> None:
    for _ in range(4):
        await world.a.claim(0)
    await world.a.flush(0, {b"a": b"1"}, 0, 1)
    held = world.a.release(0)
    for claims in range(1, 6):
        world.records.clear()
        for _ in range(claims):
            await world.b.claim(0)
        await world.b.flush(0, {b"b": b"1"}, 0, 1)
        got = await world.a.claim(0, held)
        assert (got.kept, got.entries) == (False, {b"b": b"1"})


async def test_what_is_held_is_void_after_a_reset(world: World) -> None:
    await world.a.claim(0)
    await world.a.flush(0, {b"a": b"1"}, 0, 1)
    held = world.a.release(0)
    await world.b.reset(0)
    assert await world.a.claim(0, held) == Recovered({}, None, epoch=3, version=3, voided=True)


# --- rounds ------------------------------------------------------------------------------------


async def settle(world: World) -> None:
    """Let all deletions that were asked for take place."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    for partition in world.partitions.values():
        while partition.cuts:
            partition.cut(0)


async def test_what_lies_before_a_complete_round_is_deleted(world: World) -> None:
    await world.a.claim(0)
    for at in range(6):
        await world.a.flush(0, {bytes([at % 3]): b"%d" % at}, at, at + 1, round_done=at % 3 == 2)
        await settle(world)
        assert world.partitions[0].start == {2: 1, 3: 1, 4: 1, 5: 4}.get(at, 0)
    got = await world.b.claim(0)
    assert got.entries == {b"\0": b"3", b"\1": b"4", b"\2": b"5"}


async def test_a_round_begins_with_the_first_record_of_a_flush(world: World) -> None:
    await world.a.claim(0)
    table = dict.fromkeys([b"a", b"b", b"c", b"d", b"e"], b"1")
    await world.a.flush(0, table, 0, 1, round_done=True)
    await world.a.flush(0, table, 1, 2, round_done=True)
    await settle(world)
    assert world.partitions[0].start == 4
    assert (await world.b.claim(0)).entries == table


async def test_an_owner_whose_log_was_cut_beyond_it_is_fenced(world: World) -> None:
    """The claim of its successor may be among what was deleted."""
    await world.a.claim(0)
    await world.a.flush(0, {b"a": b"1"}, 0, 1)
    await world.b.claim(0)
    await world.b.flush(0, {b"a": b"2"}, 1, 2, round_done=True)
    await settle(world)
    assert world.partitions[0].start == 3
    with pytest.raises(Fenced):
        await world.a.flush(0, {b"a": b"3"}, 1, 2)


async def test_a_new_owner_begins_its_own_round(world: World) -> None:
    await world.a.claim(0)
    await world.a.flush(0, {b"a": b"1", b"b": b"1"}, 0, 1)
    await world.b.claim(0)
    await world.b.flush(0, {b"a": b"1", b"b": b"1"}, 1, 2, round_done=True)
    await settle(world)
    assert world.partitions[0].start == 3
    assert (await world.a.claim(0)).entries == {b"a": b"1", b"b": b"1"}


async def test_a_round_goes_on_with_what_is_kept(world: World) -> None:
    await world.a.claim(0)
    await world.a.flush(0, {b"a": b"1"}, 0, 1, round_done=True)
    await world.a.flush(0, {b"a": b"2"}, 1, 2)
    await world.a.claim(0, world.a.release(0))
    await world.a.flush(0, {b"b": b"2"}, 2, 3, round_done=True)
    await settle(world)
    assert world.partitions[0].start == 2
    assert (await world.b.claim(0)).entries == {b"a": b"2", b"b": b"2"}


# --- what is refused -----------------------------------------------------------------------------


async def test_a_log_of_something_else_is_refused_in_one_line(world: World) -> None:
    world.records.append(b'{"event_id": "1"}')
    with pytest.raises(UserError) as caught:
        await world.a.claim(0)
    assert str(caught.value) == (
        "ledger ledger/0 holds records that are not a ledger's: "
        "run `stream rebuild` to count its source topic again"
    )
    assert world.a.release(0) is None


async def test_a_reset_makes_any_log_usable(world: World) -> None:
    await world.b.claim(0)
    await world.b.flush(0, {b"a": b"1"}, 0, 1)
    world.records.append(b"\x93\x07\x02\xc4\x01x")
    world.records.append(b"?")
    await world.a.reset(0)
    with pytest.raises(Fenced):
        await world.b.flush(0, {b"a": b"2"}, 1, 2)
    await settle(world)
    assert world.partitions[0].start == 4
    got = await world.a.claim(0)
    assert (got.entries, got.next) == ({}, None)
    await world.a.flush(0, {b"c": b"1"}, 7, 8)
    assert (await world.b.claim(0)).entries == {b"c": b"1"}


@pytest.mark.parametrize("rubbish", [b"", b"?", b"\x93\x01\x02\xc4"])
async def test_foreign_records_between_ours_are_passed_over(world: World, rubbish: bytes) -> None:
    await world.a.claim(0)
    world.records.append(rubbish)
    await world.a.flush(0, dict.fromkeys([b"a", b"b", b"c"], b"1"), 0, 1)
    world.records.append(rubbish)
    got = await world.b.claim(0)
    assert (got.entries, got.next) == (dict.fromkeys([b"a", b"b", b"c"], b"1"), 1)
    world.records.append(rubbish)
    await world.b.flush(0, {b"a": None}, 1, 2)
    assert (await world.a.claim(0)).entries == dict.fromkeys([b"b", b"c"], b"1")


async def test_what_follows_a_damaged_flush_is_counted_again(world: World) -> None:
    await world.a.claim(0)
    for at in range(4):
        await world.a.flush(0, {b"a": b"%d" % at}, at, at + 1)
    world.records[3] = world.records[3][:-1]
    got = await world.b.claim(0)
    assert (got.entries, got.next) == ({b"a": b"1"}, 2)
    await world.b.flush(0, {b"a": b"3"}, 2, 4)
    assert (await world.a.claim(0)).entries == {b"a": b"3"}


async def test_a_claim_that_cannot_be_read_back_is_none(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.b.claim(0)
    await world.b.flush(0, {b"a": b"1"}, 0, 1)
    read = world.logs[0].read

    async def damage_and_read(partition: int, start: int, end: int, sink: Sink) -> None:
        world.records[-1] = b"?"
        await read(partition, start, end, sink)

    monkeypatch.setattr(world.logs[0], "read", damage_and_read)
    with pytest.raises(LedgerError, match="cannot be read back"):
        await world.a.claim(0)
    assert world.a.release(0) is None


async def test_each_flush_says_which_version_it_made(world: World) -> None:
    assert (await world.a.claim(0)).version == 0
    assert [await world.a.flush(0, {}, 0, 0) for _ in range(3)] == [1, 2, 3]
    assert (await world.b.claim(0)).version == 3


# --- a state in the place of another --------------------------------------------------------------


async def test_a_state_that_is_replaced_is_all_there_is(world: World) -> None:
    await world.a.claim(0)
    await world.a.flush(0, {b"a": b"1", b"z": b"1"}, 0, 9)
    await world.b.replace(0, dict.fromkeys([b"a", b"b", b"c"], b"2"), 5)
    with pytest.raises(Fenced):
        await world.a.flush(0, {b"a": b"3"}, 9, 10)
    got = await world.a.claim(0)
    assert (got.entries, got.next) == (dict.fromkeys([b"a", b"b", b"c"], b"2"), 5)
    assert got.version > 1
    await world.a.flush(0, {b"d": b"1"}, 5, 6)
    await settle(world)
    assert world.partitions[0].start == 3  # nothing before the replacement is needed
    assert (await world.b.claim(0)).entries.keys() == {b"a", b"b", b"c", b"d"}


async def test_a_log_of_something_else_can_be_replaced(world: World) -> None:
    world.records.append(b"?")
    await world.a.replace(0, {b"a": b"1"}, 3)
    got = await world.b.claim(0)
    assert (got.entries, got.next) == ({b"a": b"1"}, 3)


async def test_half_a_replacement_changes_nothing(world: World) -> None:
    await world.a.claim(0)
    await world.a.flush(0, {b"a": b"1"}, 0, 1)
    world.logs[1].faults.extend([Fault.NONE, Fault.NONE, Fault.LOST])
    with pytest.raises(LedgerError):
        await world.b.replace(0, dict.fromkeys([b"a", b"b", b"c"], b"2"), 5)
    got = await world.a.claim(0)
    assert (got.entries, got.next) == ({b"a": b"1"}, 1)
    await world.b.replace(0, {b"a": b"2"}, 5)
    assert (await world.a.claim(0)).entries == {b"a": b"2"}


async def test_who_claims_amid_a_replacement_keeps_the_state(world: World) -> None:
    await world.a.claim(0)
    await world.a.flush(0, {b"a": b"1"}, 0, 1)

    async def claim() -> None:
        await world.a.claim(0)

    world.logs[1].between.extend([None, None, claim])
    with pytest.raises(Fenced):
        await world.b.replace(0, dict.fromkeys([b"a", b"b", b"c"], b"2"), 5)
    await world.a.flush(0, {b"b": b"1"}, 1, 2)
    assert (await world.b.claim(0)).entries == {b"a": b"1", b"b": b"1"}


async def test_records_of_another_worker_that_are_no_claims_are_passed_over(world: World) -> None:
    await world.a.claim(0)
    world.records.append(encode_claim(world.a._leases[0].nonce))
    await world.a.flush(0, {b"a": b"1"}, 0, 1)
    assert (await world.b.claim(0)).entries == {b"a": b"1"}


# --- stopping ----------------------------------------------------------------------------------


async def test_stopping_releases_everything_and_may_be_repeated(world: World) -> None:
    await world.a.claim(0)
    await world.a.stop()
    await world.a.stop()
    with pytest.raises(Fenced):
        await world.a.flush(0, {}, 0, 1)
    assert world.a.release(0) is None
