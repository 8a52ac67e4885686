"""Which past a window is compared with: the same hours of past weeks by the local clock."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from stream.core.buckets import Calendar, Size
from stream.live.baseline import RECENT, WEEKS, age_of, overlaps, past_spans, week_hours
from stream.live.windows import Bounds

HOUR, DAY = 3_600_000, 86_400_000
UTC_DAYS, PARIS = Calendar(), Calendar("Europe/Paris")


def at(text: str, zone: str = "UTC") -> int:
    moment = datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))
    return int(moment.timestamp() * 1000)


def window(end: str, minutes: int, zone: str = "UTC") -> Bounds:
    to_ms = at(end, zone)
    return Bounds(to_ms - minutes * 60_000, to_ms, Size.S10)


def told(starts: range) -> list[str]:
    return [f"{datetime.fromtimestamp(s / 1000, UTC):%d %H:%M}" for s in starts]


def test_the_hours_of_an_hours_window() -> None:
    """From 11:30 to 12:30 a week ago, and an hour either way: 10:30 to 13:30."""
    hours = week_hours(UTC_DAYS, window("2026-03-19T12:30", 60), 1)
    assert told(hours) == ["12 10:00", "12 11:00", "12 12:00", "12 13:00"]


@pytest.mark.parametrize("weeks", [1, 2, 3, 4])
def test_the_hour_of_now_and_both_beside_it_are_always_there(weeks: int) -> None:
    for minute in range(0, 60, 7):
        for length in (5, 10, 15, 60):
            bounds = window(f"2026-03-19T12:{minute:02}", length)
            hours = week_hours(UTC_DAYS, bounds, weeks)
            now = bounds.to_ms - 1 - 7 * weeks * DAY
            assert {now - now % HOUR + n * HOUR for n in (-1, 0)} <= set(hours)
            assert 3 <= len(hours) <= 4


def test_a_week_is_a_week_by_the_local_clock() -> None:
    """Clocks went back on 25 October: 9:30 in Paris was 7:30 in UTC before, and 8:30 after."""
    bounds = window("2026-10-28T09:30", 5, "Europe/Paris")
    assert told(week_hours(UTC_DAYS, bounds, 1)) == ["21 07:00", "21 08:00", "21 09:00"]
    assert told(week_hours(PARIS, bounds, 1)) == ["21 06:00", "21 07:00", "21 08:00"]


def test_a_window_is_never_compared_with_itself() -> None:
    bounds = window("2026-03-19T12:00", 7 * 1_440)
    hours = week_hours(UTC_DAYS, bounds, 1)
    assert hours[-1] + HOUR <= bounds.from_ms
    assert len(hours) == 7 * 24 + 1


def test_overlaps_are_parts_of_hours() -> None:
    assert overlaps(HOUR // 2, 3 * HOUR) == {0: 0.5, HOUR: 1.0, 2 * HOUR: 1.0}
    assert overlaps(HOUR + 6 * 60_000, HOUR + 12 * 60_000) == {HOUR: pytest.approx(0.1)}


def test_spans_of_traffic_are_as_long_as_the_window() -> None:
    bounds = window("2026-03-19T12:10", 15)
    spans = past_spans(UTC_DAYS, bounds)
    assert {basis: len(days) for basis, days in spans.items()} == {WEEKS: 4, RECENT: 1}
    for days in spans.values():
        for day in days:
            assert [sum(span.values()) for span in day] == [pytest.approx(0.25)] * 3
    earlier, same, later = spans[RECENT][0]
    start_ms = at("2026-03-18T11:00")
    assert same == {start_ms: pytest.approx(1 / 12), start_ms + HOUR: pytest.approx(1 / 6)}
    assert min(earlier) == start_ms - HOUR
    assert min(later) == start_ms + HOUR


@pytest.mark.parametrize(
    ("minutes", "age"),
    [(1, "1m"), (5, "1m"), (10, "1m"), (15, "5m"), (60, "15m"), (90, "30m"), (1_440, "30m")],
)
def test_the_age_is_at_most_a_third_of_the_window(minutes: int, age: str) -> None:
    assert age_of(minutes * 60_000) == age
