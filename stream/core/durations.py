"""Durations as users write them (`10s`, `30m`, `72h`, `400d`), in milliseconds inside."""

import re

UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_FORM = re.compile(r"(\d{1,12})(ms|s|m|h|d)", re.ASCII)


def parse_duration(text: str) -> int:
    """Milliseconds of a duration such as `90s`; ValueError says what a duration looks like."""
    found = _FORM.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"'{text}' is not a duration; write number and unit: 10s, 30m, 72h, 7d")
    return int(found[1]) * UNITS_MS[found[2]]


def format_duration(duration_ms: int) -> str:
    """The shortest exact spelling of a duration: 600000 -> `10m`."""
    for unit in ("d", "h", "m", "s"):
        if duration_ms and duration_ms % UNITS_MS[unit] == 0:
            return f"{duration_ms // UNITS_MS[unit]}{unit}"
    return f"{duration_ms}ms"
