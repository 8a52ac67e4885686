"""A partition: clock, drops, pauses, positions, settling, keys, and what it refuses to load."""

from collections import Counter
from dataclasses import replace
from itertools import islice
from uuid import UUID, uuid4

import msgspec
import pytest

from stream.core import visitors
from stream.core.buckets import RETENTION_MS, Calendar, Size
from stream.core.catalogue import SESSIONS
from stream.core.cells import SPAN_LABEL, decode_cell, parse_cell_key
from stream.core.marks import PAGE_VIEW, Mark
from stream.core.partition import META, Partition
from stream.core.pseudonyms import Pseudonyms
from stream.core.records import Outcome, Reason, RecordBatch
from stream.core.rules import Rules
from stream.core.sessions import Frame, Visit
from stream.core.visitor import Visitor, take_in
from tests.strategies import key_for, to_value
from tests.support.play import PSEUDONYMS, cells, write

T0 = 1_760_000_000_000
SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
RULES = Rules()
BAD = b"{"
_numbers = iter(range(10**9))


def click(at_ms, **fields):
    return {"event_id": f"e{next(_numbers)}", "type": "click", "timestamp": at_ms, **fields}


def page(at_ms, visitor="v", **fields):
    return click(at_ms, visitor_id=visitor, **{"type": "page_view", **fields})


def step(at_ms, kind="opened", ticket="t", **fields):
    return click(at_ms, ticket_id=ticket, **{"type": kind, **fields})


def partition_of(topic="clicks", **rules):
    made = replace(RULES, **rules)
    return Partition(topic, made, Calendar(made.timezone), PSEUDONYMS)


def batch(topic, records, start=0, end=None, offsets=None, keys=None):
    """Records are (record timestamp, event or bytes)."""
    offsets = list(range(start, start + len(records))) if offsets is None else offsets
    values = [to_value(value) if isinstance(value, dict) else value for _, value in records]
    keys = [key_for(topic, value) for _, value in records] if keys is None else keys
    end = (offsets[-1] + 1 if offsets else start) if end is None else end
    stamps = [record_ms for record_ms, _ in records]
    return RecordBatch(topic, 0, start, end, offsets, values, keys, stamps)


def feed(partition, topic, *events, **how):
    """Events, each recorded as it happens, behind the position."""
    records = [(event["timestamp"], event) for event in events]
    return partition.fold(batch(topic, records, partition.position, **how))


def reasons(folded):
    return [drop.reason for drop in folded.drops]


def sizes(partition, topic):
    return {size for size, _, _ in cells(partition, topic)[0]}


def settled(partition, topic="sessions"):
    partition.drain(0)
    return cells(partition, topic)[1]


# --- the clock -----------------------------------------------------------------------------------


def test_the_clock_is_the_newest_of_event_time_or_record_timestamp_whichever_is_less():
    partition = partition_of()
    assert partition.watermark_ms is None
    partition.fold(batch("clicks", [(T0, click(T0 + 5_000)), (T0 + 10, click(T0 - 5))]))
    assert partition.clock_ms == T0
    partition.fold(batch("clicks", [(T0 + 9_000, click(T0 + 3)), (T0, BAD)], 2))
    assert partition.clock_ms == T0 + 3
    assert partition.watermark_ms == T0 + 3 - 600_000


def test_60_seconds_ahead_of_the_record_are_taken_and_not_a_millisecond_more():
    partition = partition_of()
    ahead = [(T0, click(T0 + 60_000)), (T0, click(T0 + 60_001)), (T0, click(T0 + DAY))]
    folded = partition.fold(batch("clicks", ahead))
    assert folded.outcomes == {Outcome.COUNTED: 1, Outcome.DEAD_LETTER: 2}
    assert folded.drops == [
        (1, Reason.FUTURE, "60 s ahead of its record"),
        (2, Reason.FUTURE, "86400 s ahead of its record"),
    ]
    assert partition.clock_ms == T0


def test_an_event_from_the_future_may_come_again_under_its_id():
    partition, early = partition_of(), click(T0 + 2 * MINUTE)
    partition.fold(batch("clicks", [(T0, early)]))
    folded = partition.fold(batch("clicks", [(T0 + 2 * MINUTE, early)], 1))
    assert folded.outcomes == {Outcome.COUNTED: 1}


# --- old events ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "left"), [(Size.S10, {0, 2, 3, 4}), (Size.M1, {0, 3, 4}), (Size.H1, {0, 4})]
)
def test_what_is_older_than_a_retention_reaches_the_coarser_buckets(size, left):
    partition = partition_of()
    folded = feed(partition, "clicks", click(T0), click(T0 - RETENTION_MS[size] - HOUR))
    partition.drain(0)
    assert folded.outcomes == {Outcome.COUNTED: 1, Outcome.UNCHECKED: 1}
    old = {size for size, start, _ in cells(partition, "clicks")[0] if start < T0 - 90 * MINUTE}
    assert old | {Size.ALL} == left


