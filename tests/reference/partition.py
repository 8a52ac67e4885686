"""What one partition comes to: its log played in offset order, by the rules of the clock.

The clock of lateness is the newest min(event time, record timestamp). The clock of settling also
goes on over a silence longer than the allowed lateness: what that passes is settled for good, but
a session that begins after the silence is judged by the events' own clock again, so a backlog that
arrives in order is never late by itself.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from tests.reference.clicks import click_of
from tests.reference.dedupe import Ids
from tests.reference.model import (
    ALL,
    DIMENSIONS,
    FUTURE_MS,
    OWNER,
    SIZES,
    BadRecordError,
    Cells,
    Event,
    Record,
    Rules,
    add,
    bucket,
    kept,
    read,
    tidy,
)
from tests.reference.sessions import SessionTruth, count_session, sessions_from
from tests.reference.sessions import key_of as session_key
from tests.reference.tickets import (
    Settled,
    TicketTruth,
    comes_too_late,
    count_ticket,
    settle,
    ticket_of,
)


class Book(Protocol):
    """The state of one partition, seen through its topic."""

    def settle(self, watermark: int) -> None:
        """What the watermark has passed can no longer change."""

    def take(self, event: Event, watermark: int) -> bool:
        """Counts the event, or tells that it is late."""

    def count(self, live: Cells, settled: Cells, watermark: int) -> None:
        """Adds up what there is and what has settled of it."""


# --- the three topics ----------------------------------------------------------------------------


class ClickBook:
    """Clicks have no state and never settle."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.events: list[Event] = []

    def settle(self, watermark: int) -> None:
        """Nothing to settle."""

    def take(self, event: Event, watermark: int) -> bool:
        """None is late."""
        self.events.append(event)
        return True

    def count(self, live: Cells, settled: Cells, watermark: int) -> None:
        """Every event in its own buckets and in the counters."""
        for click in map(click_of, self.events):
            add(live, click.t, click.dims, click.fields(), self.rules.timezone, (ALL, *SIZES))


@dataclass
class _Visitor:
    events: list[Event] = field(default_factory=list)
    sessions: list[SessionTruth] = field(default_factory=list)
    settled: list[SessionTruth] = field(default_factory=list)


class SessionBook:
    """All sessions of all visitors, worked out anew with each event."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.visitors: dict[str, _Visitor] = {}

    def settle(self, watermark: int) -> None:
        """Sessions whose time-out, end or cap the watermark has passed."""
        for visitor in self.visitors.values():
            visitor.settled.extend(
                session
                for session in visitor.sessions
                if session.due_ms < watermark and session not in visitor.settled
            )

    def take(self, event: Event, watermark: int) -> bool:
        """Late: what changes a settled session; behind the watermark: what joins no open one."""
        visitor = self.visitors.setdefault(event.owner, _Visitor())
        found = sessions_from([*visitor.events, event], self.rules)
        if any(session not in found for session in visitor.settled):
            return False
        if event.t < watermark and not _joins_open(event, visitor, found):
            return False
        visitor.events.append(event)
        visitor.sessions = found
        return True

    def count(self, live: Cells, settled: Cells, watermark: int) -> None:
        """Sessions where they began, counters by each event's own dimensions."""
        zone = self.rules.timezone
        for visitor in self.visitors.values():
            for session in visitor.sessions:
                count_session(live, session, zone, live=True)
            for session in visitor.settled:
                count_session(settled, session, zone, live=False)
            for event in visitor.events:
                names = {"page_view": "page_views_total", "conversion": "conversions_total"}
                if event.type in names:
                    dims = event.dims(DIMENSIONS["sessions"])
                    add(live, event.t, dims, {names[event.type]: 1}, zone, (ALL,))


def _joins_open(event: Event, visitor: _Visitor, found: list[SessionTruth]) -> bool:
    """Whether the event went into a session that was open, at or after its first interaction."""
    around = [
        session.members[0]
        for session in visitor.sessions
        if session not in visitor.settled and session.first_ms <= event.t
    ]
    key = session_key(event)
    return any(
        key in session.members and first in session.members for session in found for first in around
    )


@dataclass
class _Ticket:
    events: list[Event]
    truth: TicketTruth
    settled: Settled = field(default_factory=Settled)


class TicketBook:
    """All tickets, each worked out anew with each of its events."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.tickets: dict[str, list[_Ticket]] = {}
        self.events: list[Event] = []

    def settle(self, watermark: int) -> None:
        """Resolutions whose reopen window, and contacts, that the watermark has passed."""
        for ticket in self.all():
            settle(ticket.truth, ticket.events, ticket.settled, watermark)

    def all(self) -> list[_Ticket]:
        """Every ticket, forgotten ones too."""
        return [ticket for runs in self.tickets.values() for ticket in runs]

    def take(self, event: Event, watermark: int) -> bool:
        """Late only when the ticket's state is, or would be, no longer kept."""
        keep_ms = self.rules.ticket_retention_ms
        runs = self.tickets.setdefault(event.owner, [])
        near = [run for run in runs if _near(run, event, keep_ms)]
        newest = max((one.t for one in near[-1].events), default=event.t) if near else event.t
        if newest + keep_ms < watermark:
            return False
        self.events.append(event)
        if near:
            ticket = near[-1]
            if comes_too_late(event, ticket.events, ticket.settled, watermark):
                return True
            ticket.events.append(event)
            ticket.truth = ticket_of(ticket.events, self.rules, ticket.settled)
        else:
            runs.append(_Ticket([event], ticket_of([event], self.rules, Settled())))
        return True

    def count(self, live: Cells, settled: Cells, watermark: int) -> None:
        """The three figures of each ticket, the backlog, counters by each event's dimensions."""
        zone = self.rules.timezone
        for ticket in self.all():
            truth, fixed = ticket.truth, ticket.settled
            parts = (truth.first_resolution, truth.latest_resolution, truth.first_response)
            count_ticket(live, zone, *parts)
            count_ticket(settled, zone, fixed.resolution, fixed.latest, fixed.answer)
            newest = max(event.t for event in ticket.events)
            if truth.now.is_open and newest + self.rules.ticket_retention_ms >= watermark:
                add(live, truth.now.since_ms, truth.now.dims, {"still_open": 1}, zone)
                add(live, 0, truth.now.dims, truth.now.fields(), zone, (ALL,))
        for event in self.events:
            dims = event.dims(DIMENSIONS["tickets"])
            add(live, event.t, dims, {f"{event.type}_total": 1}, zone, (ALL,))


