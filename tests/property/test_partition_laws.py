"""The laws of a partition: its rows are those of the reference, however the log comes."""

from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core import desk, visitors
from stream.core.rules import Rules
from tests import strategies as worlds
from tests.reference import Rules as PlainRules
from tests.reference import partition_truth
from tests.support.play import cells, play, reasons, tally

TOPICS = ["clicks", "sessions", "tickets"]


@pytest.fixture(autouse=True, scope="module")
def _even_one_is_a_crowd():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(visitors, "FEW", 1)
        yield


def core_rules(plain: PlainRules) -> Rules:
    fields = asdict(plain)
    fields["split_at_midnight"] = fields.pop("session_split_midnight")
    return Rules(**fields)


def check(topic, plain, log, batches, **how):
    """Play a log in given batches and compare all there is with the reference."""
    partition, told = play(topic, batches, core_rules(plain), **how)
    clock_ms = partition_truth(topic, log, plain).clock_ms
    truth = partition_truth(topic, log, plain, settle_clock_ms=clock_ms)
    expected_drops = {
        offset: outcome
        for offset, outcome in truth.outcomes.items()
        if outcome not in ("counted", "unchecked", "duplicate")
    }
    assert reasons(told) == expected_drops
    assert told.outcomes == tally(truth.outcomes.values())
    live, settled = cells(partition, topic)
    assert live == truth.live
    if topic != "clicks":
        assert settled == truth.settled
    assert told.miskeyed == truth.miskeyed
    return partition


@pytest.mark.parametrize("topic", TOPICS)
@given(data=st.data())
def test_rows_are_those_of_sort_then_count(topic, data):
    plain = data.draw(worlds.rules())
    log = worlds.to_records(topic, data.draw(worlds._logs(topic, plain)))
    check(topic, plain, log, [log])


@pytest.mark.parametrize("topic", TOPICS)
@given(data=st.data())
def test_any_split_into_batches_and_any_restart_gives_the_same_rows(topic, data):
    plain = data.draw(worlds.rules())
    log = worlds.to_records(topic, data.draw(worlds._logs(topic, plain)))
    batches = data.draw(worlds.cuts(log))
    restarts = data.draw(st.frozensets(st.integers(0, len(batches) - 1)))
    check(topic, plain, log, batches, drain_each=data.draw(st.booleans()), restart_after=restarts)


@pytest.mark.parametrize("topic", TOPICS)
@given(data=st.data())
def test_counting_in_pieces_between_batches_changes_nothing(topic, data):
    plain = data.draw(worlds.rules())
    log = worlds.to_records(topic, data.draw(worlds._logs(topic, plain)))
    batches = data.draw(worlds.cuts(log))
    pieces = [data.draw(st.integers(0, 9)) for _ in batches]
    restarts = data.draw(st.frozensets(st.integers(0, len(batches) - 1)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(desk, "MANY", data.draw(st.sampled_from([0, 3])))
        patch.setattr(desk, "MAX_DECODED", data.draw(st.sampled_from([1, 1_000])))
        check(topic, plain, log, batches, pieces=pieces, restart_after=restarts)


@pytest.mark.parametrize("topic", TOPICS)
@given(data=st.data())
def test_without_any_promise_of_order_the_log_alone_decides(topic, data):
    plain = data.draw(worlds.rules())
    log = worlds.to_records(topic, data.draw(worlds.wild_logs(topic, plain)))
    one, told = play(topic, [log], core_rules(plain))
    batches = data.draw(worlds.cuts(log))
    restarts = data.draw(st.frozensets(st.integers(0, len(batches) - 1)))
    other, told_other = play(topic, batches, core_rules(plain), restart_after=restarts)
    assert cells(one, topic) == cells(other, topic)
    assert told == told_other


@pytest.mark.parametrize("topic", TOPICS)
@given(data=st.data())
def test_any_order_within_the_allowed_lateness_gives_the_same_rows(topic, data):
    plain = data.draw(worlds.rules())
    one, other = data.draw(worlds.orders(topic, plain, bad=False))
    ends = []
    for log in (one, other):
        records = worlds.to_records(topic, log)
        partition, _ = play(topic, [records], core_rules(plain))
        ends.append(cells(partition, topic)[0])
    assert ends[0] == ends[1]


def without_ambiguity(log, has_ids):
    """The same log where every session event has an id, or none has, and pings come last in ties.

    What comes behind the watermark finds sums, not events. Where events with and without ids mix,
    or an event ties with the first of a session, it may join another of the sessions open around
    it than it does in the reference, which sorts them all; and an `end` does not split sums.
    """
    ids = dict[str, str]()
    for _, event in log:
        if (old := event["event_id"]) not in ids.values():
            last = event["type"] in ("ping", "end")
            event["event_id"] = ids.setdefault(old, f"{'z' if last else ''}{len(ids):03}")
        event.pop("session_id", None)
        if event["type"] == "end":
            event["type"] = "ping"
        if has_ids:
            event["session_id"] = "a" if old < "5" else "b"
    return log


@pytest.mark.parametrize("topic", TOPICS)
@given(data=st.data())
def test_a_wild_log_is_what_the_reference_says(topic, data):
    plain = data.draw(worlds.rules())
    log = data.draw(worlds.wild_logs(topic, plain))
    if topic == "sessions":
        log = without_ambiguity(log, data.draw(st.booleans()))
    records = worlds.to_records(topic, log)
    check(topic, plain, records, [records])
