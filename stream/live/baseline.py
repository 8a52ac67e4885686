"""Baselines: which past times a window is compared with, and at which age. Pure.

Two bases. `weeks`: the same weekday and time of day, an hour either way, in each of the last four
weeks, pooled. `recent`: the 24 hours before the window, for whatever has no two weeks of history.
Times of day are those of the calendar's zone, so a week with a change of clocks is met at the
right hour. Knows no counts; works on the bounds of windows and the starts of hour buckets.
"""

from stream.core.buckets import WIDTH_MS, Calendar, Size
from stream.core.catalogue import AGES_MS
from stream.core.durations import DAY_MS
from stream.live.windows import Bounds

WEEKS, RECENT = "weeks", "recent"
PAST_WEEKS = 4
LEAST_WEEKS = 2
"""Weeks in which there must have been something, or `recent` is taken."""
RECENT_MS = DAY_MS
_HOUR_MS = WIDTH_MS[Size.H1]

Weights = dict[int, float]
"""Starts of hour buckets, and how much of each lies in a span (0 to 1)."""


def age_of(window_ms: int) -> str:
    """The age at which a window's sessions are compared: the longest of at most a third of it.

    A session of the last minutes has not had time to convert, last week's has. So a comparison
    counts, on both sides, only what a session did within this time of its first interaction, and
    its window ends this long before all that is recorded: every session in it has had the time.
    """
    fitting = [age for age, age_ms in AGES_MS.items() if 3 * age_ms <= window_ms]
    return max(fitting or [next(iter(AGES_MS))], key=AGES_MS.__getitem__)


def week_hours(calendar: Calendar, bounds: Bounds, weeks: int) -> range:
    """Starts of the hours that a window, widened by an hour either way, touched weeks before.

    What a long window shares with itself a week ago is left out.
    """
    from_ms = calendar.days_before(bounds.from_ms, 7 * weeks) - _HOUR_MS
    to_ms = calendar.days_before(bounds.to_ms, 7 * weeks) + _HOUR_MS
    last_ms = min(to_ms, bounds.from_ms - bounds.from_ms % _HOUR_MS)
    return range(from_ms - from_ms % _HOUR_MS, last_ms, _HOUR_MS)


def overlaps(from_ms: int, to_ms: int) -> Weights:
    """The hours of a span by how much of each it covers."""
    return {
        start_ms: (min(to_ms, start_ms + _HOUR_MS) - max(from_ms, start_ms)) / _HOUR_MS
        for start_ms in range(from_ms - from_ms % _HOUR_MS, to_ms, _HOUR_MS)
    }


def past_spans(calendar: Calendar, bounds: Bounds) -> dict[str, list[list[Weights]]]:
    """Where a window's usual traffic is found, by basis: for each past week (`recent`: the day
    before) the window's own span, an hour earlier, at the same time, and an hour later.
    """
    weeks = [_shifted(calendar, bounds, 7 * n) for n in range(1, PAST_WEEKS + 1)]
    return {WEEKS: weeks, RECENT: [_shifted(calendar, bounds, 1)]}


def _shifted(calendar: Calendar, bounds: Bounds, days: int) -> list[Weights]:
    from_ms = calendar.days_before(bounds.from_ms, days)
    to_ms = calendar.days_before(bounds.to_ms, days)
    return [overlaps(from_ms + shift_ms, to_ms + shift_ms) for shift_ms in (-_HOUR_MS, 0, _HOUR_MS)]
