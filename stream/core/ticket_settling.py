"""How tickets settle: what the watermark makes final, and what is left of a ticket then.

All functions here are pure, but for the ticket that they are given.
"""

from stream.core.buckets import EPOCH_MAX_MS
from stream.core.ticket_facts import RESPONSE, Facts, opening_known, resolution_of
from stream.core.tickets import (
    ALL,
    ANSWERED,
    BY_AGENT,
    OVER,
    PASSED,
    RESOLVED_FIRST,
    RESOLVED_LATEST,
    Step,
    Ticket,
)


def settle(ticket: Ticket, facts: Facts, before_ms: int, reopen_window_ms: int) -> Facts:
    """Settle those of a ticket's facts that are due before an instant; the others are left."""
    done = ticket.done
    for which, due_ms in enumerate(_dues(facts, reopen_window_ms)):
        if due_ms is not None and due_ms < before_ms:
            ticket.done |= 1 << which
    if not ticket.done & ANSWERED:
        _pass_contacts(ticket.steps, before_ms)
    if ticket.done & RESOLVED_FIRST and not done & RESOLVED_FIRST:
        kinds = [step[1] for step in ticket.steps]
        ticket.first = resolution_of(ticket.steps, kinds, reopen_window_ms)
        if ticket.first[2] is None:
            ticket.done = ALL  # incomplete when it settled, it stays so
    if ticket.done == OVER and facts[RESPONSE] is None:
        opened_ms = opening_known(ticket, EPOCH_MAX_MS) or 0
        if any(k in (BY_AGENT, PASSED) and at_ms >= opened_ms for at_ms, k, *_ in ticket.steps):
            ticket.done = ALL  # that was the first, and passed before it could be an answer
    response, first, latest = facts
    return (
        None if ticket.done & ANSWERED else response,
        None if ticket.done & RESOLVED_FIRST else first,
        None if ticket.done & RESOLVED_LATEST else latest,
    )


def _pass_contacts(steps: list[Step], before_ms: int) -> None:
    for i, (at_ms, kind, own, standing, opened_at_ms) in enumerate(steps):
        if kind == BY_AGENT and at_ms < before_ms:
            steps[i] = at_ms, PASSED, own, standing, opened_at_ms


def absorb(ticket: Ticket, watermark_ms: int) -> None:
    """Make the steps that the watermark has passed the past of a ticket that is over."""
    steps = ticket.steps
    if ticket.done & OVER != OVER or not steps or steps[0][0] >= watermark_ms:
        return
    n = next((i for i, step in enumerate(steps) if step[0] >= watermark_ms), len(steps))
    opened_ms = opening_known(ticket, EPOCH_MAX_MS)
    opened_ms = steps[0][0] if opened_ms is None else opened_ms
    ticket.past = steps[n - 1][3], opened_ms, steps[n - 1][0]
    ticket.first = None
    del steps[:n]


def next_due_ms(ticket: Ticket, facts: Facts, reopen_window_ms: int) -> int | None:
    """The earliest instant after which something of a ticket settles."""
    dues = [due_ms for due_ms in _dues(facts, reopen_window_ms) if due_ms is not None]
    if not ticket.done & ANSWERED:
        dues += [step[0] for step in ticket.steps if step[1] == BY_AGENT]
    return min(dues, default=None)


def _dues(facts: Facts, reopen_window_ms: int) -> tuple[int | None, int | None, int | None]:
    """The instants that the watermark must pass for each fact to settle."""
    response, first, latest = facts
    return (
        response[0] if response else None,
        first[0] + reopen_window_ms if first else None,
        latest[0] + reopen_window_ms if latest else None,
    )
