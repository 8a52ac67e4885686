"""Slices: which part of the traffic a screen shows, and the sums of that part over a range.

Pure reading of the view. A slice names dimensions of several sources; where a source lacks one, the
slice leaves it whole and says so.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from stream.core.buckets import Size
from stream.core.catalogue import LIVE, Metric, Source
from stream.core.cells import Values
from stream.core.durations import MINUTE_MS
from stream.live.axis import Fold, Labels, Mask, Vector
from stream.live.cover import Piece, cover
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
    """Sums of one slice at one moment, each made once however often it is asked for."""

    def __init__(self, view: View, part: Slice, now_ms: int) -> None:
        self.view, self.part, self.now_ms = view, part, now_ms
        self._known: dict[tuple[object, ...], Sum] = {}

    def over(
        self, source: Source, from_ms: int, to_ms: int, state: str = LIVE, by: tuple[str, ...] = ()
    ) -> Sum:
        """The sums of a range of event time; nothing after `to_ms` is in."""
        key = source.topic, from_ms, to_ms, state, by
        if key not in self._known:
            span = cover(self.view.shelf(source.topic), from_ms, to_ms, limit_ms=to_ms)
            vector = self._vector(source, span.pieces, state)
            groups = self._fold(source, by).sum(vector).maps()
            self._known[key] = Sum(span.from_ms, span.to_ms, groups)
        return self._known[key]

    def now(self, metric: Metric, window_ms: int, by: tuple[str, ...] = ()) -> Sum:
        """The live sums of a standard window that ends now, as queries answer them."""
        window = self.view.window(metric, window_ms, LIVE, self.now_ms)
        if window is None:
            return Sum(self.now_ms, self.now_ms, {})
        counts = window.counts.fold(_positions(metric.source, by), self._mask(metric.source))
        groups = counts.maps()
        return Sum(window.bounds.from_ms, window.bounds.to_ms, groups)

    def minutes(self, source: Source, from_ms: int, to_ms: int) -> dict[int, Values]:
        """The live sums of each minute that holds anything, by its start."""
        fold, found = self._fold(source, ()), dict[int, Values]()
        for start_ms in range(from_ms, to_ms, MINUTE_MS):
            vector = self._vector(source, [(Size.M1, start_ms)])
            if len(vector.slots):
                found[start_ms] = fold.sum(vector).maps().get((), {})
        return found

    def _vector(self, source: Source, pieces: Iterable[Piece], state: str = LIVE) -> Vector:
        """The cells of the slice in some buckets."""
        return self.view.store(source.topic).vector(pieces, state, self._mask(source))

    def _fold(self, source: Source, by: tuple[str, ...]) -> Fold:
        return self.view.store(source.topic).axis.fold(_positions(source, by))

    def _mask(self, source: Source) -> Mask | None:
        """The label sets of the slice; None: all."""
        place = source.dimensions.index
        axis = self.view.store(source.topic).axis
        return axis.where({place(name): kept for name, kept in self.part.of(source).items()})


def _positions(source: Source, by: tuple[str, ...]) -> tuple[int, ...]:
    return tuple(source.dimensions.index(name) for name in by)
