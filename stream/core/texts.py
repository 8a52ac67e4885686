"""Texts: many byte strings side by side in one buffer, as records come from a broker."""

from collections.abc import Iterator, Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

Places = NDArray[np.int64]
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
            return Texts(self.buffer, self.starts[index], self.sizes[index])
        start, size = int(self.starts[index]), int(self.sizes[index])
        return None if size == NONE else self.buffer[start : start + size]

    def __iter__(self) -> Iterator[bytes | None]:
        buffer, ends = self.buffer, self.starts + self.sizes
        for start, end in zip(self.starts.tolist(), ends.tolist(), strict=True):
            yield buffer[start:end] if end >= start else None
