"""Laws of the view's sums: however cells change and clocks move, a sum is a sum."""

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.core.buckets import EPOCH_MAX_MS, WINDOWS_MS, Calendar, Size
from stream.core.catalogue import LIVE, SETTLED
from stream.core.cells import Values, add, encode_cell
from stream.core.sketch import FIRST_BIN
from stream.live.axis import Axis, Counts, Labels, digits_of
from stream.live.cover import FINE_TO_COARSE, Shelf, cover
from stream.live.picture import Picture
from stream.live.store import Store
from stream.live.windows import Windows, grain, summed, window_bounds

NOW_MS = 1_743_200_400_000  # an hour before the day on which Berlin's clocks change
LABELS: list[Labels] = [("a", "x", "1"), ("a", "y", "1"), ("b", "x", "2")]
HUGE = 10**18

values = st.dictionaries(st.integers(0, 18), st.integers(-HUGE, HUGE).filter(bool), max_size=4)


# --- vectors -------------------------------------------------------------------------------------


sums = st.lists(st.tuples(st.sampled_from(LABELS), values), max_size=8)


def total(many: list[tuple[Labels, Values]]) -> dict[Labels, Values]:
    """What cells add up to, one field after the other."""
    found: dict[Labels, Values] = {}
    for labels, fields in many:
        add(found.setdefault(labels, {}), fields)
    return {labels: fields for labels, fields in found.items() if fields}


def counted(axis: Axis, added: list[tuple[Labels, Values]], taken: list[Any] = []) -> Counts:  # noqa: B006
    counts = Counts(axis)
    counts.add(axis.vector(([axis.row(labels)], digits_of(fields)) for labels, fields in added))
    counts.take(axis.vector(([axis.row(labels)], digits_of(fields)) for labels, fields in taken))
    return counts


@given(sums, sums)
def test_counts_are_sums_of_fields_however_large(a: list[Any], b: list[Any]) -> None:
    negative = [(labels, {i: -n for i, n in fields.items()}) for labels, fields in b]
    counts = counted(Axis(), a, b)
    wanted = total([*a, *negative])
    assert counts.maps() == wanted
    for index in range(19):
        by_row = zip(counts.axis.labels, counts.field(index).tolist(), strict=True)
        assert {labels: n for labels, n in by_row if n} == {
            labels: fields[index] for labels, fields in wanted.items() if index in fields
        }
    assert not counted(Axis(), a, a).maps()


dimensions = st.lists(st.integers(0, 2), unique=True, max_size=3).map(tuple)


@given(st.lists(st.tuples(sums, dimensions), max_size=4), dimensions, st.sampled_from(["a", "x"]))
def test_groups_kept_on_a_growing_axis_are_groups_made_anew(
    steps: list[Any], by: tuple[int, ...], kept: str
) -> None:
    axis, every = Axis(), list[tuple[Labels, Values]]()
    held = Counts(axis)
    for more, also_by in steps:
        every += more
        held.add(axis.vector(([axis.row(labels)], digits_of(fields)) for labels, fields in more))
        axis.fold(also_by)
        for positions in (by, also_by, ()):
            groups = [(tuple(labels[i] for i in positions), fields) for labels, fields in every]
            assert held.fold(positions).maps() == total(groups)
        chosen = [(labels[1:2], fields) for labels, fields in every if labels[0] == kept]
        mask = axis.where({0: frozenset((kept,))})
        assert held.fold((1,), mask).maps() == total(chosen)
        vector = axis.vector(([axis.row(labels)], digits_of(fields)) for labels, fields in every)
        assert axis.fold(by).sum(vector).maps() == held.fold(by).maps()


# --- windows -------------------------------------------------------------------------------------

