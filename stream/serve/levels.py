"""Levels: by which dimensions gauges are broken down, and the sums of a window on each of them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from stream.core.catalogue import OTHER, TICKETS, Source
from stream.core.cells import Values, add
from stream.live.axis import Counts
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
    """Sums counts of label sets up to levels."""

    def __init__(self, source: Source, levels: Sequence[Level]) -> None:
        self._levels = {
            level: tuple(source.dimensions.index(name) for name in level.dimensions)
            for level in (TOTAL, *(level for level in levels if level != TOTAL))
        }

    def counts(self, counts: Counts) -> dict[Level, Counts]:
        """The counts of every level's groups."""
        return {level: counts.fold(places) for level, places in self._levels.items()}

    def sum(self, counts: Counts) -> dict[Level, Groups]:
        """The groups of every level; the total is always there, empty where nothing is."""
        groups = {level: counts.maps() for level, counts in self.counts(counts).items()}
        groups[TOTAL].setdefault((), {})
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
