"""The fold of `tickets`: tickets in the table, their facts counted in the cube."""

from collections.abc import Iterator

import msgspec

from stream.core.catalogue import NOT_SET, TICKETS
from stream.core.cube import Cube
from stream.core.events import TicketEvent
from stream.core.pseudonyms import Pseudonyms
from stream.core.rules import Rules
from stream.core.run import LATE, Run
from stream.core.table import Table
from stream.core.tickets import (
    RANK,
    Fact,
    Step,
    Ticket,
    facts,
    next_due_ms,
    settle,
    settles_at_earliest_ms,
    take,
)
from stream.core.wheel import Wheel

_TOTALS = {name: {TICKETS.index[f"{name}_total"]: 1} for name in RANK}

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Ticket).decode


class Desk:
    """Folds ticket events; an item of the table is `i` + the ticket's pseudonym."""

    def __init__(self, rules: Rules, table: Table, cube: Cube, pseudonyms: Pseudonyms) -> None:
        self._rules = rules
        self._window_ms = rules.fcr_reopen_window_ms
        self._table = table
        self._pseudonyms = pseudonyms
        self._cube = cube
        self._wheel = Wheel(self._due_ms)
        self._kept = 0
        self._touched: dict[bytes, Ticket] = {}
        self._dues: dict[bytes, int] = {}

    def fold(self, run: Run[TicketEvent]) -> None:
        """Count a run. An event is late only if its ticket is no longer kept."""
        for position in run.accepted():
            watermark_ms = run.clocks[position] - run.lateness_ms
            if not self._take(run.events[position], watermark_ms):
                run.verdicts[position] = LATE
        watermark_ms = run.clocks[-1] - run.lateness_ms
        for key, ticket in self._touched.items():
            self._store(key, ticket, watermark_ms)
        self._touched.clear()
        self._dues.clear()

    def settle(self, before_ms: int, watermark_ms: int) -> None:  # noqa: ARG002 - a Fold
        """Settle all facts that are due before an instant; forget tickets that are silent."""
        for key in self._wheel.pop(before_ms):
            raw = self._table.get(key)
            if raw is None:
                continue
            ticket = _decode(raw)
            if ticket.timer_ms is not None and ticket.timer_ms < before_ms:
                ticket.timer_ms = None
            self._count(ticket, -1)
            self._store(key, ticket, before_ms)

    def settled_through(self, before_ms: int) -> dict[str, int]:
        """All tickets first resolved, last resolved, answered before it are final."""
        return {
            "tickets": before_ms - self._window_ms,
            "resolution": before_ms - self._window_ms,
            "first_response": before_ms,
        }

    def load(self, items: Iterator[tuple[bytes, bytes]]) -> None:
        """Take up recovered tickets."""
        for key, raw in items:
            self._kept += 1
            timer_ms = _decode(raw).timer_ms
            if timer_ms is not None:
                self._wheel.add(key, timer_ms)

    @property
    def open(self) -> int:
        """Tickets kept."""
        return self._kept

    def _due_ms(self, key: bytes) -> int | None:
        raw = self._table.get(key)
        return None if raw is None else _decode(raw).timer_ms

    def _take(self, event: TicketEvent, before_ms: int) -> bool:
        assert isinstance(event.timestamp, int)
        assert not isinstance(event.opened_at, str)
        key = b"i" + self._pseudonyms.of(event.ticket_id)
        ticket = self._ticket(key, event.timestamp)
        if self._dues[key] < before_ms:  # what has settled by now, this event cannot change
            self._count(ticket, 1)
            self._settle(ticket, before_ms)
            self._count(ticket, -1)
            if self._is_over(ticket, before_ms):
                ticket = self._touched[key] = Ticket([], event.timestamp)
            self._dues[key] = self._next_look(ticket)
        if max(event.timestamp, ticket.last_ms) + self._rules.ticket_retention_ms < before_ms:
            return False
        step = Step(
            event.timestamp,
            RANK[event.type],
            event.event_id,
            event.channel,
            event.team,
            event.by,
            event.opened_at,
        )
        take(ticket, step)
        self._dues[key] = min(self._dues[key], settles_at_earliest_ms(step, self._window_ms))
        own = self._cube.label((event.channel or NOT_SET, event.team or NOT_SET))
        self._cube.total(own, _TOTALS[event.type])
        for fact in facts(ticket, self._window_ms):
            if fact is not None:  # label sets are taken in along the log, not where a batch ends
                self._label(fact)
        return True

    def _is_over(self, ticket: Ticket, before_ms: int) -> bool:
        return ticket.last_ms + self._rules.ticket_retention_ms < before_ms

    def _ticket(self, key: bytes, at_ms: int) -> Ticket:
        ticket = self._touched.get(key)
        if ticket is None:
            raw = self._table.get(key)
            if raw is None:
                ticket = Ticket([], at_ms)
                self._kept += 1
            else:
                ticket = _decode(raw)
            self._touched[key] = ticket
            timer_ms = ticket.timer_ms
            self._dues[key] = self._next_look(ticket) if timer_ms is None else timer_ms
            self._count(ticket, -1)
        return ticket

    def _store(self, key: bytes, ticket: Ticket, before_ms: int) -> None:
        """Count a ticket as it is now, settle what is due, and put it back."""
        self._count(ticket, 1)
        self._settle(ticket, before_ms)
        if self._is_over(ticket, before_ms):
            self._kept -= 1
            self._table.delete(key)
            return
        due_ms = max(self._next_look(ticket), before_ms)
        if ticket.timer_ms is None or due_ms < ticket.timer_ms:
            ticket.timer_ms = due_ms
            self._wheel.add(key, due_ms)
        self._table.put(key, _encode(ticket))

    def _settle(self, ticket: Ticket, before_ms: int) -> None:
        for fact in settle(ticket, before_ms, self._window_ms):
            self._cube.settled(fact.at_ms, self._label(fact), fact.values)

    def _next_look(self, ticket: Ticket) -> int:
        due_ms = next_due_ms(ticket, self._window_ms)
        forgotten_ms = ticket.last_ms + self._rules.ticket_retention_ms
        return forgotten_ms if due_ms is None else min(forgotten_ms, due_ms)

    def _count(self, ticket: Ticket, sign: int) -> None:
        """Count a ticket's facts that have not settled, or take them back with sign -1."""
        for fact in facts(ticket, self._window_ms):
            if fact is not None:
                self._cube.live(fact.at_ms, self._label(fact), fact.values, sign)

    def _label(self, fact: Fact) -> int:
        channel, team = fact.names
        return self._cube.label((channel or NOT_SET, team or NOT_SET))
