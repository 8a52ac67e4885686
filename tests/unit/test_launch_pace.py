"""Where a launch leads: what is projected, when nothing is, and how often the interval holds.

The launches here are simulated: their sizes differ by a factor of ten and more, they rise and fall
at their own pace, begin at another time of the day, meet good and bad days, and jitter.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.launch.pace import LEAST_COUNT, Past, Projection, Why, course, project

DAY, WEEK = 1_440, 10_080
POOL, DRAWS = 800, 1_500


class World(NamedTuple):
    """How much launches differ, and how large the median one is."""

    spread: float = 1.0
    size: float = 2_000.0


USUAL, CALM, SMALL = World(), World(spread=0.3), World(size=200.0)


class Held(NamedTuple):
    """How often the interval held, in how many cases, and the factor that it was wide."""

    share: float
    cases: int
    width: float


def simulate(rng: np.random.Generator, world: World) -> np.ndarray:
    """Conversions of one launch by the end of each of its minutes."""
    t, spread = np.arange(WEEK + 1), world.spread
    hour = rng.normal(10, 2.5 * spread)
    fast = np.exp(rng.normal(np.log(150), 0.45 * spread))
    slow = np.exp(rng.normal(np.log(1_800), 0.4 * spread))
    tail = 0.5 + spread * (np.clip(rng.beta(4, 4), 0.05, 0.95) - 0.5)
    ramp = 1 - np.exp(-t / np.exp(rng.normal(np.log(6), 0.5 * spread)))
    curve = (1 - tail) * np.exp(-t / fast) / fast + tail * np.exp(-t / slow) / slow
    rhythm = 1 + 0.5 * np.cos((t / 60 + hour - 19) * np.pi / 12)
    days = np.exp(rng.normal(0, 0.15 * spread, 9))[((t / 60 + hour) // 24).astype(int).clip(0, 8)]
    jitter = np.exp(rng.normal(0, 0.2 * spread, len(t) // 30 + 1))[t // 30]
    rate = curve * ramp * rhythm * days * jitter
    size = np.exp(rng.normal(np.log(world.size), 1.0))
    return np.cumsum(rng.poisson(size * rate / rate[:DAY].sum()))


@cache
def pool(world: World) -> np.ndarray:
    rng = np.random.default_rng(20_260_301)
    return np.vstack([simulate(rng, world) for _ in range(POOL)])


@cache
def held(at: int, end: int, many: int, world: World = USUAL) -> Held:
    """How well launches are foretold at one age, each from so many others."""
    rng = np.random.default_rng((at, end, many))
    launches, hits, widths = pool(world), 0, []
    for _ in range(DRAWS):
        mine, *others = launches[rng.choice(POOL, many + 1, replace=False)]
        found = course(mine[at], [Past(each[at], each[end]) for each in others]).projection
        if found is not None:
            hits += found.low <= mine[end] <= found.high
            widths.append(found.high / found.low)
    return Held(hits / len(widths), len(widths), float(np.median(widths)))


@pytest.mark.parametrize("many", [3, 5])
@pytest.mark.parametrize(
    ("at", "end"),
    [(15, DAY), (47, DAY), (120, DAY), (360, DAY), (720, DAY), (120, WEEK), (DAY, WEEK)],
)
def test_the_interval_holds_what_it_promises(at: int, end: int, many: int) -> None:
    found = held(at, end, many)
    assert found.cases > DRAWS * 0.7
    assert 0.75 <= found.share <= 0.85, found


@pytest.mark.parametrize("world", [CALM, SMALL], ids=["calm", "small"])
@pytest.mark.parametrize("at", [47, 360])
def test_it_holds_in_other_worlds_too(world: World, at: int) -> None:
    assert 0.75 <= held(at, DAY, 4, world).share <= 0.85


def test_more_launches_and_more_of_the_launch_make_it_narrower() -> None:
    assert held(47, DAY, 5).width < held(47, DAY, 3).width
    widths = [held(at, DAY, 5).width for at in (15, 47, 120, 360, 720)]
    assert widths == sorted(widths, reverse=True)


def test_a_small_launch_is_foretold_from_large_ones_with_its_own_chance() -> None:
    """Large launches agree on the shape; a small one's few conversions are another matter."""
    rng, hits, cases = np.random.default_rng(5), 0, 4_000
    for _ in range(cases):
        past = [Past(*_binomial(rng, 40_000)) for _ in range(4)]
        mine = _binomial(rng, 60)
        hits += _holds(project(mine[0], past), mine[1])
    assert 0.75 <= hits / cases <= 0.87


