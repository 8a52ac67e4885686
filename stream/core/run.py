"""A run of decoded events of one partition, and the verdict on each: what the folds work on."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stream.core.dedupe import DUPLICATE, FRESH, UNCHECKED
from stream.core.reading import Events
from stream.core.table import Items

TOO_LATE, LATE = 3, 4
"""Verdicts beside those of the dedupe."""


@dataclass
class Run:
    """Events in log order with the watermark at each.

    `verdicts` come from dedupe and retention; a fold may turn a verdict to LATE. `repeats` maps a
    position to earlier positions with the same id (see `Dedupe.judge`); it is a duplicate if one of
    those is counted and not older than `oldest`. `leave_out` is told of each duplicate in its turn.
    """

    events: Events
    at_ms: NDArray[np.int64]
    clocks_ms: NDArray[np.int64]
    lateness_ms: int
    verdicts: NDArray[np.int8]
    repeats: dict[int, list[int]]
    oldest: NDArray[np.int64]
    leave_out: Callable[[int], object] | None = None

    @cached_property
    def times(self) -> list[int]:
        """Event times."""
        return self.at_ms.tolist()  # type: ignore[no-any-return]

    @cached_property
    def clocks(self) -> list[int]:
        """The partition's clock at each event."""
        return self.clocks_ms.tolist()  # type: ignore[no-any-return]

    @property
    def counts(self) -> NDArray[np.bool_]:
        """Whether each event is counted, by the verdicts as they are now."""
        flags: NDArray[np.bool_] = (self.verdicts == FRESH) | (self.verdicts == UNCHECKED)
        return flags

    @property
    def accepts_all(self) -> bool:
        """Whether every event is to be counted, unless a fold calls it LATE."""
        return not self.repeats and bool(self.counts.all())

    def accepted(self) -> Iterator[int]:
        """Positions of the events to count, in order; a fold may call one LATE before the next."""
        repeats = self.repeats
        for position, verdict in enumerate(self.verdicts.tolist()):
            if verdict == DUPLICATE or (position in repeats and self.came_before(position)):
                self.verdicts[position] = DUPLICATE
                if self.leave_out is not None:
                    self.leave_out(position)
            elif verdict != TOO_LATE:
                yield position

    def counted(self) -> NDArray[np.intp]:
        """The same at once, for a fold that calls none LATE."""
        for position in self.repeats:
            if self.came_before(position):
                self.verdicts[position] = DUPLICATE
        return np.flatnonzero(self.counts)

    def came_before(self, position: int) -> bool:
        """Whether an event repeats one that is counted."""
        return bool(
            self.verdicts[position] == FRESH
            and any(
                self.verdicts[earlier] == FRESH and self.at_ms[earlier] >= self.oldest[position]
                for earlier in self.repeats.get(position, ())
            )
        )


class Fold(Protocol):
    """What a topic does with its events. State is in the partition's table and cube."""

    def fold(self, run: Run) -> None:
        """Count a run."""

    def settle(self, before_ms: int, watermark_ms: int) -> None:
        """Settle what can no longer change before an instant (whole seconds)."""

    def reach(self, before_ms: int, most: int) -> int:
        """How far towards an instant one can settle so that it takes about `most` items at most."""

    def settled_through(self, before_ms: int) -> dict[str, int]:
        """Instants before which all figures are final, by family of metrics."""

    def load(self, items: Items) -> None:
        """Take up the items of a recovered table."""

    def drain(self) -> None:
        """Count and write what was put off; before the cube rolls and the table is drained."""

    def sizes(self) -> dict[str, int]:
        """Items that are kept, by kind: `open` ones may still change."""
