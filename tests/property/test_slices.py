"""However a log of clicks is sliced, drained or recovered, the state is the same: in bulk too."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core import event_reader
from stream.core.buckets import Calendar
from stream.core.partition import Partition
from stream.core.records import RecordBatch
from stream.core.rules import Rules
from stream.core.texts import Texts
from stream.slices import slices
from tests.strategies import to_value
from tests.support.play import PSEUDONYMS, cells, reasons, write

T0 = 1_760_000_000_000
RULES = Rules(dedupe_max_ids=64, dedupe_horizon_ms=600_000, max_label_sets=6)
BAD = [b"{", None, b"\xff", b'{"event_id":"a","type":"no","timestamp":1}']


@st.composite
def logs(draw):
    """Values in offset order: few forms, few ids, more label sets than are admitted."""
    values = []
    for number in range(draw(st.integers(1, 60))):
        if draw(st.integers(0, 19)) == 19:
            values.append(draw(st.sampled_from(BAD)))
            continue
        event = {
            "event_id": f"e{draw(st.integers(0, 80)):02}",
            "type": draw(st.sampled_from(["click", "impression"])),
            "timestamp": T0
            + number * 1_000
            - draw(st.sampled_from([0, 0, 5_000, 700_000, 10**12])),
            "campaign": draw(st.sampled_from("abcdefgh")),
        }
        if draw(st.booleans()):
            event["cost"] = draw(st.sampled_from(["0.5", "1000000000000", 2]))
        values.append(to_value(event))
    return values


def batch_of(values, texts):
    stamps = [T0 + number * 1_000 for number in range(len(values))]
    held = Texts.of(values) if texts else values
    return RecordBatch("clicks", 0, 0, len(values), range(len(values)), held, [], stamps)


def play(values, *, size, few, texts, restart, drain_each):
    """The cells, the tally, drops and what is remembered after the log, in slices of a size."""
    drops, ledger = [], dict[bytes, bytes]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stream.slices.SLICE_RECORDS", size)
        patch.setattr(event_reader, "FEW", few)
        patch.setattr(event_reader, "PAGE", 5)
        partition = Partition("clicks", RULES, Calendar(), PSEUDONYMS)
        for number, part in enumerate(slices(batch_of(values, texts))):
            drops += partition.fold(part).drops
            if drain_each or number in restart:
                write(partition, ledger, 3)
            if number in restart:
                partition = Partition("clicks", RULES, Calendar(), PSEUDONYMS)
                partition.load(dict(ledger))
        write(partition, ledger, 0)
    state = partition.dedupe.state()
    return cells(partition, "clicks"), dict(partition.tally), drops, partition.clock_ms, state


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("few", [1, 1_000])
def test_a_duplicate_click_takes_its_label_set_in_where_it_stands_in_the_log(
    size, few, monkeypatch
):
    names = [("a", "x"), ("a", "y"), ("b", "z")]
    values = [
        to_value({"event_id": i, "type": "click", "timestamp": T0, "campaign": campaign})
        for i, campaign in names
    ]
    monkeypatch.setattr("stream.slices.SLICE_RECORDS", size)
    monkeypatch.setattr(event_reader, "FEW", few)
    rules = replace(RULES, max_label_sets=2)
    partition = Partition("clicks", rules, Calendar(), PSEUDONYMS)
    for part in slices(batch_of(values, texts=True)):
        partition.fold(part)
    assert {labels[0] for labels in partition.cube._labels} == {"x", "y", "(other)"}


@given(
    values=logs(),
    size=st.integers(1, 70),
    few=st.sampled_from([1, 1_000]),
    texts=st.booleans(),
    restart=st.frozensets(st.integers(0, 8), max_size=3),
    drain_each=st.booleans(),
)
def test_any_slices_any_reading_and_any_restart_give_the_same_state(
    values, size, few, texts, restart, drain_each
):
    whole = play(values, size=1_000, few=1_000, texts=False, restart=(), drain_each=False)
    other = play(values, size=size, few=few, texts=texts, restart=restart, drain_each=drain_each)
    assert other == whole


@pytest.mark.parametrize("topic", ["sessions", "tickets"])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_duplicate_takes_its_label_set_in_where_it_stands_in_the_log(topic, size):
    owner = {"sessions": "visitor_id", "tickets": "ticket_id"}[topic]
    kind = {"sessions": "page_view", "tickets": "opened"}[topic]
    names = [("a", "x"), ("a", "y"), ("b", "z")]  # the second is a duplicate, of other names
    values = [
        to_value({"event_id": i, "type": kind, "timestamp": T0, owner: "o" + i, "channel": channel})
        for i, channel in names
    ]
    rules = replace(RULES, max_label_sets=2)
    partition = Partition(topic, rules, Calendar(), PSEUDONYMS)
    whole = replace(batch_of(values, texts=False), topic=topic)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stream.slices.SLICE_RECORDS", size)
        for part in slices(whole):
            assert reasons(partition.fold(part)) == {}
    partition.drain(0)
    known = {values[0 if topic == "tickets" else 1] for values in partition.cube._labels}
    assert known == {"x", "y", "(other)"}
