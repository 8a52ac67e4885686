"""Wilson's interval at known points, and where there is none."""

import pytest

from stream.core.ratios import wilson


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        (8, 10, 0.4901625, 0.9433178),
        (1, 10, 0.0178762, 0.4041500),
        (50, 100, 0.4038315, 0.5961685),
        (0, 10, 0.0, 0.2775328),
        (10, 10, 0.7224672, 1.0),
        (1, 1, 0.2065493, 1.0),
    ],
)
def test_known_intervals(successes: int, trials: int, low: float, high: float) -> None:
    assert wilson(successes, trials) == pytest.approx((low, high), abs=5e-7)


@pytest.mark.parametrize(("successes", "trials"), [(0, 0), (1, 0), (3, 2), (-1, 2), (0, -1)])
def test_no_interval_without_a_ratio(successes: int, trials: int) -> None:
    assert wilson(successes, trials) is None


def test_the_edges_are_exact_and_the_rate_is_inside() -> None:
    for trials in (1, 2, 7, 1_000, 10**12):
        for successes in {0, 1, trials // 3, trials}:
            interval = wilson(successes, trials)
            assert interval is not None
            assert 0.0 <= interval[0] <= successes / trials <= interval[1] <= 1.0
    for trials in range(1, 100):  # for some of them the formula rounds to beyond the edge
        assert wilson(0, trials)[0] == 0.0  # type: ignore[index]
        assert wilson(trials, trials)[1] == 1.0  # type: ignore[index]
