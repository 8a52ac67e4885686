"""Times and windows as the HTTP interface writes them; integer milliseconds inside."""

import re
from datetime import UTC, datetime, timedelta

from stream.core.buckets import EPOCH_MAX_MS, EPOCH_MIN_MS, WINDOWS_MS

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_FORM = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d+))?([Zz]|[+\- ]\d\d:\d\d)", re.ASCII
)


def format_time(at_ms: int) -> str:
    """RFC 3339 in UTC with milliseconds; what no calendar can write becomes the nearest it can."""
    moment = _EPOCH + min(max(at_ms, EPOCH_MIN_MS), EPOCH_MAX_MS - 1) * _MS
    return moment.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def parse_time(text: str) -> int:
    """Milliseconds of an RFC 3339 time with a zone; finer digits are cut.

    A space before the offset stands for the `+` that a query string turns into one. ValueError
    says what a time looks like.
    """
    found = _FORM.fullmatch(text)
    if found is None:
        raise ValueError(f"'{text}' is not a time; write one like 2026-03-01T09:00:00Z")
    date, clock, fraction, zone = found.groups()
    zone = "+00:00" if zone in "Zz" else zone.replace(" ", "+")
    millis = ((fraction or "") + "000")[:3]
    try:
        at_ms = (datetime.fromisoformat(f"{date}T{clock}.{millis}{zone}") - _EPOCH) // _MS
    except ValueError:
        at_ms = EPOCH_MAX_MS
    if not EPOCH_MIN_MS <= at_ms < EPOCH_MAX_MS:
        raise ValueError(f"'{text}' is no time of the calendar")
    return at_ms


def parse_window(text: str) -> int:
    """Milliseconds of a sliding window that is kept; ValueError lists them."""
    if text not in WINDOWS_MS:
        raise ValueError(f"'{text}' is not one of {', '.join(WINDOWS_MS)}")
    return WINDOWS_MS[text]
