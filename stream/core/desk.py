"""The fold of `tickets`: tickets in the table, their facts and the backlog counted in the cube.

Tickets that change are kept decoded until the next drain, or until there are too many. Only then is
counted what they have become, however many of their events came meanwhile; what settles before is
counted when it does.
"""

from collections.abc import Iterable, Iterator
from itertools import islice

import msgspec
import numpy as np

from stream.core import tickets
from stream.core.archive import PREFIX, Archive, Settled
from stream.core.catalogue import TICKET_TYPES, TICKETS
from stream.core.cube import Cube
from stream.core.durations import HOUR_MS
from stream.core.names import NO_LABEL
from stream.core.pseudonyms import Pseudonyms
from stream.core.rules import Rules
from stream.core.run import LATE, Run
from stream.core.table import Table
from stream.core.ticket_arrivals import Arrivals, TeamLabels
from stream.core.ticket_counts import TicketCounts
from stream.core.ticket_facts import NOTHING, Counts, counts
from stream.core.ticket_settling import absorb, next_due_ms, settle
from stream.core.tickets import (
    ALL,
    ANSWERED,
    BY_AGENT,
    IS_CLOSED,
    NEXT_STATE,
    OVER,
    RANK_BITS,
    RESOLVED,
    Ticket,
    Timer,
    is_ignored,
    take,
)
from stream.core.wheel import Wheel

