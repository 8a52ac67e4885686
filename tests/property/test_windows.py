"""Laws of the view's sums: however cells change and clocks move, a sum is a sum."""

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from stream.core.buckets import EPOCH_MAX_MS, WINDOWS_MS, Calendar, Size
from stream.core.catalogue import LIVE, SESSIONS, SETTLED, TICKETS
from stream.core.cells import Values, add, encode_cell
from stream.core.sketch import FIRST_BIN
from stream.live.cover import FINE_TO_COARSE, Shelf, cover
from stream.live.store import Picture, Store
from stream.live.vectors import Labels, Lanes, Maps, algebra_of
from stream.live.windows import Windows, grain, summed, window_bounds

NOW_MS = 1_743_200_400_000  # an hour before the day on which Berlin's clocks change
LABELS: list[Labels] = [("a", "x", "1"), ("a", "y", "1"), ("b", "x", "2")]
HUGE = 10**18

values = st.dictionaries(st.integers(0, 18), st.integers(-HUGE, HUGE).filter(bool), max_size=4)


# --- vectors -------------------------------------------------------------------------------------


@given(values, values, st.sampled_from([Lanes(19), Maps()]))
def test_a_vector_is_its_fields(a: Values, b: Values, algebra: Any) -> None:
    summed_up, taken_away = dict(a), dict(a)
    add(summed_up, b)
    add(taken_away, b, -1)
    one, other = algebra.pack(dict(a)), algebra.pack(dict(b))
    assert algebra.unpack(one) == a
    assert algebra.unpack(algebra.plus(one, other)) == summed_up
    assert algebra.unpack(algebra.minus(one, other)) == taken_away
    assert bool(algebra.minus(one, one)) is False
    assert algebra.unpack(algebra.total([one, other, one])) == {
        i: 2 * a.get(i, 0) + b.get(i, 0)
        for i in a.keys() | b.keys()
        if 2 * a.get(i, 0) + b.get(i, 0)
    }


# --- windows -------------------------------------------------------------------------------------

