"""Sessions: what a visitor's events in order of event time make, and what each session counts.

A visitor is a list of visits (the part of the past that can no longer be reordered, as sums) and of
marks (events at or after the watermark, in canonical order, which may still be reordered). What is
true now is the visits with the marks played after them, so arrival order cannot matter within the
allowed lateness. All functions here are pure; times are milliseconds.
"""

from bisect import insort
from enum import IntEnum
from typing import NamedTuple

import msgspec

from stream.core.buckets import Calendar
from stream.core.catalogue import AGES_MS, SESSIONS
from stream.core.cells import Values
from stream.core.rules import Rules

_MAX_MICROS = (1 << 63) - 1
"""What a visit is worth at most, or it could not be written."""


class Kind(IntEnum):
    """Session event types; the first three are interactions."""

    page_view = 0
    action = 1
    conversion = 2
    ping = 3
    end = 4


class Visit(msgspec.Struct, array_like=True, gc=False):
    """One session as sums. Times but `first_ms` are delays after it, to be small when stored.

    `active` is the last sign of life, pings included; `closed` the time of an `end`; `second` and
    `converted` the delays of the second interaction and of the first conversion, -1 where there is
    none. `turn` counts the visitor's interactions up to this visit's latest: it tells which of two
    visits was the last to be active at one instant. A settled visit is kept only to know what would
    change it, and what it keeps from joining an older one.
    """

    session_id: str | None
    label: int
    first_ms: int
    last: int = 0
    active: int = 0
    page_views: int = 0
    actions: int = 0
    conversions: int = 0
    value_micros: int = 0
    second: int = -1
    converted: int = -1
    closed: int = -1
    turn: int = 0
    settled: bool = False

    @property
    def interactions(self) -> int:
        """Page views, actions and conversions."""
        return self.page_views + self.actions + self.conversions


class Mark(msgspec.Struct, array_like=True, gc=False):
    """An event that may still be reordered."""

    at_ms: int
    kind: int
    event_id: str
    session_id: str | None
    label: int
    value_micros: int = 0


class Visitor(msgspec.Struct, array_like=True, gc=False):
    """All that is kept of a visitor.

    `timer_ms` is when it is looked at again; no mark may come before `floor_ms` any more (None
    while the watermark alone says so).
    """

    visits: list[Visit]
    marks: list[Mark]
    timer_ms: int | None = None
    floor_ms: int | None = None


def order(mark: Mark) -> tuple[int, bool, str]:
    """The canonical order: event time, `end` last, then event id."""
    return mark.at_ms, mark.kind == Kind.end, mark.event_id


class Frame(NamedTuple):
    """The rules and the calendar that sessions are made by."""

    rules: Rules
    calendar: Calendar

    def timeout_ms(self, visit: Visit) -> int:
        """The gap that ends a visit."""
        if visit.session_id is None:
            return self.rules.session_timeout_ms
        return self.rules.session_id_timeout_ms

    def is_full(self, visit: Visit, at_ms: int) -> bool:
        """Whether a cap or midnight lies between a visit and an event."""
        return (
            at_ms - visit.first_ms > self.rules.session_max_ms
            or visit.interactions >= self.rules.session_max_interactions
            or (self.rules.split_at_midnight and at_ms >= self.calendar.day(visit.first_ms)[1])
        )

    def due_ms(self, visit: Visit) -> int:
        """The last instant at which an event could still belong to a visit."""
        first_ms = visit.first_ms
        if visit.closed >= 0:
            return first_ms + visit.closed
        if visit.interactions >= self.rules.session_max_interactions:
            return first_ms + visit.last
        due_ms = first_ms + min(visit.active + self.timeout_ms(visit), self.rules.session_max_ms)
        if self.rules.split_at_midnight:
            due_ms = min(due_ms, self.calendar.day(first_ms)[1] - 1)
        return due_ms

    def until_ms(self, visit: Visit) -> int:
        """The last instant at which a visit matters: full, it still takes no event from others."""
        if visit.closed >= 0:
            return visit.first_ms + visit.closed
        return visit.first_ms + visit.active + self.timeout_ms(visit)


