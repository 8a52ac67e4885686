"""The test of two proportions against its textbook form, and when nothing is told."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.change import LEAST_EXPECTED, Proportion, compare


@st.composite
def proportions(draw: st.DrawFn) -> Proportion:
    trials = draw(st.integers(0, 10**9))
    return Proportion(draw(st.integers(0, trials)), trials)


sides = proportions()


def test_a_worked_example() -> None:
    """150 of 1,000 against 2,000 of 10,000."""
    change = compare(Proportion(150, 1_000), Proportion(2_000, 10_000))
    assert change is not None
    assert change.baseline == 0.2
    assert change.change == pytest.approx(-0.25)
    pooled = 2_150 / 11_000
    spread = math.sqrt(pooled * (1 - pooled) * (1 / 1_000 + 1 / 10_000))
    assert change.zscore == pytest.approx(-0.05 / spread)
    assert change.zscore == pytest.approx(-3.80, abs=0.01)


@pytest.mark.parametrize(
    ("now", "basis", "told"),
    [
        ((20, 1_000), (2_000, 100_000), True),  # twenty successes are expected now
        ((20, 999), (2_000, 100_000), False),  # 19.98
        ((0, 1_000), (2_000, 100_000), True),  # what is expected counts, not what came
        ((980, 1_000), (98_000, 100_000), True),  # twenty failures
        ((980, 999), (98_000, 100_000), False),
        ((500, 10_000), (20, 400), True),  # the basis must have them itself
        ((500, 10_000), (19, 400), False),
        ((500, 10_000), (381, 400), False),
        ((5, 0), (2_000, 100_000), False),
        ((0, 0), (2_000, 100_000), False),
        ((500, 1_000), (0, 0), False),
        ((1_001, 1_000), (2_000, 10_000), False),  # more clicks than impressions: no proportion
        ((500, 1_000), (20_000, 10_000), False),
        ((-1, 1_000), (2_000, 10_000), False),
    ],
)
def test_twenty_must_be_expected_on_both_sides(
    now: tuple[int, int], basis: tuple[int, int], told: bool
) -> None:
    assert (compare(Proportion(*now), Proportion(*basis)) is not None) is told


@given(sides, sides)
def test_it_never_fails_and_its_signs_agree(now: Proportion, basis: Proportion) -> None:
    change = compare(now, basis)
    if change is None:
        return
    assert math.isfinite(change.zscore)
    assert 0 < change.baseline < 1
    assert min(now.trials, basis.trials) * change.baseline >= LEAST_EXPECTED
    if abs(change.change) > 1e-9:
        higher = now.successes * basis.trials > basis.successes * now.trials
        assert (change.change > 0) == (change.zscore > 0) == higher


@given(sides, sides)
def test_failures_mirror_successes(now: Proportion, basis: Proportion) -> None:
    change = compare(now, basis)
    failures = [Proportion(side.trials - side.successes, side.trials) for side in (now, basis)]
    mirrored = compare(*failures)
    if change and mirrored:
        assert mirrored.zscore == pytest.approx(-change.zscore, rel=1e-6, abs=1e-6)