def _binomial(rng: np.random.Generator, size: int) -> tuple[int, int]:
    """A launch that has a quarter of its conversions by then, but for chance."""
    end = rng.poisson(size)
    return max(1, rng.binomial(end, 0.25)), int(end)


def _holds(projection: Projection, end: float) -> bool:
    return projection.low <= end <= projection.high


counts = st.integers(LEAST_COUNT, 10**6)
pasts = st.lists(
    st.tuples(counts, st.floats(1, 50)).map(lambda p: Past(p[0], p[0] * p[1])),
    min_size=3,
    max_size=8,
)


@given(counts, pasts)
def test_it_never_leads_back_and_lies_within_its_interval(so_far: int, past: list[Past]) -> None:
    found = course(so_far, past)
    assert found.projection is not None
    assert so_far <= found.projection.low <= found.projection.high
    assert found.projection.low <= found.projection.value * (1 + 1e-12)
    assert found.projection.value <= found.projection.high


@given(counts, pasts, st.randoms())
def test_the_order_of_launches_does_not_matter(so_far: int, past: list[Past], random) -> None:
    shuffled = course(so_far, random.sample(past, len(past))).projection
    first = course(so_far, past).projection
    assert first is not None
    assert shuffled is not None
    assert shuffled.value == pytest.approx(first.value)
    assert shuffled.high == pytest.approx(first.high)


@given(counts, pasts)
def test_a_launch_twice_the_size_is_foretold_twice_as_much(so_far: int, past: list[Past]) -> None:
    one, two = (course(n, past).projection for n in (so_far, 2 * so_far))
    assert one is not None
    assert two is not None
    assert two.value == pytest.approx(2 * one.value)


@pytest.mark.parametrize(
    ("so_far", "past", "more", "why"),
    [
        (100, [Past(50, 100)] * 2, {}, Why.FEW_LAUNCHES),
        (100, [], {}, Why.FEW_LAUNCHES),
        (LEAST_COUNT - 1, [Past(50, 100)] * 3, {}, Why.FEW_COUNTED),
        (100, [Past(50, 100), Past(50, 100), Past(2, 100)], {}, Why.FEW_COUNTED),
        (100, [Past(50, 100)] * 3, {"over": True}, Why.OVER),
        (0, [Past(50, 100)] * 3, {"begun": False}, Why.NOT_BEGUN),
    ],
)
def test_where_there_is_no_projection_it_says_why(so_far, past, more, why) -> None:
    found = course(so_far, past, **more)
    assert (found.projection, found.why) == (None, why)
    assert found.launches == len(past)


def test_the_usual_share_is_the_median_of_three_or_more() -> None:
    past = [Past(10, 100), Past(30, 100), Past(21, 100)]
    assert course(100, past).usual == pytest.approx(0.21)
    assert course(100, past[:2]).usual is None


if __name__ == "__main__":  # the figures of the decision record
    for named in (USUAL, CALM, SMALL):
        for until in (DAY, WEEK):
            for since in (47, 120, 360, 720, DAY):
                if since < until:
                    found = [held(since, until, many, named) for many in (3, 4, 5)]
                    told = (f"{each.share:.3f} x{each.width:.2f}" for each in found)
                    print(named, f"{until} min from {since}:", *told)
