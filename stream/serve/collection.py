"""All samples of a view's figures: windows rolled up, the cap applied, everything under its name.

What the figures are made of is copied at one moment; the rest of the work is cut into slices,
between which others get their turn and the view may go on. Knows nothing of HTTP.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice

from stream.core.buckets import Size
from stream.core.catalogue import CLICKS, LIVE, METRICS, SESSIONS, SOURCES, TICKETS, Source
from stream.core.durations import DAY_MS
from stream.live.axis import Counts
from stream.live.view import View
from stream.serve.active import ACTIVE, active_window
from stream.serve.backlog import WIDTH as BACKLOG_WIDTH
from stream.serve.backlog import backlog_families, roll_backlog
from stream.serve.budget import Allotment, Demand, allot
from stream.serve.change_gauges import ByGroup, ChangeGauges, Place
from stream.serve.change_gauges import families as change_families
from stream.serve.counters import ByName, Counters, label_level
from stream.serve.counters import width as counters_width
from stream.serve.exposition import Family, Sample
from stream.serve.gauges import Gauges, Reading, Samples
from stream.serve.levels import TOTAL, Group, Groups, LabelTexts, Level, Rollup, fold, levels_of
from stream.serve.vitals import as_of, settled_through
from stream.settings import Settings

_GROUPS_AT_ONCE = 500
_VITAL_SERIES = 64
"""Room for the samples that are not broken down."""
_TRAFFIC = {CLICKS.topic: "impressions", SESSIONS.topic: "sessions", TICKETS.topic: "resolved"}

Rolled = dict[Reading, dict[Level, Groups]]
ByLevel = Mapping[Level, Groups]


@dataclass(frozen=True, slots=True)
class _Taken:
    """What a view held at one moment; `reach` says how far it is counted."""

    windows: Mapping[Reading, Counts]
    active: Counts | None
    totals: Mapping[str, Counts]
    reach: tuple[Family, ...]


class Collection:
    """Collects again and again; remembers what is folded and what has been escaped."""

    def __init__(self, settings: Settings) -> None:
        self._cap = settings.metrics_max_series
        self.changes = ChangeGauges(settings)
        self._gauges = Gauges(settings)
        self._counters = Counters()
        self._rollups = {
            topic: Rollup(source, levels_of(source, settings)) for topic, source in SOURCES.items()
        }
        self._session_texts, self._ticket_texts = LabelTexts(SESSIONS), LabelTexts(TICKETS)
        self._allotment: Allotment[Place, Group] = Allotment()

    async def collect(self, view: View, now_ms: int) -> list[Family]:
        """The families of all figures as of now."""
        await self.changes.refresh(view, now_ms)
        changes, taken = self.changes.samples, self._take(view, now_ms)
        rolled = await self._roll(taken.windows)
        active = self._rollups[SESSIONS.topic].sum(taken.active) if taken.active else {}
        backlog = roll_backlog(taken.totals[TICKETS.topic], self._rollups[TICKETS.topic])
        sums: dict[str, ByName] = {}
        for topic, source in SOURCES.items():
            names = _in_windows(source, rolled)
            sums[topic] = self._counters.read(view, source, taken.totals[topic], names, now_ms)
            await asyncio.sleep(0)
        costs = self._costs(rolled, active, backlog, sums)
        fixed = _VITAL_SERIES + sum(map(self._gauges.width, rolled)) + _add(costs, changes)
        self._allotment = self._allot(view, fixed, costs, now_ms)
        await asyncio.sleep(0)
        families = [*self._gauges.families(await self._samples(rolled))]
        kept = {topic: self._kept(source) for topic, source in SOURCES.items()}
        for family in self._counters.families(sums, kept):
            families.append(family)
            await asyncio.sleep(0)
        return [
            *families,
            self._active_sessions(self._folded(SESSIONS, active)),
            *backlog_families(view, self._folded(TICKETS, backlog), self._ticket_texts, now_ms),
            *change_families(self._shown(changes)),
            *taken.reach,
            _dropped(self._allotment.dropped),
        ]

    def _take(self, view: View, now_ms: int) -> _Taken:
        """Copy everything that belongs together, at once."""
        windows: dict[Reading, Counts] = {}
        for reading in self._gauges.readings():
            window = view.window(reading.metrics[0], reading.window_ms, reading.state, now_ms)
            if window is not None:
                windows[reading] = window.counts.copy()
        active = active_window(view, now_ms)
        return _Taken(
            windows,
            active.counts.copy() if active else None,
            {topic: view.store(topic).counts((Size.ALL, 0)) for topic in SOURCES},
            (as_of(view), settled_through(view)),
        )

    async def _roll(self, windows: Mapping[Reading, Counts]) -> Rolled:
        rolled: Rolled = {}
        for reading, counts in windows.items():
            rolled[reading] = self._rollups[reading.source.topic].sum(counts)
            await asyncio.sleep(0)
        return rolled

    async def _samples(self, rolled: Rolled) -> Samples:
        samples: Samples = {}
        for reading, by_level in rolled.items():
            for level, groups in self._folded(reading.source, by_level).items():
                many = iter(groups.items())
                while slice_ := dict(islice(many, _GROUPS_AT_ONCE)):
                    self._gauges.add(samples, reading, {level: slice_})
                    await asyncio.sleep(0)
        return samples

    # --- the cap ---

    def _allot(
        self, view: View, fixed: int, costs: Mapping[Place, dict[Group, int]], now_ms: int
    ) -> Allotment[Place, Group]:
        before = self._allotment
        held = before.kept or before.left_out
        if not held and fixed + sum(sum(c.values()) for c in costs.values()) <= self._cap:
            return before
        traffic = self._traffic(view, now_ms)
        demands = {
            place: Demand(
                len(place[1].dimensions),
                cost,
                traffic.get(place, {}),
                max(cost.values(), default=0),
            )
            for place, cost in costs.items()
        }
        return allot(self._cap, fixed, demands, before)

    def _costs(
        self, rolled: Rolled, active: ByLevel, backlog: ByLevel, sums: Mapping[str, ByName]
    ) -> dict[Place, dict[Group, int]]:
        """Samples of each group at most, by where it is."""
        costs: dict[Place, dict[Group, int]] = {}
        for reading, groups in rolled.items():
            _charge(costs, reading.source, groups, self._gauges.width(reading))
        _charge(costs, SESSIONS, active, 1)
        _charge(costs, TICKETS, backlog, BACKLOG_WIDTH)
        for topic, by_name in sums.items():
            source = SOURCES[topic]
            counted: ByLevel = {label_level(source): {(name,): {} for name in by_name}}
            _charge(costs, source, counted, counters_width(source))
        return costs

    def _traffic(self, view: View, now_ms: int) -> dict[Place, dict[Group, float]]:
        """Traffic of the last 24 hours of each group, by where it is."""
        traffic: dict[Place, dict[Group, float]] = {}
        for topic, source in SOURCES.items():
            index = source.index[_TRAFFIC[topic]]
            metric = next(metric for metric in METRICS.values() if metric.source is source)
            window = view.window(metric, DAY_MS, LIVE, now_ms)
            if window is None:
                continue
            for level, groups in self._rollups[topic].sum(window.counts).items():
                sums = traffic.setdefault((source.dimensions, level), {})
                for group, values in groups.items():
                    sums[group] = sums.get(group, 0.0) + values.get(index, 0)
        return traffic

    def _folded(self, source: Source, by_level: ByLevel) -> ByLevel:
        """The groups that are exported."""
        shown: dict[Level, Groups] = {}
        for level, groups in by_level.items():
            place = (source.dimensions, level)
            if place not in self._allotment.left_out:
                kept = self._allotment.kept.get(place)
                shown[level] = groups if kept is None else fold(groups, level, kept)
        return shown

    def _shown(self, changes: Mapping[Place, ByGroup]) -> dict[Place, ByGroup]:
        """The changes that are exported: what is folded together has no past of its own."""
        kept, left_out = self._allotment.kept, self._allotment.left_out
        return {
            place: {
                group: samples
                for group, samples in by_group.items()
                if place not in kept or (group in kept[place] and group != place[1].other)
            }
            for place, by_group in changes.items()
            if place not in left_out
        }

    def _kept(self, source: Source) -> frozenset[str] | None:
        """The names of a source's counters that are not folded; None: all."""
        kept = self._allotment.kept.get((source.dimensions, label_level(source)))
        return None if kept is None else frozenset(name for (name,) in kept)

    def _active_sessions(self, by_level: ByLevel) -> Family:
        samples: list[Sample] = [
            ("", self._session_texts.of(level, group), values.get(ACTIVE, 0))
            for level, groups in by_level.items()
            for group, values in groups.items()
            if level == TOTAL or ACTIVE in values
        ]
        return Family(
            "engagement_active_sessions",
            "gauge",
            "Open sessions with an interaction in the last 5 minutes.",
            samples,
        )


