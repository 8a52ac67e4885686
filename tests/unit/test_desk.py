"""Tickets: the backlog, what settled ones come to, and what late events may still change."""

from typing import Any

import pytest

from stream.core import desk, ticket_facts, ticket_settling, tickets
from stream.core.buckets import Calendar, Size
from stream.core.catalogue import NOT_SET
from stream.core.partition import Partition
from stream.core.records import Outcome, RecordBatch
from stream.core.rules import Rules
from tests.strategies import to_value
from tests.support.play import PSEUDONYMS, cells, write

T0 = 1_760_000_000_000
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
WINDOW = HOUR
LATENESS = 10 * MINUTE
RULES = Rules(fcr_reopen_window_ms=WINDOW, ticket_retention_ms=10 * DAY)


class Floor:
    """A partition of tickets and its ledger."""

    def __init__(self, rules: Rules = RULES) -> None:
        self.rules = rules
        self.partition = Partition("tickets", rules, Calendar(), PSEUDONYMS)
        self.ledger: dict[bytes, bytes] = {}

    def feed(self, *events, record_ms=None):
        """Events, each recorded as it happens or at a given time; what became of them."""
        start = self.partition.position
        stamps = [event["timestamp"] if record_ms is None else record_ms for event in events]
        stamps = record_ms if isinstance(record_ms, list) else stamps
        values = [to_value({"event_id": f"{start + i}", **e}) for i, e in enumerate(events)]
        end = start + len(events)
        batch = RecordBatch("tickets", 0, start, end, range(start, end), values, [], stamps)
        return self.partition.fold(batch).outcomes

    def pass_to(self, at_ms):
        """Let the watermark reach an instant by another ticket's event, closed at once."""
        return self.feed(event("closed", at_ms + LATENESS, ticket=f"clock-{at_ms}", team="clock"))

    def restart(self):
        """Write everything, lose it, and read it again."""
        write(self.partition, self.ledger, 3)
        self.partition = Partition("tickets", self.rules, Calendar(), PSEUDONYMS)
        self.partition.load(dict(self.ledger))

    def cells(self):
        """Live cells by size, start and label values; those of the clock left out."""
        write(self.partition, self.ledger, 0)
        live, _ = cells(self.partition, "tickets")
        return {key: cell for key, cell in live.items() if key[2][1] != "clock"}

    def backlog(self):
        """Open and awaiting tickets by team."""
        levels: dict[str, tuple[int, int]] = {}
        for (size, _, (_, team)), cell in self.cells().items():
            if size == Size.ALL:
                is_open, awaiting = levels.get(team, (0, 0))
                levels[team] = is_open + cell.get("open", 0), awaiting + cell.get("awaiting", 0)
        return {team: found for team, found in levels.items() if found != (0, 0)}

    def opened(self):
        """Days of the openings of what is open now, and how many."""
        days = [(at, cell) for (size, at, _), cell in self.cells().items() if size == Size.D1]
        counts = dict[int, int]()
        for at, cell in days:
            counts[at] = counts.get(at, 0) + cell.get("still_open", 0)
        return {at: n for at, n in counts.items() if n}

    def sizes(self):
        """Tickets kept each by itself, and in the archive."""
        found = self.partition.sizes()
        return found["open"], found["settled"]


def event(kind, at_ms=T0, ticket="t", **fields):
    return {"type": kind, "timestamp": at_ms, "ticket_id": ticket, **fields}


