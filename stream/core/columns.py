"""Columns of short texts: rows of words instead of an object for each.

Owns how texts become rows, and rows texts again. Knows nothing of what they mean.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]
"""Texts as rows of 8-byte words, little-endian, filled up with zero bytes."""
Sizes = NDArray[np.int64]
Positions = NDArray[np.intp]
WORD = 8


class Column(NamedTuple):
    """Texts side by side: their bytes, filled up with zeros, and how many they are."""

    words: Words
    sizes: Sizes

    def take(self, positions: Positions | slice) -> "Column":
        """The texts at some positions."""
        return Column(self.words[positions], self.sizes[positions])

    def text(self, position: int) -> bytes:
        """One of the texts."""
        row: bytes = self.words[position].tobytes()
        return row[: int(self.sizes[position])]

    def texts(self) -> list[bytes]:
        """All texts; none may end in a zero byte."""
        if not len(self.words):
            return []
        texts: list[bytes] = whole(self.words, "S").tolist()
        return texts


def column_of(texts: Sequence[str]) -> Column:
    """A column of the UTF-8 bytes of texts."""
    if not texts:
        return Column(np.empty((0, 1), "<u8"), np.empty(0, np.int64))
    joined = "".join(texts)
    encoded = texts if joined.isascii() else [text.encode() for text in texts]
    sizes = np.fromiter(map(len, encoded), np.int64, len(encoded))
    width = -(-max(int(sizes.max()), 1) // WORD) * WORD
    rows = np.zeros((len(encoded), width), np.uint8)
    rows[np.arange(width) < sizes[:, np.newaxis]] = np.frombuffer(joined.encode(), np.uint8)
    return Column(rows.view("<u8"), sizes)


def whole(words: Words, code: str) -> NDArray[np.void]:
    """Each row of words as one item of bytes; there has to be a row."""
    words = np.ascontiguousarray(words)
    items: NDArray[np.void] = words.view(f"{code}{words.shape[1] * WORD}")[:, 0]
    return items


class Draft:
    """A column that is filled bit by bit; a text that was not put in is empty."""

    def __init__(self, count: int) -> None:
        self._words = np.zeros((count, 1), "<u8")
        self._sizes = np.zeros(count, np.int64)

    def put(self, positions: Positions | slice, column: Column) -> None:
        """Put texts at some positions that are still empty."""
        words, width = column.words, column.words.shape[1]
        if width > self._words.shape[1]:
            wider = np.zeros((len(self._words), width), "<u8")
            wider[:, : self._words.shape[1]] = self._words
            self._words = wider
        self._words[positions, :width] = words
        self._sizes[positions] = column.sizes

    def column(self) -> Column:
        """What was put in."""
        return Column(self._words, self._sizes)
