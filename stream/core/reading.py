"""Reading: the records of a batch as columns of times, ids, and whatever else is counted by.

Owns what a fold gets to see of events. Knows nothing of how they were read, of clocks, or of other
batches.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream.core.columns import Column, Positions
from stream.core.cube import Cube
from stream.core.events import Fault
from stream.core.hashing import Hashes
from stream.core.names import Codes, Labels, Names

Times = NDArray[np.int64]
Numbers = NDArray[np.int64]
BEFORE_ALL = -(1 << 61)
"""A time before all others: there is none."""


@dataclass(frozen=True, slots=True)
class Events:
    """Events as columns, by position; what each topic keeps in them its `Plan` says.

    The number of an event's names, its kind, micros of money (0 for none), another instant
    (BEFORE_ALL for none), and its ids by the names of their fields (an empty text for none).
    """

    codes: Codes
    kinds: Numbers
    micros: Numbers
    instants_ms: Times
    ids: Mapping[str, Column]
    names: Names

    def __len__(self) -> int:
        return len(self.codes)

    def take(self, positions: Positions | slice) -> "Events":
        """The events at some positions."""
        return Events(
            self.codes[positions],
            self.kinds[positions],
            self.micros[positions],
            self.instants_ms[positions],
            {name: column.take(positions) for name, column in self.ids.items()},
            self.names,
        )

    def labels(self, cube: Cube, positions: Positions | slice) -> Labels:
        """Label ids of events, admitted in their order."""
        return self.names.labels(self.codes[positions], cube)


@dataclass(frozen=True, slots=True)
class Reading:
    """The records of a batch. One that is a fault has the time BEFORE_ALL, and no event.

    `times` are epoch milliseconds, `hashes` those of the event ids.
    """

    times: Times
    hashes: Hashes
    events: Events
    faults: list[tuple[int, Fault]]
