"""Visitors cost little: plain ones are played together, and nobody is looked at without need."""

from random import Random

import pytest

from stream.core import session_counts, visitors
from stream.core.buckets import Calendar
from stream.core.records import Outcome
from stream.core.rows import visit_of
from stream.core.visitor_forms import split
from stream.core.visitors import Visitors
from tests.support.play import cells
from tests.unit.test_partition import HOUR, MINUTE, T0, batch, feed, page, partition_of

UUID = "{:08x}-{:04x}-4000-8000-{:012x}"


@pytest.fixture(params=[1, 1_000], ids=["together", "singly"])
def _either_way(request, monkeypatch):
    monkeypatch.setattr(visitors, "FEW", request.param)


def at_watermark(partition, watermark_ms):
    """Have the watermark reach an instant, by a session of somebody else that is over."""
    at_ms = watermark_ms + partition.rules.allowed_lateness_ms
    ghost = {"visitor": f"ghost {at_ms}", "session_id": "ghost"}
    feed(partition, "sessions", page(at_ms, **ghost), page(at_ms, type="end", **ghost))
    partition.drain(0)


def form_of(partition):
    """Of the only visitor who has no session id: when it is looked at, how many marks it has."""
    for key, raw in partition.table.items():
        if key[:1] == b"i" and (parts := split(raw)) is not None:
            visit, timer_ms = visit_of(parts[0])
            if not visit.session:
                return timer_ms - T0, parts[2], len(raw)
    return None


@pytest.mark.usefixtures("_either_way")
@pytest.mark.parametrize("before", [[], [T0]])
def test_a_visitor_is_looked_at_when_its_events_are_let_go_and_when_it_is_over(before):
    partition, count = partition_of("sessions"), len(before) + 1
    feed(partition, "sessions", *map(page, before), page(T0 + MINUTE))
    at_watermark(partition, T0)
    assert form_of(partition)[:2] == (6 * MINUTE, count)  # when the last is half a lateness behind
    at_watermark(partition, T0 + 6 * MINUTE)
    assert form_of(partition)[:2] == (6 * MINUTE, count)
    at_watermark(partition, T0 + 6 * MINUTE + 1_000)
    timer_ms, marks, size = form_of(partition)
    assert (timer_ms, marks) == (31 * MINUTE, 0)
    assert size <= 30
    at_watermark(partition, T0 + 31 * MINUTE)
    assert form_of(partition)[0] == 31 * MINUTE
    at_watermark(partition, T0 + 31 * MINUTE + 1_000)
    assert form_of(partition) is None


@pytest.mark.usefixtures("_either_way")
def test_a_look_that_comes_too_early_for_an_event_is_followed_by_another():
    partition = partition_of("sessions")
    feed(partition, "sessions", page(T0))
    feed(partition, "sessions", page(T0 + 11 * MINUTE, "other", session_id="other"))
    feed(partition, "sessions", page(T0 + 8 * MINUTE))  # the first one is behind the watermark
    at_watermark(partition, T0 + 6 * MINUTE)
    assert form_of(partition)[:2] == (13 * MINUTE, 1)


@pytest.mark.usefixtures("_either_way")
def test_a_full_session_that_is_over_is_kept_until_its_silence_would_have_ended_it():
    partition = partition_of("sessions", session_max_interactions=2)
    feed(partition, "sessions", page(T0), page(T0 + MINUTE))
    at_watermark(partition, T0)
    assert form_of(partition)[0] == MINUTE
    at_watermark(partition, T0 + MINUTE + 1_000)
    assert form_of(partition)[:2] == (31 * MINUTE, 0)
    at_watermark(partition, T0 + 31 * MINUTE)
    assert form_of(partition)[0] == 31 * MINUTE
    at_watermark(partition, T0 + 31 * MINUTE + 1_000)
    assert form_of(partition) is None


@pytest.mark.usefixtures("_either_way")
def test_silence_that_runs_ahead_of_the_clock_puts_off_what_waits_for_the_clock():
    """The clock stands still over a pause: what is settled is looked at when it can have passed."""
    partition = partition_of("sessions")
    feed(partition, "sessions", page(T0))
    partition.pass_time(T0 + 41 * MINUTE)  # settles all before T0 + 31 minutes
    partition.drain(0)
    timer_ms, marks, _ = form_of(partition)
    assert (timer_ms, marks, partition.sizes()["open"]) == (71 * MINUTE, 0, 0)


