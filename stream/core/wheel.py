"""A timer wheel over event time: which items to look at when the watermark passes an instant."""

import heapq
from collections.abc import Callable, Iterator

_SLOT_MS = 1_000


class Wheel:
    """Keys by due second; only the seconds that were reached are ordered to the millisecond.

    `due_ms` tells when an item is due now, None if it is gone: an entry that was overtaken by a
    newer one is found stale by it.
    """

    def __init__(self, due_ms: Callable[[bytes], int | None]) -> None:
        self._due_ms = due_ms
        self._slots: dict[int, set[bytes]] = {}
        self._order: list[int] = []
        self._near: list[tuple[int, bytes]] = []
        self._reached: int | None = None

    def add(self, key: bytes, due_ms: int) -> None:
        """Look at a key when an instant later than `due_ms` is reached."""
        number = due_ms // _SLOT_MS
        if self._reached is not None and number <= self._reached:
            heapq.heappush(self._near, (due_ms, key))
            return
        slot = self._slots.get(number)
        if slot is None:
            slot = self._slots[number] = set()
            heapq.heappush(self._order, number)
        slot.add(key)

    def pop(self, before_ms: int) -> Iterator[bytes]:
        """Take out the keys that are due before an instant, oldest first."""
        reached = before_ms // _SLOT_MS
        while self._order and self._order[0] <= reached:
            number = heapq.heappop(self._order)
            for key in self._slots.pop(number):
                due_ms = self._due_ms(key)
                if due_ms is not None and due_ms // _SLOT_MS == number:
                    heapq.heappush(self._near, (due_ms, key))
        self._reached = reached if self._reached is None else max(reached, self._reached)
        while self._near and self._near[0][0] < before_ms:
            yield heapq.heappop(self._near)[1]
