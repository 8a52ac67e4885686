"""Whether what has work to do stands still. Pure: looks are counted, whatever time they take.

So a worker that hardly gets a processor is slow and not stuck: it looks seldom, too.
"""

from collections.abc import Hashable


class Stillness:
    """Positions as they were at the last look; more than `most` looks at the same are too many."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._seen: dict[Hashable, tuple[int, int]] = {}

    def is_stuck(self, what: Hashable, at: int | None) -> bool:
        """Look at a position; None: there is nothing to do."""
        if at is None:
            self._seen.pop(what, None)
            return False
        known, looks = self._seen.get(what, (at, -1))
        looks = looks + 1 if at == known else 0
        self._seen[what] = at, looks
        return looks > self._most

    def forget(self) -> None:
        """Begin anew: what stood still may have had a reason."""
        self._seen.clear()
