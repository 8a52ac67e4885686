"""Usual traffic: how much a window would count, had it gone as at this time of past weeks.

Of the same span an hour earlier, at the same time and an hour later the least is taken, so that
neither a morning's rise nor an hourly mailing passes for a drop. Told of groups that had traffic in
the last 24 hours: a campaign that has ended is not waited for. Knows the view and the levels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream.core.catalogue import LIVE
from stream.core.change import LEAST_EXPECTED
from stream.core.durations import DAY_MS
from stream.live.baseline import LEAST_WEEKS, RECENT, WEEKS, Weights, past_spans
from stream.live.view import View
from stream.serve.comparisons import Traffic
from stream.serve.history import History, Row
from stream.serve.levels import Rollup

_LEAST_DAYS = {WEEKS: LEAST_WEEKS, RECENT: 1}


@dataclass(frozen=True, slots=True)
class Usual:
    """What is to be expected of one group, and by which basis."""

    row: Row
    basis: str
    count: float


class Expected:
    """One count over one window, again and again."""

    def __init__(self, traffic: Traffic, rollup: Rollup) -> None:
        self.traffic = traffic
        self._rollup = rollup
        denominator = traffic.metric.fraction.denominator
        self._history = History(traffic.metric.source, rollup, LIVE, [denominator])

    async def find(self, view: View, now_ms: int) -> list[Usual]:
        """What is usual, wherever that is enough to be missed."""
        metric = self.traffic.metric
        window = view.window(metric, self.traffic.window_ms, LIVE, now_ms)
        day = view.window(metric, DAY_MS, LIVE, now_ms)
        if window is None or day is None:
            return []
        active = self._rollup.sum(day.counts)
        spans = past_spans(view.calendar, window.bounds)
        every = (span for days in spans.values() for day in days for span in day)
        await self._history.load(view.store(metric.source.topic), set().union(*every))
        usual = {basis: self._usual(days, _LEAST_DAYS[basis]) for basis, days in spans.items()}
        return [
            found
            for level, groups in active.items()
            for group in groups
            if (found := self._of((level, group), usual)) is not None
        ]

    def _usual(self, days: Sequence[Sequence[Weights]], least_days: int) -> NDArray[np.float64]:
        """The count of each row; NaN where there was traffic on too few of the days."""
        pooled = self._history.pooled
        counts = np.array([[pooled(span)[:, 0] for span in day] for day in days])
        days_with = (counts > 0).any(axis=1).sum(axis=0)
        counts = counts.sum(axis=0).min(axis=0)
        return np.where(days_with >= least_days, counts / np.maximum(days_with, 1), np.nan)

    def _of(self, row: Row, usual: dict[str, NDArray[np.float64]]) -> Usual | None:
        at = self._history.rows.get(row)
        if at is None:
            return None
        for basis, counts in usual.items():
            if not np.isnan(counts[at]):
                count = float(counts[at])
                return Usual(row, basis, count) if count >= LEAST_EXPECTED else None
        return None
