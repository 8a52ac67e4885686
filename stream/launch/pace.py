"""Pace: how far a launch has come towards a target, and where it leads.

From the time T on to the horizon H an earlier launch grew by the factor N(H) / N(T). On a log
scale these factors are taken for draws from one normal distribution, of which this launch's is the
next: the interval is Student's t for a new value out of k, which is as wide as k values allow. A
launch smaller than the earlier ones also has the greater chance of its own small numbers. The
decision record on launches says how it was checked.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import fmean, median, variance

LEAST_LAUNCHES = 3
LEAST_COUNT = 10
"""Of fewer outcomes so far, no growth can be told, neither of this launch nor of an earlier one."""
LEVEL = 0.8
_T90 = (
    *(3.0777, 1.8856, 1.6377, 1.5332, 1.4759, 1.4398, 1.4149, 1.3968, 1.3830, 1.3722),
    *(1.3634, 1.3562, 1.3502, 1.3450, 1.3406, 1.3368, 1.3334, 1.3304, 1.3277, 1.3253),
)
"""The 90 % point of Student's t, by degrees of freedom from 1: between it and its negative lie
80 %."""
_NORMAL90 = 1.2816


class Why(StrEnum):
    """Why there is no projection."""

    FEW_LAUNCHES = "few_launches"
    FEW_COUNTED = "few_counted"
    OVER = "over"
    NOT_BEGUN = "not_begun"


@dataclass(frozen=True, slots=True)
class Past:
    """An earlier launch: what it had come to at T, and at the horizon."""

    at: float
    end: float


@dataclass(frozen=True, slots=True)
class Projection:
    """What a launch will have come to, and the interval that holds it in 80 of 100 cases."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Course:
    """Where a count leads. `projection` or the reason `why` there is none.

    `usual` is the share of its end that the median earlier launch had at T, of `launches`.
    """

    usual: float | None
    launches: int
    projection: Projection | None
    why: Why | None


def course(
    so_far: float, past: Sequence[Past], *, begun: bool = True, over: bool = False
) -> Course:
    """Where `so_far` leads, given earlier launches at the same age."""
    shares = [p.at / p.end for p in past if p.end > 0]
    usual = median(shares) if len(shares) >= LEAST_LAUNCHES else None
    told = [p for p in past if p.at >= LEAST_COUNT and p.end >= p.at]
    why = None
    if not begun:
        why = Why.NOT_BEGUN
    elif over:
        why = Why.OVER
    elif len(past) < LEAST_LAUNCHES:
        why = Why.FEW_LAUNCHES
    elif so_far < LEAST_COUNT or len(told) < LEAST_LAUNCHES:
        why = Why.FEW_COUNTED
    return Course(usual, len(past), None if why else project(so_far, told), why)


def project(so_far: float, past: Sequence[Past]) -> Projection:
    """The projection from at least two earlier launches; all counts are above 0."""
    growth = [math.log(p.end / p.at) for p in past]
    middle, many = fmean(growth), len(growth)
    chance = fmean(1 / p.at - 1 / p.end for p in past)
    own = (1 - math.exp(-middle)) / so_far
    # A few launches may agree by accident: never less than half of what chance alone brings.
    spread = max(variance(growth), chance / 2) * (1 + 1 / many)
    student = _T90[min(many - 1, len(_T90)) - 1]
    # What is more of chance in this launch is known, and not estimated from a few values.
    reach = math.sqrt(student**2 * spread + _NORMAL90**2 * max(0.0, own - chance))
    value, least = so_far * math.exp(middle), so_far
    return Projection(
        value, max(least, so_far * math.exp(middle - reach)), so_far * math.exp(middle + reach)
    )
