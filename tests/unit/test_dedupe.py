"""Duplicates: the horizon to the millisecond, bounded memory, restarts, repeats inside a run."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.dedupe import DUPLICATE, FRESH, UNCHECKED, Dedupe
from stream.core.hashing import hash_texts
from stream.core.idtable import NOWHERE, IdLog, IdTable
from stream.core.run import Run

T0 = 1_760_000_000_000


def judge(dedupe, events):
    """One run of (id, event time, clock), judged and remembered as a partition does."""
    hashes = hash_texts([event[0] for event in events])
    times = np.array([event[1] for event in events], np.int64)
    clocks = np.array([event[2] for event in events], np.int64)
    judged = dedupe.judge(hashes, times, clocks)
    run = Run(
        events,
        times,
        clocks,
        0,
        judged.verdicts,
        judged.repeats,
        dedupe.oldest(clocks),
    )
    for _ in run.accepted():
        pass
    fresh = judged.verdicts == FRESH
    dedupe.remember(hashes[fresh], times[fresh])
    return judged.verdicts.tolist()


def play(dedupe, events, cuts=()):
    """All events, in runs that end at the cuts and wherever there is no more room."""
    verdicts, at = [], 0
    while at < len(events):
        ends = [cut for cut in cuts if cut > at] + [len(events), at + dedupe.room]
        verdicts += judge(dedupe, events[at : min(ends)])
        at = min(ends)
    return verdicts


def restarted(dedupe, horizon_ms, max_ids, ledger, clock_ms):
    """The same after its entries were written, lost and read again."""
    for key, value in dedupe.drain(clock_ms):
        if value is None:
            del ledger[key]
        else:
            ledger[key] = value
    other = Dedupe(horizon_ms, max_ids)
    other.load(dedupe.state(), ledger.items())
    return other


@dataclass
class Model:
    """The same with a dict, and no bound."""

    horizon_ms: int
    seen: dict[str, int] = field(default_factory=dict)

    def judge(self, name, at_ms, clock_ms):
        oldest = clock_ms - self.horizon_ms
        if at_ms < oldest:
            return UNCHECKED
        if self.seen.get(name, oldest - 1) >= oldest:
            return DUPLICATE
        self.seen[name] = at_ms
        return FRESH


def test_an_id_counts_once_within_the_horizon_to_the_millisecond():
    for clock_ms, expected in ((T0 + 1_000, DUPLICATE), (T0 + 1_001, FRESH)):
        dedupe = Dedupe(1_000, 1_600)
        assert judge(dedupe, [("a", T0, T0)]) == [FRESH]
        assert judge(dedupe, [("a", clock_ms, clock_ms)]) == [expected]


def test_what_is_older_than_the_horizon_cannot_be_checked():
    dedupe = Dedupe(1_000, 1_600)
    old, edge = ("a", T0 - 1_001, T0), ("b", T0 - 1_000, T0)
    assert judge(dedupe, [old, edge]) == [UNCHECKED, FRESH]
    assert judge(dedupe, [old, edge]) == [UNCHECKED, DUPLICATE]
    assert len(dedupe) == 1


def test_repeats_inside_a_run_are_duplicates_of_what_is_counted_there():
    events = [("a", T0, T0), ("b", T0, T0), ("a", T0 + 5, T0 + 5), ("a", T0, T0 + 5)]
    assert judge(Dedupe(1_000, 1_600), events) == [FRESH, FRESH, DUPLICATE, DUPLICATE]


def test_a_repeat_is_fresh_where_the_first_has_left_the_horizon_within_the_run():
    events = [("a", T0, T0), ("a", T0 + 1_001, T0 + 1_001), ("a", T0 + 2_001, T0 + 2_001)]
    assert judge(Dedupe(1_000, 1_600), events) == [FRESH, FRESH, DUPLICATE]


def test_the_horizon_held_shrinks_by_the_oldest_sixteenth():
    dedupe = Dedupe(1_000_000, 160)
    events = [(f"e{n}", T0 + n, T0 + n) for n in range(160)]
    assert play(dedupe, events[:159]) == [FRESH] * 159
    assert dedupe.held_ms(T0 + 158) == 1_000_000
    play(dedupe, events[159:])
    assert dedupe.held_ms(T0 + 159) == 159 - 9  # the first ten are gone
    clock_ms = T0 + 159
    again = [(f"e{n}", T0 + n, clock_ms) for n in (0, 9, 10, 159)]
    assert play(dedupe, again) == [UNCHECKED, UNCHECKED, DUPLICATE, DUPLICATE]
    assert play(dedupe, [("new", T0 + 9, clock_ms)]) == [UNCHECKED]


@pytest.mark.parametrize("max_ids", [1, 16, 100, 2_000, 200_000])
def test_ids_and_memory_are_bounded(max_ids):
    dedupe = Dedupe(10**9, max_ids)
    for block in range(40):
        events = [(f"{block}-{n}", T0 + block, T0 + block) for n in range(max(50, max_ids // 8))]
        play(dedupe, events)
        list(dedupe.drain(T0 + block))
        assert len(dedupe) <= max_ids + max_ids // 8 + max(50, max_ids // 8)
    held = sum(table.nbytes for table in dedupe._tables)
    assert held <= 6 * max(3 << 16, 5 * max_ids)


def test_ids_take_about_32_bytes_each_when_as_many_are_held_as_may_be():
    most, at_ms = 500_000, T0
    dedupe, rng = Dedupe(10**9, most), np.random.default_rng(1)
    for _ in range(3 * most // 5_000):
        hashes = rng.integers(1, 2**64, min(5_000, dedupe.room), np.uint64)
        at_ms += 1
        dedupe.remember(hashes, np.full(len(hashes), at_ms))
        entries = sum(len(raw) for _, raw in dedupe.drain(at_ms) if raw)
        assert entries == 16 * len(hashes)
    tables = sum(table.nbytes for table in dedupe._tables)
    assert tables / len(dedupe) + 16 <= 36


def table_of(rounds, rng, *, rivals):
    """A table and its log, filled in rounds, with what is to be found in it."""
    log, held = IdLog(), {}
    table = IdTable(log, 1 << 14, 0)
    for _ in range(rounds):
        hashes = rng.integers(1, 2**64, 400, np.uint64)
        if rivals:  # all want one bucket, and some have one tag too
            hashes[:60] = np.uint64(7 << 52) + np.arange(60, dtype=np.uint64) * np.uint64(1 << 14)
        log.append(hashes, np.full(400, 5))
        table.insert(hashes, log.end - 400)
        held.update({h: log.end - 400 + i for i, h in enumerate(hashes.tolist())})
    return table, held


@pytest.mark.parametrize("rivals", [False, True])
def test_the_table_finds_what_was_put_in_last_and_nothing_else(rivals):
    rng = np.random.default_rng(7)
    table, held = table_of(12, rng, rivals=rivals)
    assert table.find(np.array(list(held), np.uint64)).tolist() == list(held.values())
    assert (table.find(rng.integers(1, 2**64, 5_000, np.uint64)) == NOWHERE).all()
    assert table.room == (1 << 13) - len(held)


def test_of_equal_ids_in_one_run_the_last_one_stays():
    log = IdLog()
    table = IdTable(log, 1 << 14, 0)
    hashes = np.array([9, 9, 1 << 60, 9], np.uint64)
    log.append(hashes, np.arange(4))
    table.insert(hashes, 0)
    assert table.find(np.array([9, 1 << 60, 8], np.uint64)).tolist() == [3, 2, NOWHERE]


def test_an_id_that_left_the_log_is_not_known_and_may_come_again():
    log = IdLog()
    table = IdTable(log, 1 << 14, 0)
    one = np.array([77], np.uint64)
    log.append(one, np.array([1]))
    table.insert(one, 0)
    log.seal()
    log.drop(1)
    assert table.find(one).tolist() == [NOWHERE]
    log.append(one, np.array([2]))
    table.insert(one, 1)
    assert table.find(one).tolist() == [1]


def test_what_was_drained_survives_a_restart_and_what_was_not_does_not():
    dedupe, ledger = Dedupe(1_000, 160), dict[bytes, bytes]()
    play(dedupe, [("a", T0, T0)])
    dedupe = restarted(dedupe, 1_000, 160, ledger, T0)
    state = dedupe.state()
    play(dedupe, [("b", T0 + 1, T0 + 1)])
    lost = Dedupe(1_000, 160)
    lost.load(state, ledger.items())
    assert play(lost, [("a", T0, T0 + 1), ("b", T0 + 1, T0 + 1)]) == [DUPLICATE, FRESH]


def test_entries_leave_the_ledger_with_the_horizon():
    dedupe, ledger = Dedupe(1_000, 160), dict[bytes, bytes]()
    for n in range(30):
        at_ms = T0 + n * 100
        play(dedupe, [(f"e{n}", at_ms, at_ms)])
        restarted(dedupe, 1_000, 160, ledger, at_ms)
        assert len(ledger) <= 12


_EVENTS = st.lists(
    st.tuples(
        st.sampled_from("abcdef"),
        st.sampled_from([-1_001, -1_000, -999, -500, -1, 0, 0, 0, 1, 200]),
        st.sampled_from([0, 0, 1, 10, 500, 999, 1_000, 1_001]),
    ),
    max_size=40,
)


def _log(steps):
    """(id, event time around the clock, clock that only grows)."""
    clock_ms, log = T0, []
    for name, off_ms, step_ms in steps:
        clock_ms += step_ms
        log.append((name, clock_ms + off_ms, clock_ms))
    return log


@given(steps=_EVENTS, cuts=st.sets(st.integers(1, 39)), restarts=st.sets(st.integers(1, 39)))
def test_verdicts_are_those_of_a_dict_however_the_log_is_cut_or_the_owner_changes(
    steps, cuts, restarts
):
    log, model = _log(steps), Model(1_000)
    expected = [model.judge(*event) for event in log]
    dedupe, ledger = Dedupe(1_000, 16_000), dict[bytes, bytes]()
    verdicts, at = list[int](), 0
    for end in sorted({*cuts, *restarts, len(log)}):
        if at < end <= len(log):
            verdicts += play(dedupe, log[at:end])
            at = end
            if end in restarts:
                dedupe = restarted(dedupe, 1_000, 16_000, ledger, log[end - 1][2])
    assert verdicts == expected


@given(
    count=st.integers(1, 120),
    repeats=st.lists(st.integers(0, 119), max_size=20),
    cuts=st.sets(st.integers(1, 140)),
    max_ids=st.sampled_from([1, 17, 32, 50]),
)
def test_the_horizon_held_shrinks_along_the_log_wherever_it_is_cut(count, repeats, cuts, max_ids):
    log = [(f"e{n}", T0 + n, T0 + n) for n in range(count)]
    log += [(f"e{n}", T0 + n, T0 + count) for n in repeats if n < count]
    one, other = Dedupe(10**6, max_ids), Dedupe(10**6, max_ids)
    assert play(other, log, sorted(cuts)) == play(one, log)
    assert (other.state(), other.held_ms(T0 + 200)) == (one.state(), one.held_ms(T0 + 200))
