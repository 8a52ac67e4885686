"""Roll-up: counts of 10 s buckets, added up into the coarser ones.

Pure. Knows the sizes and the calendar; knows nothing of ledgers.
"""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from stream.core.buckets import WIDTH_MS, Calendar, Size
from stream.core.sums import Amounts, Column, numbered, starts_of_runs
from stream.core.tally import Sums, joined

_SLOT_MS = WIDTH_MS[Size.S10]
_COARSER = (Size.M1, Size.H1, Size.D1)
Bucket = tuple[Size, int]
"""Size and start."""
Part = tuple[Bucket, Column, Amounts]
"""A bucket, codes in order, and the sum of each."""


def roll_up(counted: Sums, moments: Sums, calendar: Calendar) -> Iterator[Part | None]:
    """The buckets that these slots of 10 s lie in; moments count in those of 10 s alone.

    A day is that of the slot's beginning. None comes between two steps that take a while.
    """
    every = joined([counted, moments])
    if not len(every.slots):
        return
    names, codes = numbered(every.codes)  # close together, they are added up without sorting
    yield None
    tens = every._replace(codes=codes).added_up()
    yield None
    yield from _parts(Size.S10, tens._replace(slots=tens.slots * _SLOT_MS), names)
    if len(moments.slots):
        tens = counted._replace(codes=codes[: len(counted.codes)]).added_up()
        yield None
    if not len(tens.slots):  # all came to zero
        return
    distinct, rows = numbered(tens.slots)
    starts = [calendar.starts(slot * _SLOT_MS)[1:] for slot in distinct.tolist()]
    for size, column in zip(_COARSER, np.array(starts, np.int64).T, strict=True):
        level = tens._replace(slots=column[rows])
        if (column[1:] == column[:-1]).any():
            level = level.added_up()
            yield None
        yield from _parts(size, level, names)


def _parts(size: Size, level: Sums, names: Column) -> Iterator[Part]:
    """Cut where another bucket begins; codes get their names back."""
    cuts = [*starts_of_runs(level.slots).tolist(), len(level.slots)]
    for first, end in pairwise(cuts):
        start_ms = int(level.slots[first])
        yield (size, start_ms), names[level.codes[first:end]], level.amounts[first:end]
