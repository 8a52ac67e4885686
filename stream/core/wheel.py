"""A timer wheel over event time: which items to look at when the watermark passes an instant."""

import heapq
from collections.abc import Callable, Iterator, Sequence
from itertools import compress

import numpy as np
from numpy.typing import NDArray

from stream.core.durations import SECOND_MS

_MS_BYTES = 3
_LONG_AGO, _FAR_OFF = -(1 << 62), 1 << 62
AT_ONCE, FEW = 4_096, 32
"""Keys wait until so many are put into their slots at once; for a few of them columns cost more."""


class Wheel:
    """Keys of one length by due slot, packed; only the slot that was reached is kept in order.

    A slot costs some 250 bytes: a long one suits what is due far ahead and thinly spread. A key may
    be added again for an earlier time. With `due_ms`, which tells when an item is due now (None if
    it is gone), an entry that was overtaken is passed over; without it, it comes too.
    """

    def __init__(
        self,
        due_ms: Callable[[bytes], int | None] | None = None,
        key_bytes: int = 13,
        slot_ms: int = SECOND_MS,
    ) -> None:
        self._due_ms = due_ms
        self._slot_ms = slot_ms
        self._key_bytes = key_bytes
        self._slots: dict[int, bytearray] = {}
        self._order: list[int] = []
        self._near: list[tuple[int, bytes]] = []
        self._near_ms = _LONG_AGO
        self._keys: list[bytes] = []
        self._dues_ms: list[int] = []
        self._earliest_ms = _FAR_OFF

    def add(self, key: bytes, due_ms: int) -> None:
        """Look at a key when an instant later than `due_ms` is reached."""
        if due_ms < self._near_ms:
            heapq.heappush(self._near, (due_ms, key))
            return
        self._keys.append(key)
        self._dues_ms.append(due_ms)
        if due_ms < self._earliest_ms:  # noqa: PLR1730 - a call would cost as much as the rest
            self._earliest_ms = due_ms
        if len(self._keys) >= AT_ONCE:
            self._sort_in()

    def _sort_in(self) -> None:
        """Put those that wait into their slots."""
        keys, dues_ms = self._keys, self._dues_ms
        self._keys, self._dues_ms, self._earliest_ms = [], [], _FAR_OFF
        if len(keys) >= FEW:
            self._add_far(keys, np.array(dues_ms, np.int64))
            return
        for key, due_ms in zip(keys, dues_ms, strict=True):
            number, rest_ms = divmod(due_ms, self._slot_ms)
            slot = self._slot(number)
            slot += key
            slot += rest_ms.to_bytes(_MS_BYTES, "big")

    def add_all(self, keys: Sequence[bytes], dues_ms: NDArray[np.int64]) -> None:
        """The same for many keys."""
        is_near = dues_ms < self._near_ms
        if is_near.any():
            for place in np.flatnonzero(is_near).tolist():
                heapq.heappush(self._near, (int(dues_ms[place]), keys[place]))
            keys, dues_ms = list(compress(keys, (~is_near).tolist())), dues_ms[~is_near]
        if keys:
            self._add_far(keys, dues_ms)

    def _add_far(self, keys: Sequence[bytes], dues_ms: NDArray[np.int64]) -> None:
        order = np.argsort(dues_ms, kind="stable")
        numbers, rest_ms = np.divmod(dues_ms[order], self._slot_ms)
        size, entry_bytes = self._key_bytes, self._key_bytes + _MS_BYTES
        entries = np.empty((len(keys), entry_bytes), np.uint8)
        entries[:, :size] = np.frombuffer(b"".join(keys), np.uint8).reshape(-1, size)[order]
        entries[:, size:] = rest_ms.astype(">u4").view(np.uint8).reshape(-1, 4)[:, -_MS_BYTES:]
        distinct, starts = np.unique(numbers, return_index=True)
        whole, ends = entries.tobytes(), np.append(starts, len(keys))[1:] * entry_bytes
        starts *= entry_bytes
        for number, start, end in zip(
            distinct.tolist(), starts.tolist(), ends.tolist(), strict=True
        ):
            slot = self._slot(number)
            slot += whole[start:end]

    def _slot(self, number: int) -> bytearray:
        slot = self._slots.get(number)
        if slot is None:
            slot = self._slots[number] = bytearray()
            heapq.heappush(self._order, number)
        return slot

    def pop(self, before_ms: int) -> Iterator[bytes]:
        """Take out the keys that are due before an instant, slot by slot."""
        reached = before_ms // self._slot_ms
        self._near_ms = max(self._near_ms, (reached + 1) * self._slot_ms)
        if self._earliest_ms < self._near_ms:
            self._sort_in()
        while self._order and self._order[0] <= reached:
            for due_ms, key in self._entries(heapq.heappop(self._order)):
                if due_ms < before_ms:
                    yield key
                else:
                    heapq.heappush(self._near, (due_ms, key))
        while self._near and self._near[0][0] < before_ms:
            yield heapq.heappop(self._near)[1]

    def reach(self, before_ms: int, most: int) -> int:
        """The instant up to which `most` keys are due, or a few more; at most `before_ms`."""
        self._sort_in()
        entry_bytes = self._key_bytes + _MS_BYTES
        due = {number for number in self._slots if number * self._slot_ms < before_ms}
        if self._near:
            due.add(self._near_ms // self._slot_ms - 1)
            most -= len(self._near)
        for number in sorted(due):
            most -= len(self._slots.get(number, b"")) // entry_bytes
            if most <= 0:
                return min((number + 1) * self._slot_ms, before_ms)
        return before_ms

    def _entries(self, number: int) -> Iterator[tuple[int, bytes]]:
        """What is due in a slot, which is taken out."""
        slot, size = bytes(self._slots.pop(number)), self._key_bytes
        if self._due_ms is not None:  # a key comes once, however often it was added
            for key in {slot[at : at + size] for at in range(0, len(slot), size + _MS_BYTES)}:
                due_ms = self._due_ms(key)
                if due_ms is not None and due_ms // self._slot_ms == number:
                    yield due_ms, key
            return
        for at in range(0, len(slot), size + _MS_BYTES):
            end = at + size
            ms = int.from_bytes(slot[end : end + _MS_BYTES], "big")
            yield number * self._slot_ms + ms, slot[at:end]