MAX_DECODED = 512
"""Changed tickets that are kept between two runs, and written ones that are kept decoded."""
MANY = 2_000
"""Facts that wait to be counted: beyond it, they are."""
ITEM = b"i"
_NEVER = 1 << 62
_LOOK_MS = 7 * 24 * HOUR_MS
"""A ticket that may still change is looked at so often, if only to see whether it is silent: a
timer for the end of the retention would stay for months after the ticket is archived."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Ticket).decode
_decode_timer = msgspec.msgpack.Decoder(Timer).decode
_TOTALS = np.array([TICKETS.index[f"{name}_total"] for name in TICKET_TYPES])

_Row = tuple[int, bytes, int, int, int, int | None]
"""Place, ticket, instant, kind, label set, `opened_at`."""


class Case(msgspec.Struct, gc=False):
    """A ticket in hand: its ledger key, what is counted of it, and whether it has changed since.

    Until the watermark has passed `steady_ms`, nothing becomes of it but by its events. `name` is
    its id, if an event brought it.
    """

    key: bytes
    ticket: Ticket
    counted: Counts
    touched: bool = False
    steady_ms: int = -_NEVER
    name: bytes = b""


class Desk:
    """Folds ticket events.

    An item of the table is `i` + the ticket's pseudonym. Tickets that are over and not open are in
    the archive.
    """

    def __init__(self, rules: Rules, table: Table, cube: Cube, pseudonyms: Pseudonyms) -> None:
        self._window_ms = rules.fcr_reopen_window_ms
        self._waits_ms = {BY_AGENT: 0, RESOLVED: rules.fcr_reopen_window_ms}
        self._retention_ms = rules.ticket_retention_ms
        self._look_ms = min(rules.ticket_retention_ms, _LOOK_MS)
        self._table = table
        self._archive = Archive(table, rules.ticket_retention_ms)
        self._pseudonyms = pseudonyms
        self._cube = cube
        self._counts = TicketCounts(cube)
        self._labels = TeamLabels(cube)
        self._dues = Wheel(self._due_of)
        self._ages = Wheel(self._old_of, slot_ms=HOUR_MS)
        self._kept = 0
        self._cases: dict[bytes, Case] = {}
        self._by_id: dict[bytes, Case] = {}
        self._touched: list[Case] = []

    def fold(self, run: Run) -> None:
        """Count a run. An event is late only if its ticket is no longer kept."""
        arrivals = Arrivals(run.events, self._cube)
        self._play(run, arrivals)
        self._count_totals(run)
        if len(self._touched) > MAX_DECODED:
            self._write(len(self._touched) - MAX_DECODED)
        self._make_room()

    def _play(self, run: Run, arrivals: Arrivals) -> None:
        """Add the events of a run to their tickets."""
        find, most, waits_ms = self._by_id.get, tickets.MAX_STEPS, self._waits_ms
        watermarks_ms: list[int] = (run.clocks_ms - run.lateness_ms).tolist()
        until_ms = watermarks_ms[-1]
        for place, ticket_id, at_ms, kind, own, opened_at_ms in _accepted(run, arrivals):
            case = find(ticket_id)
            if case is not None and case.touched and case.steady_ms >= until_ms:
                ticket = case.ticket
                steps = ticket.steps
                last_ms, _, _, standing, _ = steps[-1]
                if at_ms > last_ms and standing >> 2 == own and len(steps) < most:
                    # nearly all events: what `_take` does with them, without the calls
                    standing = own << 2 | NEXT_STATE[kind << 2 | standing & 3]
                    steps.append((at_ms, kind, own, standing, opened_at_ms))
                    ticket.last_ms = at_ms
                    if kind in waits_ms and (ticket.due_ms is None or ticket.due_ms > at_ms):
                        self._expect(case, at_ms + waits_ms[kind])
                    continue
            else:
                case = self._case(ticket_id, at_ms, watermarks_ms[place])
            if case is None:
                run.verdicts[place] = LATE
                continue
            known = arrivals.admit(place) if own == NO_LABEL else own  # along the log
            self._take(case, at_ms, kind, known, opened_at_ms, watermarks_ms[place])

    def _count_totals(self, run: Run) -> None:
        """Count what happened, by what each event names by itself; it is never taken back."""
        counted = np.flatnonzero(run.counts)
        labels = run.events.labels(self._cube, counted)
        self._cube.total(labels, _TOTALS[run.events.kinds[counted] >> RANK_BITS])

    def settle(self, before_ms: int, watermark_ms: int) -> None:
        """Settle all facts that are due before an instant; forget tickets that are silent."""
        for key in self._dues.pop(before_ms):
            case = self._find(key)
            if case is not None and _is_due(case.ticket, before_ms):
                self._look(case, before_ms, watermark_ms)
                self._file(case, watermark_ms)
        for key in self._ages.pop(watermark_ms):
            case = self._find(key)
            if case is not None and case.ticket.old_ms < watermark_ms:
                self._catch_up(case)
                absorb(case.ticket, watermark_ms)
                self._file(case, watermark_ms)

    def reach(self, before_ms: int, most: int) -> int:
        """How far one can settle with about so many tickets."""
        return self._dues.reach(before_ms, most)

    def drain(self) -> None:
        """Count and write what has changed."""
        self._write(len(self._touched))
        self._counts.drain()

    def _write(self, most: int) -> None:
        """Count and write those that were changed first."""
        part, self._touched = self._touched[:most], self._touched[most:]
        entries: dict[bytes, bytes] = {}
        for case in part:
            if case.touched:
                case.touched = False
                self._recount(case, counts(case.ticket, self._window_ms))
                entries[case.key] = _encode(case.ticket)
        self._table.put_all(entries)
        if self._counts.waiting > MANY:
            self._counts.drain()

    def _make_room(self) -> None:
        """Let go of the oldest tickets that are written, when there are many."""
        excess = len(self._cases) - 2 * MAX_DECODED
        for case in list(islice(self._cases.values(), max(excess, 0))):
            del self._cases[case.key]
            if case.touched:
                self._cases[case.key] = case
            else:
                self._by_id.pop(case.name, None)

    def settled_through(self, before_ms: int) -> dict[str, int]:
        """All tickets first resolved, last resolved, answered before it are final."""
        return {
            "tickets": before_ms - self._window_ms,
            "resolution": before_ms - self._window_ms,
            "first_response": before_ms,
        }

    def load(self, items: Iterable[tuple[bytes, bytes]]) -> None:
        """Take up recovered tickets."""
        archived: list[tuple[bytes, bytes]] = []
        for key, raw in items:
            if key.startswith(PREFIX):
                archived.append((key, raw))
            else:
                self._kept += 1
                timer = _decode_timer(raw)
                self._ages.add(key, timer.old_ms)
                if timer.due_ms is not None:
                    self._dues.add(key, timer.due_ms)
        self._archive.load(archived)

    def sizes(self) -> dict[str, int]:
        """Tickets that may still change, and those that have settled."""
        return {"open": self._kept, "settled": len(self._archive)}

    # --- one event ---

    def _case(self, ticket_id: bytes, at_ms: int, watermark_ms: int) -> Case | None:
        """The ticket of an event as of the watermark: what has settled, it cannot change.

        None if the event is late: its ticket is, or would be, no longer kept.
        """
        key = ITEM + self._pseudonyms.of(ticket_id)
        case = self._find(key) or self._recall(key, watermark_ms)
        if case is not None:
            if _is_due(case.ticket, watermark_ms):
                self._look(case, watermark_ms, watermark_ms)
                if not case.touched:
                    self._touch(case)
            if self._is_silent(case.ticket, watermark_ms):
                self._forget(case)
                case = None
        if case is None:
            if at_ms + self._retention_ms < watermark_ms:
                return None
            case = self._admit(key, Ticket(None, at_ms + self._look_ms, at_ms, []))
        ticket = case.ticket
        if ticket.done & OVER == OVER:
            absorb(ticket, watermark_ms)
        else:
            silent_ms = ticket.last_ms + self._retention_ms
            case.steady_ms = silent_ms if ticket.due_ms is None else min(ticket.due_ms, silent_ms)
        self._cases[key] = self._by_id[ticket_id] = case
        case.name = ticket_id
        return case

    def _take(
        self,
        case: Case,
        at_ms: int,
        kind: int,
        own: int,
        opened_at_ms: int | None,
        watermark_ms: int,
    ) -> None:
        """Add an event, with the label set that it names and its kind, to its ticket."""
        ticket = case.ticket
        if ticket.past is not None and is_ignored(ticket.past[2], at_ms, watermark_ms):
            return
        take(ticket, at_ms, kind, own, opened_at_ms, self._labels)
        if not case.touched:
            self._touch(case)
        if ticket.done & OVER == OVER:
            self._age(case, at_ms)
        if kind in self._waits_ms:
            self._expect(case, at_ms + self._waits_ms[kind])

    def _find(self, key: bytes) -> Case | None:
        case = self._cases.get(key)
        if case is None and (raw := self._table.get(key)) is not None:
            ticket = _decode(raw)
            return Case(key, ticket, counts(ticket, self._window_ms))
        return case

    def _admit(self, key: bytes, ticket: Ticket) -> Case:
        """A ticket that nothing is counted of."""
        case = Case(key, ticket, NOTHING, True)
        self._touched.append(case)
        self._ages.add(key, ticket.old_ms)
        self._kept += 1
        return case

    def _recall(self, key: bytes, watermark_ms: int) -> Case | None:
        """A ticket out of the archive; it is looked at soon, to be put back."""
        pseudonym = key[len(ITEM) :]
        settled = self._archive.get(pseudonym, watermark_ms)
        if settled is None:
            return None
        self._archive.remove(pseudonym)
        past = settled.label << 2 | IS_CLOSED, settled.opened_ms, settled.last_ms
        done = OVER if settled.answerable else ALL
        last_ms = settled.last_ms
        return self._admit(key, Ticket(None, last_ms, last_ms, [], done, None, past))

    # --- what becomes of a ticket ---

    def _look(self, case: Case, before_ms: int, watermark_ms: int) -> None:
        """Count a ticket as it is now, and settle what is due before an instant."""
        ticket = case.ticket
        self._catch_up(case)
        case.steady_ms = -_NEVER
        facts, standing = case.counted
        left = settle(ticket, facts, before_ms, self._window_ms)
        for which, fact in enumerate(facts):
            if fact is not None and left[which] is None:
                self._counts.settle(which, fact)
        case.counted = left, standing
        absorb(ticket, watermark_ms)
        ticket.due_ms = None
        due_ms = next_due_ms(ticket, left, self._window_ms)
        if due_ms is not None:
            self._expect(case, max(due_ms, before_ms))

    def _file(self, case: Case, watermark_ms: int) -> None:
        """Put a ticket that was looked at where it belongs."""
        ticket, key = case.ticket, case.key
        if self._is_silent(ticket, watermark_ms):
            self._forget(case)
        elif ticket.past is not None and not ticket.steps and ticket.past[0] & 3 == IS_CLOSED:
            standing, opened_ms, _ = ticket.past
            settled = Settled(ticket.last_ms, opened_ms, standing >> 2, not ticket.done & ANSWERED)
            self._archive.add(key[len(ITEM) :], settled, watermark_ms)
            self._drop(case)
        else:
            if ticket.old_ms < watermark_ms:
                ticket.old_ms = _NEVER
            if ticket.done & OVER == OVER and ticket.steps:
                self._age(case, ticket.last_ms)
            else:
                silent_ms = ticket.last_ms + self._retention_ms
                self._age(case, min(silent_ms, watermark_ms + _LOOK_MS))
            if not case.touched:
                self._table.put(key, _encode(ticket))

    def _expect(self, case: Case, due_ms: int) -> None:
        """Look at a ticket when something of it may settle."""
        if case.ticket.due_ms is None or due_ms < case.ticket.due_ms:
            case.ticket.due_ms = due_ms
            if due_ms < case.steady_ms:  # noqa: PLR1730 - here a call costs more than the rest
                case.steady_ms = due_ms
            self._dues.add(case.key, due_ms)

    def _age(self, case: Case, old_ms: int) -> None:
        """Look at a ticket when the watermark has passed an instant."""
        if old_ms < case.ticket.old_ms:
            case.ticket.old_ms = old_ms
            self._ages.add(case.key, old_ms)

    def _is_silent(self, ticket: Ticket, watermark_ms: int) -> bool:
        return ticket.last_ms + self._retention_ms < watermark_ms

    def _touch(self, case: Case) -> None:
        case.touched = True
        self._touched.append(case)

    def _forget(self, case: Case) -> None:
        self._recount(case, (case.counted[0], None))
        self._drop(case)

    def _drop(self, case: Case) -> None:
        case.touched = False
        self._table.delete(case.key)
        self._cases.pop(case.key, None)
        self._by_id.pop(case.name, None)
        self._kept -= 1

    def _due_of(self, key: bytes) -> int | None:
        timer = self._timer(key)
        return None if timer is None else timer.due_ms

    def _old_of(self, key: bytes) -> int | None:
        timer = self._timer(key)
        return None if timer is None else timer.old_ms

    def _timer(self, key: bytes) -> Ticket | Timer | None:
        case = self._cases.get(key)
        if case is not None:
            return case.ticket
        raw = self._table.get(key)
        return None if raw is None else _decode_timer(raw)

    # --- counting ---

    def _catch_up(self, case: Case) -> None:
        """Count what was put off."""
        if case.touched:
            self._recount(case, counts(case.ticket, self._window_ms))

    def _recount(self, case: Case, now: Counts) -> None:
        """Count what a ticket has become in the place of what was counted of it."""
        if now != case.counted:
            self._counts.change(case.counted, now)
            case.counted = now


def _accepted(run: Run, arrivals: Arrivals) -> Iterator[_Row]:
    """The events to count, in order; one may be called LATE before the next is asked for."""
    columns = arrivals.ids, run.times, arrivals.kinds, arrivals.owns, arrivals.opened_ms
    rows = zip(range(len(arrivals.ids)), *columns, strict=True)
    return rows if run.accepts_all else map(list(rows).__getitem__, run.accepted())


def _is_due(ticket: Ticket, before_ms: int) -> bool:
    return ticket.due_ms is not None and ticket.due_ms < before_ms