def play(visits: list[Visit], marks: list[Mark], frame: Frame) -> list[Visit | None]:
    """Play marks in canonical order onto visits, in place; new visits are appended.

    Returns the visit that each mark belongs to, None for a ping or an end that belongs to none.
    """
    owners: list[Visit | None] = []
    turn = max([visit.turn for visit in visits], default=0)
    for mark in marks:
        visit = _held_together(visits, mark, frame)
        if visit is not None and (visit.settled or frame.is_full(visit, mark.at_ms)):
            visit = None
        if visit is None and mark.kind <= Kind.conversion:
            visit = Visit(mark.session_id, mark.label, mark.at_ms)
            visits.append(visit)
        if visit is not None:
            join(visit, mark)
            if mark.kind <= Kind.conversion:
                visit.turn = turn = turn + 1
        owners.append(visit)
    return owners


def current(visitor: Visitor, frame: Frame) -> list[Visit]:
    """The visits that are true now; the first ones stand for `visitor.visits`, in their order."""
    if not visitor.marks:
        return visitor.visits
    visits = [copy_of(visit) for visit in visitor.visits]
    play(visits, visitor.marks, frame)
    return visits


def copy_of(visit: Visit) -> Visit:
    """A visit that may be changed."""
    return msgspec.structs.replace(visit)


def absorb(visitor: Visitor, before_ms: int, frame: Frame) -> None:
    """Play the marks before an instant for good."""
    marks = visitor.marks
    if not marks or marks[0].at_ms >= before_ms:
        return
    n = next((i for i, mark in enumerate(marks) if mark.at_ms >= before_ms), len(marks))
    play(visitor.visits, marks[:n], frame)
    visitor.marks = marks[n:]


def insert(visitor: Visitor, mark: Mark) -> None:
    """Add a mark in its place."""
    insort(visitor.marks, mark, key=order)


def around(visitor: Visitor, mark: Mark, watermark_ms: int, frame: Frame) -> Visit | None:
    """The visit, still open, that an event behind the watermark belongs to, or None.

    The returned visit is one of `visitor.visits`: its first interaction is behind the watermark.
    """
    best: tuple[int, Visit] | None = None
    for kept, now in zip(visitor.visits, current(visitor, frame), strict=False):
        if mark.session_id is not None and now.session_id != mark.session_id:
            continue
        if now.settled or not now.first_ms <= mark.at_ms <= frame.due_ms(now):
            continue
        if frame.due_ms(now) < watermark_ms:
            continue
        if mark.kind == Kind.end and kept.first_ms + kept.last > mark.at_ms:
            continue  # it would split what can no longer be split
        if best is None or now.first_ms >= best[0]:
            best = now.first_ms, kept
    return best[1] if best else None


def would_change_settled(visitor: Visitor, mark: Mark, watermark_ms: int, frame: Frame) -> bool:
    """Whether an event would extend, or join, a visit that a silence settled.

    Those that the watermark has passed are left to `around`: they may be forgotten by now.
    """
    for visit in visitor.visits:
        if not visit.settled or frame.due_ms(visit) < watermark_ms:
            continue
        if mark.session_id is not None and mark.session_id != visit.session_id:
            continue
        if mark.at_ms < visit.first_ms:
            if _would_begin(visit, mark, frame):
                return True
        elif mark.at_ms <= frame.due_ms(visit):
            return True
    return False


def _would_begin(visit: Visit, mark: Mark, frame: Frame) -> bool:
    """Whether an event before a visit would become its first interaction."""
    if mark.session_id != visit.session_id or mark.kind > Kind.conversion:
        return False
    if visit.first_ms - mark.at_ms > frame.timeout_ms(visit):
        return False
    return not frame.is_full(Visit(mark.session_id, mark.label, mark.at_ms), visit.first_ms)


def settle(visitor: Visitor, before_ms: int, frame: Frame) -> list[Visit]:
    """Settle the visits whose last possible event lies before an instant, and return them.

    Their marks are played for good, so that nothing can reach them any more.
    """
    kept = len(visitor.visits)
    now = [copy_of(visit) for visit in visitor.visits]
    owners = play(now, visitor.marks, frame)
    due = {id(v): v for v in now if not v.settled and frame.due_ms(v) < before_ms}
    if not due:
        return []
    visitor.marks = [
        mark for mark, owner in zip(visitor.marks, owners, strict=True) if id(owner) not in due
    ]
    visitor.visits = [
        *(due.get(id(new), old) for new, old in zip(now, visitor.visits, strict=False)),
        *(visit for visit in now[kept:] if id(visit) in due),
    ]
    for visit in due.values():
        visit.settled = True
    return list(due.values())


