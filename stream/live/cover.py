"""Cover: the buckets that make up a time range, given what is still kept.

The coarsest buckets that fit exactly are taken; where no bucket ends at a bound any more (the fine
ones have left), the range is widened to whole buckets, never beyond a limit. Pure.
"""

from dataclasses import dataclass

from stream.core.buckets import EPOCH_MAX_MS, RETENTION_MS, WIDTH_MS, Calendar, Size, expired

FINE_TO_COARSE = (Size.S10, Size.M1, Size.H1, Size.D1)
_GRAIN_MS = WIDTH_MS[Size.S10]
Piece = tuple[Size, int]
"""A bucket: its size and start."""


@dataclass(frozen=True, slots=True)
class Cover:
    """A range of whole buckets; pieces are in order, and only where anything may be stored."""

    from_ms: int
    to_ms: int
    pieces: list[Piece]


class Shelf:
    """What is kept of a source: retention counts from the newest time a partition has seen."""

    def __init__(self, calendar: Calendar, newest_ms: int | None) -> None:
        self.calendar, self.newest_ms = calendar, newest_ms
        if newest_ms is None:
            self.oldest_ms = self.beyond_ms = 0
        else:
            self.oldest_ms = calendar.day(newest_ms - RETENTION_MS[Size.D1])[0]
            self.beyond_ms = calendar.day(newest_ms)[1]

    def kept(self, size: Size, end_ms: int) -> bool:
        """Whether the bucket of this size that ends then is still there."""
        return self.newest_ms is None or not expired(end_ms, size, self.newest_ms)

    def finest(self, at_ms: int) -> Size:
        """The finest size kept around an instant."""
        for size in FINE_TO_COARSE[:-1]:
            if self.kept(size, self.calendar.end(size, self.calendar.start(size, at_ms))):
                return size
        return Size.D1

    def floor(self, at_ms: int) -> int:
        """Start of the finest kept bucket around an instant."""
        return self.calendar.start(self.finest(at_ms), at_ms)

    def in_use(self, at_ms: int) -> bool:
        """Whether anything may be stored at an instant."""
        return self.oldest_ms <= at_ms < self.beyond_ms


def cover(
    shelf: Shelf,
    from_ms: int,
    to_ms: int,
    *,
    limit_ms: int = EPOCH_MAX_MS,
    largest: Size = Size.D1,
) -> Cover:
    """Buckets no larger than `largest` over a range that ends at the limit at the latest.

    `largest` must not be finer than what is kept at `from_ms`.
    """
    to_ms = min(to_ms, shelf.floor(limit_ms))
    if from_ms >= to_ms:
        return Cover(to_ms, to_ms, [])
    pieces, end = _walk(shelf, from_ms, to_ms, largest)
    if end == to_ms:
        return Cover(from_ms, to_ms, pieces)
    if from_ms >= shelf.oldest_ms:
        from_ms = shelf.floor(from_ms)
    pieces, end = _walk(shelf, from_ms, to_ms, largest)
    if end < to_ms:
        size = _finest_from(shelf, end)
        wide_ms = shelf.calendar.end(size, end)
        if wide_ms <= limit_ms:
            if shelf.in_use(end):
                pieces.append((size, end))
            end = wide_ms
    return Cover(from_ms, max(from_ms, end), pieces)


def _walk(shelf: Shelf, from_ms: int, to_ms: int, largest: Size) -> tuple[list[Piece], int]:
    """Pieces from a start on, as far as they fit, and where they end."""
    pieces: list[Piece] = []
    at = from_ms
    while at < to_ms:
        if at < shelf.oldest_ms:  # nothing is left there: any bound is exact
            at = min(shelf.oldest_ms, to_ms)
        elif at >= shelf.beyond_ms:  # nothing is there yet: only the finest grain matters
            return pieces, at if at % _GRAIN_MS else max(at, to_ms - to_ms % _GRAIN_MS)
        else:
            size = _largest_from(shelf, at, to_ms, largest)
            if size is None:
                return pieces, at
            pieces.append((size, at))
            at = shelf.calendar.end(size, at)
    return pieces, at


def _largest_from(shelf: Shelf, at: int, to_ms: int, largest: Size) -> Size | None:
    calendar = shelf.calendar
    for size in reversed(FINE_TO_COARSE[:largest]):
        if calendar.start(size, at) == at:
            end = calendar.end(size, at)
            if end <= to_ms and shelf.kept(size, end):
                return size
    return None


def _finest_from(shelf: Shelf, at: int) -> Size:
    calendar = shelf.calendar
    for size in FINE_TO_COARSE[:-1]:
        if calendar.start(size, at) == at and shelf.kept(size, calendar.end(size, at)):
            return size
    return Size.D1
