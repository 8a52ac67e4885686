"""A launch minute by minute: cells in any order, at any width, and outcomes at the same age."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.catalogue import BOUNCE_RULES
from stream.launch.axis import SPANS, WEEK, span_at
from stream.launch.band import band
from stream.launch.measures import FEW, MEASURES, Reader
from stream.launch.profile import AGES, LAST_AGE, Profile

HOURS = 6
fields = ("impressions", "clicks", "sessions")
cells = st.lists(
    st.tuples(
        st.integers(-20, 60 * HOURS),
        st.sampled_from([1, 10, 60]),
        st.dictionaries(st.sampled_from(fields), st.integers(1, 500), min_size=1),
    ),
    max_size=25,
)
moments = st.lists(st.floats(0, 60 * HOURS), min_size=2, max_size=12).map(sorted)


def profile_of(found: Sequence, known: float = 60.0 * HOURS) -> Profile:
    profile = Profile(known, known)
    for minute, width, values in found:
        profile.add(minute, width, values)
    return profile


@st.composite
def sessions(draw: Callable, known: int = 60 * HOURS) -> list:
    """Minutes of sessions: each with a delay until its conversion, some never."""
    minutes = draw(st.lists(st.integers(0, known - 1), max_size=12, unique=True))
    return [(m, draw(st.lists(st.none() | st.integers(0, known - m), max_size=8))) for m in minutes]


def converted(found: Sequence, known: float, seen: float | None = None) -> Profile:
    """Their profile, with what was known of them after `seen` minutes."""
    profile = Profile(known, known if seen is None else seen)
    for minute, delays in found:
        came = [d for d in delays if d is not None and minute + d <= profile.seen]
        profile.add(
            minute,
            1,
            {"sessions": len(delays), "converted": len(came), "value_micros": 5_000_000 * len(came)}
            | {f"converted_within_{n}": sum(d <= a for d in came) for n, a in AGES.items()},
        )
    return profile


@given(cells, moments, st.randoms())
def test_any_order_of_cells_gives_the_same(found: list, at: list[float], random) -> None:
    times = np.array(at)
    one, other = profile_of(found), profile_of(random.sample(found, len(found)))
    for name in fields:
        assert one.counted(name, times) == pytest.approx(other.counted(name, times))
    assert np.array_equal(one.grain, other.grain)


@given(cells, moments)
def test_counts_never_fall(found: list, at: list[float]) -> None:
    for name in fields:
        assert (np.diff(profile_of(found).counted(name, np.array(at))) >= -1e-9).all()


@given(cells)
def test_all_from_the_launch_on_is_there_and_nothing_before(found: list) -> None:
    profile = profile_of(found)
    profile.known = profile.seen = WEEK
    for name in fields:
        inside = sum(v.get(name, 0) * min(w, max(0, m + w)) / w for m, w, v in found)
        assert profile.total(name) == pytest.approx(inside)
        assert profile.counted(name, np.array([WEEK]))[0] == pytest.approx(inside)


@given(cells, st.floats(0.01, 60 * HOURS))
def test_nothing_is_told_of_what_is_yet_to_come(found: list, known: float) -> None:
    profile = profile_of(found, known)
    told = profile.counted("clicks", np.array([known, known + 0.01]))
    assert not np.isnan(told[0])
    assert np.isnan(told[1])


@given(sessions(), moments)
def test_outcomes_never_fall_and_never_run_ahead_of_their_sessions(found: list, at: list) -> None:
    profile, times = converted(found, 60.0 * HOURS), np.array(at)
    stood = profile.stood("converted", times)
    assert (np.diff(stood) >= -1e-9).all()
    assert (stood <= profile.counted("converted", np.ceil(times)) + 1e-9).all()
    assert (np.diff(profile.stood("value", times)) >= -1e-3).all()


@given(sessions(), st.integers(1, 60 * HOURS))
def test_now_the_outcomes_are_those_that_are_there(found: list, known: int) -> None:
    """Whatever is assumed of when they came: of now it is known."""
    begun = [(m, delays) for m, delays in found if m < known]
    profile = converted(begun, float(known))
    there = sum(d is not None and m + d <= known for m, delays in begun for d in delays)
    assert profile.stood("converted", np.array([float(known)]))[0] == pytest.approx(there)
    assert profile.stood("value", np.array([float(known)]))[0] == pytest.approx(5_000_000 * there)


@given(sessions(), st.integers(1, 60 * HOURS))
def test_a_past_moment_lies_between_what_is_sure_and_what_is_possible(found: list, at: int) -> None:
    """The delays are kept in classes: an outcome shows within its class, not before or after."""
    profile = converted(found, 60.0 * HOURS)
    stood = profile.stood("converted", np.array([float(at)]))[0]
    bounds = [0, *AGES.values(), LAST_AGE]
    sure = possible = 0
    for minute, delays in found:
        for delay in delays:
            if delay is None or minute + delay > 60 * HOURS or minute >= at:
                continue
            high = next((b for b in bounds[1:] if delay <= b), LAST_AGE)
            low = bounds[bounds.index(high) - 1]
            sure += at - minute >= high
            possible += at - minute > low
    assert sure - 1e-9 <= stood <= possible + 1e-9


def test_a_frozen_moment_does_not_know_what_came_later() -> None:
    found = [(0, [3, 20, 100, None]), (10, [0, 200])]
    then = converted(found, 30.0, seen=300.0)
    assert then.total("converted") == 5
    assert 2.0 <= then.stood("converted", np.array([30.0]))[0] <= 3.5


def test_a_coarse_cell_is_spread_evenly_and_says_so() -> None:
    profile = Profile(600.0, 600.0)
    profile.add(-30, 60, {"clicks": 60})
    profile.add(30, 1, {"clicks": 5})
    assert profile.counted("clicks", np.array([0.0, 15.0, 30.0, 31.0])).tolist() == [0, 15, 30, 35]
    assert profile.coarsest == 60


def test_now_is_exact_even_where_cells_are_coarser_than_delays() -> None:
    """Spread evenly, young minutes seem to have outcomes that took longer than their age."""
    profile = Profile(60.0, 60.0)
    late = {"converted": 60, "converted_within_30m": 60, "converted_within_15m": 0}
    profile.add(0, 60, {"sessions": 600, **late})
    assert profile.stood("converted", np.array([60.0]))[0] == pytest.approx(60)


@given(st.lists(st.lists(st.floats(0, 1e6), min_size=4, max_size=4), min_size=3, max_size=6))
def test_the_band_holds_the_median_and_lies_within_the_launches(lines: list) -> None:
    many = [np.array(line) for line in lines]
    found = band(many, 4)
    assert (found.low <= found.median + 1e-6).all()
    assert (found.median <= found.high + 1e-6).all()
    assert (np.min(many, axis=0) <= found.low + 1e-6).all()
    assert (found.high <= np.max(many, axis=0) + 1e-6).all()


def test_of_fewer_than_three_launches_there_is_no_band() -> None:
    line = np.array([1.0, 2.0])
    assert np.isnan(band([line, line], 2).median).all()
    assert band([line, line, np.array([3.0, np.nan])], 2).median[0] == 1.0
    assert np.isnan(band([line, line, np.array([3.0, np.nan])], 2).median[1])


@pytest.mark.parametrize(("elapsed", "name"), [(0, "2h"), (120, "2h"), (121, "2d"), (2881, "7d")])
def test_minutes_for_two_hours_then_hours_then_days(elapsed: float, name: str) -> None:
    span = span_at(elapsed)
    assert span is SPANS[name]
    assert (span.grid()[0], span.grid()[-1]) == (0, span.length)


@pytest.mark.parametrize("rule", list(BOUNCE_RULES))
def test_every_measure_is_read_under_every_bounce_rule(rule: str) -> None:
    profile = Profile(60.0, 60.0)
    values = {"sessions": 40, "single_interaction": 10, "with_page_view": 20, "converted": 4}
    values |= dict.fromkeys(("bounced_ga4", "bounced_posthog", "bounced_matomo"), 10)
    profile.add(0, 1, {**values, "impressions": 100, "clicks": 40, "value_micros": 7_000_000})
    reader, at = Reader(BOUNCE_RULES[rule]), np.array([60.0])
    told = {name: reader.stood(profile, name, at)[0] for name in MEASURES}
    assert told["ctr"] == 0.4
    assert told["bounce_rate"] == (0.5 if rule == "posthog" else 0.25)
    assert told["conversions"] == pytest.approx(4)
    assert np.isnan(reader.stood(profile, "ctr", np.array([0.0]))[0])
    for name in MEASURES:
        assert len(reader.stepwise(profile, name, SPANS["2h"].grid())) == 121


def test_a_rate_of_few_is_not_drawn() -> None:
    profile = Profile(60.0, 60.0)
    profile.add(0, 1, {"impressions": FEW - 1, "clicks": 1})
    assert np.isnan(Reader().stood(profile, "ctr", np.array([60.0]))[0])


def test_steps_are_counts_a_minute_and_add_up() -> None:
    profile = profile_of([(m, 1, {"impressions": m}) for m in range(120)], 120.0)
    grid = SPANS["2h"].grid()
    steps = Reader().stepwise(profile, "impressions", grid)
    assert steps[:120].tolist() == list(range(120))
    assert np.isnan(steps[120])
    wide = Reader().stepwise(profile, "impressions", grid, wings=2)
    assert wide[50] == pytest.approx(50)
    ten = Reader().stepwise(profile, "impressions", SPANS["2d"].grid())
    assert ten[0] == pytest.approx(4.5)


def test_outcomes_of_a_step_are_read_when_it_is_old_enough() -> None:
    profile = Profile(20.0, 20.0)
    for minute in range(20):
        profile.add(minute, 1, {"sessions": 10, "converted_within_5m": 2})
    steps = Reader().stepwise(profile, "conversion_rate", SPANS["2h"].grid())
    assert steps[14] == pytest.approx(0.2)
    assert np.isnan(steps[15])
