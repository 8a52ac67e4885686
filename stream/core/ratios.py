"""The interval of a ratio: how far the true rate may lie from the one observed."""

import math

Z95 = 1.959963984540054
"""The two-sided 95 % point of the normal distribution."""


def wilson(successes: int, trials: int, z: float = Z95) -> tuple[float, float] | None:
    """Wilson score interval; None where a ratio has none: no trials, or more successes than trials.

    The bounds are exact at the edges: no success gives 0 below, nothing but successes 1 above.
    """
    if trials <= 0 or not 0 <= successes <= trials:
        return None
    rate, spread = successes / trials, z * z / trials
    centre = (rate + spread / 2) / (1 + spread)
    reach = z * math.sqrt(rate * (1 - rate) / trials + spread / (4 * trials)) / (1 + spread)
    low = 0.0 if successes == 0 else max(0.0, centre - reach)
    high = 1.0 if successes == trials else min(1.0, centre + reach)
    return low, high
