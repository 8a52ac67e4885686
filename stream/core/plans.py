"""Plans: which fields of a topic's events are read, and as what.

What is not named here is not looked at: the decoder says whether it is as it should be.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stream.core import marks, tickets
from stream.core.catalogue import CLICKS, SESSIONS, TICKETS, Source
from stream.core.events import EVENTS, NAME_CHARS, Event

EVENT_ID, TIMESTAMP = "event_id", "timestamp"
_EVENT_ID_CHARS = 64


@dataclass(frozen=True)
class Plan:
    """How the events of a topic are read.

    `kinds` gives a number for what the field in `kind` says, or for what all of them say together;
    `ids` are kept as texts; `money` and `instant` are at most one field each. `checked` are only
    looked at, and `free` are texts that may say anything.
    """

    source: Source
    kinds: Mapping[Any, int]
    kind: tuple[str, ...] = ("type",)
    ids: tuple[str, ...] = ()
    money: str | None = None
    instant: str | None = None
    checked: tuple[str, ...] = ()
    free: tuple[str, ...] = ()
    event: type[Event] = field(init=False)
    most: Mapping[str, int] = field(init=False)
    """The longest text of a field in bytes. Of one that is longer the decoder tells whether it is
    too long: it counts characters."""

    def __post_init__(self) -> None:
        names = (*self.source.dimensions, *self.ids, *self.checked, *self.kind)
        most = dict.fromkeys(names, NAME_CHARS) | {EVENT_ID: _EVENT_ID_CHARS}
        if self.money is not None:
            most[self.money] = _EVENT_ID_CHARS
        object.__setattr__(self, "event", EVENTS[self.source.topic])
        object.__setattr__(self, "most", most)


PLANS = {
    "clicks": Plan(
        CLICKS,
        kinds={"impression": CLICKS.index["impressions"], "click": CLICKS.index["clicks"]},
        money="cost",
        checked=("visitor_id",),
    ),
    "sessions": Plan(
        SESSIONS,
        kinds=marks.KINDS,
        ids=(EVENT_ID, "visitor_id", "session_id"),
        money="value",
        free=("page", "goal"),
    ),
    "tickets": Plan(
        TICKETS,
        kinds={
            (name, by): tickets.CONTACTS[by] if name == "contact" else kind
            for name, kind in tickets.KINDS.items()
            for by in tickets.CONTACTS
        },
        kind=("type", "by"),
        ids=("ticket_id",),
        instant="opened_at",
    ),
}
