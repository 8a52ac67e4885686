"""What is true of a row is true of its visit: the rules of sessions, written twice, agree."""

from random import Random

import msgspec
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stream.core.arrivals import Columns
from stream.core.buckets import Calendar
from stream.core.marks import ACTION, CONVERSION, END, PAGE_VIEW, PING, Mark
from stream.core.rows import (
    LONGEST_MS,
    ROW,
    active_ms,
    closed_ms,
    due_ms,
    extend,
    gap_ms,
    interactions,
    is_unsettled,
    newest_ms,
    read_rows,
    rows_of,
    takes,
    text_of,
    until_ms,
    visit_of,
    write_rows,
)
from stream.core.rules import Rules
from stream.core.sessions import MAX_MICROS, Frame, Visit, play
from tests.strategies import START_MS, TIMEZONES

MINUTE, HOUR = 60_000, 3_600_000
LEAP = LONGEST_MS // 2
SPANS = [0, 1, 2, 100 * MINUTE, 2 * HOUR, *(n + d for n in (10 * MINUTE, HOUR) for d in (-1, 0, 1))]
SHORT = [0, 1, 2, 10 * MINUTE - 1, 10 * MINUTE]
SESSIONS = [0, 5, -(1 << 63), (1 << 63) - 1]
AMOUNTS = [0, 0, -7, MAX_MICROS, -MAX_MICROS, MAX_MICROS - 3]
chances = st.integers(0, 1 << 32).map(Random)
"""A hundred sessions an example: what is compared costs little."""


@st.composite
def frames(draw):
    """Rules whose every limit is among the spans that visits have."""
    rules = Rules(
        session_timeout_ms=10 * MINUTE,
        session_id_timeout_ms=draw(st.sampled_from([10 * MINUTE, HOUR])),
        session_max_ms=draw(st.sampled_from([HOUR, 12 * HOUR, LEAP + 5])),
        session_max_interactions=draw(st.sampled_from([1, 3, 2_500])),
        split_at_midnight=draw(st.booleans()),
        timezone=draw(st.sampled_from(TIMEZONES)),
    )
    return Frame(rules, Calendar(rules.timezone))


def some_visits(chance):
    """Sessions as they may be: with or without conversions, pings and an end, settled or not."""
    return [_visit(chance) for _ in range(100)]


def _visit(chance):
    numbers = [chance.choice([0, 0, 1, 2]) for _ in range(3)]
    if not any(numbers):
        numbers[chance.randrange(3)] = 1
    last = chance.choice(SPANS) if sum(numbers) > 1 else 0
    idle = chance.choice(SPANS) if chance.random() < 0.3 else 0
    is_closed, is_settled = chance.random() < 0.2, chance.random() < 0.2
    return Visit(
        START_MS - chance.choice([0, 0, HOUR, 3 * HOUR, START_MS, START_MS + 1]),
        chance.randrange(4),
        chance.choice(SESSIONS),
        last,
        min(chance.choice(SPANS), last) if sum(numbers) > 1 else 0,
        page_views=numbers[0],
        actions=numbers[1],
        conversions=numbers[2],
        idle=idle,
        converted=min(chance.choice(SPANS), last) if numbers[2] else 0,
        value_micros=_worth(chance) if numbers[2] else 0,
        closed=last + idle + chance.choice(SPANS) if is_closed else -1,
        settled=is_settled,
    )


def _worth(chance):
    return chance.choice([*AMOUNTS, chance.getrandbits(8)])


def _mark(chance, at_ms, session):
    """An event; only a conversion is worth something."""
    kind = chance.choice([PAGE_VIEW, ACTION, CONVERSION, CONVERSION, PING, END])
    worth = _worth(chance) if kind == CONVERSION else 0
    return Mark(at_ms, kind, "e", session, chance.randrange(4), worth)


def _mark_after(chance, visit):
    """An event of a visit's visitor that comes after all that is known of it."""
    newest = visit.closed if visit.closed >= 0 else visit.last + visit.idle
    delay = newest + chance.choice(chance.choice([SHORT, SHORT, SPANS]))
    if chance.random() < 0.1:
        delay = max(newest, chance.choice([LEAP, LEAP + 1, LEAP + 5, LEAP + 6]))
    return _mark(chance, visit.first_ms + delay, chance.choice([0, 0, visit.session, 5]))


