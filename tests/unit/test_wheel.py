"""The timer wheel: what is due comes once, in time, in order."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core import wheel as wheels
from stream.core.wheel import Wheel


class Clockwork:
    """A wheel and what is due by a plain dict."""

    def __init__(self, slot_ms=1_000):
        self.due = dict[bytes, int]()
        self.wheel = Wheel(self.due.get, key_bytes=1, slot_ms=slot_ms)

    def add(self, key, due_ms):
        self.due[key] = due_ms
        self.wheel.add(key, due_ms)

    def pop(self, before_ms):
        return list(self.wheel.pop(before_ms))


def test_a_key_comes_when_an_instant_later_than_its_time_is_reached():
    clock = Clockwork()
    clock.add(b"a", 5_500)
    assert clock.pop(5_500) == []
    assert clock.pop(5_501) == [b"a"]
    assert clock.pop(10_000) == []


def test_keys_come_second_by_second():
    clock = Clockwork()
    for key, due_ms in ((b"c", 9_999), (b"a", 1), (b"b", 8_998), (b"d", 20_000), (b"z", -5_000)):
        clock.add(key, due_ms)
    assert clock.pop(10_000) == [b"z", b"a", b"b", b"c"]


def test_keys_of_one_second_wait_for_their_millisecond():
    clock = Clockwork()
    clock.add(b"a", 1_200)
    clock.add(b"b", 1_700)
    assert clock.pop(1_500) == [b"a"]
    clock.add(b"c", 1_600)
    assert clock.pop(1_701) == [b"c", b"b"]


def test_what_is_added_to_the_second_that_was_reached_comes_in_its_order():
    clock = Clockwork()
    clock.add(b"b", 1_700)
    assert clock.pop(1_500) == []
    clock.add(b"c", 1_800)
    clock.add(b"a", 1_600)
    clock.add(b"z", 900)
    assert clock.pop(1_900) == [b"z", b"a", b"b", b"c"]


def test_a_key_that_is_gone_or_put_off_is_passed_over():
    clock = Clockwork()
    clock.add(b"g", 1_000)
    clock.add(b"l", 1_000)
    del clock.due[b"g"]
    clock.add(b"l", 60_000)
    assert clock.pop(30_000) == []
    assert clock.pop(60_001) == [b"l"]


def test_without_knowing_what_is_due_now_a_key_comes_at_each_of_its_times():
    wheel = Wheel(key_bytes=2)
    for due_ms in (60_000, 1_500, 1_200, 1_200):
        wheel.add(b"aa", due_ms)
    wheel.add(b"bb", 1_700)
    assert list(wheel.pop(1_201)) == [b"aa", b"aa"]
    assert list(wheel.pop(30_000)) == [b"aa", b"bb"]
    assert list(wheel.pop(60_001)) == [b"aa"]


def test_a_long_slot_keeps_times_to_the_millisecond():
    wheel = Wheel(key_bytes=1, slot_ms=3_600_000)
    for key, due_ms in ((b"b", 3_599_999), (b"a", 70_001), (b"c", 3_600_000)):
        wheel.add(key, due_ms)
    assert list(wheel.pop(70_002)) == [b"a"]
    assert list(wheel.pop(3_600_000)) == [b"b"]
    assert list(wheel.pop(3_600_001)) == [b"c"]


def test_a_wheel_reaches_as_far_as_so_many_keys_are_due_in_whole_seconds():
    wheel = Wheel(key_bytes=1)
    for due_ms in (-500, 100, 900, 1_500, 5_000):
        wheel.add(b"a", due_ms)
    assert [wheel.reach(1_600, most) for most in (1, 2, 3, 4)] == [0, 1_000, 1_000, 1_600]
    assert [wheel.reach(9_999, most) for most in (4, 5, 6)] == [2_000, 6_000, 9_999]
    assert len(list(wheel.pop(wheel.reach(9_999, 2)))) == 3
    assert wheel.reach(9_999, 1) == 2_000


def test_what_is_added_while_it_is_popped_waits_for_its_time():
    clock = Clockwork()
    clock.add(b"a", 1_000)
    seen = []
    for key in clock.wheel.pop(5_000):
        seen.append(key)
        clock.add(key, 5_000)
        clock.add(b"b", 5_001)
    assert seen == [b"a"]
    assert clock.pop(5_001) == [b"a"]
    assert clock.pop(5_002) == [b"b"]


_STEPS = st.lists(
    st.tuples(st.sampled_from([b"a", b"b", b"c", b"d"]), st.integers(-3_000, 6_000), st.booleans()),
    max_size=30,
)


@pytest.mark.parametrize(("at_once", "few"), [(4_096, 32), (1, 0), (3, 0), (3, 2)])
@given(_STEPS, st.sampled_from([1, 1_000, 3_600_000]))
def test_whatever_is_added_comes_once_it_is_due_and_not_before(at_once, few, steps, slot_ms):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wheels, "AT_ONCE", at_once)
        patch.setattr(wheels, "FEW", few)
        _play(steps, slot_ms)


def _play(steps, slot_ms):
    clock, now_ms, waiting = Clockwork(slot_ms), 0, dict[bytes, int]()
    for key, ms, is_pop in steps:
        if is_pop:
            now_ms += abs(ms)
            came = clock.pop(now_ms)
            due = {k for k, due_ms in waiting.items() if due_ms < now_ms}
            assert due <= set(came)
            assert all(clock.due[k] < now_ms or k not in due for k in came)
            for k in due:
                del waiting[k]
        else:
            due_ms = max(now_ms, now_ms + ms)
            if due_ms < waiting.get(key, due_ms + 1):  # only an earlier look needs to be added
                waiting[key] = due_ms
                clock.add(key, due_ms)


@pytest.mark.parametrize("reached_ms", [None, 2_500])
@given(st.lists(st.integers(-5_000, 50_000), max_size=30))
def test_many_keys_at_once_come_as_if_each_had_been_added(reached_ms, dues_ms):
    keys = [bytes([0, number]) for number in range(len(dues_ms))]
    one_by_one, at_once = Wheel(key_bytes=2), Wheel(key_bytes=2)
    if reached_ms is not None:
        assert not [*one_by_one.pop(reached_ms), *at_once.pop(reached_ms)]
    for key, due_ms in zip(keys, dues_ms, strict=True):
        one_by_one.add(key, due_ms)
    at_once.add_all(keys, np.array(dues_ms, np.int64))
    for before_ms in (0, 2_000, 2_500, 9_999, 30_000, 60_000):
        assert sorted(at_once.pop(before_ms)) == sorted(one_by_one.pop(before_ms))


def test_keys_that_waited_come_in_order_with_those_of_the_slot_that_was_reached(monkeypatch):
    for few in (0, 32):
        monkeypatch.setattr(wheels, "FEW", few)
        wheel = Wheel(key_bytes=1)
        for key, due_ms in ((b"d", 2_900), (b"b", 2_600), (b"e", 9_000)):
            wheel.add(key, due_ms)
        assert list(wheel.pop(2_500)) == []
        wheel.add(b"a", 2_550)
        wheel.add(b"c", 2_700)
        assert wheel.reach(10_000, 4) == 3_000
        assert list(wheel.pop(9_000)) == [b"a", b"b", b"c", b"d"]
        assert list(wheel.pop(9_001)) == [b"e"]
