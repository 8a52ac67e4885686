"""What a ticket counts: three facts that follow from its steps, and what it is now.

The facts are the first response, the first resolution and the latest one. They follow from all its
events, whatever order they came in, until they settle; a settled fact stands. Beside them stands
what the ticket is now: open or not, and under which channel and team.

Most tickets begin with their opening and live one of a few lives. The kinds of their steps alone
say where to look, so that is thought through once for each life. Others are gone through step by
step. All functions here are pure; what they say of a ticket does not depend on the way taken.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from stream.core.buckets import EPOCH_MAX_MS
from stream.core.catalogue import TICKETS
from stream.core.tickets import (
    ANSWERED,
    AWAITING,
    BY_AGENT,
    BY_CUSTOMER,
    IS_AWAITING,
    IS_CLOSED,
    OPENED,
    OVER,
    PASSED,
    REASSIGNED,
    REOPENED,
    RESOLVED,
    RESOLVED_FIRST,
    Resolution,
    Step,
    Ticket,
)

RESPONSE, FIRST, LATEST = range(3)
"""The facts of a ticket, by position."""
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
MAX_STORY, _MAX_STORIES = 20, 4_096
"""Steps of a life that is remembered, and lives: more than nearly all tickets have."""
_CELLS = {
    (a, b, c): TICKETS.index[f"first_contact_{a:d}{b:d}{c:d}"]
    for a in (False, True)
    for b in (False, True)
    for c in (False, True)
}


def counts(ticket: Ticket, reopen_window_ms: int) -> Counts:
    """What a ticket counts now, less what has settled.

    Each fact rests only on what happened up to the instant at which it settles, so that it cannot
    matter what else had come by then.
    """
    steps = ticket.steps
    kinds = [step[1] for step in steps]
    if not ticket.done and steps and kinds[0] == OPENED and len(steps) <= MAX_STORY:
        story = _story(tuple(kinds))
        resolved_ms = EPOCH_MAX_MS if story.resolved is None else steps[story.resolved][0]
        if steps[-1][0] <= resolved_ms + reopen_window_ms:
            return _told(steps, story)
    return _counts_of_steps(ticket, kinds, reopen_window_ms)


class Story(NamedTuple):
    """What the kinds of a ticket's steps alone decide, if it begins with its opening.

    Places of steps: the first response, the first and the last resolution, None where there is
    none, and the field of the first resolution. It holds while all steps lie within the reopen
    window of the first resolution and nothing has settled.
    """

    response: int | None
    resolved: int | None
    latest: int
    field: int


@lru_cache(_MAX_STORIES)
def _story(kinds: tuple[int, ...]) -> Story:
    """Most tickets live one of a few lives, so each is thought through once."""
    contact = next((i for i, kind in enumerate(kinds) if kind in (BY_AGENT, PASSED)), None)
    response = None if contact is None or kinds[contact] == PASSED else contact
    resolutions = [i for i, kind in enumerate(kinds) if kind == RESOLVED]
    if not resolutions:
        return Story(response, None, 0, NO_FIELD)
    field = _field(kinds, single=BY_CUSTOMER not in kinds)
    return Story(response, resolutions[0], resolutions[-1], field)


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
    now = steps[-1][3]
    if now & 3 != IS_CLOSED:
        standing = opened_ms, now >> 2, now & 3 == IS_AWAITING
    return (response, first, latest), standing


def _counts_of_steps(ticket: Ticket, kinds: list[int], reopen_window_ms: int) -> Counts:
    """The same for any ticket, step by step."""
    steps, done = ticket.steps, ticket.done
    response = first = latest = None
    resolution = ticket.first
    if resolution is None and RESOLVED in kinds and ticket.past is None:
        resolution = resolution_of(steps, kinds, reopen_window_ms)
    due_ms = resolution[0] + reopen_window_ms if resolution else EPOCH_MAX_MS
    if not done & ANSWERED and BY_AGENT in kinds:
        response = _response(ticket, due_ms)
    if resolution and done & OVER != OVER:
        if not done & RESOLVED_FIRST:
            first = _first(steps, kinds, resolution, due_ms)
        if resolution[2] is not None:
            latest = _latest(steps, kinds, resolution, reopen_window_ms)
    return (response, first, latest), _standing(ticket, resolution)


def resolution_of(steps: list[Step], kinds: list[int], reopen_window_ms: int) -> Resolution:
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
        opened_ms = opening_known(ticket, min(at_ms, due_ms))
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


def opening_known(ticket: Ticket, by_ms: int) -> int | None:
    """When a ticket was opened, as far as that was known at an instant and may still count."""
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
