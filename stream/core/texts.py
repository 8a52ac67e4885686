"""Texts: many byte strings side by side in one buffer, as records come from a broker."""

from collections.abc import Iterator, Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

from stream.core.columns import Column, Positions

Places = NDArray[np.int64]
Bytes = NDArray[np.uint8]
Flags = NDArray[np.bool_]
NONE = -1
"""The size of a text that is not there at all."""


class Texts(Sequence[bytes | None]):
    """`starts` and `sizes` say where each text lies in `buffer`. Slices share the buffer."""

    __slots__ = ("buffer", "sizes", "starts")

    def __init__(self, buffer: bytes, starts: Places, sizes: Places) -> None:
        self.buffer, self.starts, self.sizes = buffer, starts, sizes

    @classmethod
    def of(cls, texts: Sequence[bytes | None]) -> "Texts":
        """The same texts in a buffer of their own."""
        if isinstance(texts, Texts):
            return texts
        there = [text or b"" for text in texts]
        sizes = np.fromiter(map(len, there), np.int64, len(there))
        starts = np.cumsum(sizes) - sizes
        sizes[[i for i, text in enumerate(texts) if text is None]] = NONE
        return cls(b"".join(there), starts, sizes)

    def __len__(self) -> int:
        return len(self.starts)

    @overload
    def __getitem__(self, index: int) -> bytes | None: ...
    @overload
    def __getitem__(self, index: slice) -> "Texts": ...
    def __getitem__(self, index: int | slice) -> "bytes | Texts | None":
        if isinstance(index, slice):
            return self.take(index)
        start, size = int(self.starts[index]), int(self.sizes[index])
        return None if size == NONE else self.buffer[start : start + size]

    def take(self, positions: Positions | slice) -> "Texts":
        """The texts at some positions."""
        return Texts(self.buffer, self.starts[positions], self.sizes[positions])

    def differ(self, others: Column) -> Flags:
        """Where a text is not that of a column."""
        unlike: Flags = self.sizes != others.sizes
        width = others.words.nbytes // max(len(self), 1)
        in_reach = self.starts + width <= len(self.buffer)
        alike = np.flatnonzero(~unlike & in_reach)
        if len(alike):
            known = others.words.view(np.uint8).reshape(len(self), width)[alike]
            found = windows(self.buffer, self.starts[alike], width).view(np.uint8)
            found = found.reshape(known.shape)
            counts = np.arange(width) < self.sizes[alike, np.newaxis]
            unlike[alike] = ((found != known) & counts).any(axis=1)
        for place in np.flatnonzero(~unlike & ~in_reach).tolist():
            unlike[place] = self[place] != others.text(place)
        return unlike

    def __iter__(self) -> Iterator[bytes | None]:
        buffer, ends = self.buffer, self.starts + self.sizes
        for start, end in zip(self.starts.tolist(), ends.tolist(), strict=True):
            yield buffer[start:end] if end >= start else None


def windows(buffer: bytes, at: Places, width: int) -> NDArray[np.void]:
    """So many bytes from each place on; any bytes beyond the end of the buffer."""
    last = len(buffer) - width
    found: NDArray[np.void] = np.ndarray((last + 1,), f"V{width}", buffer, 0, (1,))
    return found[np.minimum(at, last)]
