"""Names: the sets of dimension values that were met, as small numbers, and their label ids.

Reading admits no label set, only counting does; so what is read carries the number of its names,
and the cube is asked for a label when one is needed.
"""

import numpy as np
from numpy.typing import NDArray

from stream.core.catalogue import NOT_SET
from stream.core.cube import Cube

Codes = NDArray[np.int64]
Labels = NDArray[np.int64]
NO_LABEL = -1
"""Stands for the label of what was not counted yet."""


class Names:
    """Numbers of names, in the order in which they were met."""

    def __init__(self) -> None:
        self._codes: dict[tuple[str | None, ...], int] = {}
        self._names: list[tuple[str | None, ...]] = []
        self._labels = np.full(64, NO_LABEL, np.int64)

    def __len__(self) -> int:
        return len(self._names)

    def code(self, names: tuple[str | None, ...]) -> int:
        """The number of these dimension values; None is one that is missing."""
        code = self._codes.setdefault(names, len(self._names))
        if code == len(self._names):
            self._names.append(names)
            if code == len(self._labels):
                more = np.full(code, NO_LABEL, np.int64)
                self._labels = np.concatenate((self._labels, more))
        return code

    def known(self, codes: Codes) -> Labels:
        """The label ids of events, NO_LABEL where none was asked for so far."""
        found: Labels = self._labels[codes]
        return found

    def labels(self, codes: Codes, cube: Cube) -> Labels:
        """The label ids of events; new ones are admitted in their order."""
        new = codes[self._labels[codes] == NO_LABEL]
        for code in dict.fromkeys(new.tolist()):
            names = tuple(name or NOT_SET for name in self._names[code])
            self._labels[code] = cube.label(names)
        found: Labels = self._labels[codes]
        return found
