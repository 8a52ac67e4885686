"""Medians with their spread, as benchmarks tell them."""

import statistics
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Figure:
    """A measured value over several runs."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: list[float]) -> "Figure":
        """The median, the least and the most of some values."""
        return cls(statistics.median(values), min(values), max(values))

    def text(self, digits: int = 2) -> str:
        """`median (least–most)`; thousands apart."""
        return f"{self.median:,.{digits}f} ({self.least:,.{digits}f}–{self.most:,.{digits}f})"


async def repeat(
    times: int, once: Callable[[], Coroutine[Any, Any, dict[str, float]]]
) -> dict[str, Figure]:
    """Run something several times and put its values together."""
    found = [await once() for _ in range(times)]
    return {name: Figure.of([run[name] for run in found]) for name in found[0]}