def test_what_is_older_than_the_longest_retention_is_too_late():
    partition = partition_of()
    edge_ms = Calendar().day(T0 - RETENTION_MS[Size.D1])[0]
    folded = feed(partition, "clicks", click(T0), click(edge_ms), click(edge_ms - 1))
    assert folded.outcomes == {
        Outcome.COUNTED: 1,
        Outcome.UNCHECKED: 1,
        Outcome.DEAD_LETTER: 1,
    }
    [drop] = folded.drops
    assert (drop.offset, drop.reason) == (2, Reason.TOO_LATE)
    assert drop.detail


def test_last_years_data_can_be_replayed_into_an_empty_system():
    partition = partition_of("sessions")
    for n in range(3):
        old_ms = T0 - 365 * DAY + n * HOUR
        folded = partition.fold(batch("sessions", [(T0 + n, page(old_ms))], n))
        assert folded.outcomes == {Outcome.COUNTED: 1}
    assert sizes(partition, "sessions") == set()
    partition.drain(0)
    assert cells(partition, "sessions")[0][4, Calendar().day(T0 - 365 * DAY)[0], ("(not set)",) * 3]


# --- late and settled ----------------------------------------------------------------------------


def test_a_session_event_behind_the_watermark_is_late_unless_a_session_is_open_around_it():
    partition = partition_of("sessions")
    feed(partition, "sessions", page(T0), page(T0 + 25 * MINUTE), page(T0 + 25 * MINUTE, "other"))
    behind = [page(T0 + MINUTE), page(T0 - 1), page(T0 + MINUTE, "new"), page(T0 - 1, "other")]
    now_ms = T0 + 25 * MINUTE
    folded = partition.fold(batch("sessions", [(now_ms, event) for event in behind], 3))
    assert [(drop.offset, drop.reason) for drop in folded.drops] == [
        (4, Reason.LATE),
        (5, Reason.LATE),
        (6, Reason.LATE),
    ]
    assert "s behind the clock" in folded.drops[0].detail


@pytest.mark.parametrize(("more_ms", "dropped"), [(0, []), (1, [Reason.LATE])])
@pytest.mark.parametrize("few", [1, 1_000])
def test_a_session_is_open_until_the_watermark_has_passed_the_last_that_could_join(
    more_ms, dropped, few, monkeypatch
):
    monkeypatch.setattr(visitors, "FEW", few)
    partition = partition_of("sessions")
    feed(partition, "sessions", page(T0), page(T0 + 40 * MINUTE + more_ms, "other"))
    record = T0 + 40 * MINUTE + more_ms, page(T0 + MINUTE)
    assert reasons(partition.fold(batch("sessions", [record], 2))) == dropped


@pytest.mark.parametrize(
    ("kind", "minute", "dropped"),
    [("page_view", 1, []), ("ping", 1, []), ("end", 1, [Reason.LATE]), ("end", 6, [])],
)
@pytest.mark.parametrize("few", [1, 1_000])
def test_an_end_behind_the_watermark_does_not_split_a_session(
    kind, minute, dropped, few, monkeypatch
):
    monkeypatch.setattr(visitors, "FEW", few)
    partition, now_ms = partition_of("sessions"), T0 + 20 * MINUTE
    feed(partition, "sessions", page(T0), page(T0 + 5 * MINUTE), page(now_ms, "other"))
    record = now_ms, page(T0 + minute * MINUTE, type=kind)
    assert reasons(partition.fold(batch("sessions", [record], 3))) == dropped


def test_at_the_watermark_nothing_is_late():
    partition = partition_of("sessions")
    feed(partition, "sessions", page(T0))
    edge = [(T0, page(T0 - 600_000, "a")), (T0, page(T0 - 600_001, "b"))]
    folded = partition.fold(batch("sessions", edge, 1))
    assert [drop.offset for drop in folded.drops] == [2]


def test_a_late_event_may_come_again_mended():
    partition = partition_of("sessions", dedupe_horizon_ms=2 * HOUR)
    late = page(T0 - HOUR, "w")
    feed(partition, "sessions", page(T0))
    assert reasons(partition.fold(batch("sessions", [(T0, late)], 1))) == [Reason.LATE]
    again = partition.fold(batch("sessions", [(T0, {**late, "timestamp": T0})], 2))
    assert again.outcomes == {Outcome.COUNTED: 1}


