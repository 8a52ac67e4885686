"""Sessions: what a visitor's events, in canonical order, make.

These are the rules, for one event after the other. All functions are pure; times are milliseconds.
"""

from collections.abc import Iterable

import msgspec

from stream.core.buckets import Calendar
from stream.core.durations import DAY_MS
from stream.core.marks import ACTION, CONVERSION, END, PAGE_VIEW, PING, Mark
from stream.core.rules import Rules

MAX_MICROS = (1 << 63) - 1
"""What a visit is worth at most, or it could not be written."""


class Visit(msgspec.Struct, array_like=True, gc=False):
    """One session as sums. Times but `first_ms` are delays after it.

    `second` and `converted` are those of the second interaction and of the first conversion, where
    there are so many; `idle` is how long after the latest interaction pings kept it alive;
    `closed` the time of an `end`, or -1. `turn` tells which of several visits was the last to be
    active at one instant. A settled visit is kept only to know what would change it, and what it
    keeps from joining an older one.
    """

    first_ms: int
    label: int
    session: int
    last: int = 0
    second: int = 0
    page_views: int = 0
    actions: int = 0
    conversions: int = 0
    idle: int = 0
    converted: int = 0
    value_micros: int = 0
    closed: int = -1
    turn: int = 0
    settled: bool = False

    @property
    def interactions(self) -> int:
        """Page views, actions and conversions."""
        return self.page_views + self.actions + self.conversions

    @property
    def last_ms(self) -> int:
        """Time of the latest interaction."""
        return self.first_ms + self.last


class Frame:
    """The rules and the calendar that sessions are made by, and two guards of memory.

    A visitor with more than `MAX_MARKS` events within the lateness has the oldest half of them
    settled in order, as if the watermark had passed them. Of a visitor with more than `MAX_VISITS`
    visits the half that was silent longest settles at once and is forgotten; what comes for one of
    them later begins a visit of its own. `linger_ms` is how long marks are kept behind the
    watermark, so that a session is looked at for them once, when it is mostly over.
    """

    MAX_MARKS = 1_000
    MAX_VISITS = 500

    def __init__(self, rules: Rules, calendar: Calendar) -> None:
        self.linger_ms = min(rules.allowed_lateness_ms // 2, DAY_MS)
        self.max_ms = rules.session_max_ms
        self.max_interactions = rules.session_max_interactions
        self.split_at_midnight = rules.split_at_midnight
        self.timeout_ms = rules.session_timeout_ms
        self.id_timeout_ms = rules.session_id_timeout_ms
        self.calendar = calendar

    def gap_ms(self, visit: Visit) -> int:
        """The longest silence that a visit survives."""
        return self.id_timeout_ms if visit.session else self.timeout_ms

    def is_full(self, visit: Visit, at_ms: int) -> bool:
        """Whether a cap or midnight lies between a visit and an event."""
        return (
            at_ms - visit.first_ms > self.max_ms
            or visit.interactions >= self.max_interactions
            or (self.split_at_midnight and at_ms >= self.calendar.day(visit.first_ms)[1])
        )

    def due_ms(self, visit: Visit) -> int:
        """The last instant at which an event could still belong to a visit."""
        first_ms = visit.first_ms
        if visit.closed >= 0:
            return first_ms + visit.closed
        if visit.interactions >= self.max_interactions:
            return first_ms + visit.last
        due_ms = first_ms + min(visit.last + visit.idle + self.gap_ms(visit), self.max_ms)
        if self.split_at_midnight:
            due_ms = min(due_ms, self.calendar.day(first_ms)[1] - 1)
        return due_ms

    def until_ms(self, visit: Visit) -> int:
        """The last instant at which a visit matters: full, it still takes no event from others."""
        if visit.closed >= 0:
            return visit.first_ms + visit.closed
        return visit.last_ms + visit.idle + self.gap_ms(visit)


def play(visits: list[Visit], marks: Iterable[Mark], frame: Frame) -> list[Visit | None]:
    """Play marks in canonical order onto visits, in place; new visits are appended.

    Returns the visit that each mark belongs to, None for a ping or an end that belongs to none.
    """
    owners: list[Visit | None] = []
    turn = max([visit.turn for visit in visits], default=0)
    for mark in marks:
        visit = _held_together(visits, mark, frame)
        if visit is not None and (visit.settled or frame.is_full(visit, mark.at_ms)):
            visit = None
        if visit is None and mark.kind <= CONVERSION:
            visit = Visit(mark.at_ms, mark.label, mark.session)
            visits.append(visit)
        if visit is not None:
            join(visit, mark)
            if mark.kind <= CONVERSION:
                visit.turn = turn = turn + 1
        owners.append(visit)
    return owners


def join(visit: Visit, mark: Mark) -> None:
    """Add one event to a visit; in any order, if none comes before its first."""
    delay = mark.at_ms - visit.first_ms
    if mark.kind == END:
        visit.closed = delay
        return
    alive = max(visit.last + visit.idle, delay)
    if mark.kind == PING:
        visit.idle = alive - visit.last
        return
    before = visit.interactions
    if before:
        visit.second = delay if before == 1 else min(visit.second, delay)
    visit.last = max(visit.last, delay)
    visit.idle = alive - visit.last
    if mark.kind == PAGE_VIEW:
        visit.page_views += 1
    elif mark.kind == ACTION:
        visit.actions += 1
    else:
        visit.converted = min(visit.converted, delay) if visit.conversions else delay
        visit.conversions += 1
        total = visit.value_micros + mark.value_micros
        visit.value_micros = max(-MAX_MICROS, min(total, MAX_MICROS))


def _held_together(visits: list[Visit], mark: Mark, frame: Frame) -> Visit | None:
    """The visit whose latest interaction is nearest before a mark, within its time-out.

    It may be full or settled; then the mark belongs to no visit that there is.
    """
    best: Visit | None = None
    for visit in visits:
        if visit.closed >= 0 or visit.first_ms > mark.at_ms:
            continue
        if mark.session and visit.session != mark.session:
            continue
        if mark.at_ms - visit.last_ms - visit.idle > frame.gap_ms(visit):
            continue
        if best is None or (visit.last_ms, visit.turn) > (best.last_ms, best.turn):
            best = visit
    return best