def columns_of(marks):
    """Events as a crowd has them."""
    names = ("at_ms", "kind", "session", "label", "value_micros")
    return Columns(*(np.array([getattr(m, name) for m in marks], np.int64) for name in names))


def played(visit, mark, frame):
    """The numbers of a visit's row after an event, or of a new visit's; whether it took it."""
    visits = [] if visit is None else [msgspec.structs.replace(visit)]
    [owner] = play(visits, [mark], frame)
    is_taken = owner is visits[0] if visits else False
    return is_taken, rows_of(visits[:1]).tolist()


@given(chances)
def test_a_row_is_written_and_read_as_its_visit(chance):
    visits = some_visits(chance)
    timers = [visit.first_ms + chance.choice([0, 1, HOUR, LONGEST_MS]) for visit in visits]
    pairs = zip(visits, timers, strict=True)
    texts = [text_of(visit, timer_ms) or b"" for visit, timer_ms in pairs]
    assert [visit_of(text) for text in texts] == list(zip(visits, timers, strict=True))
    assert not any(text.endswith(b"\0") for text in texts)
    rows = read_rows([*texts, b""])
    assert write_rows(rows) == [*texts, b""]
    assert (rows["first_ms"] + rows["timer"])[:-1].tolist() == timers
    rows["timer"] = 0
    assert rows[:-1].tolist() == rows_of(visits).tolist()


def test_what_no_row_can_hold_has_no_text():
    edge = Visit(START_MS, 1, 2, last=LONGEST_MS, page_views=2, second=1)
    text = text_of(edge, START_MS + LONGEST_MS)
    assert text is not None
    assert visit_of(text) == (edge, START_MS + LONGEST_MS)
    assert text_of(edge, START_MS + LONGEST_MS + 1) is None
    assert text_of(edge, START_MS - 1) is None
    edge.last += 1
    assert text_of(edge, START_MS) is None


@given(frames(), chances)
def test_limits_of_rows_are_those_of_their_visits(frame, chance):
    visits = some_visits(chance)
    rows, closed = rows_of(visits), [visit for visit in visits if visit.closed >= 0]
    ends = {id(visit): visit.first_ms + visit.closed for visit in closed}
    actives = [visit.last_ms + visit.idle for visit in visits]
    assert interactions(rows).tolist() == [visit.interactions for visit in visits]
    assert is_unsettled(rows).tolist() == [not visit.settled for visit in visits]
    assert active_ms(rows).tolist() == actives
    assert gap_ms(rows, frame).tolist() == [frame.gap_ms(visit) for visit in visits]
    assert due_ms(rows, frame).tolist() == [frame.due_ms(visit) for visit in visits]
    assert until_ms(rows, frame).tolist() == [frame.until_ms(visit) for visit in visits]
    assert closed_ms(rows_of(closed)).tolist() == list(ends.values())
    assert newest_ms(rows).tolist() == [
        ends.get(id(visit), active) for visit, active in zip(visits, actives, strict=True)
    ]


@given(frames(), chances)
def test_a_row_takes_the_events_that_its_visit_takes_and_becomes_the_same(frame, chance):
    visits = some_visits(chance)
    marks = [_mark_after(chance, visit) for visit in visits]
    rows, events = rows_of(visits), columns_of(marks)
    taken = takes(rows, events, frame)
    places = np.flatnonzero(taken)
    grown = rows[places]
    extend(grown, events.take(places))
    became = dict(zip(places.tolist(), grown.tolist(), strict=True))
    for place, (visit, mark) in enumerate(zip(visits, marks, strict=True)):
        is_taken, [row] = played(visit, mark, frame)
        assert taken[place] == (is_taken and mark.at_ms - visit.first_ms <= LEAP)
        assert became.get(place, row) == row


@given(frames(), chances)
def test_a_row_that_has_not_begun_begins_with_an_interaction_as_a_visit_does(frame, chance):
    marks = [_mark(chance, START_MS + n, chance.choice(SESSIONS)) for n in range(20)]
    rows, events = np.zeros(len(marks), ROW), columns_of(marks)
    taken = takes(rows, events, frame)
    assert taken.tolist() == [mark.kind <= CONVERSION for mark in marks]
    assert not is_unsettled(rows).any()
    begun = rows[taken]
    extend(begun, events.take(np.flatnonzero(taken)))
    begin = [played(None, mark, frame)[1] for mark in marks if mark.kind <= CONVERSION]
    assert [[row] for row in begun.tolist()] == begin
