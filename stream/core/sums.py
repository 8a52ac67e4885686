"""Exact sums of columns: 64-bit numbers as long as they suffice, integers without bounds else."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Column = NDArray[np.int64]
Amounts = NDArray[Any]
"""Integers of 64 bits, or objects, where some may be larger."""
_EXACT = 1 << 53
"""Sums below it are exact in floating point, which is what numpy counts weights in."""
_LARGE = 1 << 62
_DENSE = 8
"""Keys may be so many times as many as there are amounts, to be counted without sorting."""


def add_up(keys: Column, amounts: Amounts | None = None) -> tuple[Column, Amounts]:
    """The distinct keys, which are not negative, in order, and the sum of the amounts of each.

    Without amounts each counts one. A key that comes to zero is left out.
    """
    if int(keys.max()) <= _DENSE * len(keys) and (amounts is None or _most(amounts) < _EXACT):
        sums: Amounts = np.bincount(keys, amounts)
        distinct = np.flatnonzero(sums)
        return distinct, sums[distinct].astype(np.int64)
    if amounts is None:
        return np.unique(keys, return_counts=True)
    if _most(amounts) >= _LARGE:
        amounts = amounts.astype(object)
    order = np.argsort(keys)
    keys = keys[order]
    firsts = starts_of_runs(keys)
    distinct, sums = keys[firsts], np.add.reduceat(amounts[order], firsts)
    return (distinct, sums) if sums.all() else (distinct[sums != 0], sums[sums != 0])


def starts_of_runs(values: Column) -> Column:
    """Where another value begins, the first one included."""
    return np.flatnonzero(np.append(True, values[1:] != values[:-1])[: len(values)])


def numbered(values: Column) -> tuple[Column, Column]:
    """The distinct values in order, and the number of each value among them."""
    low = int(values.min())
    reach = int(values.max()) - low + 1
    if reach > _DENSE * len(values):
        return np.unique(values, return_inverse=True)
    is_there = np.zeros(reach, np.bool_)
    is_there[values - low] = True
    distinct = np.flatnonzero(is_there) + low
    return distinct, (np.cumsum(is_there) - 1)[values - low]


def halves_sum(low: Column, high: Column, bits: int) -> Amounts:
    """`low` + `high` << `bits`."""
    upper: Amounts = high.astype(object) if _most(high) >= _LARGE >> bits + 1 else high
    return upper * (1 << bits) + low


def _most(amounts: Amounts) -> int:
    """What no sum of some of these amounts exceeds."""
    if not len(amounts):
        return 0
    return max(int(amounts.max()), -int(amounts.min())) * len(amounts)
