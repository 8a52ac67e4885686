"""The fold of `clicks`: impressions and clicks, counted at once; nothing is kept of a visitor."""

import numpy as np

from stream.core.catalogue import CLICKS
from stream.core.cube import Cube
from stream.core.run import TOO_LATE, Run
from stream.core.table import Items

_COST = CLICKS.index["cost_micros"]
_SLOT_MS = 10_000


class Clicks:
    """Folds click events."""

    def __init__(self, cube: Cube) -> None:
        self._cube = cube

    def fold(self, run: Run) -> None:
        """Count a run: all of it at once."""
        events, cube = run.events, self._cube
        events.labels(cube, np.flatnonzero(run.verdicts != TOO_LATE))  # admitted along the log
        counted = run.counted()
        labels, slots = events.labels(cube, counted), run.at_ms[counted] // _SLOT_MS
        cube.tally(slots, labels, events.kinds[counted], total=True)
        costs = events.micros[counted]
        if costs.any():
            cube.tally(slots, labels, _COST, costs, total=True)

    def settle(self, before_ms: int, watermark_ms: int) -> None:
        """A click is final at once."""

    def reach(self, before_ms: int, most: int) -> int:  # noqa: ARG002 - a Fold
        """Nothing is in the way."""
        return before_ms

    def settled_through(self, before_ms: int) -> dict[str, int]:  # noqa: ARG002 - a Fold
        """Clicks have no settled figures."""
        return {}

    def load(self, items: Items) -> None:
        """There are none."""

    def drain(self) -> None:
        """Nothing is put off."""

    def sizes(self) -> dict[str, int]:
        """Nothing is kept open."""
        return {"open": 0}
