"""One comparison at work: the ratios of each group now, against their own past.

Which hours are the past is `live.baseline`'s and what a change is `core.change`'s; here the counts
come in. Knows the view and the levels; nothing of labels or samples.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from stream.core.catalogue import Metric
from stream.core.change import LEAST_EXPECTED, Change, Proportion, compare
from stream.live.axis import Counts
from stream.live.baseline import LEAST_WEEKS, PAST_WEEKS, RECENT, WEEKS, week_hours
from stream.live.view import View
from stream.live.windows import Bounds
from stream.serve.comparisons import Comparison
from stream.serve.history import History, Row, summed, terms_of
from stream.serve.levels import Rollup

_LEAST_TRIALS = 2 * LEAST_EXPECTED  # with fewer there is no change to tell of

Proportions = Mapping[Row, Sequence[Proportion]]
"""Of each group a proportion for each metric of the comparison."""
Past = Callable[[Row, int], tuple[str, Proportion] | None]
"""From a group and the place of a metric to a basis and its proportion."""


@dataclass(frozen=True, slots=True)
class Finding:
    """How far one metric of one group is from its past, and from which."""

    row: Row
    metric: Metric
    basis: str
    change: Change


class Changes:
    """One comparison, again and again; it keeps the hours of past weeks that it needs."""

    def __init__(self, comparison: Comparison, rollup: Rollup) -> None:
        self.comparison = comparison
        self._rollup = rollup
        source = comparison.source
        sums = [(f.numerator, f.denominator) for _, f in comparison.fractions]
        self._terms = [(terms_of(source, above), terms_of(source, below)) for above, below in sums]
        self._history = History(source, rollup, comparison.state, chain(*sums))
        places = self._history.columns
        self._columns = [(places[above], places[below]) for above, below in sums]

    async def find(self, view: View, now_ms: int) -> list[Finding]:
        """Every change that there is enough to tell of; others get their turn in between."""
        window = self.comparison.window(view, now_ms)
        if window is None:
            return []
        bounds, present = window.bounds, self._proportions(window.counts)
        await asyncio.sleep(0)
        past = await self._past(view, bounds, now_ms)
        await asyncio.sleep(0)
        return list(self._against(present, past))

    def _against(self, present: Proportions, past: Past) -> Iterator[Finding]:
        for row, proportions in present.items():
            for i, now in enumerate(proportions):
                basis = past(row, i) if now.trials >= _LEAST_TRIALS else None
                change = compare(now, basis[1]) if basis else None
                if basis and change:
                    yield Finding(row, self.comparison.fractions[i][0], basis[0], change)

    async def _past(self, view: View, bounds: Bounds, now_ms: int) -> Past:
        """Past weeks where a group has enough of them, else the day before the window."""
        history, store = self._history, view.store(self.comparison.source.topic)
        hours = [week_hours(view.calendar, bounds, n) for n in range(1, PAST_WEEKS + 1)]
        await history.load(store, {start_ms for week in hours for start_ms in week})
        pools = [history.pooled(dict.fromkeys(week, 1.0)) for week in hours]
        pool, weeks = np.sum(pools, axis=0), np.sum([one > 0 for one in pools], axis=0)
        recent: Proportions | None = None

        def past(row: Row, i: int) -> tuple[str, Proportion] | None:
            nonlocal recent
            at, (above, below) = history.rows.get(row), self._columns[i]
            if at is not None and weeks[at, below] >= LEAST_WEEKS:
                return WEEKS, Proportion(float(pool[at, above]), float(pool[at, below]))
            if recent is None:  # most groups are older, so it may never be asked for
                before = self.comparison.before(view, bounds.from_ms, now_ms)
                recent = self._proportions(before.counts)
            return (RECENT, recent[row][i]) if row in recent else None

        return past

    def _proportions(self, counts: Counts) -> Proportions:
        return {
            (level, group): [
                Proportion(summed(values, a), summed(values, b)) for a, b in self._terms
            ]
            for level, groups in self._rollup.sum(counts).items()
            for group, values in groups.items()
        }
