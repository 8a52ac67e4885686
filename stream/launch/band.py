"""What earlier launches had come to at each moment: their median, and the band of 10 to 90 %."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stream.launch.axis import Floats

LEAST = 3
"""Of fewer launches neither a median nor a band would say anything."""
LOW, MIDDLE, HIGH = 0.1, 0.5, 0.9


@dataclass(frozen=True, slots=True)
class Band:
    """Quantiles at each point; NaN where fewer than three launches have a value."""

    low: Floats
    median: Floats
    high: Floats


def band(lines: Sequence[Floats], points: int) -> Band:
    """The band of some lines over the same points; NaN in a line means no value."""
    if len(lines) < LEAST:
        nothing = np.full(points, np.nan)
        return Band(nothing, nothing, nothing)
    stacked = np.vstack(lines)
    counts = (~np.isnan(stacked)).sum(axis=0)
    enough = counts >= LEAST
    quantiles = np.full((3, points), np.nan)
    if enough.any():
        quantiles[:, enough] = np.nanquantile(stacked[:, enough], (LOW, MIDDLE, HIGH), axis=0)
    return Band(*quantiles)
