"""The way from impression to conversion, and which of its steps is the weakest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from statistics import median

from stream.launch.band import LEAST

STATIONS = ("impressions", "clicks", "sessions", "conversions")
FEW = 20
"""A step that fewer have entered is not judged."""


class Basis(StrEnum):
    """What the weakest step is the weakest by."""

    MEDIAN = "median"
    LOWEST = "lowest"


@dataclass(frozen=True, slots=True)
class Step:
    """One station: how many came to it, which share of the one before, and the usual share.

    `against` is the share as a part of the usual one.
    """

    name: str
    count: float
    share: float | None = None
    usual: float | None = None

    @property
    def against(self) -> float | None:
        """1: as usual; None: there is no usual."""
        return self.share / self.usual if self.share is not None and self.usual else None


@dataclass(frozen=True, slots=True)
class Way:
    """All stations; `weakest` names one, by `basis`. None: too few have come so far."""

    steps: tuple[Step, ...]
    weakest: str | None
    basis: Basis | None


def way(counts: Mapping[str, float], past: Sequence[Mapping[str, float]]) -> Way:
    """The way of a launch beside earlier ones at the same age.

    The weakest step is the furthest below its median, or, without three earlier launches, the one
    that the fewest go on from.
    """
    steps = [Step(STATIONS[0], counts[STATIONS[0]])]
    for before, name in pairwise(STATIONS):
        usual = [u for each in past if (u := _share(each, before, name)) is not None]
        steps.append(
            Step(
                name,
                counts[name],
                _share(counts, before, name),
                median(usual) if len(usual) >= LEAST else None,
            )
        )
    judged = [
        step for before, step in pairwise(steps) if before.count >= FEW and step.share is not None
    ]
    basis = Basis.MEDIAN if any(step.against is not None for step in judged) else Basis.LOWEST
    if basis is Basis.MEDIAN:
        ranked = [(step.against, step.name) for step in judged if step.against is not None]
    else:
        ranked = [(step.share, step.name) for step in judged if step.share is not None]
    weakest = min(ranked, default=(0.0, None))[1]
    return Way(tuple(steps), weakest, basis if weakest else None)


def _share(counts: Mapping[str, float], before: str, name: str) -> float | None:
    return counts[name] / counts[before] if counts[before] else None
