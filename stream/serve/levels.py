"""Levels: by which dimensions gauges are broken down, and the sums of a window on each of them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from stream.core.catalogue import OTHER, TICKETS, Source
from stream.core.cells import Values, add
from stream.live.vectors import Labels, Vector, algebra_of
from stream.serve.exposition import label_text
from stream.settings import Settings

Group = tuple[str, ...]
"""Values of a level's dimensions, in their order."""
Groups = dict[Group, Values]

_MAX_REMEMBERED = 200_000


@dataclass(frozen=True, slots=True)
class Level:
    """A breakdown; `total` has no dimension."""

    name: str
    dimensions: tuple[str, ...]

    @property
    def other(self) -> Group:
        """The group that others are folded into."""
        return (OTHER,) * len(self.dimensions)


TOTAL = Level("total", ())
_BY_NAME = {
    "channel": ("channel",),
    "campaign_channel": ("campaign", "channel"),
    "campaign_variant": ("campaign", "variant"),
    "team_channel": ("team", "channel"),
}

_NAMED = {name for names in _BY_NAME.values() for name in names}
"""Dimensions that a level may have."""


def levels_of(source: Source, settings: Settings) -> tuple[Level, ...]:
    """The levels of a source, coarse to fine: its own, and those that the settings add."""
    names = ("team",) if source is TICKETS else ("channel", "campaign")
    levels = [TOTAL, *(Level(name, (name,)) for name in names)]
    for name in settings.metrics_levels:
        level = Level(name, _BY_NAME[name])
        if level not in levels and set(level.dimensions) <= set(source.dimensions):
            levels.append(level)
    return tuple(sorted(levels, key=lambda level: len(level.dimensions)))


class Rollup:
    """Sums the vectors of label sets up to levels."""

    def __init__(self, source: Source, levels: Sequence[Level]) -> None:
        self._algebra = algebra_of(source)
        self._levels = [level for level in levels if level != TOTAL]
        self._positions = [
            [source.dimensions.index(name) for name in level.dimensions] for level in self._levels
        ]
        self._groups: dict[Labels, tuple[Group, ...]] = {}

    def sum(self, vectors: Mapping[Labels, Vector]) -> dict[Level, Groups]:
        """The groups of every level; the total is always there, empty where nothing is."""
        accumulate, unpack = self._algebra.accumulate, self._algebra.unpack
        targets: list[dict[Group, Vector]] = [{} for _ in self._levels]
        known = self._groups
        for labels, vector in vectors.items():
            groups_of = known.get(labels) or self._remember(labels)
            for target, group in zip(targets, groups_of, strict=True):
                accumulate(target, group, vector)
        total = self._algebra.total(targets[0].values())
        groups = [{group: unpack(v) for group, v in target.items()} for target in targets]
        return {TOTAL: {(): unpack(total)}, **dict(zip(self._levels, groups, strict=True))}

    def _remember(self, labels: Labels) -> tuple[Group, ...]:
        if len(self._groups) >= _MAX_REMEMBERED:
            self._groups.clear()
        groups = tuple(tuple(labels[i] for i in places) for places in self._positions)
        self._groups[labels] = groups
        return groups


class LabelTexts:
    """Label text of each group, escaped once: all that a level of the source may name, or empty."""

    def __init__(self, source: Source) -> None:
        self._dimensions = [name for name in source.dimensions if name in _NAMED]
        self._texts: dict[tuple[Level, Group], str] = {}

    def of(self, level: Level, group: Group) -> str:
        """The level and the dimensions of a group."""
        text = self._texts.get((level, group))
        if text is None:
            if len(self._texts) >= _MAX_REMEMBERED:
                self._texts.clear()
            values = dict(zip(level.dimensions, group, strict=True))
            pairs = [("level", level.name), *((n, values.get(n, "")) for n in self._dimensions)]
            text = self._texts[level, group] = label_text(pairs)
        return text


def fold(groups: Mapping[Group, Values], level: Level, kept: Iterable[Group]) -> Groups:
    """The kept groups as they are, all others as one."""
    chosen = set(kept)
    folded: Groups = {}
    for group, values in groups.items():
        if group in chosen and group != level.other:
            folded[group] = values
        else:
            add(folded.setdefault(level.other, {}), values)
    return folded