# --- the backlog ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kinds", "standing"),
    [
        (("opened",), (1, 0)),
        (("contact",), (1, 0)),
        (("opened", "resolved"), None),
        (("opened", "closed"), None),
        (("resolved",), None),
        (("opened", "resolved", "reopened"), (1, 0)),
        (("opened", "closed", "opened"), (1, 0)),
        (("opened", "resolved", "contact", "reassigned"), None),
        (("opened", "awaiting_customer"), (1, 1)),
        (("awaiting_customer",), (1, 1)),
        (("opened", "awaiting_customer", "contact"), (1, 0)),
        (("opened", "awaiting_customer", "reassigned"), (1, 0)),
        (("opened", "awaiting_customer", "resolved"), None),
        (("opened", "resolved", "awaiting_customer"), None),
        (("opened", "awaiting_customer", "resolved", "reopened"), (1, 0)),
    ],
)
def test_a_ticket_is_open_until_it_is_resolved_or_closed_and_again_when_reopened(kinds, standing):
    happened = [event(kind, T0 + n * MINUTE, team="red") for n, kind in enumerate(kinds)]
    for order in (happened, happened[::-1]):
        floor = Floor()
        floor.feed(*order, record_ms=T0 + HOUR)
        assert floor.backlog() == ({} if standing is None else {"red": standing})


def test_an_open_ticket_is_where_it_was_last_named():
    floor = Floor()
    floor.feed(event("opened", team="red", channel="mail"), event("contact", T0 + 1))
    assert floor.backlog() == {"red": (1, 0)}
    floor.feed(event("reassigned", T0 + 9, team="blue"))
    assert floor.backlog() == {"blue": (1, 0)}
    assert (Size.ALL, 0, ("mail", "blue")) in floor.cells()
    floor.feed(event("reassigned", T0 + 5, team="green"), record_ms=T0 + 9)
    assert floor.backlog() == {"blue": (1, 0)}, "the green team had it in between"
    floor.feed(event("resolved", T0 + 10))
    assert floor.backlog() == {}


def test_what_is_named_not_set_is_not_named():
    floor = Floor()
    floor.feed(event("opened", team="red"), event("contact", T0 + 1, team=NOT_SET))
    assert floor.backlog() == {"red": (1, 0)}


@pytest.mark.parametrize(
    ("events", "since_ms"),
    [
        ([event("opened", T0), event("contact", T0 + DAY)], T0),
        ([event("contact", T0), event("opened", T0 + DAY)], T0 + DAY),
        ([event("contact", T0 + DAY, opened_at=T0 - DAY)], T0 - DAY),
        ([event("contact", T0), event("contact", T0 + DAY)], T0),
        ([event("contact", T0, opened_at=T0 + 90 * DAY)], T0),
        ([event("opened", T0), event("resolved", T0 + 1), event("reopened", T0 + DAY)], T0),
    ],
)
def test_its_age_counts_from_its_opening_or_else_from_its_first_event(events, since_ms):
    floor = Floor()
    floor.feed(*events)
    day_ms = Calendar().day(since_ms)[0]
    assert floor.opened() == {day_ms: 1}
    floor.feed(event("closed", T0 + DAY + 2))
    assert floor.opened() == {}
    assert not any("still_open" in cell for cell in floor.cells().values())


def test_a_ticket_that_is_silent_for_too_long_leaves_the_backlog():
    floor = Floor()
    floor.feed(event("opened", team="red"), event("awaiting_customer", T0 + 1))
    floor.pass_to(T0 + 1 + RULES.ticket_retention_ms)
    assert floor.backlog() == {"red": (1, 1)}
    floor.pass_to(T0 + 2 + RULES.ticket_retention_ms)
    assert floor.backlog() == {}
    assert floor.opened() == {}
    floor.feed(event("contact", T0 + 11 * DAY, team="blue"))
    assert floor.backlog() == {"blue": (1, 0)}


def test_it_is_forgotten_for_an_event_of_the_same_batch_too():
    floor = Floor()
    floor.feed(event("opened", team="red"))
    later_ms = T0 + 1 + RULES.ticket_retention_ms + LATENESS
    clock = event("closed", later_ms, ticket="clock", team="clock")
    floor.feed(clock, event("contact", later_ms), record_ms=later_ms)
    assert floor.backlog() == {NOT_SET: (1, 0)}


