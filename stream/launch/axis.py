"""The axis of a launch: time since its beginning, in minutes, then hours, then days.

A launch is followed for a week. While it is two hours old, its minutes are shown; until it is two
days old, its hours (a point every ten minutes); then its days (a point every hour).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

HOUR, DAY = 60, 1_440
WEEK = 7 * DAY
"""Minutes of all that is followed."""

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch from the beginning on: `length` and the `step` between points, in minutes."""

    name: str
    unit: str
    length: int
    step: int

    def grid(self) -> Ints:
        """The points, from the beginning to the end, both included."""
        return np.arange(0, self.length + 1, self.step)


SPANS = {
    span.name: span
    for span in (
        Span("2h", "minutes", 2 * HOUR, 1),
        Span("2d", "hours", 2 * DAY, 10),
        Span("7d", "days", WEEK, HOUR),
    )
}


def span_at(elapsed: float) -> Span:
    """The span that fits a launch of that age (minutes)."""
    return next((span for span in SPANS.values() if elapsed <= span.length), SPANS["7d"])
