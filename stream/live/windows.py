"""Sliding windows: sums of whole buckets, kept by adding the new and taking the old away.

A window is summed over once, when it is first asked for; from then on it costs what changes. Knows
the merged cells of one source, no clock: every look says where the window lies by then.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from stream.core.buckets import EPOCH_MAX_MS, WIDTH_MS, WINDOWS_MS, Size
from stream.core.cells import Values
from stream.core.durations import DAY_MS, HOUR_MS
from stream.live.axis import Counts, Labels, Vector
from stream.live.cover import FINE_TO_COARSE, Shelf
from stream.live.picture import Place
from stream.live.sheet import Sheet
from stream.live.store import Store

_AT_ONCE = 64
STANDARD_MS = frozenset(WINDOWS_MS.values())
"""The windows that are kept as sums; others are summed when asked for."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Where a window lies, and the size of the buckets that it is read with."""

    from_ms: int
    to_ms: int
    size: Size


def grain(window_ms: int) -> Size:
    """Bucket size that a window is read with while all buckets are kept."""
    if window_ms <= HOUR_MS:
        return Size.S10
    return Size.M1 if window_ms <= DAY_MS else Size.H1


def window_bounds(
    shelf: Shelf, window_ms: int, now_ms: int, limit_ms: int = EPOCH_MAX_MS
) -> Bounds:
    """A window that ends with the bucket around `now_ms`, or at a limit if that is earlier.

    Coarser buckets are taken where those of its grain are no longer kept at its beginning.
    """
    for size in FINE_TO_COARSE[grain(window_ms) - 1 : -1]:
        bounds = _bounds(shelf, size, window_ms, now_ms, limit_ms)
        if shelf.kept(size, shelf.calendar.end(size, bounds.from_ms)):
            return bounds
    return _bounds(shelf, Size.D1, window_ms, now_ms, limit_ms)


def _bounds(shelf: Shelf, size: Size, window_ms: int, now_ms: int, limit_ms: int) -> Bounds:
    calendar = shelf.calendar
    to_ms = calendar.end(size, calendar.start(size, now_ms))
    to_ms = min(to_ms, calendar.start(size, limit_ms))
    return Bounds(calendar.start(size, to_ms - window_ms), to_ms, size)


class Window:
    """The sums of one state over the buckets between two bounds."""

    def __init__(self, store: Store, state: str) -> None:
        self._store = store
        self.state = state
        self.bounds = Bounds(0, 0, Size.S10)
        self.counts = Counts(store.axis)

    @property
    def sums(self) -> dict[Labels, Values]:
        """The sums as maps of fields by label set, made for the caller."""
        return self.counts.maps()

    def field(self, field: int) -> dict[Labels, int]:
        """One field by label set, where it is not zero."""
        return self.counts.map(field)

    def move(self, bounds: Bounds) -> None:
        """Go to other bounds; backwards too, should a clock be set back."""
        held, self.bounds = self.bounds, bounds
        if bounds == held:
            return
        apart = bounds.from_ms >= held.to_ms or bounds.to_ms <= held.from_ms
        if apart or bounds.size is not held.size or bounds.size is Size.D1:
            self.counts = Counts(self._store.axis)
            self._each(bounds.from_ms, bounds.to_ms, self.counts.add)
            return
        self._each(held.to_ms, bounds.to_ms, self.counts.add)
        self._each(bounds.from_ms, held.from_ms, self.counts.add)
        self._each(bounds.to_ms, held.to_ms, self.counts.take)
        self._each(held.from_ms, bounds.from_ms, self.counts.take)

    def holds(self, size: int, start_ms: int) -> bool:
        """Whether a bucket lies in the window."""
        bounds = self.bounds
        return size == bounds.size and bounds.from_ms <= start_ms < bounds.to_ms

    def _each(self, from_ms: int, to_ms: int, do: Callable[[Vector], None]) -> None:
        """Add the buckets between two bounds, or take them away; some at a time."""
        size = self.bounds.size
        starts: Sequence[int]
        if size is Size.D1:
            starts = [s for s in self._store.starts(size) if from_ms <= s < to_ms]
        else:
            starts = range(from_ms, to_ms, WIDTH_MS[size])
        for at in range(0, len(starts), _AT_ONCE):
            places = [(size, start_ms) for start_ms in starts[at : at + _AT_ONCE]]
            do(self._store.vector(places, self.state))


WindowKey = tuple[int, str, str]
"""Length, state, and the family by which it settles ("" for live)."""


class Windows:
    """The windows of one source that somebody has asked for."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._windows: dict[WindowKey, Window] = {}
        store.attach(self)

    def at(self, key: WindowKey, bounds: Bounds) -> Window:
        """A window, moved to where it lies now; summed first if it is new."""
        window = self._windows.get(key)
        if window is None:
            window = self._windows[key] = Window(self._store, key[1])
        window.move(bounds)
        return window

    def change(self, place: Place, out: Sheet, into: Sheet) -> None:
        """Tell the windows that a bucket lies in what goes out of it and what comes in."""
        for window in self._windows.values():
            if window.holds(*place):
                window.counts.take(out.state(window.state))
                window.counts.add(into.state(window.state))

    def forget(self) -> None:
        """Sum again at the next look."""
        self._windows.clear()


def summed(store: Store, bounds: Bounds, state: str) -> dict[Labels, Values]:
    """The same sums made from nothing: for windows that nobody keeps, and as an oracle."""
    window = Window(store, state)
    window.move(bounds)
    return window.sums
