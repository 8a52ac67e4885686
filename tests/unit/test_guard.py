"""The guard: when a partition is paused, to the record, however its log is cut."""

from hypothesis import given
from hypothesis import strategies as st

from stream.core import guard as module
from stream.core.guard import WINDOW, Guard


def admit(guard, bad, sizes):
    """Feed records (True = unreadable) in batches; how many were taken until it tripped."""
    taken = 0
    for size in sizes:
        if guard.is_tripped:
            break
        part = bad[taken : taken + size]
        taken += guard.admit([i for i, unreadable in enumerate(part) if unreadable], len(part))
    return taken


def whole(bad):
    return [len(bad)]


def by_hand(bad):
    """The rule as it is written."""
    for end in range(WINDOW, len(bad) + 1):
        if sum(bad[end - WINDOW : end]) * 2 > WINDOW:
            return end
    return len(bad)


def test_more_than_half_of_the_last_thousand_pause_at_the_record_that_tips():
    bad = [False] * 2_000 + [True] * 600
    guard = Guard()
    assert admit(guard, bad, whole(bad)) == 2_501
    assert guard.is_tripped


def test_exactly_half_does_not_pause():
    bad = [True, False] * 3_000
    guard = Guard()
    assert admit(guard, bad, whole(bad)) == len(bad)
    assert not guard.is_tripped


def test_before_a_thousand_records_nothing_pauses():
    guard = Guard()
    assert guard.admit(range(999), 999) == 999
    assert not guard.is_tripped
    assert guard.admit([0], 1) == 1
    assert guard.is_tripped


def test_a_bad_beginning_pauses_at_the_thousandth_record_though_that_one_is_sound():
    bad = [True] * 600 + [False] * 1_400
    for sizes in ([2_000], [1_000, 1_000], [1] * 2_000, [999, 1_001], [600, 1_400]):
        guard = Guard()
        assert admit(guard, bad, sizes) == 1_000
        assert guard.is_tripped


def test_a_resume_begins_anew():
    guard = Guard()
    guard.admit(range(1_000), 1_000)
    guard.reset()
    assert not guard.is_tripped
    assert guard.admit(range(999), 999) == 999
    assert not guard.is_tripped


def test_state_is_all_there_is_and_small():
    guard = Guard()
    guard.admit(range(0, 5_000, 3), 5_000)
    other = Guard()
    other.load(guard.state())
    assert other.state() == guard.state()
    _, bad = guard.state()
    assert isinstance(bad, list)
    assert len(bad) <= WINDOW


_RUNS = st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=12)


@given(runs=_RUNS, sizes=st.lists(st.integers(1, 12), min_size=120, max_size=120))
def test_it_pauses_where_the_rule_says_wherever_the_log_is_cut(runs, sizes):
    module.WINDOW, kept = 8, module.WINDOW
    try:
        bad = [unreadable for unreadable, n in runs for _ in range(n)]
        expected = next(
            (e for e in range(8, len(bad) + 1) if sum(bad[e - 8 : e]) * 2 > 8), len(bad)
        )
        guards = [Guard(), Guard()]
        assert admit(guards[0], bad, whole(bad)) == expected
        assert admit(guards[1], bad, sizes) == expected
        assert guards[0].state() == guards[1].state()
        assert guards[0].is_tripped == guards[1].is_tripped
    finally:
        module.WINDOW = kept


def test_the_rule_by_hand_agrees_at_full_width():
    bad = ([True] * 300 + [False] * 250) * 6
    guard = Guard()
    assert admit(guard, bad, whole(bad)) == by_hand(bad)
