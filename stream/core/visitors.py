"""The fold of `sessions`: visitors in the table, their visits counted in the cube."""

from collections import Counter
from collections.abc import Iterator

import msgspec

from stream.core.catalogue import NOT_SET, SESSIONS
from stream.core.cells import Values
from stream.core.cube import Cube
from stream.core.events import SessionEvent, micros
from stream.core.pseudonyms import Pseudonyms
from stream.core.run import LATE, Run
from stream.core.sessions import (
    Frame,
    Kind,
    Mark,
    Visit,
    Visitor,
    absorb,
    around,
    counted,
    current,
    forget,
    insert,
    join,
    settle,
    would_change_settled,
)
from stream.core.table import Table
from stream.core.wheel import Wheel

_ACTIVE: Values = {SESSIONS.index["active"]: 1}
_TOTALS: dict[int, Values] = {
    Kind.page_view: {SESSIONS.index["page_views_total"]: 1},
    Kind.conversion: {SESSIONS.index["conversions_total"]: 1},
}
_KINDS = {kind.name: kind for kind in Kind}
MAX_MARKS = 1_000
"""A guard of memory: a visitor with more events within the lateness has its oldest half settled in
order, as if the watermark had passed them."""
MAX_VISITS = 500
"""Another: of a visitor with more visits than that, the half that was silent longest settles at
once and is forgotten; what comes for it later begins a visit of its own."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Visitor).decode


class Visitors:
    """Folds session events; an item of the table is `i` + the visitor's pseudonym."""

    def __init__(self, frame: Frame, table: Table, cube: Cube, pseudonyms: Pseudonyms) -> None:
        self._frame = frame
        self._table = table
        self._pseudonyms = pseudonyms
        self._cube = cube
        self._wheel = Wheel(self._due_ms)
        self._unsettled: Counter[int] = Counter()
        self._touched: dict[bytes, Visitor] = {}

    def fold(self, run: Run[SessionEvent]) -> None:
        """Count a run; an event that came too late gets the verdict LATE."""
        clocks, lateness_ms = run.clocks, run.lateness_ms
        for position in run.accepted():
            event = run.events[position]
            if not self._take(event, clocks[position] - lateness_ms):
                run.verdicts[position] = LATE
        watermark_ms = clocks[-1] - lateness_ms
        for key, visitor in self._touched.items():
            self._store(key, visitor, watermark_ms, watermark_ms)
        self._touched.clear()

    def settle(self, before_ms: int, watermark_ms: int) -> None:
        """Settle all visitors whose visits are over before an instant."""
        for key in self._wheel.pop(before_ms):
            raw = self._table.get(key)
            if raw is not None:
                visitor = _decode(raw)
                self._count(current(visitor, self._frame), -1)
                if visitor.timer_ms is not None and visitor.timer_ms < before_ms:
                    visitor.timer_ms = None
                self._store(key, visitor, before_ms, watermark_ms)

    def settled_through(self, before_ms: int) -> dict[str, int]:
        """All sessions begun before it are final."""
        return {"sessions": min([before_ms, *self._unsettled])}

    def load(self, items: Iterator[tuple[bytes, bytes]]) -> None:
        """Take up recovered visitors."""
        for key, raw in items:
            visitor = _decode(raw)
            self._watch(visitor, 1)
            if visitor.timer_ms is not None:
                self._wheel.add(key, visitor.timer_ms)

    def drain(self) -> None:
        """Nothing is put off."""

    def sizes(self) -> dict[str, int]:
        """Visits that have not settled."""
        return {"open": self._unsettled.total()}

    def _due_ms(self, key: bytes) -> int | None:
        raw = self._table.get(key)
        return None if raw is None else _decode(raw).timer_ms

    def _take(self, event: SessionEvent, watermark_ms: int) -> bool:
        mark = self._mark(event)
        visitor = self._visitor(b"i" + self._pseudonyms.of(event.visitor_id))
        absorb(visitor, watermark_ms, self._frame)
        if len(visitor.visits) > MAX_VISITS:
            self._thin(visitor, watermark_ms)
        if would_change_settled(visitor, mark, watermark_ms, self._frame):
            return False
        floor_ms = watermark_ms if visitor.floor_ms is None else max(visitor.floor_ms, watermark_ms)
        if mark.at_ms < floor_ms:
            visit = around(visitor, mark, watermark_ms, self._frame)
            if visit is None:
                return False
            join(visit, mark)
        else:
            insert(visitor, mark)
            if len(visitor.marks) > MAX_MARKS:
                visitor.floor_ms = visitor.marks[MAX_MARKS // 2].at_ms + 1
                absorb(visitor, visitor.floor_ms, self._frame)
        if mark.kind in _TOTALS:
            self._cube.total(mark.label, _TOTALS[mark.kind])
        return True

    def _thin(self, visitor: Visitor, watermark_ms: int) -> None:
        """Make room among the visits of a visitor who is not counted now."""
        for visit in settle(visitor, watermark_ms, self._frame):
            self._count_settled(visit)
        forget(visitor, watermark_ms, self._frame)
        if len(visitor.visits) <= MAX_VISITS:
            return
        silent = sorted(visitor.visits, key=lambda visit: visit.first_ms + visit.active)
        gone = {id(visit) for visit in silent[: len(silent) // 2]}
        for visit in visitor.visits:
            if id(visit) in gone and not visit.settled:
                self._count_settled(visit)
        visitor.visits = [visit for visit in visitor.visits if id(visit) not in gone]

    def _count_settled(self, visit: Visit) -> None:
        self._count_live(visit, 1)
        self._cube.settled(visit.first_ms, visit.label, counted(visit))

    def _mark(self, event: SessionEvent) -> Mark:
        assert isinstance(event.timestamp, int)
        label = self._cube.label(
            (event.campaign or NOT_SET, event.channel or NOT_SET, event.variant or NOT_SET)
        )
        kind = _KINDS[event.type]
        value = micros(event.value) if kind is Kind.conversion else 0
        return Mark(event.timestamp, kind, event.event_id, event.session_id, label, value)

    def _visitor(self, key: bytes) -> Visitor:
        visitor = self._touched.get(key)
        if visitor is None:
            raw = self._table.get(key)
            visitor = Visitor([], []) if raw is None else _decode(raw)
            self._touched[key] = visitor
            self._count(current(visitor, self._frame), -1)
        return visitor

    def _store(self, key: bytes, visitor: Visitor, before_ms: int, watermark_ms: int) -> None:
        """Count a visitor as it is now, settle what is due, and put it back."""
        frame = self._frame
        absorb(visitor, watermark_ms, frame)
        forget(visitor, watermark_ms, frame)
        now = current(visitor, frame)
        self._count(now, 1)
        if any(not visit.settled and frame.due_ms(visit) < before_ms for visit in now):
            for visit in settle(visitor, before_ms, frame):
                self._cube.settled(visit.first_ms, visit.label, counted(visit))
                self._unsettle(visit, -1)
            forget(visitor, watermark_ms, frame)
            now = current(visitor, frame)
        if not visitor.visits and not visitor.marks:
            self._table.delete(key)
            return
        due_ms = self._next_look(visitor, now, before_ms, watermark_ms)
        if visitor.timer_ms is None or due_ms < visitor.timer_ms:
            visitor.timer_ms = due_ms
            self._wheel.add(key, due_ms)
        self._table.put(key, _encode(visitor))

    def _next_look(
        self, visitor: Visitor, now: list[Visit], before_ms: int, watermark_ms: int
    ) -> int:
        """When something of a visitor is due next, on the clock that settles."""
        ahead_ms = before_ms - watermark_ms  # the settling clock may have gone on over a pause
        frame = self._frame
        dues = [frame.until_ms(v) + ahead_ms if v.settled else frame.due_ms(v) for v in now]
        if not dues:  # a ping or an end that belongs to nothing yet
            dues = [visitor.marks[-1].at_ms + ahead_ms]
        return max(min(dues), before_ms)

    def _count(self, visits: list[Visit], sign: int) -> None:
        """Count a visitor's visits, or take them back with sign -1."""
        for visit in visits:
            if not visit.settled:
                self._count_live(visit, sign)
                self._unsettle(visit, sign)

    def _count_live(self, visit: Visit, sign: int) -> None:
        self._cube.live(visit.first_ms, visit.label, counted(visit), sign)
        if visit.closed < 0:
            self._cube.moment(visit.first_ms + visit.last, visit.label, _ACTIVE, sign)

    def _watch(self, visitor: Visitor, sign: int) -> None:
        for visit in current(visitor, self._frame):
            if not visit.settled:
                self._unsettle(visit, sign)

    def _unsettle(self, visit: Visit, sign: int) -> None:
        start_ms = visit.first_ms - visit.first_ms % 10_000
        self._unsettled[start_ms] += sign
        if not self._unsettled[start_ms]:
            del self._unsettled[start_ms]