def test_a_pause_makes_no_ticket_forgotten():
    floor = Floor()
    floor.feed(event("opened", team="red"))
    floor.partition.pass_time(T0 + 30 * DAY)
    assert floor.backlog() == {"red": (1, 0)}
    floor.feed(event("contact", T0 + DAY), record_ms=T0 + 30 * DAY)
    floor.restart()
    assert floor.backlog() == {"red": (1, 0)}


# --- settled tickets -----------------------------------------------------------------------------


def settled_floor(*, answered=True):
    """One ticket, resolved and settled."""
    floor = Floor()
    floor.feed(event("opened", T0, team="red", channel="mail"))
    if answered:
        floor.feed(event("contact", T0 + MINUTE, by="agent"))
    floor.feed(event("resolved", T0 + 2 * MINUTE))
    floor.pass_to(T0 + 2 * HOUR)
    return floor


@pytest.mark.parametrize("answered", [True, False])
def test_a_settled_ticket_is_in_the_archive_and_leaves_nothing_else(answered):
    floor = settled_floor(answered=answered)
    assert floor.sizes() == (1, 1)  # the other one moves the clock
    for _ in range(2):
        floor.restart()
        assert [key[:1] for key in floor.ledger].count(b"i") == 1
        assert floor.sizes() == (1, 1)


@pytest.mark.parametrize("restart", [True, False])
def test_a_settled_ticket_that_is_reopened_is_open_where_it_was(restart):
    floor = settled_floor()
    if restart:
        floor.restart()
    later_ms = T0 + 4 * DAY
    floor.feed(event("reopened", later_ms))
    assert floor.backlog() == {"red": (1, 0)}
    assert floor.opened() == {Calendar().day(T0)[0]: 1}
    assert floor.sizes() == (2, 0)
    if restart:
        floor.restart()
    floor.feed(event("closed", later_ms + 1))
    floor.pass_to(later_ms + 1)
    assert floor.backlog() == {}
    assert floor.sizes()[1] == 0, "not before the watermark has passed its last event"
    floor.pass_to(later_ms + 2)
    assert floor.sizes()[1] == 1


@pytest.mark.parametrize("later_ms", [2 * DAY, 30 * DAY])
def test_what_happens_to_a_ticket_in_the_batch_that_puts_it_away_is_counted(later_ms):
    floor = settled_floor()
    floor.feed(event("reopened", T0 + DAY), event("opened", T0 + DAY, ticket="u", team="red"))
    assert floor.backlog() == {"red": (2, 0)}
    clock = event("closed", T0 + later_ms, ticket="clock", team="clock")
    floor.feed(
        event("closed", T0 + DAY + 1),
        event("awaiting_customer", T0 + DAY + 1, ticket="u"),
        clock,
        record_ms=T0 + later_ms,
    )
    assert floor.backlog() == ({"red": (1, 1)} if later_ms == 2 * DAY else {})


@pytest.mark.parametrize(("later_ms", "resolved_ms"), [(WINDOW, WINDOW), (WINDOW + 1, 0)])
def test_the_chain_of_resolutions_goes_on_within_the_window_its_end_included(later_ms, resolved_ms):
    floor = Floor()
    floor.feed(
        event("opened", T0, team="red"),
        event("resolved", T0),
        event("resolved", T0 + later_ms),
    )
    total = sum(
        cell.get("resolution_ms", 0)
        for (size, _, _), cell in floor.cells().items()
        if size == Size.D1
    )
    assert total == resolved_ms


@pytest.mark.parametrize(("later_ms", "single"), [(WINDOW, 0), (WINDOW + 1, 1)])
@pytest.mark.parametrize("kind", ["reopened", "contact"])
def test_what_happens_after_the_window_does_not_spoil_a_first_contact(later_ms, single, kind):
    floor = Floor()
    floor.feed(
        event("opened", T0, team="red"),
        event("resolved", T0),
        event(kind, T0 + later_ms, by="customer" if kind == "contact" else None),
    )
    found = [cell for (size, _, _), cell in floor.cells().items() if size == Size.D1]
    assert sum(cell.get("first_contact_111", 0) for cell in found) == single


