"""Tumbling buckets of event time: their sizes, bounds and retention.

All bounds are integer milliseconds since the epoch, half-open. Seconds, minutes and hours are those
of UTC; a day is a day of the configured time zone, so it may have 23 or 25 hours.
"""

from datetime import UTC, date, datetime, time, timedelta
from enum import IntEnum
from zoneinfo import ZoneInfo

from stream.core.durations import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS


class Size(IntEnum):
    """Bucket sizes. `ALL` is one bucket without end, for counters that are never taken back."""

    ALL = 0
    S10 = 1
    M1 = 2
    H1 = 3
    D1 = 4


WIDTH_MS = {Size.S10: 10 * SECOND_MS, Size.M1: MINUTE_MS, Size.H1: HOUR_MS, Size.D1: DAY_MS}
RETENTION_MS = {
    Size.S10: 2 * HOUR_MS,
    Size.M1: 48 * HOUR_MS,
    Size.H1: 90 * DAY_MS,
    Size.D1: 5 * 366 * DAY_MS,
}
STEPS = {"10s": Size.S10, "1m": Size.M1, "1h": Size.H1, "1d": Size.D1}
WINDOWS_MS = {
    "1m": MINUTE_MS,
    "5m": 5 * MINUTE_MS,
    "15m": 15 * MINUTE_MS,
    "1h": HOUR_MS,
    "24h": DAY_MS,
    "7d": 7 * DAY_MS,
    "30d": 30 * DAY_MS,
}
"""The sliding windows that are kept, by name."""
WINDOW_NAMES = {width_ms: name for name, width_ms in WINDOWS_MS.items()}
EPOCH_MIN_MS, EPOCH_MAX_MS = -62_135_596_800_000, 253_402_300_800_000
"""RFC 3339 can write the years 1 to 9999; no event lies outside."""

_SLOT_MS = 900_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Calendar:
    """Bucket bounds in one time zone; days are remembered, so that asking is cheap."""

    def __init__(self, zone: str = "UTC") -> None:
        self.zone = zone
        self._info = ZoneInfo(zone)
        self._days: dict[int, tuple[int, int]] = {}

    def day(self, at_ms: int) -> tuple[int, int]:
        """Start and end of the local day around an instant."""
        slot = at_ms // _SLOT_MS
        known = self._days.get(slot)
        if known is None or not known[0] <= at_ms < known[1]:
            if len(self._days) > 100_000:
                self._days.clear()
            known = self._days[slot] = self._find_day(at_ms)
        return known

    def start(self, size: Size, at_ms: int) -> int:
        """Start of the bucket around an instant."""
        if size is Size.D1:
            return self.day(at_ms)[0]
        if size is Size.ALL:
            return 0
        return at_ms - at_ms % WIDTH_MS[size]

    def end(self, size: Size, start_ms: int) -> int:
        """End of the bucket that starts at an instant; buckets tile, so it is the next start."""
        if size is Size.D1:
            return self.day(start_ms)[1]
        if size is Size.ALL:
            return EPOCH_MAX_MS
        return start_ms + WIDTH_MS[size]

    def days_before(self, at_ms: int, days: int) -> int:
        """The same time of the day by the local clock, so many days before an instant."""
        local = (_EPOCH + timedelta(milliseconds=at_ms)).astimezone(self._info)
        return (local - timedelta(days=days) - _EPOCH) // timedelta(milliseconds=1)

    def starts(self, at_ms: int) -> tuple[int, int, int, int]:
        """Starts of the 10 s, 1 min, 1 h and 1 d buckets around an instant."""
        return (
            at_ms - at_ms % 10_000,
            at_ms - at_ms % MINUTE_MS,
            at_ms - at_ms % HOUR_MS,
            self.day(at_ms)[0],
        )

    def _find_day(self, at_ms: int) -> tuple[int, int]:
        try:
            local = (_EPOCH + timedelta(milliseconds=at_ms)).astimezone(self._info)
            day = local.date()
            return self._instant(day), self._instant(day + timedelta(days=1))
        except OverflowError:  # the first and last day that a calendar can write
            start = at_ms - at_ms % DAY_MS
            return start, start + DAY_MS

    def _instant(self, day: date) -> int:
        moment = datetime.combine(day, time(), self._info).astimezone(UTC)
        return (moment - _EPOCH) // timedelta(milliseconds=1)


def expired(end_ms: int, size: Size, clock_ms: int) -> bool:
    """Whether a bucket that ends at `end_ms` is no longer kept at this clock."""
    return size is not Size.ALL and end_ms <= clock_ms - RETENTION_MS[size]
