"""Reading: the records of a batch as columns of times and ids, with rows for the fold.

Owns how values become events in bulk. What a single value says is the decoder's; a bulk way may
only be faster. Knows nothing of clocks or of other batches.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import compress
from operator import attrgetter
from typing import Any, Generic, Protocol, Self, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from stream.core.catalogue import NOT_SET, SOURCES
from stream.core.cube import Cube
from stream.core.events import Event, EventDecoder, Fault
from stream.core.hashing import Hashes, hash_texts
from stream.core.names import Labels

Times = NDArray[np.int64]
Positions = NDArray[np.intp]
BEFORE_ALL = -(1 << 61)
"""A time before all others: there is none."""


class Rows(Protocol):
    """What a fold gets of the records that it counts, by position."""

    def take(self, positions: Positions | slice) -> Self:
        """The rows at some positions."""

    def labels(self, cube: Cube, positions: Positions) -> Labels:
        """Label ids of rows, admitted in their order."""


R_co = TypeVar("R_co", bound=Rows, covariant=True)


@dataclass(frozen=True, slots=True)
class Reading(Generic[R_co]):
    """The records of a batch. One that is a fault has the time BEFORE_ALL and a row of no meaning.

    `times` are epoch milliseconds, `hashes` those of the event ids.
    """

    times: Times
    hashes: Hashes
    rows: R_co
    faults: list[tuple[int, Fault]]


class Reader(Protocol[R_co]):
    """Reads the values of one topic."""

    def read(self, values: Sequence[bytes | None]) -> Reading[R_co]:
        """Read the values of a batch, in order."""


class Events(list[Any]):
    """Rows that are the events themselves; `names` gives the dimension values of one."""

    def __init__(self, events: Iterable[Event | Fault], names: Callable[[Any], Any]) -> None:
        super().__init__(events)
        self._names = names

    def take(self, positions: Positions | slice) -> "Events":
        """The events at some positions."""
        if isinstance(positions, slice):
            return Events(self[positions], self._names)
        return Events([self[i] for i in positions.tolist()], self._names)

    def labels(self, cube: Cube, positions: Positions) -> Labels:
        """Label ids of events, admitted in their order."""
        labels, names = _Admitted(cube), map(self._names, map(self.__getitem__, positions.tolist()))
        return np.fromiter(map(labels.__getitem__, names), np.int64, len(positions))


class _Admitted(dict[tuple[str | None, ...], int]):
    """Label ids by what events name, each asked for when it is met first."""

    def __init__(self, cube: Cube) -> None:
        super().__init__()
        self._cube = cube

    def __missing__(self, names: tuple[str | None, ...]) -> int:
        label = self[names] = self._cube.label(tuple(name or NOT_SET for name in names))
        return label


class EventReader:
    """Reads sessions and tickets, one event after the other."""

    def __init__(self, topic: str) -> None:
        self._decoder = EventDecoder(topic)
        self._names = attrgetter(*SOURCES[topic].dimensions)

    def read(self, values: Sequence[bytes | None]) -> Reading[Events]:
        """Read the values of a batch, in order."""
        events = self._decoder.decode_all(values)
        faults = [(i, event) for i, event in enumerate(events) if isinstance(event, Fault)]
        rows, sound = Events(events, self._names), cast("list[Event]", events)
        if not faults:
            return Reading(*_times_and_hashes(sound), rows, faults)
        good = np.ones(len(events), np.bool_)
        good[[i for i, _ in faults]] = False
        times, hashes = np.full(len(events), BEFORE_ALL, np.int64), np.zeros(len(events), np.uint64)
        sound = list(compress(sound, good.tolist()))
        times[good], hashes[good] = _times_and_hashes(sound)
        return Reading(times, hashes, rows, faults)


def _times_and_hashes(events: Sequence[Event]) -> tuple[Times, Hashes]:
    """Event times, and the hashes of the event ids."""
    times = np.array([event.timestamp for event in events], np.int64)
    return times, hash_texts([event.event_id for event in events])
