"""The pace of a launch as an English sentence; pages make their own, in their own language."""

from math import floor, log10

from stream.core.durations import MINUTE_MS, spell_span
from stream.launch.answer import Pace
from stream.launch.pace import LEAST_COUNT, LEAST_LAUNCHES, LEVEL, Why


def tell_pace(pace: Pace, elapsed: float) -> str:
    """`at T + 47 min 1,240 of 5,000 conversions (24.8 %); …`"""
    span = spell_span(pace.within * MINUTE_MS)
    if pace.course.why is Why.NOT_BEGUN:
        aim = "" if pace.target is None else f"{_name(pace, f'{pace.target.count:,.0f}')} in {span}"
        return "; ".join([*([f"aimed at {aim}"] if aim else []), "it has not begun"])
    count, share = f"{pace.value:,.0f}", ""
    if pace.target is not None:
        target = float(pace.target.count)
        count, share = f"{count} of {target:,.0f}", f" ({pace.value / target:.1%})"
    parts = [f"at {tell_age(min(elapsed, pace.within))} {_name(pace, count)}{share}"]
    if pace.course.usual is not None and pace.course.why is not Why.OVER:
        of_what = f" of its {span} by then" if pace.target is None else ""
        parts.append(f"the median launch had {pace.course.usual:.0%}{of_what}")
    return "; ".join([*parts, _tell_projection(pace)]).replace("%", " %")


def _name(pace: Pace, count: str) -> str:
    return f"a value of {count}" if pace.measure == "value" else f"{count} {pace.measure}"


def _tell_projection(pace: Pace) -> str:
    span, projection = spell_span(pace.within * MINUTE_MS), pace.course.projection
    if projection is not None:
        low, high = round_two(projection.low), round_two(projection.high)
        value = round_two(projection.value)
        return f"projected at {span} {value:,.0f} ({LEVEL:.0%}: {low:,.0f}–{high:,.0f})"
    return {
        Why.FEW_LAUNCHES: (
            f"no projection: {pace.course.launches} of the earlier launches chosen here have "
            f"{span} behind them, and it takes {LEAST_LAUNCHES}"
        ),
        Why.FEW_COUNTED: f"no projection: it takes {LEAST_COUNT} {pace.measure}, here and there",
        Why.OVER: f"the {span} are over",
        Why.NOT_BEGUN: "",
        None: "",
    }[pace.course.why]


def tell_age(minutes: float) -> str:
    """`T + 47 min`, `T + 3 h 12 min`, `T + 2 d 4 h`; before it `T − 3 h`."""
    sign, rest = ("−" if minutes < 0 else "+"), int(abs(minutes))
    days, hours, left = rest // 1440, rest % 1440 // 60, rest % 60
    if days >= 2:
        parts = [f"{days} d", f"{hours} h" if hours else ""]
    elif rest >= 120:
        parts = [f"{24 * days + hours} h", f"{left} min" if left else ""]
    else:
        parts = [f"{rest} min"]
    return f"T {sign} {' '.join(part for part in parts if part)}"


def round_two(number: float) -> float:
    """To two digits that count: what is projected is not known any better."""
    if number < 100:
        return round(number)
    size = float(10 ** (floor(log10(number)) - 1))
    return round(number / size) * size
