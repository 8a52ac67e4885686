"""Tickets: what the events of a ticket in order of event time make.

Owns the steps, their order, and the state and the names after each; what they count is for others
to say. Times are milliseconds, label sets are the numbers that `Labels` gives.
"""

from bisect import bisect_left
from typing import Protocol

import msgspec

from stream.core.buckets import EPOCH_MAX_MS
from stream.core.catalogue import TICKET_TYPES

RANK = {name: rank for rank, name in enumerate(TICKET_TYPES)}
MAX_STEPS = 1_000
"""A guard of memory: what a ticket does after so many events, before it settles, is not seen."""
ANSWERED, RESOLVED_FIRST, RESOLVED_LATEST = 1, 2, 4
"""Bits of the facts that have settled."""
OVER = RESOLVED_FIRST | RESOLVED_LATEST
"""Both resolutions have settled: nothing but a first response can come of what is to come."""
ALL = ANSWERED | OVER

OPENED, CONTACT, BY_AGENT, PASSED, BY_CUSTOMER = 0, 8, 10, 11, 12
REASSIGNED, AWAITING, RESOLVED, REOPENED, CLOSED = 16, 24, 32, 40, 48
"""Kinds of steps: eight times the rank of the type, and for a contact by whom. `PASSED` is an
agent's contact that was no answer when the watermark passed it."""
RANK_BITS = 3
KINDS = {name: rank << RANK_BITS for name, rank in RANK.items()}
CONTACTS = {None: CONTACT, "agent": BY_AGENT, "customer": BY_CUSTOMER}

IS_CLOSED, IS_OPEN, IS_AWAITING = range(3)
_CHANGES = {
    OPENED: (IS_OPEN, IS_OPEN, IS_OPEN),
    REOPENED: (IS_OPEN, IS_OPEN, IS_OPEN),
    RESOLVED: (IS_CLOSED, IS_CLOSED, IS_CLOSED),
    CLOSED: (IS_CLOSED, IS_CLOSED, IS_CLOSED),
    AWAITING: (IS_CLOSED, IS_AWAITING, IS_AWAITING),
    **dict.fromkeys(
        (CONTACT, BY_AGENT, PASSED, BY_CUSTOMER, REASSIGNED), (IS_CLOSED, IS_OPEN, IS_OPEN)
    ),
}
_NO_KIND = (IS_CLOSED, IS_CLOSED, IS_CLOSED)
NEXT_STATE = tuple(
    state for kind in range(CLOSED + 1) for state in (*_CHANGES.get(kind, _NO_KIND), IS_CLOSED)
)
"""What a ticket is after a step: by four times its kind, and by what the ticket was before."""

Step = tuple[int, int, int, int, int | None]
"""One event of a ticket: instant, kind, label set that it names, standing after it, `opened_at`.

A standing is four times the label set that the ticket has by then, and its state. Steps of one
instant and rank are ordered by what they say, so that no id need be kept: two that say the same are
interchangeable.
"""
Resolution = tuple[int, int, int | None]
"""The first one: instant, label set, and when the ticket was opened, if that is known."""


class Labels(Protocol):
    """Numbers for label sets of channel and team, each of which may be unknown."""

    def merged(self, label: int, own: int) -> int:
        """What a ticket has after an event: what the event names, else what it had."""

    def names(self, label: int) -> tuple[str, ...]:
        """The names behind a number."""


class Timer(msgspec.Struct, array_like=True, gc=False):
    """The front of a stored ticket: all that is asked of those that are not looked at."""

    due_ms: int | None
    old_ms: int


class Ticket(msgspec.Struct, array_like=True, gc=False):
    """All that is kept of a ticket.

    It is looked at again when something of it may settle (`due_ms`), and when the watermark passes
    `old_ms`: it may be silent for too long then, or ready for the archive. `steps` are its events
    in canonical order, `last_ms` the instant of its latest one. `done` says which facts have
    settled; they are counted for good and no longer asked for. `first` is the settled first
    resolution: instant, label set, opening (None: incomplete, for good). Of a ticket that is over,
    the steps that the watermark has passed become its `past`: standing, opening (or first event),
    and the instant of the latest of them.
    """

    due_ms: int | None
    old_ms: int
    last_ms: int
    steps: list[Step]
    done: int = 0
    first: Resolution | None = None
    past: tuple[int, int, int] | None = None


def is_ignored(past_ms: int, at_ms: int, watermark_ms: int) -> bool:
    """Whether an event comes too late to make a difference to a ticket that is over."""
    return at_ms <= past_ms and at_ms < watermark_ms


def take(
    ticket: Ticket, at_ms: int, kind: int, own: int, opened_at_ms: int | None, labels: Labels
) -> None:
    """Add an event in its place; the label sets that the ticket has from there on are taken in."""
    if at_ms > ticket.last_ms:  # noqa: PLR1730 - here a call costs more than the rest
        ticket.last_ms = at_ms
    steps = ticket.steps
    if not steps:
        before = ticket.past[0] if ticket.past else None
        steps.append((at_ms, kind, own, _follow(before, kind, own, labels), opened_at_ms))
        return
    last_ms, last_kind, _, before, _ = steps[-1]
    if len(steps) >= MAX_STEPS:
        return
    if at_ms > last_ms or (at_ms == last_ms and kind >> RANK_BITS > last_kind >> RANK_BITS):
        steps.append((at_ms, kind, own, _follow(before, kind, own, labels), opened_at_ms))
    else:
        _insert(ticket, (at_ms, kind, own, 0, opened_at_ms), labels)


def _insert(ticket: Ticket, step: Step, labels: Labels) -> None:
    """Add a step that is not the last, and follow the names and the state from there on."""
    steps, at_ms, rank = ticket.steps, step[0], step[1] >> RANK_BITS
    place = bisect_left(steps, (at_ms, rank << RANK_BITS))
    key = _tie_key(step, labels)
    while place < len(steps):
        other = steps[place]
        if (other[0], other[1] >> RANK_BITS) != (at_ms, rank) or _tie_key(other, labels) > key:
            break
        place += 1
    steps.insert(place, step)
    before = steps[place - 1][3] if place else ticket.past[0] if ticket.past else None
    for i in range(place, len(steps)):
        at_ms, kind, own, _, opened_at_ms = steps[i]
        before = _follow(before, kind, own, labels)
        steps[i] = at_ms, kind, own, before, opened_at_ms


def _tie_key(step: Step, labels: Labels) -> tuple[int, tuple[str, ...], int]:
    """What orders steps of one instant and rank: all they say, whether or not it has passed."""
    kind = BY_AGENT if step[1] == PASSED else step[1]
    return kind, labels.names(step[2]), EPOCH_MAX_MS if step[4] is None else step[4]


def _follow(before: int | None, kind: int, own: int, labels: Labels) -> int:
    """The standing after a step; a ticket is open from its first event on."""
    if before is None:
        return own << 2 | NEXT_STATE[kind << 2 | IS_OPEN]
    label = before >> 2
    if label != own:
        label = labels.merged(label, own)
    return label << 2 | NEXT_STATE[kind << 2 | before & 3]
