"""A crowd comes to what its visitors come to one by one, after every batch and in every state."""

import random
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core import visitors
from stream.core.arrivals import sealing
from stream.core.buckets import Calendar
from stream.core.sessions import Frame
from stream.core.visitor import absorb, current, forget
from stream.core.visitor_forms import decode
from tests import strategies as worlds
from tests.property.test_guard_laws import narrow
from tests.property.test_partition_laws import check, core_rules
from tests.reference.model import next_day_start
from tests.support.play import PSEUDONYMS, batch_of, cells, play, write

NAMES = uuid.UUID(int=1)


def walks(chance, rules):
    """Events of visitors who mostly do one thing after the other, in one session each."""
    spans = [rules.session_timeout_ms, rules.session_id_timeout_ms, rules.allowed_lateness_ms]
    steps = [1, 9_999, 10_000, 60_000, 60_001] * 2
    steps += [0, *(span + d for span in spans for d in (-1, 0, 1))]
    kinds = ["page_view"] * 8 + ["action", "conversion", "conversion", "ping", "ping", "end"]
    midnight_ms = next_day_start(worlds.START_MS, rules.timezone)
    events = []
    for visitor in range(chance.randint(1, 4)):
        at_ms = chance.choice([worlds.START_MS, worlds.START_MS + 7, midnight_ms - 60_000])
        usual = chance.choice([None, "a"])
        for number in range(chance.randint(1, 9)):
            one = {"event_id": f"{chance.randint(0, 9)}-{visitor}-{number}", "timestamp": at_ms}
            one |= {"visitor_id": f"v{visitor}", "type": chance.choice(kinds)}
            one["session_id"] = chance.choice([usual] * 8 + ["b", None])
            one["campaign"] = chance.choice(["x", "x", "x", "y", None])
            one["value"] = chance.choice([None, 1, "-2.5", 10**12])
            if chance.random() < 0.5:
                one["event_id"] = str(uuid.uuid5(NAMES, one["event_id"]))
            events.append({name: value for name, value in one.items() if value is not None})
            at_ms += chance.choice(steps)
    return events


@st.composite
def logs(draw, rules):
    """Logs of walks, in order or not, or wild ones."""
    if not draw(st.integers(0, 3)):
        return worlds.to_records("sessions", draw(worlds.wild_logs("sessions", rules)))
    chance = random.Random(draw(st.integers(0, 1 << 32)))
    late_ms = draw(st.sampled_from([0, 0, 60_000, 10**7]))
    ordered = sorted(
        walks(chance, rules),
        key=lambda event: event["timestamp"] + (late_ms if chance.random() < 0.2 else 0),
    )
    return worlds.to_records("sessions", worlds._log(ordered, 0))


def known(partition, frame):
    """What is known of each visitor: bytes may differ, for marks are given up at leisure."""
    found, watermark_ms = {}, partition.watermark_ms or 0
    for key, raw in partition.table.items():
        if key[:1] != b"i":
            continue
        visitor = decode(raw, sealing(PSEUDONYMS, key))
        absorb(visitor, watermark_ms, frame)
        forget(visitor, watermark_ms, frame)
        if not visitor.is_empty:
            visits, _ = current(visitor, frame)
            for visit in visits:
                visit.turn = 0  # turns say nothing but to one another
            marks = [(m.at_ms, m.kind, m.event_id, m.session, m.label) for m in visitor.marks]
            found[key] = visits, marks, visitor.floor_ms
    return found


class Twins:
    """One partition twice: visitors of the first are always a crowd, of the second never."""

    def __init__(self, rules, patch):
        self.frame = Frame(rules, Calendar(rules.timezone))
        self.patch = patch
        self.twins = [(few, play("sessions", [], rules)[0]) for few in (1, 10**9)]

    def do(self, step):
        """Do the same to both; answers and all that is true then must be the same."""
        found = []
        for few, partition in self.twins:
            self.patch.setattr(visitors, "FEW", few)
            answer = step(partition)
            write(partition, {}, sweep=0)
            items = known(partition, self.frame)
            visits = [visit for visits, _, _ in items.values() for visit in visits]
            is_open = sum(not visit.settled for visit in visits)
            assert partition.sizes()["open"] == is_open
            found.append((answer, cells(partition, "sessions"), items))
        assert found[0] == found[1]


@given(data=st.data())
def test_a_crowd_comes_to_what_its_visitors_come_to_one_by_one(data):
    plain = data.draw(worlds.rules())
    rules = data.draw(st.one_of(narrow(plain), st.just(core_rules(plain))))
    log = data.draw(logs(plain))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Frame, "MAX_MARKS", data.draw(st.sampled_from([3, 1_000])))
        twins = Twins(rules, patch)
        for records in data.draw(worlds.cuts(log)):
            until_ms, hundredths = records[0].record_ts_ms, data.draw(st.integers(0, 100))

            def wait(partition, until_ms=until_ms, hundredths=hundredths):
                pause_ms = max(0, until_ms - partition.record_ms)
                partition.pass_time(partition.record_ms + pause_ms * hundredths // 100)
                return partition.settled_through()

            twins.do(wait)
            twins.do(lambda partition, part=records: partition.fold(batch_of("sessions", part)))
        twins.do(lambda partition: partition.pass_time(partition.record_ms + 10**9))


@given(worlds.rules(), st.integers(0, 1 << 32).map(random.Random))
def test_long_walks_of_many_visitors_are_what_the_reference_says(plain, chance):
    """Nobody comes later than is allowed; batches and restarts fall anywhere."""
    late_ms = plain.allowed_lateness_ms
    delays = [0] * 8 + [1, late_ms - 1, late_ms]
    events = [event for _ in range(chance.randint(1, 3)) for event in walks(chance, plain)]
    for number, event in enumerate(events):
        event["event_id"] += f"-{number}"
    due = [(event["timestamp"] + chance.choice(delays), chance.random()) for event in events]
    ordered = [event for _, event in sorted(zip(due, events, strict=True), key=lambda at: at[0])]
    log = worlds.to_records("sessions", worlds._log(ordered, 0))
    cuts = sorted(chance.sample(range(1, len(log)), min(len(log) - 1, chance.choice([0, 3, 9]))))
    batches = [log[a:b] for a, b in zip([0, *cuts], [*cuts, len(log)], strict=True)]
    restarts = frozenset(n for n in range(len(batches)) if chance.random() < 0.3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(visitors, "FEW", chance.choice([1, 4, 10**9]))
        drain_each = chance.random() < 0.5
        check("sessions", plain, log, batches, drain_each=drain_each, restart_after=restarts)
