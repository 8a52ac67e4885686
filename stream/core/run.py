"""A run of decoded events of one partition, and the verdict on each: what the folds work on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from stream.core.dedupe import DUPLICATE, FRESH, UNCHECKED

TOO_LATE, LATE = 3, 4
"""Verdicts beside those of the dedupe."""

E_co = TypeVar("E_co", covariant=True)
E_contra = TypeVar("E_contra", contravariant=True)


@dataclass(slots=True)
class Run(Generic[E_co]):
    """Events in log order with the watermark at each.

    `verdicts` come from dedupe and retention; a fold may turn a verdict to LATE. `repeats` maps a
    position to earlier positions with the same id (see `Dedupe.judge`); it is a duplicate if one of
    those is counted and not older than `oldest`.
    """

    events: Sequence[E_co]
    times: Sequence[int]
    clocks: Sequence[int]
    lateness_ms: int
    verdicts: NDArray[np.int8]
    repeats: dict[int, list[int]]
    oldest: Sequence[int] = field(default_factory=list)

    def accepted(self) -> Iterator[int]:
        """Positions of the events to count, in order; a fold may call one LATE before the next."""
        verdicts = self.verdicts
        repeats = self.repeats
        for position in np.flatnonzero((verdicts == FRESH) | (verdicts == UNCHECKED)).tolist():
            if position in repeats and self._came_before(position):
                verdicts[position] = DUPLICATE
            else:
                yield position

    def _came_before(self, position: int) -> bool:
        return self.verdicts[position] == FRESH and any(
            self.verdicts[earlier] == FRESH and self.times[earlier] >= self.oldest[position]
            for earlier in self.repeats[position]
        )


class Fold(Protocol[E_contra]):
    """What a topic does with its events. State is in the partition's table and cube."""

    def fold(self, run: Run[E_contra]) -> None:
        """Count a run."""

    def settle(self, before_ms: int, watermark_ms: int) -> None:
        """Settle what can no longer change before an instant (whole seconds)."""

    def settled_through(self, before_ms: int) -> dict[str, int]:
        """Instants before which all figures are final, by family of metrics."""

    def load(self, items: Iterator[tuple[bytes, bytes]]) -> None:
        """Take up the items of a recovered table."""

    @property
    def open(self) -> int:
        """Items that are kept because they may still change."""
