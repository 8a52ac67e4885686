"""Axis: label sets and their fields by number, so that sums of many cells are sums of arrays.

A *row* is a label set. A *slot* is a row and a code, which is a field, or a part of one: numbers
are written in digits of 32 bits, nearly always one, so that no sum of them can leave 64 bits and
still none is rounded. A *vector* is a list of slots and digits; *counts* have a sum for every slot.

An axis folds onto a coarser one, whose label sets have some of the dimensions only: groups are rows
of that. Rows and slots are given once and stay; how many there are is bounded by what the ledgers
admit. Pure.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.core.cells import Values

Labels = tuple[str, ...]
Numbers = NDArray[np.int64]
Mask = NDArray[np.bool_]
Digits = tuple[tuple[int, int], ...]
"""Codes and digits of one label set's fields."""

_DIGIT_BITS = 32
_LEAST, _MOST = -(1 << 31), (1 << 31) - 1
_FIELD_BITS, _CODE_BITS = 16, 21
_FIELDS, _CODES = 1 << _FIELD_BITS, 1 << _CODE_BITS
_SAFE = 1 << 30
_FOLDS = 12  # kept; whoever groups by all there is in every order must not fill the memory


def digits_of(values: Values) -> Digits:
    """Fields as digits. Raises ValueError for a field or a number that there cannot be."""
    found: list[tuple[int, int]] = []
    for field, n in values.items():
        if not 0 <= field < _FIELDS:
            raise ValueError(f"no such field: {field}")
        code, rest = field, n
        while not _LEAST <= rest <= _MOST:
            digit = (rest - _LEAST) % (1 << _DIGIT_BITS) + _LEAST
            found.append((code, digit))
            code, rest = code + _FIELDS, (rest - digit) >> _DIGIT_BITS
        if code >= _CODES:
            raise ValueError("a number of more than a thousand bits")
        found.append((code, rest))
    return tuple(found)


class Vector(NamedTuple):
    """Digits by slot. A slot may come more than once: then they add up."""

    slots: NDArray[np.int32]
    digits: NDArray[np.int32]

    @classmethod
    def joined(cls, many: Iterable["Vector"]) -> "Vector":
        """One after the other: their sum."""
        parts = [part for part in many if len(part.slots)]
        if len(parts) < 2:
            return parts[0] if parts else NOTHING
        return cls(
            np.concatenate([p.slots for p in parts]), np.concatenate([p.digits for p in parts])
        )

    def where(self, mask: Mask) -> "Vector":
        """What a mask over its places keeps."""
        return Vector(self.slots[mask], self.digits[mask])

    def parts(self, mask: Mask) -> tuple["Vector", "Vector"]:
        """What a mask over its places keeps, and the rest."""
        return self.where(mask), self.where(~mask)

    def equals(self, other: "Vector") -> bool:
        """Whether it is the same, in the same order."""
        return self is other or (
            np.array_equal(self.slots, other.slots) and np.array_equal(self.digits, other.digits)
        )


NOTHING = Vector(np.zeros(0, np.int32), np.zeros(0, np.int32))


