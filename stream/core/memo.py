"""A memo: what a function says of rows of bytes, asked once for each distinct row.

Most columns of a stream hold few distinct values. Looking up thousands of rows takes a handful of
numpy calls; the function is Python. Owns the look-up, knows nothing of what rows mean.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from stream.core.columns import Words
from stream.core.hashing import Hashes, keys_of

Answers = NDArray[np.int64]
UNKNOWN = -(1 << 62)
"""What a function may answer where there is nothing to say."""
MOST = 1 << 18
"""Rows that are remembered; one more, and a memo begins anew."""
FEWER = 1 << 13
"""The same where there is ever something new; more than may come at once."""
_SLOTS_EACH = 8
_NOBODY = 0


class Memo:
    """Answers of `ask` for rows of `width` words, of which `most` are remembered."""

    _count: int
    _keys: Hashes
    _rows: Words
    _answers: Answers

    def __init__(self, width: int, ask: Callable[[bytes], int], most: int | None = None) -> None:
        self._ask = ask
        self._most = most or MOST
        self._width = width
        self._begin()

    def of(self, rows: Words) -> Answers:
        """The answer for each row."""
        keys = keys_of(rows)
        places = self._find(keys)
        while not places.all():
            self._learn(rows[places == _NOBODY])
            places = self._find(keys)
        answers: Answers = self._answers[places]
        known = self._rows[places]
        if known.tobytes() != rows.tobytes():  # different rows with one key
            wrong = np.flatnonzero((known != rows).any(axis=1))
            answers[wrong] = [self._ask(row) for row in _pieces(rows[wrong])]
        return answers

    def _find(self, keys: Hashes) -> NDArray[np.int32]:
        """Where rows are held, by their keys."""
        slots = (keys >> self._shift).astype(np.int64)
        places: NDArray[np.int32] = self._places[slots]
        left = np.flatnonzero((self._keys[places] != keys) & (places != _NOBODY))
        while len(left):  # somebody else has the slot
            slots[left] = (slots[left] + 1) & (len(self._places) - 1)
            mine = places[left] = self._places[slots[left]]
            left = left[(self._keys[mine] != keys[left]) & (mine != _NOBODY)]
        return places

    def _learn(self, rows: Words) -> None:
        """Take in the first row of each key; none of them is known."""
        keys, first = np.unique(keys_of(rows), return_index=True)
        if self._count + len(keys) > self._most:
            self._begin()
        begin, end = self._count, self._count + len(keys)
        while end > len(self._keys):
            self._keys = np.concatenate((self._keys, np.zeros_like(self._keys)))
            self._rows = np.concatenate((self._rows, np.zeros_like(self._rows)))
            self._answers = np.concatenate((self._answers, np.zeros_like(self._answers)))
        self._keys[begin:end], self._rows[begin:end] = keys, rows[first]
        self._answers[begin:end] = [self._ask(row) for row in _pieces(rows[first])]
        self._count = end
        if end * _SLOTS_EACH > len(self._places):
            self._make_slots(4 * _SLOTS_EACH * end)
            begin = 1
        for place, key in enumerate(self._keys[begin:end].tolist(), begin):
            slot = key >> int(self._shift)
            while self._places[slot] != _NOBODY:
                slot = (slot + 1) % len(self._places)
            self._places[slot] = place

    def _begin(self) -> None:
        self._count = 1  # the first place is nobody's
        self._keys = np.zeros(16, np.uint64)
        self._rows = np.zeros((16, self._width), "<u8")
        self._answers = np.zeros(16, np.int64)
        self._make_slots(256)

    def _make_slots(self, least: int) -> None:
        bits = (least - 1).bit_length()
        self._shift = np.uint64(64 - bits)
        self._places = np.zeros(1 << bits, np.int32)


def _pieces(rows: Words) -> list[bytes]:
    raw, width = rows.tobytes(), rows.shape[1] * 8
    return [raw[at : at + width] for at in range(0, len(raw), width)]