def test_what_the_watermark_has_passed_cannot_be_told_anew():
    floor = settled_floor()
    at_ms = T0 + DAY
    floor.feed(event("reopened", at_ms), event("contact", at_ms + 2 * MINUTE, by="agent"))
    floor.pass_to(at_ms + HOUR)
    assert floor.backlog() == {"red": (1, 0)}
    floor.feed(event("closed", at_ms + MINUTE), record_ms=at_ms + 2 * HOUR)
    floor.feed(event("reassigned", at_ms + 2 * MINUTE, team="blue"), record_ms=at_ms + 2 * HOUR)
    assert floor.backlog() == {"red": (1, 0)}


def test_resolved_again_after_all_has_settled_counts_no_second_time():
    floor = settled_floor()
    floor.feed(event("reopened", T0 + DAY), event("resolved", T0 + DAY + 1))
    floor.pass_to(T0 + 2 * DAY)
    daily = [cell for (size, *_), cell in floor.cells().items() if size == Size.D1]
    assert sum(cell.get("resolved", 0) for cell in daily) == 1
    assert sum(cell.get("resolved_latest", 0) for cell in daily) == 1


@pytest.mark.parametrize("restart", [True, False])
def test_a_first_response_may_come_after_all_else_has_settled(restart):
    floor = settled_floor(answered=False)
    if restart:
        floor.restart()
    floor.feed(event("contact", T0 + DAY, by="agent"), event("contact", T0 + DAY + 1, by="agent"))
    floor.pass_to(T0 + 2 * DAY)
    found = {at: c for (size, at, _), c in floor.cells().items() if size == 4 and "answered" in c}
    assert {at: cell["answered"] for at, cell in found.items()} == {Calendar().day(T0 + DAY)[0]: 1}
    assert next(iter(found.values()))["first_response_ms"] == DAY
    assert floor.sizes()[1] == 1


@pytest.mark.parametrize("at_once", [True, False])
def test_what_a_settled_ticket_has_passed_is_passed_within_a_batch_too(at_once):
    floor = settled_floor()
    at_ms = T0 + DAY
    events = [
        event("reopened", at_ms),
        event("contact", at_ms + MINUTE, by="agent"),
        event("opened", at_ms + DAY, ticket="other", team="clock"),  # it passes both
        event("closed", at_ms + MINUTE - 1),
    ]
    stamps, size = [at_ms, at_ms + MINUTE, at_ms + DAY, at_ms + DAY], 4 if at_once else 1
    for at in range(0, 4, size):
        floor.feed(*events[at : at + size], record_ms=stamps[at : at + size])
    assert floor.backlog() == {"red": (1, 0)}


@pytest.mark.parametrize("restart", [True, False])
def test_a_contact_that_the_watermark_has_passed_without_an_opening_is_no_answer(restart):
    """Each of several has its time; what is told later of the opening answers none of them."""
    floor = Floor()
    floor.feed(*(event("contact", T0 + n * MINUTE, by="agent") for n in range(2)))
    floor.pass_to(T0 + 1)  # looks at it for the first of them
    if restart:
        floor.restart()
    floor.pass_to(T0 + MINUTE + 1)
    floor.feed(event("opened", T0 + MINUTE), record_ms=T0 + MINUTE + 1 + LATENESS)
    assert not any("answered" in cell for cell in floor.cells().values())


def test_at_the_watermark_a_contact_may_still_become_an_answer():
    floor = Floor()
    floor.feed(event("contact", T0, by="agent"), event("contact", T0 + 1, by="agent"))
    floor.pass_to(T0 + 1)  # looks at it for the first of them
    floor.feed(event("opened", T0 + 1), record_ms=T0 + 1 + LATENESS)
    answered = [cell for (size, *_), cell in floor.cells().items() if size == Size.D1]
    assert sum(cell.get("answered", 0) for cell in answered) == 1


