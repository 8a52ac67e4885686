"""A log-bucket sketch of durations: mergeable, and values can be taken back.

A bin covers [g^i, g^(i+1)) milliseconds with g = (1 + a) / (1 - a); its representative is off by at
most the relative accuracy a = 1 % (the bound of DDSketch, Masson et al. 2019). Bins live in a cell
beside its other fields, under indexes from `FIRST_BIN` on, so adding and taking back are the same
integer additions as everywhere else.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

ACCURACY = 0.01
FIRST_BIN = 4096
_BINS = 4096
_GAMMA = (1 + ACCURACY) / (1 - ACCURACY)
_LOG_GAMMA = math.log(_GAMMA)


def _number(value_ms: int) -> int:
    return 1 + math.floor(math.log(value_ms) / _LOG_GAMMA)


_LONGEST_MS = 1 << 50
"""More than lies between the years 1 and 9999; what is longer is in the last bin."""
_EDGES = [
    bisect_left(range(_LONGEST_MS), number, lo=1, key=_number)
    for number in range(1, _number(_LONGEST_MS))
]
"""The least value of each bin from the second on."""
_EDGE_COLUMN = np.array(_EDGES, np.int64)


def bin_index(sketch: int, value_ms: int) -> int:
    """Cell index of the bin that holds a value, in sketch number `sketch` of its source."""
    return FIRST_BIN + sketch * _BINS + bisect_right(_EDGES, value_ms)


def bin_indexes(sketch: int, values_ms: NDArray[np.int64]) -> NDArray[np.int64]:
    """The same for many values."""
    numbers = np.searchsorted(_EDGE_COLUMN, values_ms, side="right")
    found: NDArray[np.int64] = FIRST_BIN + sketch * _BINS + numbers
    return found


def bin_range(sketch: int) -> tuple[int, int]:
    """The cell indexes that sketch number `sketch` may take: the first, and the one after all."""
    low = FIRST_BIN + sketch * _BINS
    return low, low + _BINS


def bins(sketch: int, values: Mapping[int, int]) -> dict[int, int]:
    """The bins of one sketch among a cell's values: bin number -> count."""
    low, after = bin_range(sketch)
    return {i - low: n for i, n in values.items() if low <= i < after and n}


def percentiles(counts: Mapping[int, int], percents: Iterable[int]) -> list[float | None]:
    """Nearest-rank percentiles in milliseconds, within 1 %; None where nothing was counted."""
    total = sum(counts.values())
    ordered = sorted(counts)
    return [_at_rank(counts, ordered, -(-p * total // 100)) if total else None for p in percents]


def _at_rank(counts: Mapping[int, int], ordered: list[int], rank: int) -> float:
    seen = 0
    for number in ordered:
        seen += counts[number]
        if seen >= rank:
            return representative(number)
    raise ValueError("a rank beyond the count: bins were taken back that were never added")


def representative(number: int) -> float:
    """The value that stands for a bin: the one whose relative error is smallest at both ends."""
    if number == 0:
        return 0.0
    return 2 * _GAMMA**number / (1 + _GAMMA)
