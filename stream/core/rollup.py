"""Roll-up: counts of 10 s buckets, added up into the coarser ones.

Pure. Knows the sizes and the calendar; knows nothing of ledgers.
"""

from collections.abc import Iterator

from stream.core.buckets import Calendar, Size
from stream.core.cells import Values, add

SIZES = (Size.S10, Size.M1, Size.H1, Size.D1)
Labels = dict[int, Values]
"""Values by label id."""
Bucket = tuple[Size, int]
"""Size and start."""


def roll_up(pending: dict[int, Labels], calendar: Calendar) -> Iterator[tuple[Bucket, Labels]]:
    """The buckets of all sizes that these 10 s buckets, given by their starts, lie in.

    Each size is added up out of the one before. A bucket comes in two parts where a day begins in
    the middle of it. Labels may be shared between buckets: they must not be changed.
    """
    level: dict[tuple[int, ...], Labels] = {
        calendar.starts(start_ms): labels for start_ms, labels in pending.items()
    }
    for size in SIZES:
        for starts, labels in level.items():
            yield (size, starts[0]), labels
        level = _merged(level)


def _merged(level: dict[tuple[int, ...], Labels]) -> dict[tuple[int, ...], Labels]:
    """The same with the first of the starts taken away, and what has become one put together."""
    parts: dict[tuple[int, ...], list[Labels]] = {}
    for starts, labels in level.items():
        parts.setdefault(starts[1:], []).append(labels)
    return {starts: sum_of(found) for starts, found in parts.items()}


def sum_of(parts: list[Labels]) -> Labels:
    """Values of the same label added up; the parts stay as they are, and may be the sum."""
    there = [part for part in parts if part]
    if len(there) < 2:
        return there[0] if there else {}
    made = {label: values.copy() for label, values in there[0].items()}
    for part in there[1:]:
        for label, values in part.items():
            known = made.get(label)
            if known is None:
                made[label] = values.copy()
            else:
                add(known, values)
    return made