@pytest.mark.parametrize("which", [ticket_facts.RESPONSE, ticket_facts.FIRST, ticket_facts.LATEST])
def test_a_fact_settles_when_the_watermark_has_passed_it_and_not_at_it(which):
    facts: Any = tuple((T0, 0, 5, -1) if n == which else None for n in range(3))
    due_ms = T0 if which == ticket_facts.RESPONSE else T0 + WINDOW
    told: list[tickets.Step] = [
        (T0 - 5, tickets.OPENED, 0, 1, None),
        (T0, tickets.RESOLVED, 0, 0, None),
    ]
    ticket = tickets.Ticket(None, T0, T0, told)
    assert ticket_settling.settle(ticket, facts, due_ms, WINDOW) == facts
    assert ticket.done == 0
    assert ticket_settling.settle(ticket, facts, due_ms + 1, WINDOW) == (None, None, None)
    assert ticket.done == 1 << which


def test_how_far_tickets_are_final_follows_the_watermark_and_the_window():
    floor = settled_floor()
    through_ms = T0 + 2 * HOUR
    assert floor.partition.settled_through() == {
        "tickets": through_ms - WINDOW,
        "resolution": through_ms - WINDOW,
        "first_response": through_ms,
    }


@pytest.mark.parametrize("kind", ["reopened", "contact"])
def test_what_comes_late_and_is_not_the_newest_changes_nothing_of_a_settled_ticket(kind):
    floor = settled_floor(answered=False)
    before = floor.cells()
    late = event(kind, T0 + 2 * MINUTE, by="agent", team="blue")
    assert floor.feed(late, record_ms=T0 + 3 * HOUR) == {Outcome.UNCHECKED: 1}
    after = floor.cells()
    assert after.pop((Size.ALL, 0, (NOT_SET, "blue"))) == {f"{kind}_total": 1}
    assert after == before
    assert floor.sizes() == (1, 1)
    floor.feed(event(kind, T0 + 2 * MINUTE + 1, by="agent"), record_ms=T0 + 3 * HOUR)
    assert floor.cells() != before, "the newest one does, late as it is"


def test_a_settled_ticket_is_forgotten_when_it_was_silent_for_too_long():
    floor = settled_floor()
    last_ms = T0 + 2 * MINUTE
    floor.pass_to(last_ms + RULES.ticket_retention_ms + 1)
    floor.feed(event("reopened", last_ms + RULES.ticket_retention_ms + 1, team="blue"))
    assert floor.backlog() == {"blue": (1, 0)}
    assert set(floor.opened()) == {Calendar().day(last_ms + 10 * DAY)[0]}


def test_a_ticket_settled_by_a_silence_waits_for_the_clock_before_it_is_archived():
    floor = Floor()
    floor.feed(event("opened", team="red"), event("resolved", T0 + 1))
    floor.partition.pass_time(T0 + DAY)
    write(floor.partition, floor.ledger, 0)
    assert sum(c.get("resolved", 0) for c in cells(floor.partition, "tickets")[1].values()) == 4
    assert floor.sizes() == (1, 0)
    floor.restart()
    floor.feed(event("reopened", T0 + 2), record_ms=T0 + DAY)  # in order, after an outage
    assert floor.backlog() == {"red": (1, 0)}
    floor.feed(event("closed", T0 + 3), record_ms=T0 + DAY)
    floor.pass_to(T0 + DAY)
    assert floor.sizes() == (1, 1)


def test_a_ticket_settled_by_a_silence_goes_on_when_the_clock_has_passed_its_events():
    floor = Floor()
    floor.feed(*(event(kind, T0 + n) for n, kind in enumerate(("opened", "resolved", "reopened"))))
    floor.partition.pass_time(T0 + DAY)
    passed_ms = T0 + 3 + LATENESS
    floor.feed(event("opened", passed_ms, ticket="clock", team="clock"), record_ms=T0 + DAY)
    floor.feed(event("contact", passed_ms), record_ms=T0 + DAY)
    assert floor.backlog() == {NOT_SET: (1, 0)}
    floor.feed(event("closed", passed_ms + 1), record_ms=T0 + DAY)
    assert floor.backlog() == {}


