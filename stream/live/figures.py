"""Figures: from summed fields to a metric's value, interval and quantiles. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

from stream.core.catalogue import Fraction, Metric, Sum, Unit
from stream.core.cells import Values
from stream.core.ratios import wilson
from stream.core.sketch import bins, percentiles
from stream.live.axis import Counts, Labels
from stream.live.query import Quantiles, Row

_Terms = tuple[tuple[int, int], ...]


class Tally:
    """What one group has come to so far: both sides of the fraction line, and sketch bins."""

    __slots__ = ("bins", "denominator", "numerator")

    def __init__(self) -> None:
        self.numerator = self.denominator = 0
        self.bins: dict[int, int] = {}

    @property
    def empty(self) -> bool:
        """Whether nothing was counted on either side."""
        return not (self.numerator or self.denominator)


class Tallies:
    """What many groups have come to; a group is known by its number, its place in `labels`."""

    def __init__(
        self, counts: Counts, above: Sequence[int], below: Sequence[int], sketch: int | None
    ) -> None:
        self.labels = counts.axis.labels
        self.numerators, self.denominators = above, below
        self._counts, self._sketch = counts, sketch

    def with_data(self) -> list[int]:
        """The groups in which anything was counted on either side."""
        pairs = zip(self.numerators, self.denominators, strict=True)
        return [n for n, (above, below) in enumerate(pairs) if above or below]

    def rank(self, number: int) -> tuple[int, Labels]:
        """By this, groups come in the order of their denominators, the greatest first."""
        return -self.denominators[number], self.labels[number]

    def of(self, number: int) -> Tally:
        """The tally of one group."""
        tally = Tally()
        if number < len(self.numerators):
            tally.numerator, tally.denominator = self.numerators[number], self.denominators[number]
        if self._sketch is not None:
            tally.bins = bins(self._sketch, self._maps.get(self.labels[number], {}))
        return tally

    def find(self, labels: Labels) -> Tally:
        """The tally of a group by its name; an empty one if it is not among them."""
        number = self._counts.axis.find(labels)
        return Tally() if number is None else self.of(number)

    @cached_property
    def _maps(self) -> Mapping[Labels, Values]:
        return self._counts.maps()


class Figures:
    """How one metric under one fraction is read from summed fields."""

    def __init__(self, metric: Metric, fraction: Fraction) -> None:
        self.metric = metric
        self._numerator = _terms(metric, fraction.numerator)
        self._denominator = _terms(metric, fraction.denominator)
        sketch = metric.sketch
        self._sketch = None if sketch is None else metric.source.sketches.index(sketch)

    def add(self, tally: Tally, values: Values) -> None:
        """Add the fields of one label set."""
        for index, sign in self._numerator:
            if index in values:
                tally.numerator += sign * values[index]
        for index, sign in self._denominator:
            if index in values:
                tally.denominator += sign * values[index]
        if self._sketch is not None:
            held = tally.bins
            for number, count in bins(self._sketch, values).items():
                held[number] = held.get(number, 0) + count

    def tally(self, many: Iterable[Values]) -> Tally:
        """The tally of several label sets."""
        total = Tally()
        for values in many:
            self.add(total, values)
        return total

    def tallies(self, counts: Counts) -> Tallies:
        """The tallies of all groups at once."""
        above, below = (
            sum((sign * counts.field(index) for index, sign in terms), counts.nothing).tolist()
            for terms in (self._numerator, self._denominator)
        )
        return Tallies(counts, above, below, self._sketch)

    def row(self, tally: Tally, labels: Mapping[str, str], at_ms: int | None = None) -> Row:
        """What is answered for a group."""
        metric, below = self.metric, tally.denominator
        above = tally.numerator / metric.divisor if metric.divisor != 1 else tally.numerator
        interval = wilson(tally.numerator, below) if metric.unit is Unit.RATIO else None
        low, high = interval or (None, None)
        value = above / below if below else None
        return Row(labels, value, above, below, low, high, self._quantiles(tally), at_ms)

    def _quantiles(self, tally: Tally) -> Quantiles | None:
        if self._sketch is None:
            return None
        counts = {number: count for number, count in tally.bins.items() if count}
        p50, p90 = percentiles(counts, (50, 90))
        scale = self.metric.divisor
        return Quantiles(None if p50 is None else p50 / scale, None if p90 is None else p90 / scale)


def _terms(metric: Metric, names: Sum) -> _Terms:
    index = metric.source.index
    return tuple(
        (index[name.removeprefix("-")], -1 if name.startswith("-") else 1) for name in names
    )
