"""Reading tickets: the events themselves as rows, one decoded after the other."""

from collections.abc import Callable, Iterable, Sequence
from itertools import compress
from operator import attrgetter
from typing import Any, cast

import numpy as np

from stream.core.catalogue import NOT_SET, SOURCES
from stream.core.columns import Column, Positions, column_of
from stream.core.cube import Cube
from stream.core.events import Event, EventDecoder, Fault
from stream.core.hashing import Hashes, hash_texts
from stream.core.names import Labels
from stream.core.reading import BEFORE_ALL, Reading, Times


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

    @property
    def ids(self) -> dict[str, Column]:
        """Whose events they are."""
        return {"ticket_id": column_of([event.ticket_id for event in self])}

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


class TicketReader:
    """Reads tickets, one event after the other."""

    def __init__(self) -> None:
        self._decoder = EventDecoder("tickets")
        self._names = attrgetter(*SOURCES["tickets"].dimensions)

    def read(self, values: Sequence[bytes | None]) -> Reading:
        """Read the values of a batch, in order."""
        events = self._decoder.decode_all(values)
        faults = [(i, event) for i, event in enumerate(events) if isinstance(event, Fault)]
        rows, sound = Events(events, self._names), cast("list[Event]", events)
        if not faults:
            return Reading(*_times_and_hashes(sound), cast("Any", rows), faults)
        good = np.ones(len(events), np.bool_)
        good[[i for i, _ in faults]] = False
        times, hashes = np.full(len(events), BEFORE_ALL, np.int64), np.zeros(len(events), np.uint64)
        sound = list(compress(sound, good.tolist()))
        times[good], hashes[good] = _times_and_hashes(sound)
        return Reading(times, hashes, cast("Any", rows), faults)


def _times_and_hashes(events: Sequence[Event]) -> tuple[Times, Hashes]:
    """Event times, and the hashes of the event ids."""
    times = np.array([event.timestamp for event in events], np.int64)
    return times, hash_texts([event.event_id for event in events])
