"""Tickets: what the events of a ticket in order of event time make, and what each ticket counts.

Three facts may come of a ticket: the first response, the first resolution and the latest one.
They follow from all its events, whatever order they came in, until they settle; a settled fact
stands. Beside them stands what the ticket is now: open or not, and under which channel and team.
All functions here are pure; times are milliseconds, label sets are the numbers that `Labels` gives.
"""

from bisect import bisect_left
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple, Protocol

import msgspec

from stream.core.buckets import EPOCH_MAX_MS
from stream.core.catalogue import TICKET_TYPES, TICKETS

RANK = {name: rank for rank, name in enumerate(TICKET_TYPES)}
MAX_STEPS = 1_000
"""A guard of memory: what a ticket does after so many events, before it settles, is not seen."""
_MAX_STORY, _MAX_STORIES = 20, 10_000
RESPONSE, FIRST, LATEST = range(3)
"""The facts of a ticket, by position."""
ANSWERED, RESOLVED_FIRST, RESOLVED_LATEST = 1, 2, 4
"""Bits of the facts that have settled."""
OVER = RESOLVED_FIRST | RESOLVED_LATEST
"""Both resolutions have settled: nothing but a first response can come of what is to come."""
ALL = ANSWERED | OVER

OPENED, CONTACT, BY_AGENT, PASSED, BY_CUSTOMER = 0, 8, 10, 11, 12
REASSIGNED, AWAITING, RESOLVED, REOPENED, CLOSED = 16, 24, 32, 40, 48
"""Kinds of steps: eight times the rank of the type, and for a contact by whom. `PASSED` is an
agent's contact that was no answer when the watermark passed it."""
_RANK_BITS, KIND_BITS = 3, 6
KINDS = {name: rank << _RANK_BITS for name, rank in RANK.items()}
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
NEXT_STATE = tuple(
    _CHANGES[kind][before] if kind in _CHANGES and before < 3 else -1
    for kind in range(CLOSED + 1)
    for before in range(4)
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
Fact = tuple[int, int, int, int]
"""Counted in the bucket around an instant, under a label set: a duration, and a field beside it."""
Standing = tuple[int, int, bool]
"""An open ticket: when it was opened, its label set now, whether it awaits its customer."""
Facts = tuple[Fact | None, Fact | None, Fact | None]
"""Those that have not settled; None where there is none (yet)."""
Counts = tuple[Facts, Standing | None]
"""All that a ticket counts now, less what has settled."""
NO_FIELD, INCOMPLETE = -1, TICKETS.index["incomplete"]
"""Fields of a fact that counts in none beside it, and of one that counts in that one alone."""
NOTHING: Counts = ((None, None, None), None)


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
    if at_ms > last_ms or (at_ms == last_ms and kind >> _RANK_BITS > last_kind >> _RANK_BITS):
        steps.append((at_ms, kind, own, _follow(before, kind, own, labels), opened_at_ms))
    else:
        _insert(ticket, (at_ms, kind, own, 0, opened_at_ms), labels)


def _insert(ticket: Ticket, step: Step, labels: Labels) -> None:
    """Add a step that is not the last, and follow the names and the state from there on."""
    steps, at_ms, rank = ticket.steps, step[0], step[1] >> _RANK_BITS
    place = bisect_left(steps, (at_ms, rank << _RANK_BITS))
    key = _tie_key(step, labels)
    while place < len(steps):
        other = steps[place]
        if (other[0], other[1] >> _RANK_BITS) != (at_ms, rank) or _tie_key(other, labels) > key:
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


# --- what a ticket counts -------------------------------------------------------------------------


def counts(ticket: Ticket, reopen_window_ms: int) -> Counts:
    """What a ticket counts now, less what has settled.

    Each fact rests only on what happened up to the instant at which it settles, so that it cannot
    matter what else had come by then.
    """
    steps, done = ticket.steps, ticket.done
    kinds = [step[1] for step in steps]
    if not done and steps and kinds[0] == OPENED and len(steps) <= _MAX_STORY:
        story = _story(tuple(kinds))
        resolved_ms = EPOCH_MAX_MS if story.resolved is None else steps[story.resolved][0]
        if steps[-1][0] <= resolved_ms + reopen_window_ms:
            return _told(steps, story)
    return _counts_of_any(ticket, kinds, reopen_window_ms)


class Story(NamedTuple):
    """What the kinds of a ticket's steps alone decide, if it begins with its opening.

    Places of steps: the first response, the first and the last resolution, None where there is
    none; the field of the first resolution; the state at the end. It holds while all steps lie
    within the reopen window of the first resolution and nothing has settled.
    """

    response: int | None
    resolved: int | None
    latest: int
    field: int
    state: int


@lru_cache(_MAX_STORIES)
def _story(kinds: tuple[int, ...]) -> Story:
    """Most tickets live one of a few lives, so each is thought through once."""
    contact = next((i for i, kind in enumerate(kinds) if kind in (BY_AGENT, PASSED)), None)
    response = None if contact is None or kinds[contact] == PASSED else contact
    state = IS_OPEN
    for kind in kinds:
        state = NEXT_STATE[kind << 2 | state]
    resolutions = [i for i, kind in enumerate(kinds) if kind == RESOLVED]
    if not resolutions:
        return Story(response, None, 0, NO_FIELD, state)
    field = _field(kinds, single=BY_CUSTOMER not in kinds)
    return Story(response, resolutions[0], resolutions[-1], field, state)


def _told(steps: list[Step], story: Story) -> Counts:
    """What a ticket counts of which the story says where to look."""
    opened_ms = steps[0][0]
    response = first = latest = standing = None
    if story.response is not None:
        at_ms, _, _, told, _ = steps[story.response]
        response = at_ms, told >> 2, at_ms - opened_ms, NO_FIELD
    if story.resolved is not None:
        at_ms, _, _, told, _ = steps[story.resolved]
        latest_ms = steps[story.latest][0]
        first = at_ms, told >> 2, at_ms - opened_ms, story.field
        latest = latest_ms, told >> 2, latest_ms - opened_ms, NO_FIELD
    if story.state != IS_CLOSED:
        standing = opened_ms, steps[-1][3] >> 2, story.state == IS_AWAITING
    return (response, first, latest), standing


def _counts_of_any(ticket: Ticket, kinds: list[int], reopen_window_ms: int) -> Counts:
    steps, done = ticket.steps, ticket.done
    response = first = latest = None
    resolution = ticket.first
    if resolution is None and RESOLVED in kinds and ticket.past is None:
        resolution = _resolution(steps, kinds, reopen_window_ms)
    due_ms = resolution[0] + reopen_window_ms if resolution else EPOCH_MAX_MS
    if not done & ANSWERED and BY_AGENT in kinds:
        response = _response(ticket, due_ms)
    if resolution and done & OVER != OVER:
        if not done & RESOLVED_FIRST:
            first = _first(steps, kinds, resolution, due_ms)
        if resolution[2] is not None:
            latest = _latest(steps, kinds, resolution, reopen_window_ms)
    return (response, first, latest), _standing(ticket, resolution)


def _resolution(steps: list[Step], kinds: list[int], reopen_window_ms: int) -> Resolution:
    """The first resolution, as it stands."""
    at_ms, _, _, standing, _ = steps[kinds.index(RESOLVED)]
    return at_ms, standing >> 2, _opening(steps, at_ms + reopen_window_ms)


def _opening(steps: list[Step], by_ms: int) -> int | None:
    """When a ticket was opened, as far as that had happened by an instant."""
    if steps[0][1] == OPENED:
        return steps[0][0] if steps[0][0] <= by_ms else None
    known = [step for step in steps if step[0] <= by_ms]
    opened = [step[0] for step in known if step[1] == OPENED]
    return min(opened or (step[4] for step in known if step[4] is not None), default=None)


def _response(ticket: Ticket, due_ms: int) -> Fact | None:
    """The first contact by an agent since opening, if that was known by then."""
    earlier_ms: int | None = None
    for at_ms, kind, _, standing, _ in ticket.steps:
        if kind not in (BY_AGENT, PASSED):
            continue
        opened_ms = _opening_known(ticket, min(at_ms, due_ms))
        if (
            kind == BY_AGENT
            and opened_ms is not None
            and at_ms >= opened_ms
            # or else the earlier one was the first, and passed before it could be an answer
            and (earlier_ms is None or earlier_ms < opened_ms)
        ):
            return at_ms, standing >> 2, at_ms - opened_ms, NO_FIELD
        earlier_ms = at_ms
    return None


def _opening_known(ticket: Ticket, by_ms: int) -> int | None:
    if ticket.past is not None:
        return ticket.past[1]
    return ticket.first[2] if ticket.first is not None else _opening(ticket.steps, by_ms)


def _first(steps: list[Step], kinds: list[int], resolution: Resolution, due_ms: int) -> Fact:
    """The first resolution; the field says under which conditions it was one at first contact."""
    at_ms, label, opened_ms = resolution
    if opened_ms is None:
        return at_ms, label, 0, INCOMPLETE
    within = kinds if steps[-1][0] <= due_ms else [step[1] for step in steps if step[0] <= due_ms]
    single = BY_CUSTOMER not in within or not any(
        opened_ms <= step[0] <= due_ms for step in steps if step[1] == BY_CUSTOMER
    )
    return at_ms, label, max(0, at_ms - opened_ms), _field(within, single=single)


def _field(kinds: Sequence[int], *, single: bool) -> int:
    """What a first resolution counts in beside its own, by what happened up to its due time."""
    if REOPENED in kinds and REOPENED in kinds[kinds.index(RESOLVED) :]:
        return NO_FIELD
    return _CELLS[single, REASSIGNED not in kinds, AWAITING not in kinds]


def _latest(
    steps: list[Step], kinds: list[int], resolution: Resolution, reopen_window_ms: int
) -> Fact:
    """The last of a chain of resolutions; one more than the window after the last ends it."""
    latest_ms, label, opened_ms = resolution
    if kinds.count(RESOLVED) > 1:
        for at_ms, kind, _, _, _ in steps:
            if kind == RESOLVED and latest_ms < at_ms <= latest_ms + reopen_window_ms:
                latest_ms = at_ms
    return latest_ms, label, max(0, latest_ms - (opened_ms or 0)), NO_FIELD


def _standing(ticket: Ticket, resolution: Resolution | None) -> Standing | None:
    """What a ticket is now; None where it is not open."""
    steps, past = ticket.steps, ticket.past
    standing = steps[-1][3] if steps else past[0] if past else IS_CLOSED
    if standing & 3 == IS_CLOSED:
        return None
    if past is not None:
        opened_ms: int | None = past[1]
    else:
        opened_ms = resolution[2] if resolution else _opening(steps, EPOCH_MAX_MS)
    since_ms = steps[0][0] if opened_ms is None else opened_ms
    return min(since_ms, ticket.last_ms), standing >> 2, standing & 3 == IS_AWAITING


# --- settling -------------------------------------------------------------------------------------


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
        ticket.first = _resolution(ticket.steps, kinds, reopen_window_ms)
        if ticket.first[2] is None:
            ticket.done = ALL  # incomplete when it settled, it stays so
    if ticket.done == OVER and facts[RESPONSE] is None:
        opened_ms = _opening_known(ticket, EPOCH_MAX_MS) or 0
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
    opened_ms = _opening_known(ticket, EPOCH_MAX_MS)
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


_CELLS = {
    (a, b, c): TICKETS.index[f"first_contact_{a:d}{b:d}{c:d}"]
    for a in (False, True)
    for b in (False, True)
    for c in (False, True)
}
