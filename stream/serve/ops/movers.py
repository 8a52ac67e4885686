"""Top movers: whose figures of the last hour rose and fell the most.

Ranked by z-score, so that size and certainty count together. Pure reading of the view.
"""

from dataclasses import dataclass

from stream.core.catalogue import METRICS, SOURCES
from stream.core.durations import HOUR_MS
from stream.live.view import View
from stream.serve.answers import time_or_null
from stream.serve.ops import bodies
from stream.serve.ops.board import BETTER, change_body
from stream.serve.ops.comparison import Comparison, compare, yardstick
from stream.serve.ops.slices import Slice, Sums
from stream.serve.times import format_time
from stream.settings import Settings

RANKED = ("ctr", "bounce_rate", "conversion_rate")
MOST = 5


@dataclass(frozen=True, slots=True)
class _Move:
    metric: str
    name: str
    z: float
    comparison: Comparison


class MoversReader:
    """Reads the movers of a slice by one dimension."""

    def __init__(self, view: View, settings: Settings) -> None:
        self._view = view
        self._rules = {name: yardstick(METRICS[name], settings, HOUR_MS) for name in RANKED}

    def read(self, part: Slice, by: str, now_ms: int) -> bodies.MoversAnswer:
        """The highest rises and the deepest falls."""
        sums = Sums(self._view, part, now_ms)
        moves = [
            _Move(metric, name, comparison.z, comparison)
            for metric, rule in self._rules.items()
            for (name,), comparison in compare(sums, rule, HOUR_MS, (by,)).items()
            if comparison.z is not None
        ]
        moves.sort(key=lambda move: (-abs(move.z), move.metric, move.name))
        return bodies.MoversAnswer(
            at=format_time(now_ms),
            as_of=time_or_null(min(filter(None, map(self._view.as_of_ms, SOURCES)), default=None)),
            complete=self._view.complete(now_ms),
            by=by,
            compared=len(moves),
            up=[_body(move, by) for move in moves if move.z > 0][:MOST],
            down=[_body(move, by) for move in moves if move.z < 0][:MOST],
        )


def _body(move: _Move, by: str) -> bodies.Mover:
    return bodies.Mover(
        metric=move.metric,
        labels={by: move.name},
        better=BETTER[move.metric],
        change=change_body(move.comparison),
    )
