"""The cap on exported series: which levels and groups stay when there are too many. Pure.

The finest levels go first, whole; then the groups with the least traffic of each level fold into
`(other)`. Hysteresis: what is out comes back only where there is ample room, and one group replaces
another only if it has clearly more traffic, so that series do not come and go with every scrape.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

AMPLE = 0.9
"""What is out returns only if this part of the cap is not exceeded with it."""
HOLD = 1.25
"""How much more traffic counts for a group that is in already."""

L = TypeVar("L", bound=Hashable)
G = TypeVar("G", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Demand(Generic[G]):
    """One level: series per group, traffic per group, and what an `(other)` group would cost."""

    fineness: int
    costs: Mapping[G, int]
    traffic: Mapping[G, float]
    other_cost: int

    @property
    def cost(self) -> int:
        """Series of the whole level."""
        return sum(self.costs.values())


@dataclass(frozen=True, slots=True)
class Allotment(Generic[L, G]):
    """What is exported.

    `kept` has the groups of levels that are folded (others stay whole), `left_out` the levels that
    are not exported at all; `dropped` counts series.
    """

    kept: Mapping[L, frozenset[G]] = field(default_factory=dict)
    left_out: frozenset[L] = frozenset()
    dropped: int = 0


def allot(
    cap: int, fixed: int, demands: Mapping[L, Demand[G]], before: Allotment[L, G]
) -> Allotment[L, G]:
    """Divide the cap, of which `fixed` series are spent whatever happens."""
    room = cap - fixed
    left_out = _leave_out(room, cap, demands, before)
    levels = {level: demand for level, demand in demands.items() if level not in left_out}
    dropped = sum(demands[level].cost for level in left_out)
    total = sum(demand.cost for demand in levels.values())
    if total <= (room if not before.kept else room - (1 - AMPLE) * cap):
        return Allotment({}, frozenset(left_out), dropped)
    kept, spent = _choose(room, cap, levels, before)
    return Allotment(kept, frozenset(left_out), dropped + total - spent)


def _leave_out(
    room: int, cap: int, demands: Mapping[L, Demand[G]], before: Allotment[L, G]
) -> set[L]:
    """Levels of several dimensions that do not fit; the coarsest and smallest are taken first."""
    plain = [level for level, demand in demands.items() if demand.fineness < 2]
    used = sum(demands[level].cost for level in plain)
    left_out: set[L] = set()
    finer = [level for level in demands if level not in plain]
    for level in sorted(finer, key=lambda level: (demands[level].fineness, demands[level].cost)):
        ample = (1 - AMPLE) * cap if level in before.left_out else 0
        if used + demands[level].cost <= room - ample:
            used += demands[level].cost
        else:
            left_out.add(level)
    return left_out


def _choose(
    room: int, cap: int, levels: Mapping[L, Demand[G]], before: Allotment[L, G]
) -> tuple[dict[L, frozenset[G]], int]:
    """Groups by traffic, each level in its turn, until the room is used."""
    kept: dict[L, set[G]] = {level: set() for level in levels}
    used = sum(demand.other_cost for demand in levels.values())
    spent, full = 0, False
    for _, level, group in _ranked(levels, before):
        cost = levels[level].costs[group]
        inside = group in before.kept.get(level, ())
        if used + cost > room - (0 if inside else (1 - AMPLE) * cap):
            full = True
        elif inside or not full:
            kept[level].add(group)
            used, spent = used + cost, spent + cost
    return {level: frozenset(groups) for level, groups in kept.items()}, spent


def _ranked(
    levels: Mapping[L, Demand[G]], before: Allotment[L, G]
) -> list[tuple[tuple[float, str], L, G]]:
    ranked = []
    for level, demand in levels.items():
        held = before.kept.get(level, frozenset())
        for group in demand.costs:
            traffic = demand.traffic.get(group, 0.0) * (HOLD if group in held else 1.0)
            ranked.append(((-traffic, str(group)), level, group))
    return sorted(ranked, key=lambda entry: entry[0])