places = st.sampled_from(
    [
        (size, start)
        for size, width in ((1, 10_000), (2, 60_000), (3, 3_600_000), (4, 86_400_000))
        for step in (*range(-4, 3), -7, -31)
        for start in [(NOW_MS // width + step) * width]
    ]
)
cells = st.one_of(st.none(), st.tuples(values, values))
writes = st.tuples(st.just("write"), st.integers(0, 2), places, st.integers(0, 2), cells)
moves = st.tuples(
    st.just("move"),
    st.one_of(
        st.integers(-100_000, 100_000),
        st.sampled_from([-86_400_000, -60_000, 10_000, 300_000, 3_600_000, 90_000_000]),
    ),
)
looks = st.tuples(
    st.just("look"),
    st.sampled_from(sorted(WINDOWS_MS.values())),
    st.sampled_from([LIVE, SETTLED]),
    st.integers(0, 4_000_000),
)
reloads = st.tuples(st.just("reload"), st.integers(0, 2), st.booleans())


class Model:
    """All cells as they should be, by partition, bucket and label set."""

    def __init__(self) -> None:
        self.cells: dict[tuple[int, tuple[int, int], Labels], tuple[Values, Values]] = {}

    def sums(self, size: int, from_ms: int, to_ms: int, state: str) -> dict[Labels, Values]:
        sums: dict[Labels, Values] = {}
        for (_, (held, start), labels), cell in self.cells.items():
            if held == size and from_ms <= start < to_ms:
                add(sums.setdefault(labels, {}), cell[0 if state == LIVE else 1])
        return {labels: fields for labels, fields in sums.items() if fields}

    def picture(self, partition: int, first_id: int) -> Picture:
        """One partition's cells, with label ids from a number on."""
        picture = Picture()
        picture.learn(
            [(_id(first_id + i), msgspec.msgpack.encode(v)) for i, v in enumerate(LABELS)]
        )
        for (owner, place, labels), cell in self.cells.items():
            if owner == partition:
                label = _id(first_id + LABELS.index(labels))
                picture.put(place, [(label, encode_cell(*cell))])
        return picture


def _id(number: int) -> bytes:
    return number.to_bytes(4, "big")


@given(st.lists(st.one_of(writes, writes, moves, looks, looks, reloads), max_size=60))
def test_sliding_sums_equal_summing_again(steps: list[Any]) -> None:
    asyncio.run(_slide(steps))


async def _slide(steps: list[Any]) -> None:
    store, model, first_ids, now_ms = Store(algebra_of(SESSIONS)), Model(), [0, 0, 0], NOW_MS
    windows = Windows(store)
    for partition in range(3):
        await store.replace(partition, model.picture(partition, 0))
    shelf = Shelf(Calendar(), NOW_MS)
    for step in steps:
        if step[0] == "write":
            _, partition, place, label, cell = step
            key = (partition, place, LABELS[label])
            raw = b"" if cell is None else encode_cell(*cell)
            if cell is None:
                model.cells.pop(key, None)
            else:
                model.cells[key] = cell
            store.write(partition, [], [(place, [(_id(first_ids[partition] + label), raw)])])
        elif step[0] == "move":
            now_ms += step[1]
        elif step[0] == "reload":
            _, partition, renamed = step
            first_ids[partition] += 5 if renamed else 0
            store.settle()
            await store.replace(partition, model.picture(partition, first_ids[partition]))
        else:
            _, window_ms, state, behind_ms = step
            store.settle()
            limit_ms = EPOCH_MAX_MS if state == LIVE else now_ms - behind_ms
            bounds = window_bounds(shelf, window_ms, now_ms, limit_ms)
            window = windows.at((window_ms, state, ""), bounds)
            wanted = model.sums(bounds.size, bounds.from_ms, bounds.to_ms, state)
            assert window.sums == wanted
            assert summed(store, bounds, state) == wanted


@given(
    st.lists(
        st.tuples(
            st.integers(0, 1),
            st.integers(0, 2),
            st.dictionaries(
                st.sampled_from([0, 3, FIRST_BIN, FIRST_BIN + 5_000]), st.integers(1, 9)
            ),
        ),
        max_size=30,
    )
)
def test_sketches_are_added_up_like_all_else(steps: list[Any]) -> None:
    store, held = Store(algebra_of(TICKETS)), dict[tuple[int, int], Values]()
    for partition in range(2):
        picture = Picture()
        picture.learn([(_id(i), msgspec.msgpack.encode(("c", f"t{i}"))) for i in range(3)])
        asyncio.run(store.replace(partition, picture))
    for partition, label, fields in steps:
        raw = encode_cell(fields, fields) if fields else b""
        store.write(partition, [], [((1, 0), [(_id(label), raw)])])
        held[partition, label] = fields
    store.settle()
    for label in range(3):
        wanted: Values = {}
        for partition in range(2):
            add(wanted, held.get((partition, label), {}))
        nothing: tuple[Mapping[int, int], Mapping[int, int]] = ({}, {})
        assert store.bucket(1, 0).get(("c", f"t{label}"), nothing) == (wanted, wanted)


# --- bounds --------------------------------------------------------------------------------------

zones = st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kolkata", "Australia/Lord_Howe"])
instants = st.one_of(
    st.integers(NOW_MS - 8 * 366 * 86_400_000, NOW_MS + 3 * 86_400_000),
    st.builds(
        lambda width, ago, off: (NOW_MS // width - ago) * width + off,
        st.sampled_from([10_000, 60_000, 1_800_000, 3_600_000, 86_400_000]),
        st.integers(-3, 3_000),
        st.sampled_from([0, 0, 1, -1]),
    ),
)


@given(zones, instants, instants, st.one_of(st.none(), instants))
def test_a_cover_is_whole_kept_buckets_around_what_was_asked(
    zone: str, a: int, b: int, limit_ms: int | None
) -> None:
    shelf, from_ms, to_ms = Shelf(Calendar(zone), NOW_MS), min(a, b), max(a, b)
    limit = EPOCH_MAX_MS if limit_ms is None else limit_ms
    found = cover(shelf, from_ms, to_ms, limit_ms=limit)
    assert found.from_ms <= found.to_ms <= max(limit, found.from_ms)
    if from_ms < to_ms <= shelf.floor(limit):
        assert found.from_ms <= from_ms
        assert found.to_ms >= to_ms or found.to_ms > limit - 86_400_000 * 1.1
    at = max(found.from_ms, shelf.oldest_ms)
    for size, start_ms in found.pieces:
        assert start_ms == at == shelf.calendar.start(size, start_ms)
        at = shelf.calendar.end(size, start_ms)
        assert shelf.kept(size, at)
    assert not found.pieces or at == min(found.to_ms, at) <= found.to_ms
    if found.pieces:
        assert at >= min(found.to_ms, shelf.beyond_ms)


@given(zones, st.integers(1, 1_800), st.integers(1, 60))
def test_whole_days_are_read_by_day_and_never_widened(zone: str, ago: int, days: int) -> None:
    shelf = Shelf(Calendar(zone), NOW_MS)
    from_ms = shelf.calendar.day(NOW_MS - ago * 86_400_000)[0]
    to_ms = from_ms
    for _ in range(days):
        to_ms = shelf.calendar.day(to_ms)[1]
    found = cover(shelf, from_ms, to_ms)
    assert (found.from_ms, found.to_ms) == (from_ms, to_ms)
    assert {size for size, _ in found.pieces} == {Size.D1}


@given(zones, instants, instants)
def test_what_is_not_kept_fine_enough_is_widened_by_less_than_a_bucket(
    zone: str, a: int, b: int
) -> None:
    shelf, from_ms, to_ms = Shelf(Calendar(zone), NOW_MS), min(a, b), max(a, b)
    found = cover(shelf, from_ms, to_ms)
    if from_ms < to_ms:
        assert from_ms - found.from_ms < 25 * 3_600_000
        assert found.to_ms - to_ms < 25 * 3_600_000
        if from_ms > NOW_MS - 7_000_000:
            assert from_ms - found.from_ms < 10_000


@given(st.sampled_from(sorted(WINDOWS_MS.values())), st.integers(0, 10_000_000))
def test_a_live_window_lies_around_now(window_ms: int, off_ms: int) -> None:
    now_ms, width = NOW_MS + off_ms, {1: 10_000, 2: 60_000, 3: 3_600_000}[grain(window_ms)]
    bounds = window_bounds(Shelf(Calendar(), NOW_MS), window_ms, now_ms)
    assert bounds.to_ms == now_ms // width * width + width
    assert bounds.from_ms == bounds.to_ms - window_ms
    assert bounds.size is FINE_TO_COARSE[grain(window_ms) - 1]


def test_windows_are_read_as_the_design_says() -> None:
    by_name = {name: grain(window_ms) for name, window_ms in WINDOWS_MS.items()}
    assert by_name == {
        **dict.fromkeys(["1m", "5m", "15m", "1h"], Size.S10),
        "24h": Size.M1,
        **dict.fromkeys(["7d", "30d"], Size.H1),
    }
