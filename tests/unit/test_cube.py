"""The cube: roll-up into every size, retention, the cap of label sets, totals, expiry."""

from itertools import islice
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.buckets import RETENTION_MS, Calendar, Size
from stream.core.catalogue import CLICKS, NOT_SET, OTHER
from stream.core.cells import (
    SPAN_LABEL,
    add,
    cell_key,
    decode_cell,
    decode_span,
    encode_cell,
    label_key,
    parse_cell_key,
    parse_label_key,
)
from stream.core.cube import Cube
from stream.core.names import Names
from stream.core.table import Table

NOW = 1_760_000_003_000
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
SIZES = (Size.S10, Size.M1, Size.H1, Size.D1)
X, Y, Z = ("x", "e", "A"), ("y", "e", "A"), ("z", "e", "A")


def cube_of(max_labels=100, zone="UTC"):
    table = Table()
    return Cube(CLICKS, Calendar(zone), table, max_labels), table


def count(cube, at_ms, names, values, sign=1, **where):
    """Count a map of fields in the buckets around an instant."""
    put(cube.tally, [at_ms // 10_000], cube.label(names), values, sign, **where)


def put(into, slots, label, values, sign=1, **where):
    fields, amounts = (np.array(list(column)) for column in (values, values.values()))
    columns = [np.repeat(part, len(fields)) for part in (*slots, label)]
    into(*columns, fields, sign * amounts, **where)


def rows(table):
    return {
        parse_cell_key(key): decode_cell(value) for key, value in table.items() if key[:1] == b"c"
    }


def sizes(table):
    return {size for size, _, _ in rows(table)}


def test_an_instant_is_counted_in_the_bucket_around_it_in_every_size():
    cube, table = cube_of()
    label = cube.label(X)
    count(cube, NOW, X, {0: 2})
    count(cube, NOW + 1, X, {0: 1, 1: 5})
    cube.roll(NOW)
    expected: dict = {
        (size, Calendar().start(size, NOW), label): ({0: 3, 1: 5}, {}) for size in SIZES
    }
    assert rows(table) == expected


@pytest.mark.parametrize("cut", range(7))
def test_a_bucket_knows_the_first_and_the_last_offset_of_its_records(cut):
    cube, table = cube_of()
    slot = NOW // 10_000
    slots = np.array([slot, slot + 1, slot, slot + 1, slot, slot])
    offsets = np.array([3, 4, 6, 7, 9, 12])
    for part in (slice(0, cut), slice(cut, None)):
        cube.spans(slots[part], offsets[part])
        if cut % 2:
            cube.roll(NOW)
    cube.roll(NOW)
    found = {
        parse_cell_key(key)[1] // 10_000: decode_span(value)
        for key, value in table.items()
        if parse_cell_key(key)[0] == Size.S10
    }
    assert found == {slot: (3, 12), slot + 1: (4, 7)}
    hour = cell_key(Size.H1, NOW - NOW % HOUR, SPAN_LABEL)
    assert decode_span(dict(table.items())[hour]) == (3, 12)


def test_neighbouring_buckets_do_not_mix():
    cube, table = cube_of()
    start_ms = NOW - NOW % 10_000
    for at_ms in (start_ms - 1, start_ms, start_ms + 9_999, start_ms + 10_000):
        count(cube, at_ms, X, {0: 1})
    cube.roll(NOW)
    tens = {start: live[0] for (size, start, _), (live, _) in rows(table).items() if size == 1}
    assert tens == {start_ms - 10_000: 1, start_ms: 2, start_ms + 10_000: 1}


def test_a_day_is_that_of_the_time_zone():
    cube, table = cube_of(zone="Asia/Kolkata")
    count(cube, NOW, X, {0: 1})
    cube.roll(NOW)
    [start_ms] = [start for size, start, _ in rows(table) if size == Size.D1]
    assert start_ms == Calendar("Asia/Kolkata").day(NOW)[0]
    assert start_ms % DAY == 18.5 * HOUR


@pytest.mark.parametrize(
    ("age_ms", "kept"),
    [
        (HOUR, {1, 2, 3, 4}),
        (3 * HOUR, {2, 3, 4}),
        (3 * DAY, {3, 4}),
        (100 * DAY, {4}),
        (6 * 366 * DAY, set()),
    ],
)
def test_what_is_older_than_a_sizes_retention_goes_to_the_coarser_ones(age_ms, kept):
    cube, table = cube_of()
    count(cube, NOW - age_ms, X, {0: 1})
    cube.roll(NOW)
    assert sizes(table) == kept


def test_a_bucket_leaves_with_all_its_cells_when_its_retention_is_over():
    cube, table = cube_of()
    for values in (X, Y):
        count(cube, NOW, values, {0: 1})
    put(cube.total, [], cube.label(X), {0: 1})
    cube.roll(NOW)
    assert len(rows(table)) == 9
    for number, size in enumerate(SIZES):
        end_ms = Calendar().end(size, Calendar().start(size, NOW))
        cube.roll(end_ms + RETENTION_MS[size] - 1)
        assert size in sizes(table)
        cube.roll(end_ms + RETENTION_MS[size])
        assert size not in sizes(table)
        assert len(rows(table)) == 9 - 2 * (number + 1)
    assert sizes(table) == {Size.ALL}
    assert {key for key, _ in table.items() if key[:1] == b"l"} == {label_key(0), label_key(1)}


def test_the_offsets_of_a_bucket_leave_with_it():
    cube, table = cube_of()
    cube.spans(np.array([NOW // 10_000]), np.array([7]))
    cube.roll(NOW)
    assert sizes(table) == set(Size)
    cube.roll(NOW + 3 * HOUR)
    assert sizes(table) == {0, 2, 3, 4}
    cube.roll(NOW + 6 * 366 * DAY)
    assert sizes(table) == {Size.ALL}


def test_buckets_expire_after_a_restart_too():
    cube, table = cube_of()
    count(cube, NOW, X, {0: 1})
    cube.roll(NOW)
    again = Cube(CLICKS, Calendar(), table, 100)
    again.load([(0, msgspec.msgpack.encode(X))], [k for k, _ in table.items() if k[:1] == b"c"])
    assert (again.label(X), again.labels) == (0, 1)
    again.roll(NOW + 3 * HOUR)
    assert sizes(table) == {2, 3, 4}
    again.roll(NOW + 6 * 366 * DAY)
    assert rows(table) == {}


def test_a_cell_that_comes_to_nothing_leaves():
    cube, table = cube_of()
    count(cube, NOW, X, {0: 1, 4: 2})
    cube.roll(NOW)
    count(cube, NOW, X, {0: 1, 4: 2}, -1)
    cube.roll(NOW)
    assert rows(table) == {}


def test_what_comes_to_nothing_at_once_is_no_cell():
    cube, table = cube_of()
    label = cube.label(X)
    for sign in (1, -1):
        count(cube, NOW, X, {0: 1, 4: 2}, sign)
        put(cube.moment, [NOW // 10_000], label, {2: 1}, sign)
        put(cube.total, [], label, {0: 7}, sign)
    cube.roll(NOW)
    assert rows(table) == {}
    count(cube, NOW, X, {0: 1})
    put(cube.moment, [NOW // 10_000], label, {0: 1}, -1)
    cube.roll(NOW)
    assert sizes(table) == {Size.M1, Size.H1, Size.D1}


def test_live_and_settled_are_counted_apart():
    cube, table = cube_of()
    count(cube, NOW, X, {0: 3})
    count(cube, NOW, X, {0: 1}, settled=True)
    cube.roll(NOW)
    assert set(map(str, rows(table).values())) == {"({0: 3}, {0: 1})"}


def test_a_moment_is_counted_in_ten_seconds_alone():
    cube, table = cube_of()
    put(cube.moment, [NOW // 10_000], cube.label(X), {0: 1})
    cube.roll(NOW)
    assert sizes(table) == {Size.S10}


def test_totals_have_one_bucket_without_end_and_only_grow():
    cube, table = cube_of()
    label = cube.label(X)
    for at_ms in (NOW, NOW + 400 * DAY):
        put(cube.total, [], label, {0: 2})
        cube.roll(at_ms)
    assert rows(table) == {(Size.ALL, 0, label): ({0: 4}, {})}


@pytest.mark.parametrize("roll_between", [False, True])
def test_many_events_at_once_are_counted_as_one_by_one(roll_between):
    slot = NOW // 10_000
    cube, table = cube_of()
    labels = np.array([cube.label(X), cube.label(Y), cube.label(X), cube.label(X)])
    slots = np.array([slot, slot, slot + 1, slot])
    columns: list[tuple[Any, Any, bool]] = [
        (np.array([0, 1, 0, 0]), None, True),
        (2, np.array([1 << 62, -5, 7, 1 << 62]), True),
        (3, None, False),
    ]
    for fields, amounts, total in columns:
        cube.tally(slots, labels, fields, amounts, total=total)
        if roll_between:
            cube.roll(NOW)
    cube.roll(NOW)
    alone, other = cube_of()
    assert [alone.label(names) for names in (X, Y)] == [0, 1]
    for fields, amounts, total in columns:
        for n, (at, label) in enumerate(zip(slots.tolist(), labels.tolist(), strict=True)):
            field = fields if isinstance(fields, int) else int(fields[n])
            values = {field: 1 if amounts is None else int(amounts[n])}
            put(alone.tally, [at], label, values)
            if total:
                put(alone.total, [], label, values)
    alone.roll(NOW)
    assert rows(table) == rows(other)


def test_names_keep_their_numbers_and_labels_however_many_there_are():
    names, (cube, _) = Names(), cube_of(max_labels=1_000)
    every = [(f"c{n}", None, "A") for n in range(300)]
    codes = np.array([names.code(one) for one in every])
    assert codes.tolist() == [names.code(one) for one in every] == list(range(300))
    labels = names.labels(codes[::-1][:200], cube).tolist()
    assert [cube.names(label) for label in labels] == [(c, NOT_SET, "A") for c, *_ in every[:99:-1]]
    assert names.labels(codes[150:], cube).tolist() == labels[149::-1]
    assert cube.labels == 200


def test_beyond_the_cap_label_sets_are_counted_as_other():
    cube, table = cube_of(max_labels=2)
    assert [cube.label(values) for values in (X, Y, Z, ("w",) * 3, Z, X)] == [0, 1, 2, 2, 2, 0]
    assert cube.labels == 3
    stored = {
        parse_label_key(key): tuple(msgspec.msgpack.decode(value)) for key, value in table.items()
    }
    assert stored == {0: X, 1: Y, 2: (OTHER,) * 3}


_COUNTS = st.lists(
    st.tuples(
        st.integers(0, 3 * HOUR),  # how long before the clock
        st.sampled_from([X, Y]),
        st.integers(1, 3),
        st.sampled_from([1, -1]),
        st.integers(0, 40 * MINUTE),  # how far the clock goes on
    ),
    max_size=25,
)


@given(_COUNTS, st.dictionaries(st.integers(0, 24), st.none() | st.integers(1, 9)))
def test_it_does_not_matter_when_it_rolls_nor_whether_a_roll_is_finished(counts, rolls):
    """`rolls` says after which counts it rolls, and how many pieces of that; None: all."""
    one, table = cube_of()
    other, other_table = cube_of()
    rolling = iter(())
    clock_ms = NOW
    for number, (age_ms, values, n, sign, step_ms) in enumerate(counts):
        clock_ms += step_ms
        for cube in (one, other):
            count(cube, clock_ms - age_ms, values, {0: n}, sign)
        if number in rolls:
            if rolls[number] is None or next(rolling, rolling) is rolling:
                rolling = other.rolling(clock_ms)
            for _ in islice(rolling, rolls[number]):
                pass
    one.roll(clock_ms)
    other.roll(clock_ms)
    assert rows(other_table) == rows(table)


# --- cells ---------------------------------------------------------------------------------------

_BIG = st.integers(-(10**30), 10**30)
_VALUES = st.dictionaries(st.integers(0, 20_000), st.integers(-(2**63), 2**63) | _BIG, max_size=4)


@given(_VALUES, _VALUES, st.booleans())
def test_a_cell_reads_back_however_large_its_sums(live, settled, equal):
    settled = dict(live) if equal else settled
    found = decode_cell(encode_cell(live, settled))
    assert found == (
        {i: n for i, n in live.items() if n},
        {i: n for i, n in settled.items() if n},
    )
    add(found[0], {0: 1})  # the two are the caller's own
    assert found[1] == {i: n for i, n in settled.items() if n}


def test_a_settled_cell_takes_no_room_twice():
    live = dict.fromkeys(range(12), 1)
    assert len(encode_cell(live, live)) == len(encode_cell(live, {})) + 1


@given(
    st.integers(0, 4), st.integers(-(2**62), 2**62), st.integers(0, 2**32 - 1), st.integers(0, 5)
)
def test_keys_read_back_and_sort_by_label_within_a_bucket(size, start_ms, label, more):
    key = cell_key(size, start_ms, label)
    assert parse_cell_key(key) == (size, start_ms, label)
    if label + more < 2**32:
        assert cell_key(size, start_ms, label + more) >= key
    assert parse_label_key(label_key(label)) == label