def _near(run: _Ticket, event: Event, keep_ms: int) -> bool:
    times = [one.t for one in run.events]
    return min(times) - keep_ms <= event.t <= max(times) + keep_ms


# --- the log -------------------------------------------------------------------------------------


@dataclass
class PartitionTruth:
    """What a partition's log comes to."""

    outcomes: dict[int, str]
    """offset -> counted, unchecked, duplicate, or the reason of a dead letter"""
    live: Cells
    settled: Cells
    clock_ms: int | None
    """The newest min(event time, record timestamp); None before the first sound event."""
    newest_record_ms: int | None
    watermark_ms: int | None
    """Clock - allowed lateness."""
    settled_before_ms: int | None
    """Sessions only: all that began before this instant is settled (the most that can be said)."""
    miskeyed: int
    sessions: list[SessionTruth]
    tickets: list[TicketTruth]

    def counted(self) -> list[int]:
        """The offsets of the events that count."""
        return [o for o, outcome in self.outcomes.items() if outcome in ("counted", "unchecked")]


BOOKS: dict[str, type[ClickBook | SessionBook | TicketBook]] = {
    "clicks": ClickBook,
    "sessions": SessionBook,
    "tickets": TicketBook,
}


class _Log:
    """Plays records in offset order."""

    def __init__(self, topic: str, rules: Rules) -> None:
        self.topic = topic
        self.rules = rules
        self.book = BOOKS[topic](rules)
        self.ids = Ids(rules.dedupe_horizon_ms)
        self.clock: int | None = None
        self.newest: int | None = None
        self.miskeyed = 0

    def play(self, record: Record) -> str:
        """One record -> its outcome."""
        self.silence_until(record.record_ts_ms)
        self.newest = max(record.record_ts_ms, self.newest or record.record_ts_ms)
        try:
            event = read(self.topic, record.value)
        except BadRecordError as bad:
            return str(bad)
        if event.t > record.record_ts_ms + FUTURE_MS:
            return "future"
        now = min(event.t, record.record_ts_ms)
        self.clock = now if self.clock is None else max(self.clock, now)
        watermark = self.clock - self.rules.allowed_lateness_ms
        self.book.settle(watermark)
        outcome = self.ids.judge(event, self.clock)
        if outcome == "duplicate":
            return outcome
        if not self.kept(event.t, self.clock):
            return "too_late"
        if not self.book.take(event, watermark):
            return "late"
        if outcome == "counted":
            self.ids.remember(event)
        if self.topic in OWNER and record.key != event.owner.encode():
            self.miskeyed += 1
        return outcome

    def silence_until(self, record_ts_ms: int) -> None:
        """A gap in the record timestamps settles what it passes."""
        if self.newest is None or self.clock is None:
            return
        gap = record_ts_ms - self.newest
        if gap > self.rules.allowed_lateness_ms:
            self.book.settle(self.clock + gap - self.rules.allowed_lateness_ms)

    def kept(self, t: int, clock: int) -> bool:
        """Whether any bucket of that instant is still kept."""
        zone = self.rules.timezone
        return any(kept(size, bucket(size, t, zone), clock, zone) for size in SIZES)


def partition_truth(
    topic: str,
    records: Iterable[Record],
    rules: Rules,
    settle_clock_ms: int | None = None,
    now_ms: int | None = None,
) -> PartitionTruth:
    """The whole log of a partition -> all that it comes to.

    After the last record the settling goes on to `settle_clock_ms`, or to the wall clock `now_ms`
    as if a record came then, or else no further than the log goes.
    """
    log = _Log(topic, rules)
    outcomes = {record.offset: log.play(record) for record in records}
    if now_ms is not None:
        log.silence_until(now_ms)
    if settle_clock_ms is not None:
        log.book.settle(settle_clock_ms - rules.allowed_lateness_ms)
    live: Cells = {}
    settled: Cells = {}
    clock = log.clock or 0
    log.book.count(live, settled, clock - rules.allowed_lateness_ms)
    known = log.clock is not None
    end_clock = max(clock, settle_clock_ms or clock)
    watermark = end_clock - rules.allowed_lateness_ms
    visitors = log.book.visitors.values() if isinstance(log.book, SessionBook) else []
    begun = [s.first_ms for v in visitors for s in v.sessions if s not in v.settled]
    return PartitionTruth(
        outcomes=outcomes,
        live=tidy(live, clock, rules.timezone),
        settled=tidy(settled, clock, rules.timezone),
        clock_ms=log.clock,
        newest_record_ms=log.newest,
        watermark_ms=clock - rules.allowed_lateness_ms if known else None,
        settled_before_ms=min([watermark, *begun]) if known and topic == "sessions" else None,
        miskeyed=log.miskeyed,
        sessions=[session for visitor in visitors for session in visitor.sessions],
        tickets=([one.truth for one in log.book.all()] if isinstance(log.book, TicketBook) else []),
    )
