"""With every guard of memory within reach, the log alone still decides.

The reference knows no guards; so a log is compared with itself, cut and restarted elsewhere.
"""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core import cube, guard, tickets, visitors
from stream.core.rules import Rules
from stream.core.sessions import Frame
from tests import strategies as worlds
from tests.support.play import cells, play

TOPICS = ["clicks", "sessions", "tickets"]
HOUR = 3_600_000


@pytest.fixture(autouse=True, scope="module")
def _guards_within_reach():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(visitors, "FEW", 1)
        patch.setattr(Frame, "MAX_MARKS", 4)
        patch.setattr(Frame, "MAX_VISITS", 2)
        patch.setattr(tickets, "MAX_STEPS", 4)
        patch.setattr(guard, "WINDOW", 6)
        patch.setattr(cube, "QUIET_SLOTS", 0)
        patch.setattr(cube, "PACKED_AT_ONCE", 3)
        yield


@st.composite
def narrow(draw, plain) -> Rules:
    """Rules of the core under which caps are met all the time."""
    return Rules(
        allowed_lateness_ms=plain.allowed_lateness_ms,
        session_timeout_ms=plain.session_timeout_ms,
        session_id_timeout_ms=plain.session_id_timeout_ms,
        session_max_ms=draw(st.sampled_from([plain.session_timeout_ms, 3 * HOUR])),
        session_max_interactions=draw(st.sampled_from([2, 3, 2_500])),
        split_at_midnight=plain.session_split_midnight,
        timezone=plain.timezone,
        fcr_reopen_window_ms=plain.fcr_reopen_window_ms,
        ticket_retention_ms=2 * plain.fcr_reopen_window_ms,
        dedupe_horizon_ms=plain.dedupe_horizon_ms,
        dedupe_max_ids=draw(st.sampled_from([1, 40, 1_000])),
        max_label_sets=draw(st.sampled_from([1, 3, 1_000])),
    )


@pytest.mark.parametrize("topic", TOPICS)
@given(data=st.data())
def test_the_log_alone_decides_though_guards_are_met(topic, data):
    plain = data.draw(worlds.rules())
    rules = data.draw(narrow(plain))
    events = data.draw(worlds.wild_logs(topic, plain))
    for place in data.draw(st.lists(st.integers(0, len(events)), max_size=6)):
        events.insert(place, (events[max(0, place - 1)][0], b"no event"))
    log = worlds.to_records(topic, events)
    batches = data.draw(worlds.cuts(log))
    restarts = data.draw(st.frozensets(st.integers(0, len(batches) - 1)))
    one, told = play(topic, [log], rules)
    other, told_other = play(topic, batches, rules, drain_each=True, restart_after=restarts)
    assert told_other == told
    assert cells(other, topic) == cells(one, topic)
    assert (other.position, other.is_paused) == (one.position, one.is_paused)
    assert all(
        n >= 0 for part in cells(one, topic) for cell in part.values() for n in cell.values()
    )


@pytest.mark.parametrize("topic", TOPICS)
@given(data=st.data())
def test_time_that_passes_without_records_changes_nothing_that_the_next_record_would_not(
    topic, data
):
    plain = data.draw(worlds.rules())
    rules = replace(data.draw(narrow(plain)), dedupe_max_ids=1_000)
    log = worlds.to_records(topic, data.draw(worlds.wild_logs(topic, plain)))
    silences = data.draw(st.lists(st.integers(0, 100), min_size=len(log), max_size=len(log)))
    one, told = play(topic, [log], rules)
    other, told_other = play(topic, [[r] for r in log], rules, silences=silences)
    assert told_other == told
    assert cells(other, topic) == cells(one, topic)
