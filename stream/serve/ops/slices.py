"""Slices: which part of the traffic a screen shows, and the sums of that part over a range.

Pure reading of the view. A slice names dimensions of several sources; where a source lacks one, the
slice leaves it whole and says so.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from stream.core.buckets import Size
from stream.core.catalogue import LIVE, Metric, Source
from stream.core.cells import Values
from stream.core.durations import MINUTE_MS
from stream.live.cover import Piece, cover
from stream.live.vectors import Cell, Labels, Vector
from stream.live.view import View

Group = tuple[str, ...]
"""Values of the dimensions grouped by, in their order."""


@dataclass(frozen=True, slots=True)
class Slice:
    """Values that are kept, by dimension; a dimension without an entry is whole."""

    filters: tuple[tuple[str, frozenset[str]], ...] = ()

    def ignored(self, source: Source) -> list[str]:
        """Filters that a source cannot obey, since it lacks the dimension."""
        return [name for name, _ in self.filters if name not in source.dimensions]

    def of(self, source: Source) -> dict[str, frozenset[str]]:
        """The filters that a source obeys."""
        return {name: kept for name, kept in self.filters if name in source.dimensions}

    def grouping(self, source: Source, by: tuple[str, ...]) -> Callable[[Labels], Group | None]:
        """From a label set to its group; None where the slice leaves it out."""
        places = [source.dimensions.index(name) for name in by]
        wanted = [(source.dimensions.index(n), kept) for n, kept in self.of(source).items()]

        def group_of(labels: Labels) -> Group | None:
            for i, kept in wanted:
                if labels[i] not in kept:
                    return None
            return tuple([labels[i] for i in places])

        return group_of


EVERYTHING = Slice()


@dataclass(frozen=True, slots=True)
class Sum:
    """Fields of each group over a range, widened to whole buckets where finer ones are gone."""

    from_ms: int
    to_ms: int
    groups: Mapping[Group, Values]


class Sums:
    """Sums of one slice at one moment, each made once however often it is asked for.

    A slice costs its own label sets, not everybody's: which of them a bucket may hold is found once
    for each day.
    """

    def __init__(self, view: View, part: Slice, now_ms: int) -> None:
        self.view, self.part, self.now_ms = view, part, now_ms
        self._known: dict[tuple[object, ...], Sum] = {}
        self._members: dict[tuple[object, ...], Mapping[Group, Sequence[Labels]]] = {}

    def over(
        self, source: Source, from_ms: int, to_ms: int, state: str = LIVE, by: tuple[str, ...] = ()
    ) -> Sum:
        """The sums of a range of event time; nothing after `to_ms` is in."""
        key = source.topic, from_ms, to_ms, state, by
        if key not in self._known:
            span = cover(self.view.shelf(source.topic), from_ms, to_ms, limit_ms=to_ms)
            algebra, which = self.view.store(source.topic).algebra, 0 if state == LIVE else 1
            gathered: dict[Group, list[Vector]] = {}
            for piece in span.pieces:
                for group, cells in self._cells(source, piece, by):
                    gathered.setdefault(group, []).extend(cell[which] for cell in cells)
            groups = {g: algebra.unpack(algebra.total(many)) for g, many in gathered.items()}
            self._known[key] = Sum(span.from_ms, span.to_ms, groups)
        return self._known[key]

    def now(self, metric: Metric, window_ms: int, by: tuple[str, ...] = ()) -> Sum:
        """The live sums of a standard window that ends now, as queries answer them."""
        window = self.view.window(metric, window_ms, LIVE, self.now_ms)
        if window is None:
            return Sum(self.now_ms, self.now_ms, {})
        algebra = self.view.store(metric.source.topic).algebra
        members = _group(window.vectors, self.part.grouping(metric.source, by))
        groups = {
            group: algebra.unpack(algebra.total(window.vectors[labels] for labels in many))
            for group, many in members.items()
        }
        return Sum(window.bounds.from_ms, window.bounds.to_ms, groups)

    def minutes(self, source: Source, from_ms: int, to_ms: int) -> dict[int, Values]:
        """The live sums of each minute that holds anything, by its start."""
        algebra = self.view.store(source.topic).algebra
        return {
            start_ms: algebra.unpack(algebra.total(cell[0] for cell in cells))
            for start_ms in range(from_ms, to_ms, MINUTE_MS)
            for _, cells in self._cells(source, (Size.M1, start_ms), ())
        }

    def _cells(
        self, source: Source, piece: Piece, by: tuple[str, ...]
    ) -> Iterator[tuple[Group, list[Cell]]]:
        """The cells of one bucket, by group; groups without any are left out."""
        bucket = self.view.store(source.topic).bucket(*piece)
        if not bucket:
            return
        if not by and not self.part.of(source):
            yield (), list(bucket.values())
            return
        calendar, (size, start_ms) = self.view.calendar, piece
        first_ms = calendar.day(start_ms)[0]
        last_ms = calendar.day(calendar.end(size, start_ms) - 1)[0]
        for group, many in self._of_days(source, first_ms, last_ms, by).items():
            if cells := [bucket[labels] for labels in many if labels in bucket]:
                yield group, cells

    def _of_days(
        self, source: Source, first_ms: int, last_ms: int, by: tuple[str, ...]
    ) -> Mapping[Group, Sequence[Labels]]:
        """The label sets of the slice that occur on a day or the next, by group.

        An hour lies in two days where those of the calendar's zone begin at half past.
        """
        key = source.topic, first_ms, last_ms, by
        if key not in self._members:
            store = self.view.store(source.topic)
            seen = dict.fromkeys(store.bucket(Size.D1, first_ms))
            if last_ms != first_ms:
                seen |= dict.fromkeys(store.bucket(Size.D1, last_ms))
            self._members[key] = _group(seen, self.part.grouping(source, by))
        return self._members[key]


def _group(
    many: Iterable[Labels], group_of: Callable[[Labels], Group | None]
) -> dict[Group, list[Labels]]:
    groups: dict[Group, list[Labels]] = {}
    for labels in many:
        group = group_of(labels)
        if group is not None:
            groups.setdefault(group, []).append(labels)
    return groups
