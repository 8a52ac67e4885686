"""A tally: many events counted at once, as columns, until somebody asks for the sums.

The sums are exact: amounts are added in halves of 32 bits and put together as integers that have no
bounds.
"""

import numpy as np
from numpy.typing import NDArray

Column = NDArray[np.int64]
Sums = dict[int, dict[int, dict[int, int]]]
"""By slot, label and field."""
_HALF, _LOW = 32, (1 << 32) - 1


class Tally:
    """Sums by slot of time, label and field (of which there are `fields`)."""

    def __init__(self, fields: int) -> None:
        self._fields = fields
        self._slots: list[Column] = []
        self._codes: list[Column] = []
        self._amounts: list[Column | None] = []

    def __bool__(self) -> bool:
        return bool(self._slots)

    def add(
        self, slots: Column, labels: Column, fields: Column | int, amounts: Column | None = None
    ) -> None:
        """Add events, each with its amount or 1."""
        if len(slots):
            self._slots.append(slots)
            self._codes.append(labels * self._fields + fields)
            self._amounts.append(amounts)

    def take(self) -> Sums:
        """The sums of all that was added; it is forgotten then."""
        sums: Sums = {}
        for is_counted in (True, False):
            numbers = [i for i, a in enumerate(self._amounts) if (a is None) is is_counted]
            if numbers:
                self._sum_up(numbers, sums)
        self._slots, self._codes, self._amounts = [], [], []
        return sums

    def _sum_up(self, numbers: list[int], sums: Sums) -> None:
        slots, rows = np.unique(
            np.concatenate([self._slots[i] for i in numbers]), return_inverse=True
        )
        codes = np.concatenate([self._codes[i] for i in numbers])
        amounts = [amounts for i in numbers if (amounts := self._amounts[i]) is not None]
        width = int(codes.max()) + 1
        keys, found = _grouped(rows * width + codes, np.concatenate(amounts) if amounts else None)
        at = slots[keys // width].tolist()
        labels, fields = np.divmod(keys % width, self._fields)
        for slot, label, field, n in zip(at, labels.tolist(), fields.tolist(), found, strict=True):
            sums.setdefault(slot, {}).setdefault(label, {})[field] = n


def _grouped(keys: Column, amounts: Column | None) -> tuple[Column, list[int]]:
    """Distinct keys, and the sum of the amounts of each (or how often it is there)."""
    if amounts is None:
        if int(keys.max()) <= 8 * len(keys):
            counts = np.bincount(keys)
            distinct = np.flatnonzero(counts)
            return distinct, counts[distinct].tolist()
        distinct, counts = np.unique(keys, return_counts=True)
        return distinct, counts.tolist()
    distinct, rows = np.unique(keys, return_inverse=True)
    low = np.bincount(rows, amounts & _LOW)
    high = np.bincount(rows, amounts >> _HALF)
    pairs = zip(low.tolist(), high.tolist(), strict=True)
    return distinct, [(int(upper) << _HALF) + int(lower) for lower, upper in pairs]