@pytest.mark.usefixtures("_either_way")
def test_at_the_watermark_an_event_may_still_come_before_an_end_of_its_instant():
    partition, end_ms = partition_of("sessions"), T0 + 8 * MINUTE
    feed(partition, "sessions", page(T0))
    feed(partition, "sessions", page(end_ms, type="end"))
    at_watermark(partition, end_ms)  # it is looked at for its first event
    folded = partition.fold(batch("sessions", [(end_ms, page(end_ms))], partition.position))
    assert folded.outcomes == {Outcome.COUNTED: 1}
    at_watermark(partition, end_ms + 1)
    partition.drain(0)
    live = cells(partition, "sessions")[0][4, Calendar().day(T0)[0], ("(not set)",) * 3]
    assert (live["duration_ms"], live["sessions"]) == (8 * MINUTE, 3)  # two are ghosts


@pytest.mark.usefixtures("_either_way")
@pytest.mark.parametrize("cut", [1, 2, 3])
def test_at_the_watermark_an_event_may_still_come_before_the_first_one(cut):
    partition, events = partition_of("sessions"), []
    for at_ms, number, campaign in [(0, "b", "x"), (10, "c", None), (0, "a", "y")]:
        one = page(T0 + at_ms * MINUTE, event_id=number)
        events.append((one["timestamp"], one | ({"campaign": campaign} if campaign else {})))
    events[2] = events[1][0], events[2][1]  # the watermark stands at the first one then
    for some in (events[:cut], events[cut:]):
        if some:
            partition.fold(batch("sessions", some, partition.position))
    partition.drain(0)
    live, _ = cells(partition, "sessions")
    named = {labels[0]: c["page_views"] for (size, _, labels), c in live.items() if size == 4}
    assert named == {"y": 3}


def orderly(chance, visitor, minute):
    """What a visitor of one session does, one thing after the other."""
    events, at_ms = [], T0 + minute * MINUTE
    for number in range(chance.randint(1, 12)):
        one = page(at_ms + number * 20_000 + visitor, f"v{visitor}")
        one["type"] = chance.choice(["page_view", "action", "conversion", "ping"])
        one["campaign"] = chance.choice("xyz")
        if one["type"] == "conversion" and chance.random() < 0.5:
            one["value"] = "12.5"
        if visitor % 3:
            one["session_id"] = f"s{visitor % 3}"
        if visitor % 2:
            one["event_id"] = UUID.format(minute, visitor, number)
        events.append(one)
    events[0]["type"] = "page_view"
    if minute == 12 and visitor % 5:
        events[-1]["type"] = "end"
    return events


@pytest.mark.parametrize("visitor_step", [1, 2], ids=["all ids", "UUIDs"])
def test_visitors_are_written_alike_however_they_were_played(visitor_step, monkeypatch):
    chance, written, some = Random(6), [], range(1, 19, visitor_step)
    events = [e for minute in (0, 2) for n in some for e in orderly(chance, n, minute)[:5]]
    for few in (1, 1_000):
        monkeypatch.setattr(visitors, "FEW", few)
        partition = partition_of("sessions")
        for part in (events[:40], events[40:]):
            feed(partition, "sessions", *sorted(part, key=lambda e: e["timestamp"]))
        partition.drain(0)
        written.append({k: raw for k, raw in partition.table.items() if k[:1] == b"i"})
    assert written[0] == written[1]
    assert len(written[0]) == len(some)


def test_visitors_of_one_session_whose_events_come_in_order_are_played_together(monkeypatch):
    monkeypatch.setattr(visitors, "FEW", 1)
    singly = []
    play, look = Visitors._play_singly, Visitors._look_singly

    def note_play(fold, events, place, guests):
        singly.append(events.mark(place))
        return play(fold, events, place, guests)

    def note_look(fold, items, *until):
        singly.extend(items)
        return look(fold, items, *until)

    monkeypatch.setattr(Visitors, "_play_singly", note_play)
    monkeypatch.setattr(Visitors, "_look_singly", note_look)
    chance, partition = Random(5), partition_of("sessions")
    for minute in (0, 6, 12):
        parts = [orderly(chance, visitor, minute) for visitor in range(40)]
        events = sorted((e for part in parts for e in part), key=lambda e: e["timestamp"])
        feed(partition, "sessions", *events)
    assert partition.sizes()["open"] == 40
    feed(partition, "sessions", page(T0 + 5 * HOUR, "last"))
    assert partition.sizes()["open"] == 1
    assert not singly


def test_what_waits_to_be_counted_is_counted_when_it_is_much(monkeypatch):
    monkeypatch.setattr(session_counts, "MANY", 3)
    partition = partition_of("sessions")
    feed(partition, "sessions", *(page(T0, f"v{n}") for n in range(3)))
    counts = partition._fold._counts
    assert counts._waiting == 3
    feed(partition, "sessions", page(T0 + 1, "v0"))  # one that was, and one that is
    assert counts._waiting == 0
