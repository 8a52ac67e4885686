"""The past of one source by the hour: a few sums of every group, kept for as long as they are used.

An hour is summed up once, and again when its bucket has changed, which those of past weeks hardly
do; so what is asked every few seconds costs additions of arrays. Knows the merged cells and the
levels; which hours are asked for and what is made of them is not its business.
"""

import asyncio
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream.core.buckets import Size
from stream.core.catalogue import Source, Sum
from stream.core.cells import Values
from stream.live.store import Store
from stream.serve.levels import Group, Level, Rollup

Sums = NDArray[np.float64]
"""A row for each group, a column for each sum."""
Row = tuple[Level, Group]
Terms = tuple[tuple[int, int], ...]
"""Field indexes and signs."""

_MAX_ROWS = 200_000


@dataclass(frozen=True, slots=True, eq=False)
class _Hour:
    revision: int
    rows: NDArray[np.intp]
    sums: Sums


class History:
    """Hourly sums of one state. `columns` are sums of the source's fields, by their position."""

    def __init__(self, source: Source, rollup: Rollup, state: str, columns: Iterable[Sum]) -> None:
        self.columns = {column: i for i, column in enumerate(dict.fromkeys(columns))}
        self.rows: dict[Row, int] = {}
        self._rollup = rollup
        self._state = state
        self._terms = [terms_of(source, column) for column in self.columns]
        self._hours: dict[int, _Hour] = {}

    async def load(self, store: Store, hours: AbstractSet[int]) -> None:
        """Hold these hours as they are now, and no others; others get a turn between two."""
        if len(self.rows) > _MAX_ROWS:
            self.rows, self._hours = {}, {}
        for start_ms in self._hours.keys() - hours:
            del self._hours[start_ms]
        for start_ms in hours:
            revision, held = store.hour_revision(start_ms), self._hours.get(start_ms)
            if (held.revision if held else 0) != revision:
                self._hours[start_ms] = self._sum_up(store, start_ms, revision)
                await asyncio.sleep(0)

    def pooled(self, weights: Mapping[int, float]) -> Sums:
        """The sum of some hours, each by its weight; where nothing is held, nothing is added."""
        pool = np.zeros((len(self.rows), len(self.columns)))
        for start_ms, weight in weights.items():
            hour = self._hours.get(start_ms)
            if hour is not None:
                pool[hour.rows] += weight * hour.sums
        return pool

    def _sum_up(self, store: Store, start_ms: int, revision: int) -> _Hour:
        counts = store.counts((Size.H1, start_ms), self._state)
        rows: list[int] = []
        sums: list[list[int]] = []
        for level, groups in self._rollup.sum(counts).items():
            for group, values in groups.items():
                rows.append(self.rows.setdefault((level, group), len(self.rows)))
                sums.append([summed(values, terms) for terms in self._terms])
        return _Hour(revision, np.array(rows, np.intp), np.array(sums, np.float64))


def terms_of(source: Source, column: Sum) -> Terms:
    """The fields of a sum."""
    return tuple(
        (source.index[name.removeprefix("-")], -1 if name.startswith("-") else 1) for name in column
    )


def summed(values: Values, terms: Terms) -> int:
    """A sum over a group's fields."""
    return sum(sign * values.get(index, 0) for index, sign in terms)