_EDGES = {  # buckets back from now at which a window of this size begins
    (1, 10_000): (0, 6, 30, 90, 360),
    (2, 60_000): (0, 1_440),
    (3, 3_600_000): (0, 168, 720),
    (4, 86_400_000): (0,),
}
places = st.sampled_from(
    [
        (size, (NOW_MS // width - edge + near) * width)
        for (size, width), edges in _EDGES.items()
        for edge in edges
        for near in range(-1, 4)
    ]
)
cells = st.one_of(st.none(), st.tuples(values, values))
writes = st.tuples(st.just("write"), st.integers(0, 2), places, st.integers(0, 2), cells)
moves = st.tuples(
    st.just("move"),
    st.sampled_from([10_000, 20_000, 60_000, 3_600_000, 7_000_000, 10**10, 1]),
    st.sampled_from([1, 1, -1]),
)
limits = st.tuples(st.just("limit"), st.sampled_from([0, 15_000, 70_000, 3_550_000]))
reloads = st.tuples(st.just("reload"), st.integers(0, 2), st.booleans(), st.lists(places))


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
        buckets: dict[tuple[int, int], dict[bytes, bytes]] = {}
        for (owner, place, labels), cell in self.cells.items():
            if owner == partition:
                label = _id(first_id + LABELS.index(labels))
                buckets.setdefault(place, {})[label] = encode_cell(*cell)
        for number, (place, cells) in enumerate(buckets.items()):
            pairs = list(cells.items())
            if number % 3:
                picture.take_bucket(place, cells)
            picture.put(place, pairs if number % 3 == 0 else pairs[: number % 2])
        return picture


def _id(number: int) -> bytes:
    return number.to_bytes(4, "big")


@settings(deadline=None)
@given(
    st.lists(writes, min_size=8, max_size=16),
    st.lists(st.one_of(writes, writes, moves, moves, limits, reloads), max_size=16),
)
def test_sliding_sums_equal_summing_again(first: list[Any], then: list[Any]) -> None:
    asyncio.run(Slide().run([*first, *then]))


class Slide:
    """A store with all its windows, and the model beside them."""

    def __init__(self) -> None:
        self.store, self.model = Store(), Model()
        self.windows, self.shelf = Windows(self.store), Shelf(Calendar(), NOW_MS)
        self.first_ids, self.now_ms, self.behind_ms = [0, 0, 0], NOW_MS, 0

    async def run(self, steps: list[Any]) -> None:
        for partition in range(3):
            await self.store.replace(partition, self.model.picture(partition, 0))
        for number, (kind, *step) in enumerate(steps):
            await getattr(self, kind)(*step)
            if number % 3:
                self.look()
        self.look()

    async def write(self, partition: int, place: Any, label: int, cell: Any) -> None:
        key = (partition, place, LABELS[label])
        self.model.cells.pop(key, None)
        if cell is not None and any(cell):
            self.model.cells[key] = cell
        raw = encode_cell(*cell) if key in self.model.cells else b""
        label_id = _id(self.first_ids[partition] + label)
        self.store.write(partition, [], [(place, [(label_id, raw)])])

    async def move(self, by_ms: int, way: int) -> None:
        self.now_ms += by_ms * way

    async def limit(self, behind_ms: int) -> None:
        self.behind_ms = behind_ms

    async def reload(self, partition: int, renamed: bool, gone: list[Any]) -> None:
        """Another picture, without some buckets and perhaps with other label ids."""
        self.first_ids[partition] += 5 if renamed else 0
        for key in [key for key in self.model.cells if key[0] == partition and key[1] in gone]:
            del self.model.cells[key]
        picture = self.model.picture(partition, self.first_ids[partition])
        await self.store.replace(partition, picture)

    def look(self) -> None:
        """Every window is what the model sums to."""
        self.store.settle()
        for state, limit_ms in ((LIVE, EPOCH_MAX_MS), (SETTLED, self.now_ms - self.behind_ms)):
            for window_ms in WINDOWS_MS.values():
                bounds = window_bounds(self.shelf, window_ms, self.now_ms, limit_ms)
                wanted = self.model.sums(bounds.size, bounds.from_ms, bounds.to_ms, state)
                assert self.windows.at((window_ms, state, ""), bounds).sums == wanted
                assert summed(self.store, bounds, state) == wanted
        for size in (1, 2, 3, 4):
            assert all(self.store.bucket(size, start) for start in self.store.starts(size))


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
    store, held = Store(), dict[tuple[int, int], Values]()
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
