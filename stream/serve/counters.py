"""Counters over the bucket without end: never taken back, not even when names are folded.

A name is exported while it is in a window, and if no bucket knows it (it only has events that are
in no figure yet). Knows the view and the catalogue, not the cap.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from stream.core.buckets import Size
from stream.core.catalogue import OTHER, SOURCES, TOTALS, Source, Total
from stream.core.cells import Values
from stream.core.durations import MINUTE_MS
from stream.live.axis import Counts
from stream.live.store import Store
from stream.live.view import View
from stream.serve.exposition import Family, Sample, label_text
from stream.serve.levels import Level, Rollup

_LOOK_AGAIN_MS = MINUTE_MS

Readings = dict[str, int]
"""A counter's value by name (campaign or team)."""


def width(source: Source) -> int:
    """Samples of one name."""
    return sum(len(_parts(total)) for total in TOTALS if total.source is source)


def label_level(source: Source) -> Level:
    """The level of a source's counters: one dimension."""
    label = next(total.label for total in TOTALS if total.source is source)
    return Level(label, (label,))


ByName = Mapping[str, Values]
"""The sums of all time of each name (campaign or team) of a source."""


class Counters:
    """All counters of the catalogue."""

    def __init__(self) -> None:
        self._past: dict[str, _Past] = {}
        self._folded: dict[tuple[str, str], _Folded] = {}
        self._rollups = {
            topic: Rollup(source, [label_level(source)]) for topic, source in SOURCES.items()
        }

    def read(
        self,
        view: View,
        source: Source,
        totals: Counts,
        in_windows: Collection[str],
        now_ms: int,
    ) -> dict[str, Values]:
        """The sums of those names that are exported, before any folding; `totals` has all."""
        level, store = label_level(source), view.store(source.topic)
        rolled = self._rollups[source.topic].sum(totals)
        counted = {name: values for (name,), values in rolled[level].items()}
        past = self._past.setdefault(source.topic, _Past())
        place = source.dimensions.index(level.name)
        new = past.without(store, place, counted.keys() - in_windows, now_ms)
        return {n: values for n, values in counted.items() if n in in_windows or n in new}

    def families(
        self, sums: Mapping[str, ByName], kept: Mapping[str, frozenset[str] | None]
    ) -> Iterator[Family]:
        """The samples. Sums, and names that are not folded (None: all), are given by topic."""
        for total in TOTALS:
            topic, index = total.source.topic, total.source.index
            samples: list[Sample] = []
            for part, fields in _parts(total).items():
                indexes = [index[name] for name in fields]
                counts = {
                    name: sum(values.get(i, 0) for i in indexes)
                    for name, values in sums[topic].items()
                }
                folded = self._folded.setdefault((total.name, part), _Folded())
                for name, n in folded.fold(counts, kept[topic]).items():
                    pairs = [(total.label, name)] + ([("type", part)] if total.by_type else [])
                    samples.append(("_total", label_text(pairs), n))
            yield Family(total.name, "counter", total.help, samples)


@dataclass(slots=True)
class _Folded:
    """What folded names have counted since they were: `(other)` must never go down."""

    seen: Readings = field(default_factory=dict)
    total: int = 0

    def fold(self, counts: Readings, kept: frozenset[str] | None) -> Readings:
        if kept is None:
            self.seen = {}
            return counts
        apart = {name: n for name, n in counts.items() if name in kept and name != OTHER}
        rest = {name: n for name, n in counts.items() if name not in apart and name != OTHER}
        self.total += sum(n - self.seen.get(name, n) for name, n in rest.items())
        self.seen = rest
        return {**apart, OTHER: counts.get(OTHER, 0) + self.total}


@dataclass(slots=True)
class _Past:
    """Names that day buckets know. Days are many, so they are not looked through every time."""

    known: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)
    looked_ms: int = 0

    def without(self, store: Store, place: int, names: set[str], now_ms: int) -> set[str]:
        """Those of the names that no day bucket knows."""
        open_names = names - self.known
        aged = now_ms - self.looked_ms > _LOOK_AGAIN_MS
        if open_names and (aged or not open_names <= self.unknown):
            days = [(Size.D1, start_ms) for start_ms in store.starts(Size.D1)]
            self.known.update(labels[place] for labels in store.seen(days))
            self.looked_ms = now_ms
            self.unknown = open_names - self.known
        return open_names - self.known


def _parts(total: Total) -> dict[str, tuple[str, ...]]:
    """The fields of each sample, by the value of the label `type` (empty where there is none)."""
    if not total.by_type:
        return {"": total.fields}
    return {name.removesuffix("_total"): (name,) for name in total.fields}
