"""Settled tickets in groups: a mapping with a retention, in little memory."""

import random

from hypothesis import given
from hypothesis import strategies as st

from stream.core import archive
from stream.core.archive import GROUP_SIZE, Archive, Settled
from stream.core.pseudonyms import ID_BYTES
from stream.core.table import Table

RETENTION_MS = 1_000


def archive_of(table=None):
    made = Table() if table is None else table
    return Archive(made, RETENTION_MS), made


def again(table):
    """The same after a restart."""
    ledger = dict(table.items())
    loaded = Table()
    loaded.load(ledger)
    made = Archive(loaded, RETENTION_MS)
    made.load((key, raw) for key, raw in ledger.items() if key[:1] == archive.PREFIX)
    return made, loaded


def ids(count, seed=1):
    chance = random.Random(seed)
    return [chance.randbytes(ID_BYTES) for _ in range(count)]


def settled(last_ms, number=0):
    return Settled(last_ms, last_ms - number, number, bool(number % 2))


def sizes(table):
    return [len(raw) // 32 for key, raw in table.items() if len(key) == 5]


def test_what_was_put_in_is_found_until_it_is_taken_out():
    kept, table = archive_of()
    names = ids(1_000)
    for number, name in enumerate(names):
        if number % 300 == 299:
            kept, table = again(table)
        assert kept.get(name, 0) is None
        kept.add(name, settled(-number, number), 0)
    for number, name in enumerate(names):
        assert kept.get(name, 0) == settled(-number, number)
    assert len(kept) == 1_000
    for name in names:
        kept.remove(name)
        kept.remove(name)
        assert kept.get(name, 0) is None
    assert len(kept) == 0


def test_a_ticket_is_found_for_as_long_as_it_is_kept_and_not_a_millisecond_longer():
    kept, _ = archive_of()
    [name] = ids(1)
    kept.add(name, settled(5), 0)
    assert kept.get(name, 5 + RETENTION_MS) is not None
    assert kept.get(name, 6 + RETENTION_MS) is None
    assert kept.get(name, 5) is not None, "it is judged by the clock, not by when it was looked at"


def test_groups_stay_small_however_many_tickets_there_are():
    kept, table = archive_of()
    for name in ids(20_000):
        kept.add(name, settled(0), 0)
    assert len(table) - 1 <= -(-20_000 // GROUP_SIZE)
    assert max(sizes(table)) < 5 * GROUP_SIZE
    assert sum(sizes(table)) == len(kept) == 20_000


def test_one_more_ticket_touches_no_more_than_three_entries_and_their_number():
    kept, table = archive_of()
    table.drain(0)
    for name in ids(3_000):
        kept.add(name, settled(0), 0)
        assert len(table.drain(0).entries) <= 4


def test_the_forgotten_leave_as_others_come():
    kept, table = archive_of()
    for number, name in enumerate(ids(40_000)):
        kept.add(name, settled(number // 4), number // 4)
    assert len(kept) == sum(sizes(table)) < 1.5 * 4 * RETENTION_MS


def test_ids_that_meet_across_two_records_are_not_mistaken():
    kept, table = archive_of()
    first, second = bytes(ID_BYTES), bytes(ID_BYTES - 1) + b"\1"
    kept.add(first, Settled(0, 0, 0, False), 0)
    kept.add(second, Settled(0, 0, 0, False), 0)
    assert kept.get(bytes(ID_BYTES - 2) + b"\1\0", 0) is None
    kept.remove(first)
    assert kept.get(first, 0) is None
    assert kept.get(second, 0) == Settled(0, 0, 0, False)
    assert len(sizes(table)) == 1


@given(
    st.lists(
        st.tuples(
            st.integers(0, 120),  # which ticket
            st.sampled_from(["add", "add", "add", "remove", "restart"]),
            st.integers(0, 60),  # how far the clock goes on
        ),
        max_size=400,
    )
)
def test_it_is_a_mapping_that_forgets(steps):
    names = ids(121)
    kept, table = archive_of()
    known: dict[bytes, Settled] = {}
    now_ms = 0
    for number, what, step_ms in steps:
        now_ms += step_ms
        name = names[number]
        if what == "restart":
            kept, table = again(table)
            continue
        kept.remove(name)
        known.pop(name, None)
        if what == "add":
            known[name] = settled(now_ms, number)
            kept.add(name, known[name], now_ms)
    for name in names:
        held = known.get(name)
        alive = held is not None and held.last_ms + RETENTION_MS >= now_ms
        assert kept.get(name, now_ms) == (held if alive else None)
    assert len(kept) >= sum(one.last_ms + RETENTION_MS >= now_ms for one in known.values())
    assert len(again(table)[0]) == len(kept) == sum(sizes(table))