@pytest.mark.parametrize("few", [1, 1_000])
def test_what_is_left_out_of_a_figure_is_counted_beside_it(few, monkeypatch):
    monkeypatch.setattr(visitors, "FEW", few)
    partition, fates = partition_of("sessions"), dict[tuple[str, str], dict[int, int]]()
    feed(partition, "sessions", page(T0, event_id="a", campaign="x"))
    again = page(T0 + 1, event_id="a", campaign="x")
    before, after = page(T0 - 1, campaign="x"), page(T0 + 2, campaign="x")
    late = page(T0, "late", campaign="y")
    ahead = page(T0 + HOUR // 4, "other")  # the horizon passes the others, their session is open
    feed(partition, "sessions", again, ahead, again, late, before, after)
    partition.drain(0)
    index = {number: name for name, number in SESSIONS.index.items() if name in SESSIONS.fates}
    for key, raw in partition.table.items():
        if key[:1] == b"c" and parse_cell_key(key)[2] != SPAN_LABEL:
            size, _, label = parse_cell_key(key)
            for number, n in decode_cell(raw)[0].items():
                if number in index:
                    campaign = partition.cube.names(label)[0]
                    fates.setdefault((index[number], campaign), {})[size] = n
    expected = {("duplicates", "x"): 1, ("late", "x"): 1, ("late", "y"): 1, ("unchecked", "x"): 2}
    assert fates == {fate: dict.fromkeys(range(1, 5), n) for fate, n in expected.items()}


def test_a_duplicate_is_a_duplicate_before_it_is_late():
    partition = partition_of("sessions", dedupe_horizon_ms=3 * HOUR)
    first = page(T0, "w")
    feed(partition, "sessions", first, page(T0 + 2 * HOUR))
    folded = partition.fold(batch("sessions", [(T0 + 2 * HOUR, first)], 2))
    assert folded.outcomes == {Outcome.DUPLICATE: 1}


def test_clicks_are_never_late():
    partition = partition_of()
    folded = feed(partition, "clicks", click(T0), click(T0 - DAY), click(T0 - 400 * DAY))
    assert folded.outcomes == {Outcome.COUNTED: 1, Outcome.UNCHECKED: 2}
    assert partition.settled_through() == {}


def test_a_session_settles_when_the_watermark_has_passed_its_time_out():
    partition = partition_of("sessions")
    feed(partition, "sessions", page(T0))
    for more_ms, count in ((40 * MINUTE, 0), (40 * MINUTE + 1, 1)):
        feed(partition, "sessions", page(T0 + more_ms, "other"))
        found = settled(partition)
        assert sum(cell["sessions"] for (size, *_), cell in found.items() if size == 4) == count


def test_figures_are_final_before_the_oldest_open_session():
    partition = partition_of("sessions")
    feed(partition, "sessions", page(T0))
    feed(partition, "sessions", *(page(T0 + n * 20 * MINUTE) for n in range(1, 7)))
    assert partition.settled_through() == {"sessions": T0 - T0 % 10_000}
    assert partition.sizes()["open"] == 1
    feed(partition, "sessions", page(T0 + 5 * HOUR, "other"))
    assert partition.settled_through() == {"sessions": partition.watermark_ms}


def test_a_ticket_that_is_kept_is_never_late_and_one_that_is_not_is():
    window = RULES.fcr_reopen_window_ms
    partition = partition_of("tickets", ticket_retention_ms=2 * window)
    now_ms = T0 + 2 * window + 600_000
    feed(partition, "tickets", step(T0), step(now_ms, ticket="other"))
    late = [step(T0 - window, "contact"), step(T0 - window, "contact", "new")]
    folded = partition.fold(batch("tickets", [(now_ms, event) for event in late], 2))
    assert [drop.offset for drop in folded.drops] == [3]
    feed(partition, "tickets", step(now_ms + 1, ticket="other"))
    folded = partition.fold(batch("tickets", [(now_ms + 1, step(T0, "contact"))], 5))
    assert reasons(folded) == [Reason.LATE]


# --- silence -------------------------------------------------------------------------------------


def test_silence_settles_as_the_next_record_would_and_leaves_the_clock_alone():
    by_time, by_record = partition_of("sessions"), partition_of("sessions")
    for partition in (by_time, by_record):
        feed(partition, "sessions", page(T0))
    now_ms = T0 + 40 * MINUTE
    by_time.pass_time(now_ms)
    assert settled(by_time) == {}
    now_ms += 1
    by_time.pass_time(now_ms)
    by_record.fold(batch("sessions", [(now_ms, BAD)], 1))
    assert settled(by_time) == settled(by_record) != {}
    assert by_time.clock_ms == by_record.clock_ms == T0
    assert by_time.settled_through() == {"sessions": T0 + 30 * MINUTE + 1}
    feed(by_time, "sessions", page(T0 + 1, "other"))
    assert by_time.position == 2


def test_a_silence_no_longer_than_the_lateness_settles_nothing():
    partition = partition_of("sessions")
    feed(partition, "sessions", page(T0), page(T0 + 1, type="end"), page(T0 + 9, "other"))
    partition.pass_time(T0 + 9 + 600_000)
    assert settled(partition) == {}
    partition.pass_time(T0 + 9 + 600_001)
    assert settled(partition) != {}


def test_what_a_silence_settled_no_event_changes():
    partition = partition_of("sessions")
    feed(partition, "sessions", page(T0))
    now_ms = T0 + 2 * HOUR
    back = [page(T0 + MINUTE), page(T0 - MINUTE), page(T0 - MINUTE, type="ping"), page(T0 + HOUR)]
    folded = partition.fold(batch("sessions", [(now_ms, event) for event in back], 1))
    assert [drop.offset for drop in folded.drops] == [1, 2]
    assert reasons(folded) == [Reason.LATE, Reason.LATE]


@pytest.mark.parametrize("few", [1, 1_000])
@pytest.mark.parametrize("kind", ["page_view", "ping", "end"])
@pytest.mark.parametrize("at_ms", [T0, T0 + 1, T0 + 30 * MINUTE])
def test_from_its_first_to_its_last_instant_a_settled_session_is_closed(
    kind, at_ms, few, monkeypatch
):
    monkeypatch.setattr(visitors, "FEW", few)
    partition = partition_of("sessions", allowed_lateness_ms=2 * HOUR, dedupe_horizon_ms=3 * HOUR)
    feed(partition, "sessions", page(T0))
    record = T0 + 5 * HOUR, page(at_ms, type=kind)
    assert reasons(partition.fold(batch("sessions", [record], 1))) == [Reason.LATE]
    behind = T0 + 5 * HOUR, page(at_ms + 30 * MINUTE + 1, type=kind)
    assert reasons(partition.fold(batch("sessions", [behind], 2))) == []


def test_an_event_before_a_settled_session_is_late_only_if_it_would_have_begun_it():
    midnight_ms = Calendar().day(T0)[1]
    for split, dropped in ((False, [Reason.LATE]), (True, [])):
        partition = partition_of("sessions", split_at_midnight=split)
        feed(partition, "sessions", page(midnight_ms))
        record = (midnight_ms + 2 * HOUR, page(midnight_ms - 1))
        assert reasons(partition.fold(batch("sessions", [record], 1))) == dropped


def test_before_the_first_event_time_settles_nothing():
    partition = partition_of("sessions")
    partition.pass_time(T0)
    partition.fold(batch("sessions", [(T0, BAD)]))
    partition.pass_time(T0 + DAY)
    assert partition.settled_through() == {}
    assert partition.watermark_ms is None


@pytest.mark.parametrize("topic", ["sessions", "tickets"])
@pytest.mark.parametrize("at_ms", [-5 * DAY, -1, 0, 1])
def test_the_epoch_is_an_instant_like_any_other(topic, at_ms):
    make = page if topic == "sessions" else step
    kinds = {"type": "page_view"} if topic == "sessions" else {"kind": "resolved"}
    ends = []
    for shift_ms in (0, 10_000 * DAY):
        start_ms = at_ms + shift_ms
        partition = partition_of(topic)
        feed(partition, topic, make(start_ms, **kinds), make(start_ms + 2 * MINUTE, **kinds))
        feed(partition, topic, make(start_ms + 90 * DAY, **kinds))
        ends.append(
            sum(
                cell.get("sessions", cell.get("incomplete", 0))
                for (size, *_), cell in settled(partition, topic).items()
                if size == 4
            )
        )
    assert ends[0] == ends[1] == 1


# --- positions -----------------------------------------------------------------------------------


def test_the_position_follows_offsets_over_gaps():
    partition = partition_of()
    records = [(T0, click(T0)), (T0, click(T0))]
    partition.fold(batch("clicks", records, 5, end=20, offsets=[7, 12]))
    assert partition.position == 20


def test_a_batch_without_records_moves_the_position():
    partition = partition_of()
    folded = partition.fold(batch("clicks", [], 0, end=9))
    assert partition.position == 9
    assert folded.outcomes == {}
    assert partition.is_dirty
    assert partition.drain(0).entries.keys() == {META}


def test_what_lies_before_the_position_is_not_counted_again():
    partition, events = partition_of(), [click(T0 + n) for n in range(4)]
    records = [(T0 + n, event) for n, event in enumerate(events)]
    partition.fold(batch("clicks", records[:2]))
    for outcomes in ({Outcome.COUNTED: 2}, {}):
        assert partition.fold(batch("clicks", records)).outcomes == outcomes
        assert partition.position == 4
    partition.drain(0)
    assert cells(partition, "clicks")[0][0, 0, ("(not set)",) * 4] == {"clicks": 4}


def test_the_position_never_goes_back():
    partition = partition_of()
    partition.skip_to(50)
    partition.skip_to(10)
    assert partition.fold(batch("clicks", [(T0, click(T0))], 49)).outcomes == {}
    assert partition.position == 50


# --- pauses --------------------------------------------------------------------------------------


def test_a_partition_full_of_bad_records_pauses_behind_the_record_that_tips():
    partition = partition_of()
    folded = partition.fold(batch("clicks", [(T0, BAD)] * 1_200, 100))
    assert partition.is_paused
    assert (partition.position, len(folded.drops)) == (1_100, 1_000)
    assert partition.fold(batch("clicks", [(T0, click(T0))], 1_100)).outcomes == {}
    assert partition.position == 1_100
    partition.resume(None)
    folded = partition.fold(batch("clicks", [(T0, BAD)] * 200 + [(T0, click(T0))], 1_100))
    assert (partition.position, folded.outcomes[Outcome.COUNTED]) == (1_301, 1)


def test_a_resume_may_skip_ahead_but_not_back():
    partition = partition_of()
    partition.fold(batch("clicks", [(T0, BAD)] * 1_000))
    partition.resume(5)
    assert (partition.is_paused, partition.position) == (False, 1_000)
    partition.fold(batch("clicks", [(T0, BAD)] * 1_000, 1_000))
    partition.resume(5_000)
    assert (partition.is_paused, partition.position) == (False, 5_000)


def test_a_pause_survives_a_restart_and_so_does_a_resume():
    partition, ledger = partition_of(), dict[bytes, bytes]()
    partition.fold(batch("clicks", [(T0, BAD)] * 1_000))
    for paused in (True, False):
        write(partition, ledger, 0)
        partition = partition_of()
        partition.load(ledger)
        assert (partition.is_paused, partition.position) == (paused, 1_000)
        partition.resume(None)


@pytest.mark.parametrize("reason", [Reason.FUTURE, Reason.OVERSIZE])
def test_readable_records_never_pause(reason):
    partition = partition_of()
    bad = click(T0 + DAY) if reason is Reason.FUTURE else b" " * 65_537
    folded = partition.fold(batch("clicks", [(T0, bad)] * 1_500))
    assert Counter(reasons(folded)) == {reason: 1_500}
    assert not partition.is_paused


# --- outcomes ------------------------------------------------------------------------------------


def test_drops_come_in_the_order_of_their_offsets_whatever_their_reason():
    partition = partition_of("sessions")
    feed(partition, "sessions", page(T0))
    records = [
        (T0, page(T0 - HOUR, "w")),
        (T0, BAD),
        (T0, page(T0 + DAY)),
        (T0, page(T0 - 3_000 * DAY)),
        (T0, b" " * 65_537),
        (T0, page(T0, type="click")),
        (T0, None),
        (T0, page(T0, visitor=None)),
    ]
    folded = partition.fold(batch("sessions", records, 1))
    assert [(drop.offset, drop.reason) for drop in folded.drops] == [
        (1, Reason.LATE),
        (2, Reason.MALFORMED),
        (3, Reason.FUTURE),
        (4, Reason.TOO_LATE),
        (5, Reason.OVERSIZE),
        (6, Reason.UNKNOWN_TYPE),
        (7, Reason.MALFORMED),
        (8, Reason.INVALID),
    ]
    assert folded.outcomes == {Outcome.DEAD_LETTER: 8}


@pytest.mark.parametrize(("topic", "make"), [("sessions", page), ("tickets", step)])
def test_a_counted_record_whose_key_is_not_its_id_is_miskeyed(topic, make):
    partition, twice = partition_of(topic), make(T0)
    events = [twice, make(T0), make(T0), twice, make(T0 + DAY)]
    good = b"v" if topic == "sessions" else b"t"
    keys = [good, None, b"x", b"x", b"x"]
    folded = partition.fold(batch(topic, [(T0, event) for event in events], keys=keys))
    assert folded.miskeyed == 2


def test_a_miskeyed_record_is_told_though_its_id_was_not_checked():
    partition = partition_of("sessions", dedupe_horizon_ms=MINUTE)
    records = [(T0, page(T0)), (T0, page(T0 - 2 * MINUTE))]
    folded = partition.fold(batch("sessions", records, keys=[b"v", b"x"]))
    assert folded.outcomes == {Outcome.COUNTED: 1, Outcome.UNCHECKED: 1}
    assert folded.miskeyed == 1


def test_miskeyed_records_on_both_sides_of_a_pause_are_told():
    records = [(T0, page(T0)), (T0 + DAY, page(T0 + DAY)), (T0 + DAY, page(T0 + DAY))]
    folded = partition_of("sessions").fold(batch("sessions", records, keys=[b"x", b"y", b"v"]))
    assert folded.miskeyed == 2


def test_where_nobody_asks_for_keys_nothing_is_miskeyed():
    assert feed(partition_of("sessions"), "sessions", page(T0), keys=[]).miskeyed == 0


# --- in pieces ---


@pytest.mark.parametrize("pieces", range(2, 9))
def test_what_readers_are_shown_agrees_however_far_a_roll_has_come(pieces):
    ends = []
    for most in (pieces, 100):
        partition = partition_of("sessions")
        for at_ms in (T0, T0 + MINUTE, T0 + DAY):
            feed(partition, "sessions", page(at_ms), page(at_ms, "other"))
            counting = partition.count_up()
            for _ in islice(counting, most):
                pass
        ends.append(dict(partition.picture()))
    assert ends[0] == ends[1]


def test_what_has_settled_never_goes_back():
    partition = partition_of("sessions")
    feed(partition, "sessions", page(T0), page(T0, "other"))
    assert partition.pass_time(T0 + DAY)
    settled = partition.settled_through()
    assert partition.pass_time(T0 + DAY - MINUTE)
    assert partition.settled_through() == settled


# --- guards --------------------------------------------------------------------------------------


def test_a_visitor_of_very_many_sessions_stays_small_and_every_session_counts():
    partition = partition_of("sessions", allowed_lateness_ms=MINUTE, dedupe_horizon_ms=MINUTE)
    for start in range(0, 6_000, 500):
        events = [page(T0 + n * 100, session_id=f"s{n}") for n in range(start, start + 500)]
        assert feed(partition, "sessions", *events).outcomes == {Outcome.COUNTED: 500}
        partition.drain(0)
        [kept] = [value for key, value in partition.table.items() if key[:1] == b"i"]
        assert partition.sizes()["open"] <= Frame.MAX_VISITS + 2 * Frame.MAX_MARKS
        assert len(kept) < 200_000
    day = Calendar().day(T0)[0]
    live, _ = cells(partition, "sessions")
    where = 4, day, ("(not set)",) * 3
    assert live[where]["sessions"] == live[where]["single_interaction"] == 6_000
    feed(partition, "sessions", page(T0 + 2 * HOUR, "other"))
    assert settled(partition)[where]["sessions"] == 6_000


def test_a_visitor_with_too_many_sessions_loses_the_ones_silent_longest(monkeypatch):
    monkeypatch.setattr(Frame, "MAX_VISITS", 4)
    partition = partition_of("sessions", allowed_lateness_ms=0)
    feed(partition, "sessions", *(page(T0 + n, session_id=f"s{n}") for n in range(5)))
    feed(partition, "sessions", *(page(T0 + 10, session_id=f"s{n}") for n in range(4)))
    feed(partition, "sessions", page(T0 + 11, session_id="s4"), page(T0 + 20, session_id="s0"))
    live, _ = cells(partition, "sessions") if partition.drain(0) else ({}, {})
    cell = live[4, Calendar().day(T0)[0], ("(not set)",) * 3]
    assert cell["page_views"] == 11
    assert 5 < cell["sessions"] < 11


@pytest.fixture
def few_kept(monkeypatch):
    monkeypatch.setattr(Frame, "MAX_MARKS", 4)
    monkeypatch.setattr(Frame, "MAX_VISITS", 4)
    return Frame(RULES, Calendar())


def test_of_too_many_events_the_older_half_is_settled_in_order(few_kept):
    visitor, settled_now = Visitor([], []), list[Visit]()
    for n in (4, 1, 3, 0, 2):
        mark = Mark(T0 + n, PAGE_VIEW, f"e{n}", 0, 0)
        assert take_in(visitor, mark, T0 - 1, few_kept, settled_now)
    assert [mark.at_ms - T0 for mark in visitor.marks] == [3, 4]
    assert [(visit.first_ms, visit.page_views) for visit in visitor.visits] == [(T0, 3)]
    assert visitor.floor_ms == T0 + 3
    assert take_in(visitor, Mark(T0 + 1, PAGE_VIEW, "e9", 0, 0), T0 - 1, few_kept, settled_now)
    assert len(visitor.marks) == 2, "what comes before the floor joins sums"
    assert visitor.visits[0].page_views == 4
    assert not settled_now


def test_of_too_many_sessions_the_half_that_was_silent_longest_is_let_go(few_kept):
    alive = {1: (0, 9), 2: (1, 0), 3: (0, 5), 4: (7, 0), 5: (2, 2), 6: (3, 0)}
    visits = [
        Visit(T0, 0, session, last, page_views=2, idle=idle)
        for session, (last, idle) in alive.items()
    ]
    visitor, settled_now = Visitor(visits, []), list[Visit]()
    mark = Mark(T0 + 20, PAGE_VIEW, "e", 1, 0)
    assert take_in(visitor, mark, T0 + 10, few_kept, settled_now)
    assert [visit.session for visit in visitor.visits] == [1, 3, 4]
    assert [visit.session for visit in settled_now] == [2, 5, 6]


def test_a_full_session_takes_no_event_from_others_though_it_has_settled():
    rules = {"session_max_ms": 3 * HOUR, "session_id_timeout_ms": 2 * HOUR}
    events = [
        page(T0, session_id="a"),
        page(T0 + 110 * MINUTE, session_id="a"),
        page(T0 + 178 * MINUTE, session_id="b"),
        page(T0 + 179 * MINUTE, session_id="a"),
        page(T0 + 191 * MINUTE, "other"),  # the watermark passes the cap of "a"
        page(T0 + 192 * MINUTE),  # nearest to "a", which is full: a session of its own
        page(T0 + 193 * MINUTE, "other"),
    ]
    for size in (1, 5, 6, 7):
        partition = partition_of("sessions", **rules)
        for at in range(0, len(events), size):
            feed(partition, "sessions", *events[at : at + size])
        partition.drain(0)
        live = [c for (s, at, _), c in cells(partition, "sessions")[0].items() if s == 4]
        assert sum(cell["sessions"] for cell in live) == 4, size
        assert sum(cell["page_views"] for cell in live) == 7


@pytest.mark.parametrize(("first", "last"), [("a", "b"), ("b", "a")])
def test_of_two_sessions_active_at_one_instant_the_later_in_order_is_the_nearest(first, last):
    events = [
        page(T0, session_id=last, campaign="x"),
        page(T0, session_id=first, campaign="y"),
        {**page(T0 + 10, session_id=first), "event_id": "1"},
        {**page(T0 + 10, session_id=last), "event_id": "2"},
        page(T0 + 20),
    ]
    if last == "b":
        events[:2] = [{**page(T0 - 1, session_id=first, campaign="y")}, events[0]]
    partition = partition_of("sessions")
    feed(partition, "sessions", *events)
    partition.drain(0)
    live, _ = cells(partition, "sessions")
    views = {labels[0]: cell["page_views"] for (s, _, labels), cell in live.items() if s == 4}
    assert views == {"x": 3, "y": 2}


@pytest.mark.parametrize("size", [1, 2, 3])
def test_label_sets_are_admitted_along_the_log_wherever_a_batch_ends(size):
    events = [
        step(T0, channel="x"),
        step(T0 + 1, "resolved", team="y"),  # the ticket is one of x and y
        step(T0 + 2, ticket="other", channel="z"),
    ]
    partition = partition_of("tickets", max_label_sets=3)
    for at in range(0, 3, size):
        feed(partition, "tickets", *events[at : at + size])
    partition.drain(0)
    live, _ = cells(partition, "tickets")
    resolved = {
        labels for (s, _, labels), cell in live.items() if s == 4 and "still_open" not in cell
    }
    assert resolved == {("x", "y")}
    assert live[0, 0, ("(other)", "(other)")] == {"opened_total": 1, "open": 1}


def test_sums_that_no_64_bits_hold_are_exact_and_stop_nothing():
    partition, ledger = partition_of(), dict[bytes, bytes]()
    for _ in range(3):
        feed(partition, "clicks", *(click(T0, cost=10**12) for _ in range(10)))
        write(partition, ledger, 0)
        partition = partition_of()
        partition.load(ledger)
    live, _ = cells(partition, "clicks")
    assert live[0, 0, ("(not set)",) * 4]["cost_micros"] == 30 * 10**18
    sessions = partition_of("sessions")
    worth = {"type": "conversion", "value": str(10**12)}
    feed(sessions, "sessions", *(page(T0 + n, **worth) for n in range(20)))
    assert sessions.drain(0).entries


# --- the ledger ----------------------------------------------------------------------------------


def test_a_ledger_is_named_once():
    partition, ledger = partition_of(), dict[bytes, bytes]()
    assert partition.name(b"first") == b"first"
    assert partition.is_dirty
    write(partition, ledger, 0)
    assert partition.name(b"second") == b"first"
    assert not partition.is_dirty
    again = partition_of()
    again.load(ledger)
    assert again.name(b"third") == b"first"


def test_an_empty_ledger_is_a_beginning():
    partition = partition_of()
    partition.load({})
    assert (partition.position, partition.is_dirty) == (0, False)


def test_state_of_another_format_or_of_other_rules_is_refused():
    partition, ledger = partition_of(), dict[bytes, bytes]()
    feed(partition, "clicks", click(T0))
    write(partition, ledger, 0)
    other = replace(RULES, session_timeout_ms=1)
    with pytest.raises(ValueError, match=f"other rules.*{RULES.definition_id}"):
        Partition("clicks", other, Calendar(), PSEUDONYMS).load(ledger)
    meta = msgspec.msgpack.decode(ledger[META])
    with pytest.raises(ValueError, match="format 99"):
        partition_of().load({**ledger, META: msgspec.msgpack.encode([99, *meta[1:]])})
    with pytest.raises(ValueError, match="another key"):
        Partition("clicks", RULES, Calendar(), Pseudonyms(bytes(16))).load(ledger)
    del ledger[META]
    with pytest.raises(ValueError, match="how far"):
        partition_of().load(ledger)


def test_a_drain_holds_the_position_with_the_counts_and_then_nothing():
    partition = partition_of()
    feed(partition, "clicks", click(T0))
    assert partition.is_dirty
    kinds = Counter(key[:1] for key in partition.drain(0).entries)
    assert kinds == {b"m": 1, b"l": 1, b"c": 10, b"d": 1}  # a cell and a span of each size
    assert not partition.is_dirty
    assert partition.drain(0).entries == {}


def test_what_became_of_all_records_is_summed_up_across_restarts():
    partition, ledger = partition_of(), dict[bytes, bytes]()
    for _ in range(2):
        feed(partition, "clicks", click(T0, event_id="twice"), click(T0))
        partition.fold(batch("clicks", [(T0, BAD), (T0, click(T0 + HOUR))], partition.position))
        write(partition, ledger, 0)
        partition = partition_of()
        partition.load(ledger)
    told: dict[str, int] = {Outcome.COUNTED: 3, Outcome.DUPLICATE: 1, Outcome.DEAD_LETTER: 4}
    assert dict(partition.tally) == told | {Reason.MALFORMED: 2, Reason.FUTURE: 2}


# --- ids -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("visitors", [1, 50])
def test_no_id_of_a_visitor_a_session_or_an_event_is_in_the_ledger(visitors):
    """Neither one by one nor as a crowd, in order or not, as text or as the bytes of a UUID."""
    partition, shown = partition_of("sessions"), set()
    for at_ms in (T0, T0 + MINUTE, T0 + SECOND):
        events = []
        for n in range(visitors):
            ids = {"visitor": f"visitor-{n}", "session_id": f"session-{n}"}
            events.append(page(at_ms, event_id=str(uuid4()), **ids))
            events.append(page(at_ms + 1, event_id=f"event-{at_ms}-{n}", **ids))
        feed(partition, "sessions", *events)
        for event in events:
            shown |= {event[name].encode() for name in ("visitor_id", "session_id", "event_id")}
            if event["event_id"].count("-") == 4:
                shown.add(UUID(event["event_id"]).bytes)
        ledger = b"".join(key + (raw or b"") for key, raw in partition.drain(0).entries.items())
        assert not [one for one in shown if one in ledger]


def test_a_session_that_silence_settles_leaves_the_others_what_was_theirs():
    """Of two that go on at one instant, the one that is over must not hide the other one's end."""
    partition = partition_of(
        "sessions",
        allowed_lateness_ms=45 * MINUTE,
        session_id_timeout_ms=2 * HOUR,
        session_max_ms=3 * HOUR,
    )
    feed(
        partition,
        "sessions",
        page(T0, session_id="b"),
        page(T0 + 1, session_id="a"),
        page(T0 + 45 * MINUTE),
        page(T0 + 2 * HOUR, event_id="2", session_id="b"),
        page(T0 + 2 * HOUR, event_id="1"),
    )
    feed(partition, "sessions", page(T0 + 225 * MINUTE + 1, visitor="w"))  # b is over
    feed(partition, "sessions", page(T0 + 9 * HOUR, visitor="w"))
    assert settled(partition)[Size.D1, Calendar().day(T0)[0], ("(not set)",) * 3] == {
        "sessions": 3,
        "page_views": 6,
        "with_page_view": 3,
        "duration_ms": 4 * HOUR - 1,
        "single_interaction": 1,
        "bounced_ga4": 1,
        "bounced_posthog": 1,
        "bounced_matomo": 1,
    }


@pytest.mark.parametrize("few", [1, 1_000])
@pytest.mark.parametrize(("at_ms", "sessions"), [(DAY - 1, 1), (DAY, 2)])
def test_midnight_parts_a_session_one_by_one_and_in_a_crowd(few, at_ms, sessions, monkeypatch):
    monkeypatch.setattr(visitors, "FEW", few)
    partition, day = partition_of("sessions", split_at_midnight=True), Calendar().day(T0)[0]
    feed(partition, "sessions", page(day + DAY - MINUTE))
    feed(partition, "sessions", page(day + at_ms))
    partition.drain(0)
    assert partition.sizes()["open"] == sessions
