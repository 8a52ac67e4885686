"""The events of a run of tickets, as columns, and the label sets that they name.

Owns how an event becomes a step of a ticket. Knows nothing of what tickets count.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self, cast

from stream.core.catalogue import NOT_SET
from stream.core.cube import Cube
from stream.core.events import TicketEvent
from stream.core.tickets import CONTACTS, KINDS

MAX_KNOWN = 100_000
"""Names whose numbers are remembered; one more, and it begins anew."""
_KIND_OF = {(name, by): kind for name, kind in KINDS.items() for by in CONTACTS} | {
    ("contact", by): kind for by, kind in CONTACTS.items()
}
"""The kind of a step, by an event's type and whose contact it was."""


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Events in log order. `owns` are the label sets of `names`, None where one is not admitted."""

    ids: list[str]
    kinds: list[int]
    names: list[tuple[str | None, str | None]]
    owns: list[int | None]
    opened_ms: list[int | None]

    @classmethod
    def of(cls, events: Sequence[TicketEvent], labels: "TeamLabels") -> Self:
        """The columns of events."""
        names = [(event.channel, event.team) for event in events]
        return cls(
            [event.ticket_id for event in events],
            [_KIND_OF[event.type, event.by] for event in events],
            names,
            list(map(labels.get, names)),
            cast("list[int | None]", [event.opened_at for event in events]),
        )


class TeamLabels(dict[tuple[str | None, str | None], int]):
    """What tickets are called: label sets of channel and team, by their numbers in the cube.

    As a dictionary: the number of what an event names, which is admitted when it is asked for.
    """

    def __init__(self, cube: Cube) -> None:
        super().__init__()
        self._cube = cube
        self._merged: dict[tuple[int, int], int] = {}

    def __missing__(self, named: tuple[str | None, str | None]) -> int:
        if len(self) >= MAX_KNOWN:
            self.clear()
        channel, team = named
        own = self[named] = self._cube.label((channel or NOT_SET, team or NOT_SET))
        return own

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
