"""Durations in milliseconds: the units of time, and how users write them (`10s`, `30m`, `72h`)."""

import re

SECOND_MS = 1_000
MINUTE_MS = 60 * SECOND_MS
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS

_UNITS_MS = {"ms": 1, "s": SECOND_MS, "m": MINUTE_MS, "h": HOUR_MS, "d": DAY_MS}
_FORM = re.compile(r"(\d{1,12})(ms|s|m|h|d)", re.ASCII)


def parse_duration(text: str) -> int:
    """Milliseconds of a duration such as `90s`; ValueError says what a duration looks like."""
    found = _FORM.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"'{text}' is not a duration; write number and unit: 10s, 30m, 72h, 7d")
    return int(found[1]) * _UNITS_MS[found[2]]


def format_duration(duration_ms: int) -> str:
    """The shortest exact spelling of a duration: 600000 -> `10m`."""
    for unit in ("d", "h", "m", "s"):
        if duration_ms and duration_ms % _UNITS_MS[unit] == 0:
            return f"{duration_ms // _UNITS_MS[unit]}{unit}"
    return f"{duration_ms}ms"


def spell_span(span_ms: int) -> str:
    """A duration as people say it of launches: `24h` and not `1d`, but `2d`, `7d`."""
    return "24h" if span_ms == DAY_MS else format_duration(span_ms)
