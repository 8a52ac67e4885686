"""Sums of columns: exact whatever their size and sign, and the same as one by one."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.sums import add_up, halves_sum, numbered
from stream.core.tally import Tally

_KEYS = st.integers(0, 12) | st.integers(0, 1 << 40)
_AMOUNTS = st.integers(-3, 3) | st.sampled_from([1 << 52, -(1 << 52), 1 << 62, -(1 << 62), 10**18])


@given(st.lists(st.tuples(_KEYS, _AMOUNTS), min_size=1))
def test_amounts_of_a_key_are_added_up_exactly_and_what_comes_to_zero_leaves(pairs):
    expected: Counter[int] = Counter()
    for key, amount in pairs:
        expected[key] += amount
    keys, amounts = (np.array(column, np.int64) for column in zip(*pairs, strict=True))
    distinct, sums = add_up(keys, amounts)
    assert list(zip(distinct.tolist(), sums.tolist(), strict=True)) == sorted(
        (key, n) for key, n in expected.items() if n
    )


@given(st.lists(_KEYS, min_size=1))
def test_without_amounts_each_counts_one(keys):
    distinct, sums = add_up(np.array(keys))
    assert dict(zip(distinct.tolist(), sums.tolist(), strict=True)) == Counter(keys)
    assert distinct.tolist() == sorted(set(keys))


def test_sums_may_be_larger_than_any_64_bits():
    distinct, sums = add_up(np.zeros(10, np.int64), np.full(10, 1 << 62))
    assert (distinct.tolist(), sums.tolist()) == ([0], [10 << 62])
    again, more = add_up(np.array([5, 5]), np.array([10 << 62, 1], object))
    assert (again.tolist(), more.tolist()) == ([5], [(10 << 62) + 1])


@given(st.lists(st.integers(-(10**6), 10**6) | st.integers(-50, 50), min_size=1))
def test_numbers_stand_for_the_values_in_order(values):
    distinct, numbers = numbered(np.array(values))
    assert distinct.tolist() == sorted(set(values))
    assert distinct[numbers].tolist() == values


@pytest.mark.parametrize("high", [[3, -3, 0], [1 << 31, -(1 << 31), 1 << 50]])
def test_halves_come_together(high):
    low = [(1 << 32) - 1, 7, 1 << 50]
    found = halves_sum(np.array(low), np.array(high), 32).tolist()
    assert found == [a + (b << 32) for a, b in zip(low, high, strict=True)]


@given(st.lists(st.tuples(st.integers(-5, 5), _KEYS, st.none() | _AMOUNTS), max_size=30))
def test_a_tally_gives_what_was_added_once(events):
    tally, expected = Tally(), Counter[tuple[int, int]]()
    for slot, code, amount in events:
        amounts = None if amount is None else np.array([amount])
        tally.add(np.array([slot]), np.array([code]), amounts)
        expected[slot, code] += 1 if amount is None else amount
    assert bool(tally) == bool(events)
    found: Counter[tuple[int, int]] = Counter()
    for slot, code, n in zip(*(column.tolist() for column in tally.take()), strict=True):
        found[slot, code] += n
    assert {k: n for k, n in found.items() if n} == {k: n for k, n in expected.items() if n}
    assert not tally
    assert not len(tally.take().slots)