def forget(visitor: Visitor, watermark_ms: int, frame: Frame) -> None:
    """Drop settled visits that can make no difference to an event at or after the watermark."""
    visitor.visits = [
        visit
        for visit in visitor.visits
        if not visit.settled or frame.until_ms(visit) >= watermark_ms
    ]


def join(visit: Visit, mark: Mark) -> None:
    """Add one event to a visit; in any order, if none comes before its first."""
    delay = mark.at_ms - visit.first_ms
    if mark.kind == Kind.end:
        visit.closed = delay
        return
    visit.active = max(visit.active, delay)
    if mark.kind == Kind.ping:
        return
    if visit.interactions == 1:
        visit.second = delay
    elif visit.interactions:
        visit.second = min(visit.second, delay)
    visit.last = max(visit.last, delay)
    if mark.kind == Kind.page_view:
        visit.page_views += 1
    elif mark.kind == Kind.action:
        visit.actions += 1
    else:
        visit.conversions += 1
        total = visit.value_micros + mark.value_micros
        visit.value_micros = max(-_MAX_MICROS, min(total, _MAX_MICROS))
        visit.converted = delay if visit.converted < 0 else min(visit.converted, delay)


def _held_together(visits: list[Visit], mark: Mark, frame: Frame) -> Visit | None:
    """The visit whose latest interaction is nearest before a mark, within its time-out.

    It may be full or settled; then the mark belongs to no visit that there is.
    """
    best: Visit | None = None
    for visit in visits:
        if visit.closed >= 0 or visit.first_ms > mark.at_ms:
            continue
        if mark.session_id is not None and visit.session_id != mark.session_id:
            continue
        if mark.at_ms - visit.first_ms - visit.active > frame.timeout_ms(visit):
            continue
        if best is None or _recency(visit) > _recency(best):
            best = visit
    return best


def _recency(visit: Visit) -> tuple[int, int]:
    return visit.first_ms + visit.last, visit.turn


_I = SESSIONS.index
_SESSIONS, _PAGE_VIEWS, _DURATION = _I["sessions"], _I["page_views"], _I["duration_ms"]
_CONVERSIONS, _VALUE, _CONVERTED = _I["conversions"], _I["value_micros"], _I["converted"]
_SINGLE, _GA4 = _I["single_interaction"], _I["bounced_ga4"]
_WITH_PAGE_VIEW, _POSTHOG = _I["with_page_view"], _I["bounced_posthog"]
_MATOMO = _I["bounced_matomo"]
_CONVERTED_BY = tuple((age, _I[f"converted_within_{name}"]) for name, age in AGES_MS.items())
_ENGAGED_BY = tuple((age, _I[f"engaged_within_{name}"]) for name, age in AGES_MS.items())
_ENGAGED_MS = 10_000
"""A session this long is engaged, for GA4 and for PostHog."""


def counted(visit: Visit) -> Values:
    """What a session counts, in the bucket of its first interaction."""
    values: Values = {_SESSIONS: 1}
    if visit.page_views:
        values[_PAGE_VIEWS] = visit.page_views
        values[_WITH_PAGE_VIEW] = 1
    if visit.last:
        values[_DURATION] = visit.last
    _count_bounces(visit, values)
    if visit.conversions:
        _count_conversions(visit, values)
    if visit.second >= 0:
        for age_ms, index in _ENGAGED_BY:
            if visit.second <= age_ms:
                values[index] = 1
    return values


def _count_bounces(visit: Visit, values: Values) -> None:
    page_views, others = visit.page_views, visit.actions + visit.conversions
    short = visit.last < _ENGAGED_MS
    if page_views + others == 1:
        values[_SINGLE] = 1
    if short and page_views < 2 and not visit.conversions:
        values[_GA4] = 1
    if short and page_views == 1 and not others:
        values[_POSTHOG] = 1
    if page_views + visit.actions == 1:
        values[_MATOMO] = 1


def _count_conversions(visit: Visit, values: Values) -> None:
    values[_CONVERTED] = 1
    values[_CONVERSIONS] = visit.conversions
    if visit.value_micros:
        values[_VALUE] = visit.value_micros
    for age_ms, index in _CONVERTED_BY:
        if visit.converted <= age_ms:
            values[index] = 1
