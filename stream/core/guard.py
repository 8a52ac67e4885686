"""The guard against a broken producer: a partition full of unreadable records is paused."""

from collections import deque
from collections.abc import Sequence
from typing import Any

WINDOW = 1_000
"""How many records back it looks; more than half of them unreadable pauses the partition."""


class Guard:
    """Counts records along the log and remembers which of the last ones were unreadable."""

    def __init__(self) -> None:
        self.seen = 0
        self._bad: deque[int] = deque()

    def admit(self, unreadable: Sequence[int], count: int) -> int:
        """How many of the next `count` records are taken before the partition is paused.

        `unreadable` are the positions of unreadable records among them, in order. The record that
        tips the scales (an unreadable one, or the one that makes the window full for the first
        time) is still taken; all of them are where nothing does.
        """
        bad, full = set(unreadable), WINDOW - 1 - self.seen
        looks = sorted({*bad, full}) if 0 <= full < count else unreadable
        for position in looks:
            number = self.seen + position
            if position in bad:
                self._bad.append(number)
            while self._bad and self._bad[0] <= number - WINDOW:
                self._bad.popleft()
            if number + 1 >= WINDOW and len(self._bad) * 2 > WINDOW:
                self.seen = number + 1
                return position + 1
        self.seen += count
        return count

    @property
    def is_tripped(self) -> bool:
        """Whether the partition is to stand still until somebody resumes it."""
        last = self.seen - WINDOW
        return last >= 0 and sum(number >= last for number in self._bad) * 2 > WINDOW

    def reset(self) -> None:
        """Begin anew, as after a `resume`."""
        self.seen = 0
        self._bad.clear()

    def state(self) -> list[object]:
        """What goes into the partition's meta entry."""
        return [self.seen, [n for n in self._bad if n >= self.seen - WINDOW]]

    def load(self, state: Sequence[Any]) -> None:
        """Take up a state."""
        self.seen, bad = state
        self._bad = deque(bad)
