"""Buckets tile: days of 23 and 25 hours, half-hour zones, midnights that do not exist."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.buckets import (
    EPOCH_MAX_MS,
    EPOCH_MIN_MS,
    RETENTION_MS,
    WIDTH_MS,
    WINDOW_NAMES,
    WINDOWS_MS,
    Calendar,
    Size,
    expired,
)

HOUR, DAY = 3_600_000, 86_400_000
SIZES = (Size.S10, Size.M1, Size.H1, Size.D1)
ZONES = (
    *("UTC", "Europe/Berlin", "America/New_York", "America/Havana", "Asia/Beirut", "Asia/Kolkata"),
    *("Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Apia", "America/Sao_Paulo", "Asia/Amman"),
    *("Pacific/Chatham", "Africa/Cairo", "Etc/GMT+12", "Pacific/Kiritimati"),
)
SINCE_1970 = st.integers(0, 4_102_444_800_000)


def ms(text, zone="UTC"):
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


def local(at_ms, zone):
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at_ms)
    return moment.astimezone(ZoneInfo(zone))


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("UTC", "2025-03-30", 24),
        ("Europe/Berlin", "2025-03-30", 23),
        ("Europe/Berlin", "2025-10-26", 25),
        ("Europe/Berlin", "2025-10-27", 24),
        ("America/New_York", "2025-03-09", 23),
        ("America/New_York", "2025-11-02", 25),
        ("Asia/Kolkata", "2025-03-30", 24),
        ("Australia/Lord_Howe", "2025-10-05", 23.5),
        ("Australia/Lord_Howe", "2025-04-06", 24.5),
    ],
)
def test_a_day_is_as_long_as_it_is_there(zone, day, hours):
    noon_ms = ms(f"{day}T12:00:00", zone)
    start_ms, end_ms = Calendar(zone).day(noon_ms)
    assert start_ms == ms(f"{day}T00:00:00", zone)
    assert (end_ms - start_ms) / HOUR == hours


@pytest.mark.parametrize(
    ("zone", "day", "first"),
    [
        ("America/Havana", "2025-03-09", "01:00:00"),
        ("Asia/Beirut", "2025-03-30", "01:00:00"),
        ("America/Sao_Paulo", "2018-11-04", "01:00:00"),
    ],
)
def test_where_midnight_does_not_exist_the_day_begins_with_its_first_instant(zone, day, first):
    calendar = Calendar(zone)
    start_ms, end_ms = calendar.day(ms(f"{day}T12:00:00", zone))
    assert local(start_ms, zone).isoformat()[:19] == f"{day}T{first}"
    assert local(start_ms - 1, zone).date() < local(start_ms, zone).date()
    assert calendar.day(start_ms - 1)[1] == start_ms
    assert end_ms - start_ms == 23 * HOUR


def test_where_midnight_comes_twice_the_day_begins_with_the_first():
    calendar = Calendar("America/Havana")  # at 01:00 the clock goes back to 00:00
    start_ms, end_ms = calendar.day(ms("2025-11-02T12:00:00", "America/Havana"))
    assert end_ms - start_ms == 25 * HOUR
    assert calendar.day(start_ms + HOUR) == (start_ms, end_ms)
    assert calendar.day(start_ms + HOUR - 1) == (start_ms, end_ms)


def test_a_day_that_a_zone_left_out_has_no_length():
    calendar = Calendar("Pacific/Apia")  # there was no 30 December 2011
    start_ms, end_ms = calendar.day(ms("2011-12-29T12:00:00", "Pacific/Apia"))
    assert local(end_ms, "Pacific/Apia").date().isoformat() == "2011-12-31"
    assert end_ms - start_ms == DAY


@given(st.sampled_from(ZONES), SINCE_1970, st.sampled_from(SIZES))
def test_buckets_tile(zone, at_ms, size):
    calendar = Calendar(zone)
    start_ms = calendar.start(size, at_ms)
    end_ms = calendar.end(size, start_ms)
    assert start_ms <= at_ms < end_ms
    assert calendar.start(size, start_ms) == start_ms
    assert calendar.start(size, end_ms - 1) == start_ms
    assert calendar.start(size, end_ms) == end_ms
    assert calendar.end(size, calendar.start(size, start_ms - 1)) == start_ms


@given(st.sampled_from(ZONES), SINCE_1970)
def test_a_day_holds_the_instants_of_its_date(zone, at_ms):
    start_ms, end_ms = Calendar(zone).day(at_ms)
    date = local(at_ms, zone).date()
    assert local(start_ms, zone).date() == local(end_ms - 1, zone).date() == date
    assert local(end_ms, zone).date() > date


@given(st.sampled_from(ZONES), st.lists(SINCE_1970, min_size=2, max_size=12))
def test_what_is_remembered_is_what_would_be_found(zone, instants):
    calendar = Calendar(zone)
    for at_ms in [*instants, *reversed(instants)]:
        for near_ms in (at_ms, at_ms + 1, at_ms + 899_999):
            assert calendar.day(near_ms) == Calendar(zone).day(near_ms)


def test_a_day_may_begin_at_any_second():
    zone = "Africa/Monrovia"  # 44 minutes and 30 seconds behind until 1972
    start_ms = ms("1971-06-01T00:00:00", zone)
    assert start_ms % 900_000
    for calendar in (Calendar(zone), Calendar(zone)):
        for at_ms in (start_ms, start_ms - 1, start_ms):
            day_ms, end_ms = calendar.day(at_ms)
            assert day_ms <= at_ms < end_ms
            assert start_ms in (day_ms, end_ms)


@given(st.integers(EPOCH_MIN_MS + 2 * DAY, EPOCH_MAX_MS - 2 * DAY), st.sampled_from(ZONES))
def test_every_instant_that_can_be_written_has_buckets(at_ms, zone):
    calendar = Calendar(zone)
    ten, minute, hour, day = calendar.starts(at_ms)
    assert [ten, minute, hour, day] == [calendar.start(size, at_ms) for size in SIZES]
    for size in SIZES:
        start_ms = calendar.start(size, at_ms)
        assert start_ms <= at_ms < calendar.end(size, start_ms)


@pytest.mark.parametrize("at_ms", [EPOCH_MIN_MS, EPOCH_MIN_MS + HOUR, EPOCH_MAX_MS - 1])
@pytest.mark.parametrize("zone", ZONES)
def test_the_first_and_the_last_day_have_bounds(zone, at_ms):
    start_ms, end_ms = Calendar(zone).day(at_ms)
    assert start_ms <= at_ms < end_ms


def test_the_bucket_without_end_holds_everything():
    calendar = Calendar()
    assert calendar.start(Size.ALL, 12345) == calendar.start(Size.ALL, -5) == 0
    assert calendar.end(Size.ALL, 0) == EPOCH_MAX_MS
    assert not expired(0, Size.ALL, EPOCH_MAX_MS)


@pytest.mark.parametrize("size", SIZES)
def test_a_bucket_is_kept_until_all_of_it_is_older_than_its_retention(size):
    clock_ms = 1_760_000_000_000
    edge_ms = clock_ms - RETENTION_MS[size]
    assert expired(edge_ms, size, clock_ms)
    assert not expired(edge_ms + 1, size, clock_ms)


def test_retention_is_as_promised():
    assert [RETENTION_MS[size] // HOUR for size in SIZES[:3]] == [2, 48, 90 * 24]
    assert RETENTION_MS[Size.D1] >= 5 * 365.25 * DAY
    assert [WIDTH_MS[size] for size in SIZES] == [10_000, 60_000, HOUR, DAY]


def test_windows_have_the_names_of_the_contract():
    assert list(WINDOWS_MS) == ["1m", "5m", "15m", "1h", "24h", "7d", "30d"]
    assert all(WINDOWS_MS[name] == width_ms for width_ms, name in WINDOW_NAMES.items())