# --- bounds and cuts -----------------------------------------------------------------------------


def test_ties_are_ordered_by_what_they_say_whichever_came_first():
    tied = [event("contact", T0, by="agent", team=team) for team in ("blue", "red", "green")]
    ends = []
    for order in (tied, tied[::-1], [tied[2], tied[0], tied[1]]):
        floor = Floor()
        floor.feed(event("opened", T0 - 1), *order)
        ends.append(floor.cells())
    assert ends[0] == ends[1] == ends[2]


@pytest.mark.parametrize("at_once", [True, False])
def test_an_event_whose_id_was_counted_changes_nothing_whatever_it_says(at_once):
    floor = Floor()
    opened = event("opened", event_id="a", team="red")
    repeated = event("closed", T0 + 1, event_id="a", team="red")
    if at_once:
        floor.feed(opened, repeated)
    else:
        floor.feed(opened)
        assert floor.feed(repeated) == {Outcome.DUPLICATE: 1}
    assert floor.backlog() == {"red": (1, 0)}


@pytest.mark.parametrize("names", [{}, {"team": "red", "channel": "mail"}])
def test_at_one_instant_types_have_their_order_whichever_came_first(names):
    tied = [event(kind, T0, **names) for kind in ("reopened", "closed")]
    for order in (tied, tied[::-1]):
        floor = Floor()
        floor.feed(event("opened", T0 - 1, **names), *order)
        assert floor.backlog() == {}


def test_a_ticket_with_too_many_events_stays_bounded(monkeypatch):
    monkeypatch.setattr(tickets, "MAX_STEPS", 5)
    floor = Floor()
    floor.feed(*(event("contact", T0 + n, team="red") for n in range(50)))
    floor.pass_to(T0 + DAY)
    write(floor.partition, floor.ledger, 0)
    sizes = [len(raw) for key, raw in floor.ledger.items() if key[:1] == b"i"]
    assert max(sizes) < 120
    assert floor.backlog() == {"red": (1, 0)}
    floor.pass_to(T0 + 50 + RULES.ticket_retention_ms)
    assert floor.backlog() == {}


@pytest.mark.parametrize("most", [0, 1, 7, 4_096])
def test_how_many_tickets_are_kept_decoded_changes_nothing(monkeypatch, most):
    ends = []
    for limit in (most, 10**9):
        monkeypatch.setattr(desk, "MAX_DECODED", limit)
        floor = Floor()
        for n in range(12):
            at_ms = T0 + n * 10 * MINUTE
            kinds = ("opened", "contact", "resolved", "reopened", "closed")
            for i, kind in enumerate(kinds[: 2 + n % 4]):
                names = {"ticket": f"t{n % 9}", "team": f"team{(n + i) % 3}"}
                floor.feed(event(kind, at_ms + i * MINUTE, by="agent", **names))
            if n % 5 == 4:
                floor.restart()
        floor.pass_to(T0 + 3 * DAY)
        ends.append((floor.cells(), floor.sizes()))
    assert ends[0] == ends[1]


@pytest.mark.parametrize("size", [1, 3, 100])
def test_many_tickets_come_to_the_same_however_the_log_is_cut(size):
    events = [
        event(
            kind, T0 + n * MINUTE + i * 7 * MINUTE, ticket=f"t{n}", team=f"team{n % 5}", by="agent"
        )
        for n in range(60)
        for i, kind in enumerate(
            ("opened", "contact", "resolved", "closed", "reopened")[: 1 + n % 5]
        )
    ]
    events.sort(key=lambda e: e["timestamp"])
    floor, whole = Floor(), Floor()
    whole.feed(*events)
    for at in range(0, len(events), size):
        floor.feed(*events[at : at + size])
        if size == 3 and at % 9 == 0:
            floor.restart()
    for one in (floor, whole):
        one.pass_to(T0 + DAY)
    assert floor.backlog() == whole.backlog()
    assert floor.cells() == whole.cells()
    assert floor.sizes() == whole.sizes()
