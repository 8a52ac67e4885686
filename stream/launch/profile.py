"""A launch's profile: what its first week has come to, minute by minute.

Minutes count from the launch. Cells coarser than a minute are spread evenly over theirs, and the
profile says how coarse they were. Outcomes (conversions, second interactions) belong to the minute
in which their session began, but come later: `stood` puts them where they were known, so that
launches of different days can be compared at the same age.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from stream.core.catalogue import AGES_MS, CLICKS, SESSIONS
from stream.core.durations import MINUTE_MS
from stream.launch.axis import WEEK, Floats

AGES = {name: age_ms // MINUTE_MS for name, age_ms in AGES_MS.items()}
"""The delays that are kept, in minutes."""
LAST_AGE = 120
"""What comes later than the longest kept delay is taken to come by then, evenly."""
Step = tuple[int, int, Floats]
"""Outcomes by when they came: after more than so many minutes, up to so many, how many."""
FIELDS = (*CLICKS.fields, *SESSIONS.fields)


@dataclass(slots=True)
class Profile:
    """Sums of fields per minute.

    `known` minutes are told of (the last one perhaps in part), with the outcomes that were there
    after `seen` minutes: later, where a moment of the past is looked at. `grain` is the width of
    the cell that each minute comes from, 0 where there is none.
    """

    known: float
    seen: float
    sums: dict[str, Floats] = field(
        default_factory=lambda: {name: np.zeros(WEEK) for name in FIELDS}
    )
    grain: Floats = field(default_factory=lambda: np.zeros(WEEK))
    _stood: dict[tuple[str, bytes], Floats] = field(default_factory=dict, repr=False)

    def add(self, minute: int, width: int, values: Mapping[str, float]) -> None:
        """Add a cell that begins at a minute and is `width` minutes wide.

        What lies outside the week, or before the launch, is left out with its share.
        """
        first, last = max(0, minute), min(WEEK, minute + width)
        if first >= last:
            return
        self._stood.clear()
        # One place is written much faster than a slice of one.
        where = first if width == 1 else slice(first, last)
        for name, n in values.items():
            self.sums[name][where] += n / width
        self.grain[where] = np.maximum(self.grain[where], width)

    def total(self, name: str) -> float:
        """The sum of a field over all minutes that have begun."""
        return float(self.sums[name][: self.minutes].sum())

    @property
    def minutes(self) -> int:
        """How many minutes have begun."""
        return min(WEEK, max(0, int(np.ceil(self.known))))

    @property
    def coarsest(self) -> int:
        """Width of the widest cell, in minutes."""
        return int(self.grain[: self.minutes].max(initial=1))

    def counted(self, name: str, at: Floats) -> Floats:
        """A field's sum from the launch to each moment (minutes); NaN where it is yet to come."""
        ends = np.concatenate(([0.0], np.cumsum(self.sums[name])))
        times = np.arange(WEEK + 1, dtype=float)
        times[self.minutes] = min(self.known, WEEK)  # the last minute is as long as it is known
        return self._until_known(at, np.interp(at, times, ends))

    def stood(self, outcome: str, at: Floats) -> Floats:
        """Outcomes that were known at each moment (minutes); NaN where it is yet to come.

        `outcome` is `converted` or `engaged`, whose delays are kept, or `value`: money comes with
        the conversions, as much of a minute's money as of its conversions.
        """
        key = outcome, at.tobytes()
        if key not in self._stood:
            self._stood[key] = self._reckon(outcome, at)
        return self._stood[key]

    def _reckon(self, outcome: str, at: Floats) -> Floats:
        kept = "engaged" if outcome == "engaged" else "converted"
        whole = self.engaged() if outcome == "engaged" else self.sums["converted"]
        steps = _steps(whole, [self.sums[f"{kept}_within_{name}"] for name in AGES])
        if outcome == "value":
            whole, steps = _priced(self.sums["value_micros"], whole, steps)
        return self._until_known(at, _known_at(whole, steps, at, self.seen))

    def engaged(self) -> Floats:
        """Sessions of each minute that did a second thing."""
        return self.sums["sessions"] - self.sums["single_interaction"]

    def _until_known(self, at: Floats, values: Floats) -> Floats:
        return np.where(at <= self.known, values, np.nan)


def _priced(value: Floats, whole: Floats, steps: Sequence[Step]) -> tuple[Floats, list[Step]]:
    """The same in money; what comes without a conversion is there at once."""
    share = np.divide(value, whole, out=np.zeros(WEEK), where=whole > 0)
    priced = [(low, high, came * share) for low, high, came in steps]
    low, high, came = priced[0]
    priced[0] = low, high, came + np.where(whole > 0, 0.0, value)
    return value, priced


def _steps(whole: Floats, within: Sequence[Floats]) -> list[Step]:
    bounds = [0, *AGES.values(), LAST_AGE]
    known = [np.zeros(WEEK), *within, whole]
    return [
        (bounds[i], bounds[i + 1], np.maximum(0.0, known[i + 1] - known[i]))
        for i in range(len(bounds) - 1)
    ]


def _known_at(whole: Floats, steps: Sequence[Step], at: Floats, seen: float) -> Floats:
    """Outcomes known at each moment: all of old minutes, of young ones what their age allows.

    Within its class an outcome may have come at any time until it was seen, evenly.
    """
    before = np.concatenate(([0.0], np.cumsum(whole)))
    begun = np.ceil(at).astype(int)
    minutes = begun[:, None] - 1 - np.arange(LAST_AGE)[None, :]
    inside = (minutes >= 0) & (minutes < WEEK)
    where = np.clip(minutes, 0, WEEK - 1)
    age, reached = at[:, None] - minutes, seen - minutes
    young = np.zeros(len(at))
    for low, high, came in steps:
        end = np.minimum(high, reached)
        share = np.clip((age - low) / np.maximum(end - low, 1e-9), 0.0, 1.0)
        share = np.where(age >= end, 1.0, share)
        young += np.where(inside, came[where] * share, 0.0).sum(axis=1)
    old: Floats = before[np.clip(begun - LAST_AGE, 0, WEEK)]
    return old + young
