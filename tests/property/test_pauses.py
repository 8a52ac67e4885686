"""Time that passes without records settles the same, in however many steps it does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.buckets import Calendar
from stream.core.partition import Partition
from stream.slices import slices
from tests import strategies as worlds
from tests.property.test_partition_laws import core_rules
from tests.support.play import PSEUDONYMS, batch_of, cells, play, write


@pytest.mark.parametrize("topic", ["sessions", "tickets"])
@given(data=st.data())
def test_a_pause_settles_the_same_in_one_step_or_in_many(topic, data):
    plain = data.draw(worlds.rules())
    rules = core_rules(plain)
    log = worlds.to_records(topic, data.draw(worlds.wild_logs(topic, plain)))
    half = data.draw(st.integers(1, len(log)))
    pause_ms = data.draw(st.sampled_from([rules.allowed_lateness_ms + 1, 10**7, 10**9]))
    restarts = data.draw(st.booleans())
    ends = []
    for at_once in (None, 1):
        partition, _ = play(topic, [log[:half]], rules)
        ledger = dict(partition.table.items())
        now_ms, steps = partition.record_ms + pause_ms, 0
        while not partition.pass_time(now_ms, at_once):
            steps += 1
            write(partition, ledger, sweep=0)
            if restarts:
                partition = Partition(topic, rules, Calendar(rules.timezone), PSEUDONYMS)
                partition.load(dict(ledger))
        assert at_once or not steps
        paused = cells_of(partition, topic, ledger)
        if half < len(log):
            partition.fold(batch_of(topic, log[half:]))
        ends.append((paused, cells_of(partition, topic, ledger)))
    assert ends[0] == ends[1]


@pytest.mark.parametrize("topic", ["sessions", "tickets"])
@given(data=st.data())
def test_what_a_record_settles_may_be_settled_before_it_in_many_steps(topic, data):
    plain = data.draw(worlds.rules())
    rules = core_rules(plain)
    log = worlds.to_records(topic, data.draw(worlds.wild_logs(topic, plain)))
    ends = []
    for at_once in (None, 1):
        partition = Partition(topic, rules, Calendar(rules.timezone), PSEUDONYMS)
        for part in slices(batch_of(topic, log), pause_ms=rules.allowed_lateness_ms):
            while at_once and not partition.pass_time(part.timestamps[0], at_once):
                pass
            partition.fold(part)
        ends.append(cells_of(partition, topic, {}))
    whole = Partition(topic, rules, Calendar(rules.timezone), PSEUDONYMS)
    whole.fold(batch_of(topic, log))
    assert ends == [cells_of(whole, topic, {})] * 2


def cells_of(partition, topic, ledger):
    """All figures, and how far they are final."""
    write(partition, ledger, sweep=0)
    return cells(partition, topic), partition.settled_through()
