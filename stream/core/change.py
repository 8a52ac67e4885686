"""The change of a ratio against a basis: how large it is, and how far beyond chance. Pure.

Both sides are a number of successes out of a number of trials; the test is that of two proportions
with a pooled rate. It knows chance between independent trials only. Real traffic varies more than
that, so whoever acts on a change asks for a size as well as for a z-score.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

LEAST_EXPECTED = 20
"""Fewer successes or failures than this tell nothing by the normal distribution."""


class Proportion(NamedTuple):
    """So many successes out of so many trials; not whole numbers where a basis is weighted."""

    successes: float
    trials: float


@dataclass(frozen=True, slots=True)
class Change:
    """`baseline` is the basis' ratio, `change` how far off it is (-0.3: 30 % lower)."""

    baseline: float
    change: float
    zscore: float


def compare(now: Proportion, basis: Proportion) -> Change | None:
    """The change from a basis to now; None where either side is too small to tell.

    Too small: at the basis' rate, fewer than LEAST_EXPECTED successes or failures are to be
    expected now, or the basis has fewer itself.
    """
    if now.trials <= 0 or basis.trials <= 0 or not 0 <= now.successes <= now.trials:
        return None
    rarer = min(basis.successes, basis.trials - basis.successes)
    if min(rarer, now.trials * rarer / basis.trials) < LEAST_EXPECTED:
        return None
    rate = basis.successes / basis.trials
    difference = now.successes / now.trials - rate
    pooled = (now.successes + basis.successes) / (now.trials + basis.trials)
    spread = math.sqrt(pooled * (1 - pooled) * (1 / now.trials + 1 / basis.trials))
    return Change(rate, difference / rate, difference / spread)
