"""The fold of `clicks`: impressions and clicks, counted at once; nothing is kept of a visitor."""

from collections import Counter
from collections.abc import Iterator

from stream.core.catalogue import CLICKS, NOT_SET
from stream.core.cells import Values
from stream.core.cube import Cube
from stream.core.events import Click, micros
from stream.core.run import Run

_FIELDS = {"impression": CLICKS.index["impressions"], "click": CLICKS.index["clicks"]}
_COST = CLICKS.index["cost_micros"]


class Clicks:
    """Folds click events."""

    def __init__(self, cube: Cube) -> None:
        self._cube = cube

    def fold(self, run: Run[Click]) -> None:
        """Count a run; equal ones are put together before the cube is touched."""
        events, times = run.events, run.times
        counts: Counter[tuple[str | None, str | None, str | None, int, str]] = Counter()
        chosen = list(run.accepted())
        counts.update(
            (e.campaign, e.channel, e.variant, t // 10_000, e.type)
            for e, t in ((events[i], times[i]) for i in chosen)
        )
        for (campaign, channel, variant, slot, kind), n in counts.items():
            self._count((campaign, channel, variant), slot * 10_000, {_FIELDS[kind]: n})
        for i in chosen:
            if (cost := events[i].cost) is not None:
                event = events[i]
                names = (event.campaign, event.channel, event.variant)
                self._count(names, times[i], {_COST: micros(cost)})

    def settle(self, before_ms: int, watermark_ms: int) -> None:
        """A click is final at once."""

    def settled_through(self, before_ms: int) -> dict[str, int]:  # noqa: ARG002 - a Fold
        """Clicks have no settled figures."""
        return {}

    def load(self, items: Iterator[tuple[bytes, bytes]]) -> None:
        """There are none."""

    @property
    def open(self) -> int:
        """Nothing is kept open."""
        return 0

    def _count(self, names: tuple[str | None, ...], at_ms: int, values: Values) -> None:
        label = self._cube.label(tuple(name or NOT_SET for name in names))
        self._cube.live(at_ms, label, values)
        self._cube.total(label, values)
