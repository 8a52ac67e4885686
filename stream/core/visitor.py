"""A visitor: visits of the past, and the events that may still be reordered.

Visits are the part of the past that can no longer be reordered, as sums; marks are the events at or
after the watermark, in canonical order. What is true now is the visits with the marks played after
them, so arrival order cannot matter within the allowed lateness.
"""

from bisect import bisect_left, insort

import msgspec

from stream.core.marks import CONVERSION, END, Mark, order
from stream.core.sessions import Frame, Visit, join, play


class Visitor:
    """All that is known of a visitor.

    It is looked at again at `timer_ms`. No mark may come before `floor_ms` any more (None while the
    watermark alone says so).
    """

    __slots__ = ("floor_ms", "marks", "timer_ms", "visits")

    def __init__(
        self,
        visits: list[Visit],
        marks: list[Mark],
        timer_ms: int | None = None,
        floor_ms: int | None = None,
    ) -> None:
        self.visits = visits
        self.marks = marks
        self.timer_ms = timer_ms
        self.floor_ms = floor_ms

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to keep."""
        return not self.visits and not self.marks


def current(visitor: Visitor, frame: Frame) -> tuple[list[Visit], list[Visit | None]]:
    """The visits that are true now, and the one that each mark belongs to.

    The first visits stand for `visitor.visits`, in their order.
    """
    visits = [msgspec.structs.replace(visit) for visit in visitor.visits]
    return visits, play(visits, visitor.marks, frame)


def absorb(visitor: Visitor, before_ms: int, frame: Frame) -> None:
    """Play the marks before an instant for good."""
    if n := bisect_left(visitor.marks, before_ms, key=lambda mark: mark.at_ms):
        play(visitor.visits, visitor.marks[:n], frame)
        del visitor.marks[:n]


def take_in(
    visitor: Visitor, mark: Mark, watermark_ms: int, frame: Frame, settled: list[Visit]
) -> bool:
    """Add an event wherever it belongs; False: it comes too late.

    `settled` gets the visits that settle to make room.
    """
    absorb(visitor, watermark_ms, frame)
    if len(visitor.visits) > frame.MAX_VISITS:
        settled += _thin(visitor, watermark_ms, frame)
    if _would_change_settled(visitor, mark, watermark_ms, frame):
        return False
    floor_ms = watermark_ms if visitor.floor_ms is None else max(visitor.floor_ms, watermark_ms)
    if mark.at_ms < floor_ms:
        visit = _around(visitor, mark, watermark_ms, frame)
        if visit is not None:
            join(visit, mark)
        return visit is not None
    insort(visitor.marks, mark, key=order)
    if len(visitor.marks) > frame.MAX_MARKS:
        visitor.floor_ms = visitor.marks[frame.MAX_MARKS // 2].at_ms + 1
        absorb(visitor, visitor.floor_ms, frame)
    return True


def settle(visitor: Visitor, before_ms: int, frame: Frame) -> list[Visit]:
    """Settle the visits whose last possible event lies before an instant, and return them.

    The marks up to their last one are played for good, so that nothing can reach them any more:
    also those of other visits, which would not find theirs again behind the sums of a settled one.
    """
    marks, (now, owners) = visitor.marks, current(visitor, frame)
    due = {id(v) for v in now if not v.settled and frame.due_ms(v) < before_ms}
    if not due:
        return []
    n = max((place for place, owner in enumerate(owners, 1) if id(owner) in due), default=0)
    play(visitor.visits, marks[:n], frame)
    visitor.marks = [marks[place] for place in range(n) if owners[place] is None] + marks[n:]
    over = [v for v, whole in zip(visitor.visits, now, strict=False) if id(whole) in due]
    for visit in over:
        visit.settled = True
    return over


def forget(visitor: Visitor, watermark_ms: int, frame: Frame) -> None:
    """Drop what can make no difference to an event at or after the watermark."""
    visitor.visits = [
        visit
        for visit in visitor.visits
        if not visit.settled or frame.until_ms(visit) >= watermark_ms
    ]
    if visitor.floor_ms is not None and visitor.floor_ms <= watermark_ms:
        visitor.floor_ms = None


def _around(visitor: Visitor, mark: Mark, watermark_ms: int, frame: Frame) -> Visit | None:
    """The visit, still open, that an event behind the watermark belongs to, or None.

    The returned visit is one of `visitor.visits`: its first interaction is behind the watermark.
    """
    best: tuple[int, Visit] | None = None
    for kept, now in zip(visitor.visits, current(visitor, frame)[0], strict=False):
        if mark.session and now.session != mark.session:
            continue
        if now.settled or not now.first_ms <= mark.at_ms <= frame.due_ms(now):
            continue
        if frame.due_ms(now) < watermark_ms:
            continue
        if mark.kind == END and kept.last_ms > mark.at_ms:
            continue  # it would split what can no longer be split
        if best is None or now.first_ms >= best[0]:
            best = now.first_ms, kept
    return best[1] if best else None


def _would_change_settled(visitor: Visitor, mark: Mark, watermark_ms: int, frame: Frame) -> bool:
    """Whether an event would extend, or join, a visit that a silence settled.

    Those that the watermark has passed are left to `_around`: they may be forgotten by now.
    """
    for visit in visitor.visits:
        if not visit.settled or frame.due_ms(visit) < watermark_ms:
            continue
        if mark.session and mark.session != visit.session:
            continue
        if mark.at_ms < visit.first_ms:
            if _would_begin(visit, mark, frame):
                return True
        elif mark.at_ms <= frame.due_ms(visit):
            return True
    return False


def _would_begin(visit: Visit, mark: Mark, frame: Frame) -> bool:
    """Whether an event before a visit would become its first interaction."""
    if mark.session != visit.session or mark.kind > CONVERSION:
        return False
    if visit.first_ms - mark.at_ms > frame.gap_ms(visit):
        return False
    return not frame.is_full(Visit(mark.at_ms, mark.label, mark.session), visit.first_ms)


def _thin(visitor: Visitor, watermark_ms: int, frame: Frame) -> list[Visit]:
    """Make room among the visits; those that have settled by that."""
    over = settle(visitor, watermark_ms, frame)
    forget(visitor, watermark_ms, frame)
    if len(visitor.visits) <= frame.MAX_VISITS:
        return over
    silent = sorted(visitor.visits, key=lambda visit: visit.last_ms + visit.idle)
    gone = {id(visit) for visit in silent[: len(silent) // 2]}
    over += [visit for visit in visitor.visits if id(visit) in gone and not visit.settled]
    visitor.visits = [visit for visit in visitor.visits if id(visit) not in gone]
    return over