class Axis:
    """Label sets of one source (or groups of them), and the slots of their fields."""

    def __init__(self) -> None:
        self.labels: list[Labels] = []
        self._rows: dict[Labels, int] = {}
        self._slots: dict[int, int] = {}
        self._keys: Numbers = np.zeros(0, np.int64)
        self._new_keys: list[int] = []
        self._folds: dict[tuple[int, ...], Fold] = {}
        self._columns: dict[int, tuple[int, NDArray[np.intp]]] = {}

    def __len__(self) -> int:
        return len(self._slots)

    def row(self, labels: Labels) -> int:
        """The row of a label set, which may be new."""
        row = self._rows.get(labels)
        if row is None:
            row = self._rows[labels] = len(self.labels)
            self.labels.append(labels)
        return row

    def find(self, labels: Labels) -> int | None:
        """The row of a label set, if there is one."""
        return self._rows.get(labels)

    def vector(self, alike: Iterable[tuple[Sequence[int], Digits]]) -> Vector:
        """The vector of rows and the digits that each of them has."""
        keys: list[int] = []
        digits: list[int] = []
        for rows, parts in alike:
            for code, digit in parts:
                keys += [row << _CODE_BITS | code for row in rows]
                digits += [digit] * len(rows)
        slots = list(map(self._slots.get, keys))
        if None in slots:
            slots = [self._slot(key) for key in keys]
        return Vector(np.array(slots, np.int32), np.array(digits, np.int32))

    def rows_of(self, slots: NDArray[np.integer[Any]]) -> Numbers:
        """The row of each slot."""
        rows: Numbers = self.keys[slots] >> _CODE_BITS
        return rows

    def where(self, filters: Mapping[int, frozenset[str]]) -> Mask | None:
        """The rows whose values, by the position of their dimension, are kept; None: all."""
        mask: Mask | None = None
        for position, kept in filters.items():
            fold = self.fold((position,))
            wanted = np.array([value in kept for (value,) in fold.axis.labels], np.bool_)
            chosen: Mask = wanted[fold.rows]
            mask = chosen if mask is None else mask & chosen
        return mask

    def fold(self, positions: tuple[int, ...]) -> "Fold":
        """The way to the coarser axis with the dimensions at these positions."""
        fold = self._folds.pop(positions, None)
        if fold is None:
            fold = Fold(self, positions)
        self._folds[positions] = fold  # the one used last comes last
        for unused in list(self._folds)[:-_FOLDS]:
            del self._folds[unused]
        fold.follow()
        return fold

    # --- for folds and counts ---

    @property
    def keys(self) -> Numbers:
        """Row and code of each slot, as one number."""
        if self._new_keys:
            new = np.array(self._new_keys, np.int64)
            self._keys, self._new_keys = np.concatenate([self._keys, new]), []
        return self._keys

    def slots_of(self, keys: Numbers) -> NDArray[np.intp]:
        """The slots of rows and codes, which may be new."""
        unique, places = np.unique(keys, return_inverse=True)
        return np.array([self._slot(key) for key in unique.tolist()], np.intp)[places]

    def column(self, code: int) -> NDArray[np.intp]:
        """The slots of a code."""
        held = self._columns.get(code)
        if held is None or held[0] != len(self):
            found = np.flatnonzero((self.keys & (_CODES - 1)) == code)
            held = self._columns[code] = len(self), found
        return held[1]

    def _slot(self, key: int) -> int:
        slot = self._slots.get(key)
        if slot is None:
            slot = self._slots[key] = len(self._slots)
            self._new_keys.append(key)
        return slot


class Fold:
    """From an axis to a coarser one: `rows` and `slots` say where those of the finer go."""

    def __init__(self, finer: Axis, positions: tuple[int, ...]) -> None:
        self.axis = Axis()
        self.rows: NDArray[np.intp] = np.zeros(0, np.intp)
        self.slots: NDArray[np.intp] = np.zeros(0, np.intp)
        self._finer, self._positions = finer, positions

    def follow(self) -> None:
        """Take up what is new on the finer axis."""
        finer, axis, positions = self._finer, self.axis, self._positions
        if len(self.rows) < len(finer.labels):
            new = finer.labels[len(self.rows) :]
            rows = [axis.row(tuple([labels[i] for i in positions])) for labels in new]
            self.rows = np.concatenate([self.rows, np.array(rows, np.intp)])
        if len(self.slots) < len(finer):
            keys = finer.keys[len(self.slots) :]
            coarse = (self.rows[keys >> _CODE_BITS] << _CODE_BITS) | (keys & (_CODES - 1))
            self.slots = np.concatenate([self.slots, axis.slots_of(coarse)])

    def sums(self, vector: Vector, numbers: NDArray[np.intp], most: int) -> list["Counts"]:
        """The same apart for each number from 0 to `most`; every digit has one."""
        places = numbers * len(self.axis) + self.slots[vector.slots]
        sums = np.zeros((most, len(self.axis)), np.int64)
        np.add.at(sums.reshape(-1), places, vector.digits.astype(np.int64))
        return [Counts(self.axis, each) for each in sums]

    def sum(self, vector: Vector) -> "Counts":
        """The counts of a vector on the coarser axis."""
        counts = Counts(self.axis)
        np.add.at(counts.sums, self.slots[vector.slots], vector.digits.astype(np.int64))
        return counts


