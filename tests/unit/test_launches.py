"""Where a launch begins, and the records that keep its first week."""

import zlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.catalogue import CLICKS, OTHER, SESSIONS
from stream.core.durations import MINUTE_MS
from stream.core.launches import (
    HOURS,
    LABELS_MAX,
    SLOT_MS,
    Head,
    HourMaker,
    LaunchId,
    decode_head,
    decode_hour,
    decode_key,
    encode_head,
    encode_hour,
    find_start,
    head_key,
    hour_key,
    is_poorer,
)

T = 1_772_355_600_000
SPRING = LaunchId("spring", T)
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
cells = st.lists(
    st.tuples(
        st.sampled_from([CLICKS, SESSIONS]),
        st.integers(0, 59),
        st.tuples(st.just("spring"), names, names),
        st.dictionaries(st.integers(0, 2), st.integers(1, 10**6), min_size=1),
    ),
    max_size=30,
)


def minutes(*numbers: int) -> list[int]:
    return [T + n * MINUTE_MS for n in numbers]


def padded(source: Any, labels: tuple[str, ...]) -> tuple[str, ...]:
    """Label sets in the source's dimensions, however many these are."""
    return (*labels, *("x",) * (len(source.dimensions) - len(labels)))


def made(found: Any, number: int = 3) -> Any:
    maker = HourMaker(SPRING, number)
    for source, minute, labels, values in found:
        at_ms = T + number * 3_600_000 + minute * MINUTE_MS
        maker.add(source, at_ms, padded(source, labels), values)
    return maker.make()


def test_a_launch_begins_with_five_minutes_in_a_row() -> None:
    assert find_start(minutes(1, 2, 3, 4)) is None
    assert find_start(minutes(1, 2, 3, 4, 6, 7, 8, 9, 11)) is None
    assert find_start(minutes(0, 2, 3, 4, 5, 6, 7, 8)) == minutes(2)[0]
    assert find_start([]) is None


@given(st.sets(st.integers(0, 40)))
def test_it_is_the_first_such_minute(chosen: set[int]) -> None:
    runs = [n for n in range(41) if all(n + i in chosen for i in range(5))]
    found = find_start(minutes(*sorted(chosen)))
    assert found == (minutes(runs[0])[0] if runs else None)


@given(cells, st.randoms())
def test_any_order_of_cells_gives_the_same_record(found: Any, random: Any) -> None:
    shuffled = random.sample(found, len(found))
    assert encode_hour(made(found)) == encode_hour(made(shuffled))


@given(cells)
def test_what_is_written_is_read(found: Any) -> None:
    hour = made(found)
    read = decode_hour(SPRING, 3, encode_hour(hour))
    assert encode_hour(read) == encode_hour(hour)
    assert (read.launch, read.number) == (hour.launch, hour.number) == (SPRING, 3)
    sums = [
        sum(
            values.get("impressions", 0)
            for slot in each.slots["clicks"]
            for values in slot.values()
        )
        for each in (hour, read)
    ]
    total = sum(v.get(0, 0) for source, _, _, v in found if source is CLICKS)
    assert sums == [total, total]


@given(names, st.integers(-(10**14), 10**14), st.integers(0, HOURS - 1))
def test_keys_say_whose_they_are(name: str, at_ms: int, number: int) -> None:
    launch = LaunchId(name, at_ms)
    assert decode_key(hour_key(launch, number)) == (launch, number)
    assert decode_key(head_key(launch)) == (launch, None)
    assert decode_head(launch, encode_head(Head(launch, 60_000))) == Head(launch, 60_000)


@pytest.mark.parametrize("raw", [b"", b"spring", b'["spring",1]', b'["spring",1,168]', b"[1,2,3]"])
def test_foreign_keys_are_refused(raw: bytes) -> None:
    with pytest.raises(ValueError):
        decode_key(raw)


TORN = [1, [["email", "A"]], {"clicks": [["impressions"], [[[0]]]]}]  # a row without its number


@pytest.mark.parametrize(
    "raw",
    [
        *(b"", b"\x00", b"x\x9c", encode_head(Head(SPRING, 1))),
        zlib.compress(msgspec.msgpack.encode(TORN)),
    ],
)
def test_foreign_values_are_refused(raw: bytes) -> None:
    with pytest.raises(ValueError):
        decode_hour(SPRING, 0, raw)


def test_slots_are_ten_minutes_from_the_launch() -> None:
    hour = made([(CLICKS, minute, ("spring", "email", "A"), {0: 1}) for minute in (0, 9, 10, 59)])
    counts = [sum(v["impressions"] for v in slot.values()) for slot in hour.slots["clicks"]]
    assert counts == [2, 1, 0, 0, 0, 1]
    assert SLOT_MS * len(counts) == 3_600_000


def test_fates_and_sums_of_all_time_are_not_kept() -> None:
    for source in (CLICKS, SESSIONS):
        others = dict.fromkeys(range(len(source.fields), len(source.index)), 5)
        assert "duplicates" in [name for name, i in source.index.items() if i in others]
        hour = made([(source, 0, ("spring", "email", "A"), {0: 1, **others})])
        assert hour.slots[source.topic][0]["email", "A"] == {source.fields[0]: 1}


def test_beyond_the_cap_the_smallest_label_sets_are_other() -> None:
    many = [(CLICKS, 0, ("spring", f"c{n:03}", "A"), {0: n + 1}) for n in range(LABELS_MAX + 7)]
    many += [
        (CLICKS, 0, ("spring", "c000", "A"), {1: 500}),
        (CLICKS, 0, ("spring", "a", "A"), {0: 8, 1: 1}),
        (CLICKS, 0, ("spring", "z", "A"), {1: 9}),
    ]
    slot = made(many).slots["clicks"][0]
    assert len(slot) == LABELS_MAX + 1
    assert slot[OTHER, OTHER] == {"impressions": sum(range(2, 10)), "clicks": 9}
    assert ("a", "A") in slot, "of three that are as large, the first in the alphabet"


def test_an_hour_of_less_does_not_replace_one_of_more() -> None:
    full = made([(CLICKS, 0, ("spring", "email", "A"), {0: 10, 1: 2})])
    less = made([(CLICKS, 0, ("spring", "email", "A"), {0: 9, 1: 2})])
    more = made([(CLICKS, 0, ("spring", "email", "A"), {0: 10, 1: 3})])
    fewer_clicks = made([(CLICKS, 0, ("spring", "email", "A"), {0: 10, 1: 1})])
    assert is_poorer(less, full)
    assert is_poorer(fewer_clicks, full)
    without_clicks = made([(CLICKS, 0, ("spring", "email", "A"), {0: 12})])
    assert not is_poorer(full, without_clicks)
    assert not is_poorer(without_clicks, full)
    assert not is_poorer(more, full)
    assert not is_poorer(full, full)


def test_absurd_amounts_of_money_do_not_break_a_record() -> None:
    hour = made([(CLICKS, 0, ("spring", "email", "A"), {2: 1 << 80})])
    read = decode_hour(SPRING, 3, encode_hour(hour))
    assert read.slots["clicks"][0]["email", "A"] == {"cost_micros": (1 << 63) - 1}
