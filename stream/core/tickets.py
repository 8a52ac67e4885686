"""Tickets: what the events of a ticket in order of event time make, and what each ticket counts.

Three facts may come of a ticket: the first response, the first resolution and the latest one.
They follow from all its events, whatever order they came in, until they settle; a settled fact
stands.
All functions here are pure; times are milliseconds.
"""

from bisect import insort
from typing import NamedTuple

import msgspec

from stream.core.buckets import EPOCH_MAX_MS
from stream.core.catalogue import TICKET_TYPES, TICKETS
from stream.core.cells import Values, add
from stream.core.sketch import bin_index

RANK = {name: rank for rank, name in enumerate(TICKET_TYPES)}
_OPENED, _CONTACT, _REASSIGNED, _AWAITING, _RESOLVED, _REOPENED, _CLOSED = range(7)
Names = tuple[str | None, str | None]
"""Channel and team."""
RESPONSE, FIRST, LATEST = range(3)
"""The facts of a ticket, by position."""
MAX_STEPS = 1_000
"""A guard of memory: what a ticket does after so many events, before it settles, is not seen."""


class Step(msgspec.Struct, array_like=True, gc=False):
    """One event of a ticket. `passed`: an agent's contact that was no answer when it settled."""

    at_ms: int
    rank: int
    event_id: str
    channel: str | None = None
    team: str | None = None
    by: str | None = None
    opened_at_ms: int | None = None
    passed: bool = False

    @property
    def is_by_agent(self) -> bool:
        """Whether it may be the first response."""
        return self.rank == _CONTACT and self.by == "agent"


class Resolution(msgspec.Struct, array_like=True, gc=False, frozen=True):
    """The first resolution: its place in the order, and the names the ticket had at it."""

    at_ms: int
    event_id: str
    names: Names


class Fact(NamedTuple):
    """What a ticket counts in the bucket around `at_ms`, under its channel and team there."""

    at_ms: int
    names: Names
    values: Values


class Ticket(msgspec.Struct, array_like=True, gc=False):
    """All that is kept of a ticket.

    `steps` are its events in canonical order. `done` says which facts have settled; they are
    counted for good and no longer asked for. With the first resolution `opened_ms` and `first`
    settle too. Once both resolutions have settled only those and the names are left, for a first
    response that may still come.
    """

    steps: list[Step]
    last_ms: int
    opened_ms: int | None = None
    first: Resolution | None = None
    names: Names = (None, None)
    done: tuple[bool, bool, bool] = (False, False, False)
    timer_ms: int | None = None


Facts = tuple[Fact | None, Fact | None, Fact | None]


def order(step: Step) -> tuple[int, int, str]:
    """The canonical order: event time, then life's order, then event id."""
    return step.at_ms, step.rank, step.event_id


def facts(ticket: Ticket, reopen_window_ms: int) -> Facts:
    """The facts that have not settled; None where there is none (yet).

    Each rests only on what happened up to the instant at which it settles, so that it cannot
    matter what else had come by then.
    """
    if all(ticket.done):
        return None, None, None
    resolution = first_resolution(ticket)
    due_ms = resolution.at_ms + reopen_window_ms if resolution else None
    response = first = latest = None
    if not ticket.done[RESPONSE]:
        response = _response(ticket, due_ms)
    if resolution and due_ms is not None:
        opened_ms = _opened_by(ticket, due_ms)
        if not ticket.done[FIRST]:
            first = _first(ticket, resolution, opened_ms, due_ms)
        if not ticket.done[LATEST] and opened_ms is not None:
            at_ms = _latest_ms(ticket, resolution, reopen_window_ms)
            values = _timed(_LATEST, _RESOLUTION, at_ms - opened_ms)
            latest = Fact(at_ms, resolution.names, values)
    return response, first, latest


def first_resolution(ticket: Ticket) -> Resolution | None:
    """The first resolution, as it settled or as it stands."""
    if ticket.first is not None:
        return ticket.first
    for place, step in enumerate(ticket.steps):
        if step.rank == _RESOLVED:
            return Resolution(step.at_ms, step.event_id, _names_at(ticket, place))
    return None


def _names_at(ticket: Ticket, place: int) -> Names:
    """Channel and team as last named up to a step."""
    channel, team = ticket.names
    for step in ticket.steps[: place + 1]:
        channel, team = step.channel or channel, step.team or team
    return channel, team


def _opened_by(ticket: Ticket, by_ms: int) -> int | None:
    """When the ticket was opened, as far as that had happened by an instant."""
    if ticket.done[FIRST]:
        return ticket.opened_ms
    known = [step for step in ticket.steps if step.at_ms <= by_ms]
    opened = [step.at_ms for step in known if step.rank == _OPENED]
    if not opened:
        opened = [step.opened_at_ms for step in known if step.opened_at_ms is not None]
    return min(opened, default=None)


def _response(ticket: Ticket, due_ms: int | None) -> Fact | None:
    contacts = [(i, step) for i, step in enumerate(ticket.steps) if step.is_by_agent]
    for number, (place, step) in enumerate(contacts):
        by_ms = step.at_ms if due_ms is None else min(step.at_ms, due_ms)
        opened_ms = _opened_by(ticket, by_ms)
        if opened_ms is None or step.at_ms < opened_ms or step.passed:
            continue
        if any(earlier.at_ms >= opened_ms for _, earlier in contacts[:number]):
            continue  # that one was the first, and passed before it could be an answer
        values = _timed(_ANSWERED, _RESPONSE, step.at_ms - opened_ms)
        return Fact(step.at_ms, _names_at(ticket, place), values)
    return None


