"""The events of a run of tickets, in columns, and the label sets that they name.

Knows nothing of what tickets count.
"""

import numpy as np

from stream.core.catalogue import NOT_SET
from stream.core.cube import Cube
from stream.core.reading import BEFORE_ALL, Events

MAX_KNOWN = 100_000
"""Pairs of label sets whose merger is remembered; one more, and it begins anew."""


class Arrivals:
    """Events in log order: their tickets, kinds, label sets, and `opened_at`, if they tell.

    A label set is NO_LABEL as long as it is not admitted: `admit` does that, along the log.
    """

    def __init__(self, events: Events, cube: Cube) -> None:
        self._events, self._cube = events, cube
        self.ids: list[bytes] = events.ids["ticket_id"].texts()
        self.kinds: list[int] = events.kinds.tolist()
        self.owns: list[int] = events.names.known(events.codes).tolist()
        self.opened_ms: list[int | None] = [None] * len(events)
        told = np.flatnonzero(events.instants_ms > BEFORE_ALL)
        for place, at_ms in zip(told.tolist(), events.instants_ms[told].tolist(), strict=True):
            self.opened_ms[place] = at_ms

    def admit(self, place: int) -> int:
        """The label set of an event."""
        return int(self._events.labels(self._cube, np.array([place]))[0])


class TeamLabels:
    """Label sets of tickets, by their numbers in the cube."""

    def __init__(self, cube: Cube) -> None:
        self._cube = cube
        self._merged: dict[tuple[int, int], int] = {}

    def merged(self, label: int, own: int) -> int:
        """What a ticket has after an event: what the event names, else what it had."""
        found = self._merged.get((label, own))
        if found is None:
            pairs = zip(self.names(label), self.names(own), strict=True)
            names = tuple(had if named == NOT_SET else named for had, named in pairs)
            if len(self._merged) >= MAX_KNOWN:
                self._merged.clear()
            found = self._merged[label, own] = self._cube.label(names)
        return found

    def names(self, label: int) -> tuple[str, ...]:
        """The names behind a number."""
        return self._cube.names(label)
