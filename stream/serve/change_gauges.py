"""Gauges of what has changed against the past, made anew every few seconds and kept in between.

`engagement_baseline_ratio`, `engagement_change_ratio` and `engagement_change_zscore` of every
comparison, and the usual traffic, `engagement_expected_…`. They cost more than the figures and
hardly change from one second to the next, so a scrape is given what was made last. Knows neither
the cap nor HTTP, nor what anybody makes of a change.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping

from stream.core.buckets import WINDOW_NAMES
from stream.core.catalogue import LIVE, SOURCES, WINDOW_COUNTS, Source
from stream.core.durations import format_duration
from stream.live.view import View
from stream.serve.changes import Changes
from stream.serve.comparisons import TRAFFIC_MS, comparisons, traffic
from stream.serve.expected import Expected
from stream.serve.exposition import Family, Sample, label_text
from stream.serve.history import Row
from stream.serve.levels import Group, LabelTexts, Level, Rollup, levels_of
from stream.settings import Settings

REFRESH_MS = 15_000

_BASELINE = "engagement_baseline_ratio"
_CHANGE = "engagement_change_ratio"
_ZSCORE = "engagement_change_zscore"
FAMILIES = {
    _BASELINE: "The ratio that the window's is compared with: the same time in past weeks.",
    _CHANGE: "How far the ratio is from its baseline, as a part of the baseline.",
    _ZSCORE: "How far it is, in standard errors of the difference of two proportions.",
    **{
        f"engagement_expected_{count.name}": f"What is usual at this time of the week. {count.help}"
        for count in WINDOW_COUNTS
        if count.name in TRAFFIC_MS
    },
}
"""Every name, and what it means."""

Place = tuple[tuple[str, ...], Level]
"""The dimensions of a source, and a level of it."""
ByGroup = dict[Group, list[tuple[str, str, float]]]
"""Samples (family, labels, value) of each group of a level."""


class ChangeGauges:
    """The samples as they were made last."""

    def __init__(self, settings: Settings) -> None:
        self.samples: Mapping[Place, ByGroup] = {}
        self._sources = [_SourceGauges(source, settings) for source in SOURCES.values()]
        self._made_ms: int | None = None
        self._turn = asyncio.Lock()

    async def refresh(self, view: View, now_ms: int) -> None:
        """Make all samples anew if they are older than REFRESH_MS; others get their turn."""
        async with self._turn:
            if self._made_ms is not None and 0 <= now_ms - self._made_ms < REFRESH_MS:
                return
            samples: dict[Place, ByGroup] = {}
            for source in self._sources:
                await source.collect(view, now_ms, samples)
            self.samples, self._made_ms = samples, now_ms


def families(samples: Mapping[Place, ByGroup]) -> Iterator[Family]:
    """Samples by family."""
    found: dict[str, list[Sample]] = {}
    for by_group in samples.values():
        for held in by_group.values():
            for name, labels, value in held:
                found.setdefault(name, []).append(("", labels, value))
    for name, text in FAMILIES.items():
        if name in found:
            yield Family(name, "gauge", text, found[name])


class _SourceGauges:
    """The comparisons of one source, and their labels."""

    def __init__(self, source: Source, settings: Settings) -> None:
        rollup = Rollup(source, levels_of(source, settings))
        self._space = source.dimensions
        self._texts = LabelTexts(source)
        self._changes = [Changes(one, rollup) for one in comparisons(source, settings)]
        self._expected = [Expected(one, rollup) for one in traffic(source, settings)]

    async def collect(self, view: View, now_ms: int, samples: dict[Place, ByGroup]) -> None:
        """Add all samples of the source; others get their turn after each window."""
        for changes in self._changes:
            window = _window(changes.comparison.window_ms, changes.comparison.state)
            findings = await changes.find(view, now_ms)
            await asyncio.sleep(0)
            for found in findings:
                past = label_text([("metric", found.metric.name), ("basis", found.basis)])
                change = found.change
                values = (
                    (_BASELINE, change.baseline),
                    (_CHANGE, change.change),
                    (_ZSCORE, change.zscore),
                )
                self._add(samples, found.row, (window, past), values)
            await asyncio.sleep(0)
        for expected in self._expected:
            name = f"engagement_expected_{expected.traffic.count.name}"
            window = _window(expected.traffic.window_ms, LIVE)
            for usual in await expected.find(view, now_ms):
                past = label_text([("basis", usual.basis)])
                self._add(samples, usual.row, (window, past), [(name, usual.count)])
            await asyncio.sleep(0)

    def _add(
        self,
        samples: dict[Place, ByGroup],
        row: Row,
        around: tuple[str, str],
        values: Iterable[tuple[str, float]],
    ) -> None:
        level, group = row
        labels = f"{around[0]},{self._texts.of(level, group)},{around[1]}"
        held = samples.setdefault((self._space, level), {}).setdefault(group, [])
        held += [(name, labels, value) for name, value in values]


def _window(window_ms: int, state: str) -> str:
    name = WINDOW_NAMES.get(window_ms) or format_duration(window_ms)
    return label_text([("window", name), ("state", state)])