def _charge(
    costs: dict[Place, dict[Group, int]], source: Source, by_level: ByLevel, width: int
) -> None:
    for level, groups in by_level.items():
        if level != TOTAL:
            held = costs.setdefault((source.dimensions, level), {})
            for group in groups:
                held[group] = held.get(group, 0) + width


def _add(costs: dict[Place, dict[Group, int]], changes: Mapping[Place, ByGroup]) -> int:
    """Charge the samples of changes to their groups; how many there are of totals."""
    totals = 0
    for place, by_group in changes.items():
        held = costs.setdefault(place, {}) if place[1] != TOTAL else {}
        for group, samples in by_group.items():
            if place[1] == TOTAL:
                totals += len(samples)
            else:
                held[group] = held.get(group, 0) + len(samples)
    return totals


def _in_windows(source: Source, rolled: Rolled) -> set[str]:
    """Values of a source's counter label that are in any of its windows."""
    level = label_level(source)
    return {
        name
        for reading, by_level in rolled.items()
        if reading.source is source
        for (name,) in by_level.get(level, {})
    }


def _dropped(series: int) -> Family:
    return Family(
        "engagement_series_dropped",
        "gauge",
        "Series that are not exported because of STREAM_METRICS_MAX_SERIES.",
        [("", "", series)],
    )