def _first(ticket: Ticket, resolution: Resolution, opened_ms: int | None, due_ms: int) -> Fact:
    at_ms, names = resolution.at_ms, resolution.names
    if opened_ms is None:
        return Fact(at_ms, names, {_INCOMPLETE: 1})
    values = _timed(_RESOLVED_TICKETS, _FIRST_RESOLUTION, at_ms - opened_ms)
    within = [step for step in ticket.steps if step.at_ms <= due_ms]
    here = at_ms, _RESOLVED, resolution.event_id
    if not any(step.rank == _REOPENED and order(step) > here for step in within):
        single = not any(
            step.rank == _CONTACT and step.by == "customer" and step.at_ms >= opened_ms
            for step in within
        )
        unmoved = not any(step.rank == _REASSIGNED for step in within)
        unwaiting = not any(step.rank == _AWAITING for step in within)
        values[_CELLS[single, unmoved, unwaiting]] = 1
    return Fact(at_ms, names, values)


def _latest_ms(ticket: Ticket, resolution: Resolution, reopen_window_ms: int) -> int:
    """The last of a chain of resolutions; one more than the window after the last ends it."""
    here = resolution.at_ms, _RESOLVED, resolution.event_id
    latest_ms = resolution.at_ms
    for step in ticket.steps:
        if step.rank == _RESOLVED and order(step) > here:
            if step.at_ms - latest_ms > reopen_window_ms:
                break
            latest_ms = step.at_ms
    return latest_ms


def settles_after_ms(which: int, fact: Fact, reopen_window_ms: int) -> int:
    """The instant that the watermark must pass for a fact to settle."""
    return fact.at_ms + (0 if which == RESPONSE else reopen_window_ms)


def settles_at_earliest_ms(step: Step, reopen_window_ms: int) -> int:
    """No fact that an event makes can be due before this instant."""
    if step.is_by_agent:
        return step.at_ms
    return step.at_ms + reopen_window_ms if step.rank == _RESOLVED else EPOCH_MAX_MS


def settle(ticket: Ticket, before_ms: int, reopen_window_ms: int) -> list[Fact]:
    """Settle the facts that are due before an instant, and return them."""
    found = facts(ticket, reopen_window_ms)
    done = list(ticket.done)
    settled = []
    for which, fact in enumerate(found):
        if fact and settles_after_ms(which, fact, reopen_window_ms) < before_ms:
            done[which] = True
            settled.append(fact)
    for step in ticket.steps:
        if step.is_by_agent and step.at_ms < before_ms:
            step.passed = True
    if done[FIRST] and not ticket.done[FIRST]:
        ticket.first = first_resolution(ticket)
        first_ms = ticket.first.at_ms if ticket.first else 0
        ticket.opened_ms = _opened_by(ticket, first_ms + reopen_window_ms)
        if ticket.opened_ms is None:
            done = [True, True, True]  # incomplete when it settled, it stays so
    ticket.done = done[RESPONSE], done[FIRST], done[LATEST]
    if all(ticket.done):
        ticket.steps = []
    elif done[FIRST] and done[LATEST] and found[RESPONSE] is None:
        _compress(ticket, before_ms)
    return settled


def _compress(ticket: Ticket, before_ms: int) -> None:
    """Keep of a resolved ticket only what a first response to come may need."""
    opened_ms = ticket.opened_ms or 0
    if any(step.is_by_agent and step.at_ms >= opened_ms for step in ticket.steps):
        ticket.done = True, True, True  # that was the first, and passed before it could be one
        ticket.steps = []
        return
    over = sum(step.at_ms < before_ms for step in ticket.steps)
    if over:
        ticket.names = _names_at(ticket, over - 1)
        ticket.steps = ticket.steps[over:]


def next_due_ms(ticket: Ticket, reopen_window_ms: int) -> int | None:
    """The earliest instant after which something of a ticket settles."""
    dues = [
        settles_after_ms(which, fact, reopen_window_ms)
        for which, fact in enumerate(facts(ticket, reopen_window_ms))
        if fact is not None
    ]
    if not ticket.done[RESPONSE]:
        dues += [step.at_ms for step in ticket.steps if step.is_by_agent and not step.passed]
    return min(dues, default=None)


def take(ticket: Ticket, step: Step) -> None:
    """Add an event, where it can still make a difference."""
    ticket.last_ms = max(ticket.last_ms, step.at_ms)
    if all(ticket.done) or len(ticket.steps) >= MAX_STEPS:
        return
    insort(ticket.steps, step, key=order)


_I = TICKETS.index
_INCOMPLETE, _RESOLVED_TICKETS = _I["incomplete"], _I["resolved"]
_ANSWERED, _RESPONSE = _I["answered"], "first_response_ms"
_LATEST, _RESOLUTION = _I["resolved_latest"], "resolution_ms"
_FIRST_RESOLUTION = "first_resolution_ms"
_CELLS = {
    (a, b, c): _I[f"first_contact_{a:d}{b:d}{c:d}"]
    for a in (False, True)
    for b in (False, True)
    for c in (False, True)
}


def _timed(count: int, name: str, duration_ms: int) -> Values:
    """One item with a duration: its count, the sum and the sketch bin."""
    duration_ms = max(0, duration_ms)
    values: Values = {count: 1, bin_index(TICKETS.sketches.index(name), duration_ms): 1}
    add(values, {_I[name]: duration_ms})
    return values
