"""Which rows of a column are the same: exactly, and without an object for each.

Rows are told apart by a hash; that those which share one are equal is looked at byte by byte.
"""

from typing import NamedTuple

import numpy as np

from stream.core.columns import Positions, Words, whole
from stream.core.hashing import keys_of


class Distinct(NamedTuple):
    """`firsts` has the first place of each distinct row, `numbers` which of them each row is."""

    firsts: Positions
    numbers: Positions


def distinct(rows: Words) -> Distinct:
    """Tell equal rows from others."""
    _, firsts, numbers = np.unique(keys_of(rows), return_index=True, return_inverse=True)
    if rows[firsts[numbers]].tobytes() != rows.tobytes():  # different rows with one hash
        return _distinct_slowly(rows)
    return Distinct(firsts, numbers)


def _distinct_slowly(rows: Words) -> Distinct:
    known: dict[bytes, int] = {}
    numbers = [known.setdefault(row, len(known)) for row in whole(rows, "V").tolist()]
    held = np.array(numbers, np.intp)
    return Distinct(np.unique(held, return_index=True)[1], held)
