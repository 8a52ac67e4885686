"""The sketch: within 1 %, nearest rank, values can be taken back. `ddsketch` is the oracle."""

import math

import numpy as np
import pytest
from ddsketch import DDSketch
from hypothesis import given
from hypothesis import strategies as st

from stream.core.cells import add
from stream.core.sketch import (
    ACCURACY,
    FIRST_BIN,
    bin_index,
    bin_indexes,
    bins,
    percentiles,
    representative,
)

DURATIONS = st.integers(0, 400 * 86_400_000)


def sketch_of(values, number=0):
    cell: dict[int, int] = {}
    for value in values:
        add(cell, {bin_index(number, value): 1})
    return cell


def nearest_rank(values, percent):
    return sorted(values)[max(1, math.ceil(percent * len(values) / 100)) - 1]


@given(st.integers(1, 10**14))
def test_a_value_is_told_within_one_percent(value_ms):
    told = representative(bin_index(0, value_ms) - FIRST_BIN)
    assert abs(told - value_ms) <= ACCURACY * value_ms * (1 + 1e-9)


@given(st.integers(1, 10**14))
def test_a_value_is_in_the_bin_that_its_logarithm_says(value_ms):
    gamma = (1 + ACCURACY) / (1 - ACCURACY)
    number = 1 + math.floor(math.log(value_ms) / math.log(gamma))
    assert bin_index(0, value_ms) == FIRST_BIN + number


@given(st.integers(0, 2), st.lists(st.integers(-10, 10**14)))
def test_many_values_have_the_bins_that_each_has(sketch, values):
    found = bin_indexes(sketch, np.array(values, np.int64))
    assert found.tolist() == [bin_index(sketch, value) for value in values]


def test_nothing_and_less_is_nothing():
    assert representative(bin_index(0, 0) - FIRST_BIN) == 0
    assert bin_index(0, -5) == bin_index(0, 0)


@given(st.integers(0, 10**13), st.integers(0, 10**13))
def test_bins_are_in_the_order_of_their_values(a, b):
    if a <= b:
        assert bin_index(0, a) <= bin_index(0, b)


@given(st.lists(DURATIONS, min_size=1, max_size=80))
def test_percentiles_are_nearest_rank_within_one_percent(values):
    told = percentiles(bins(0, sketch_of(values)), (50, 90, 100))
    for percent, found in zip((50, 90, 100), told, strict=True):
        assert found == pytest.approx(nearest_rank(values, percent), rel=0.010_001, abs=0.5)


def test_the_rank_is_rounded_up():
    values = [1_000, 2_000, 3_000, 4_000, 5_000, 6_000, 7_000, 8_000, 9_000, 90_000]
    p50, p90 = percentiles(bins(0, sketch_of(values)), (50, 90))
    assert p50 == pytest.approx(5_000, rel=0.01)
    assert p90 == pytest.approx(9_000, rel=0.01)
    assert percentiles(bins(0, sketch_of(values[:3])), (50,))[0] == pytest.approx(2_000, rel=0.01)


def test_of_nothing_there_is_no_percentile():
    assert percentiles({}, (50, 90)) == [None, None]


@given(st.lists(DURATIONS, max_size=40), st.lists(DURATIONS, max_size=40))
def test_what_is_taken_back_leaves_no_trace(kept, gone):
    cell = sketch_of([*kept, *gone])
    for value in gone:
        add(cell, {bin_index(0, value): -1})
    assert cell == sketch_of(kept)


@given(st.lists(DURATIONS, max_size=40), st.lists(DURATIONS, max_size=40))
def test_merging_is_adding(a, b):
    cell = sketch_of(a)
    add(cell, sketch_of(b))
    assert cell == sketch_of([*a, *b])


def test_sketches_of_one_cell_do_not_meet():
    cell = sketch_of([1, 10**13], 0)
    add(cell, sketch_of([5, 5], 1))
    add(cell, {3: 7})
    assert sum(bins(0, cell).values()) == 2
    assert sum(bins(1, cell).values()) == 2
    assert bins(2, cell) == {}


@given(st.lists(st.integers(1, 10**10), min_size=1, max_size=200))
def test_ddsketch_says_the_same(values):
    oracle = DDSketch(relative_accuracy=ACCURACY)
    for value in values:
        oracle.add(value)
    told = percentiles(bins(0, sketch_of(values)), (50, 90))
    for percent, found in zip((50, 90), told, strict=True):
        rank = math.ceil(percent * len(values) / 100) - 1
        quantile = rank / (len(values) - 1) if len(values) > 1 else 0.5
        # both are within 1 % of the same value, unless the oracle rounds to the rank beside it
        beside = sorted(values)[max(0, rank - 1) : rank + 2]
        theirs = oracle.get_quantile_value(quantile)
        assert theirs is not None
        assert min(beside) * 0.99 <= theirs * 1.000_001
        assert theirs <= max(beside) * 1.010_001
        assert found == pytest.approx(nearest_rank(values, percent), rel=0.010_001)
        if len(set(beside)) == 1:
            assert found == pytest.approx(theirs, rel=0.020_3)
