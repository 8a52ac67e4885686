"""What stands still is told from what has nothing to do, and from what moves slowly."""

from stream.stillness import Stillness


def test_only_work_that_does_not_move_for_too_many_looks_is_stuck():
    still = Stillness(3)
    assert [still.is_stuck("a", 7) for _ in range(5)] == [False] * 4 + [True]
    assert not still.is_stuck("a", 8)
    assert not any(still.is_stuck("a", n // 3) for n in range(30))
    assert not any(still.is_stuck("b", None) for _ in range(9))


def test_a_pause_begins_the_count_anew():
    still = Stillness(1)
    for pause in (lambda: still.is_stuck("a", None), still.forget):
        assert not still.is_stuck("a", 7)
        assert not still.is_stuck("a", 7)
        pause()
        assert not still.is_stuck("a", 7)
        assert not still.is_stuck("a", 7)
        assert still.is_stuck("a", 7)
        still.forget()
