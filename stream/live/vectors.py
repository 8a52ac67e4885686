"""Vectors: the fields of a cell in the form in which they are added up.

Adding twelve fields of a map one by one is what a reader would spend its time on. So the fields of
a source without sketches live side by side in one integer, each in a lane wide enough never to
spill over: a sum of cells is one addition. Sources with sketches have thousands of possible fields,
few of them used, and stay maps. Only an algebra looks inside a vector. Pure.
"""

from collections.abc import Iterable
from typing import Any, Protocol

from stream.core.catalogue import Source
from stream.core.cells import Values, add, decode_cell

Vector = Any
"""An integer or a map, as its algebra has it; never changed in place."""
Labels = tuple[str, ...]
Cell = tuple[Vector, Vector]
"""Live and settled."""

_LANE_BITS = 96
"""Room for 10^10 events of the greatest amount of money that one may carry, either sign."""
_MASK = (1 << _LANE_BITS) - 1
_HALF = 1 << (_LANE_BITS - 1)


class Algebra(Protocol):
    """What can be done with the vectors of one source."""

    zero: Vector

    def pack(self, values: Values) -> Vector:
        """The vector of a map of fields."""

    def unpack(self, vector: Vector) -> Values:
        """The fields that are not zero; a map that the caller may change."""

    def field(self, vector: Vector, index: int) -> int:
        """One field."""

    def plus(self, a: Vector, b: Vector) -> Vector:
        """The sum."""

    def minus(self, a: Vector, b: Vector) -> Vector:
        """The difference."""

    def total(self, vectors: Iterable[Vector]) -> Vector:
        """The sum of many."""

    def accumulate(self, sums: dict[Labels, Vector], labels: Labels, delta: Vector) -> None:
        """Add to one of many sums, which belong to the caller alone; zeros leave."""


class Lanes:
    """Fields as lanes of one integer. Lanes are signed: what one borrows the next gives back."""

    zero = 0

    def __init__(self, fields: int) -> None:
        self._shifts = tuple(_LANE_BITS * i for i in range(fields))
        self._bias = sum(_HALF << shift for shift in self._shifts)

    def pack(self, values: Values) -> Vector:
        """The vector of a map of fields."""
        shifts, vector = self._shifts, 0
        for index, n in values.items():
            vector += n << shifts[index]
        return vector

    def unpack(self, vector: Vector) -> Values:
        """The fields that are not zero."""
        biased = vector + self._bias
        fields = {i: ((biased >> shift) & _MASK) - _HALF for i, shift in enumerate(self._shifts)}
        return {i: n for i, n in fields.items() if n}

    def field(self, vector: Vector, index: int) -> int:
        """One field."""
        return int((((vector + self._bias) >> self._shifts[index]) & _MASK) - _HALF)

    def plus(self, a: Vector, b: Vector) -> Vector:
        """The sum."""
        return a + b

    def minus(self, a: Vector, b: Vector) -> Vector:
        """The difference."""
        return a - b

    def total(self, vectors: Iterable[Vector]) -> Vector:
        """The sum of many."""
        return sum(vectors)

    def accumulate(self, sums: dict[Labels, Vector], labels: Labels, delta: Vector) -> None:
        """Add to one of many sums."""
        held = sums.get(labels, 0) + delta
        if held:
            sums[labels] = held
        else:
            sums.pop(labels, None)


class Maps:
    """Fields as sparse maps."""

    def __init__(self) -> None:
        self.zero: Vector = {}

    def pack(self, values: Values) -> Vector:
        """The vector of a map of fields."""
        return values

    def unpack(self, vector: Vector) -> Values:
        """The fields that are not zero."""
        return dict(vector)

    def field(self, vector: Vector, index: int) -> int:
        """One field."""
        return int(vector.get(index, 0))

    def plus(self, a: Vector, b: Vector) -> Vector:
        """The sum."""
        return self.total((a, b))

    def minus(self, a: Vector, b: Vector) -> Vector:
        """The difference."""
        values: Values = dict(a)
        add(values, b, -1)
        return values

    def total(self, vectors: Iterable[Vector]) -> Vector:
        """The sum of many."""
        values: Values = {}
        for vector in vectors:
            add(values, vector)
        return values

    def accumulate(self, sums: dict[Labels, Vector], labels: Labels, delta: Vector) -> None:
        """Add to one of many sums, in place."""
        held = sums.setdefault(labels, {})
        add(held, delta)
        if not held:
            del sums[labels]


def algebra_of(source: Source) -> Algebra:
    """The algebra that suits a source."""
    return Maps() if source.sketches else Lanes(len(source.index))


def decode_vectors(algebra: Algebra, raw: bytes) -> Cell:
    """Vectors of a cell's bytes; states that are equal, as most of the past's are, are one."""
    live, settled = decode_cell(raw)
    vector = algebra.pack(live)
    if not settled:
        return vector, algebra.zero
    return vector, vector if settled == live else algebra.pack(settled)