class Counts:
    """A sum for every slot of an axis, with which it grows."""

    def __init__(self, axis: Axis, sums: Numbers | None = None) -> None:
        self.axis = axis
        self.sums: Numbers = np.zeros(len(axis), np.int64) if sums is None else sums

    def copy(self) -> "Counts":
        """The same as they are now."""
        return Counts(self.axis, self.sums.copy())

    def add(self, vector: Vector) -> None:
        """Add a vector."""
        self._fit()
        np.add.at(self.sums, vector.slots.astype(np.intp), vector.digits.astype(np.int64))

    def take(self, vector: Vector) -> None:
        """Take one away."""
        self._fit()
        np.subtract.at(self.sums, vector.slots.astype(np.intp), vector.digits.astype(np.int64))

    def fold(self, positions: tuple[int, ...], mask: Mask | None = None) -> "Counts":
        """The counts of groups; with a mask, of these rows only."""
        self._fit()
        fold, sums = self.axis.fold(positions), self.sums
        if mask is not None:
            sums = np.where(mask[self.axis.keys >> _CODE_BITS], sums, 0)
        counts = Counts(fold.axis)
        np.add.at(counts.sums, fold.slots, sums)
        return counts

    @property
    def nothing(self) -> Numbers:
        """A zero for every row."""
        return np.zeros(len(self.axis.labels), np.int64)

    def field(self, field: int) -> NDArray[Any]:
        """One field of every row: 64 bits where that is enough, else Python's integers."""
        self._fit()
        found: NDArray[Any] = self.nothing
        for number, code in enumerate(range(field, _CODES, _FIELDS)):
            slots = self.axis.column(code)
            if not len(slots):
                break
            part: NDArray[Any] = np.zeros_like(found)
            part[self.axis.rows_of(slots)] = self.sums[slots]
            if number and (number > 1 or np.abs(part).max(initial=0) >= _SAFE):
                part, found = part.astype(object), found.astype(object)
            found = found + (part << (_DIGIT_BITS * number))
        return found

    def map(self, field: int) -> dict[Labels, int]:
        """One field by label set, where it is not zero."""
        labels = self.axis.labels
        return {labels[row]: n for row, n in enumerate(self.field(field).tolist()) if n}

    def maps(self) -> dict[Labels, Values]:
        """The fields that are not zero of every row that has any; made for the caller."""
        self._fit()
        slots = np.flatnonzero(self.sums)
        keys, sums = self.axis.keys[slots], self.sums[slots]
        labels, found = self.axis.labels, dict[Labels, Values]()
        rows = (keys >> _CODE_BITS).tolist()
        for row, code, n in zip(rows, (keys & (_CODES - 1)).tolist(), sums.tolist(), strict=True):
            values = found.setdefault(labels[row], {})
            if code < _FIELDS:
                values[code] = values.get(code, 0) + n
            else:
                number, field = divmod(code, _FIELDS)
                values[field] = values.get(field, 0) + (n << (_DIGIT_BITS * number))
        if (keys & (_CODES - 1) >= _FIELDS).any():
            found = {name: {i: n for i, n in values.items() if n} for name, values in found.items()}
            found = {name: values for name, values in found.items() if values}
        return found

    def _fit(self) -> None:
        more = len(self.axis) - len(self.sums)
        if more:
            self.sums = np.concatenate([self.sums, np.zeros(more, np.int64)])
