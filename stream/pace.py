"""Paces: when a line is due, by count or by event time. Pure: seconds go in and out."""

from collections.abc import Callable
from datetime import datetime

Pace = Callable[[object], float | None]
"""A line's timestamp -> seconds after the start at which it is due; None: it may go at once."""


def by_rate(rate: float) -> Pace:
    """Evenly, `rate` lines a second."""
    count = 0

    def due_s(_timestamp: object) -> float:
        nonlocal count
        count += 1
        return (count - 1) / rate

    return due_s


def by_event_time(speed: float) -> Pace:
    """By timestamps; an event from before the one before it, or without a time, goes at once."""
    first_ms: int | None = None

    def due_s(timestamp: object) -> float | None:
        nonlocal first_ms
        time_ms = event_time_ms(timestamp)
        if time_ms is None:
            return None
        if first_ms is None:
            first_ms = time_ms
        return (time_ms - first_ms) / 1000 / speed

    return due_s


def event_time_ms(timestamp: object) -> int | None:
    """Milliseconds of a contract timestamp (integer, or RFC 3339 with zone), None for others."""
    if isinstance(timestamp, int) and not isinstance(timestamp, bool):
        return timestamp
    if isinstance(timestamp, str):
        try:
            moment = datetime.fromisoformat(timestamp)
        except ValueError:
            return None
        if moment.tzinfo is not None:
            return int(moment.timestamp() * 1000)
    return None
