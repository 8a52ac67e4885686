"""10,000 real requests out of order: nothing is lost within a minute, and what is lost is told."""

import asyncio
from typing import Any

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer

from stream.partitioner import partition_of
from tests.conformance import data
from tests.conformance.figures import ELASTIC_GROUP, ELASTIC_LOG
from tests.conformance.site import ALL_TIME, Read, Site

pytestmark = pytest.mark.timeout(240)  # the first test starts all systems
TICK = "2015-06-01T00:00:00Z"
TIMEOUT_MS = 1_800_000
HITS = "all_hits_by_ip"
STATES = ("live", "settled")


@pytest.fixture(scope="module")
def truth() -> dict[str, Any]:
    return data.read_json("elastic_apache", "ground_truth.json")


def send(site: Site, events: list[data.Event]) -> Site:
    asyncio.run(site.send("sessions", events + data.ticks("sessions", TICK)))
    assert site.outcomes("sessions") == {"counted": len(events) + data.PARTITIONS}
    return site


@pytest.fixture(scope="module")
def within_a_minute(minute_site: Site) -> Site:
    return send(minute_site, data.elastic(*data.ELASTIC))


@pytest.fixture(scope="module")
def with_long_gaps(gap_site: Site) -> Site:
    return send(gap_site, data.elastic(data.BY_ID, given_ids=False))


def check(site: Site, mapping: str, wanted: dict[str, Any], state: str) -> None:
    compared = {
        key: site.figure(read, ALL_TIME, state, campaign=mapping)
        for key, read in ELASTIC_GROUP.items()
        if isinstance(read, Read)
    }
    assert compared == {key: wanted[key] for key in compared}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("mapping", data.ELASTIC)
def test_every_mapping_in_order_of_arrival(truth, within_a_minute, mapping, state):
    check(within_a_minute, mapping, truth[mapping], state)


@pytest.mark.parametrize("state", STATES)
def test_a_timeout_of_three_hours(truth, with_long_gaps, state):
    check(with_long_gaps, data.BY_ID, truth[data.BY_ID], state)


def test_every_line_is_counted_and_none_rejected(truth, within_a_minute):
    lines = ELASTIC_LOG["lines"]
    assert isinstance(lines, Read)
    assert within_a_minute.figure(lines) == truth["lines"]
    outcomes = within_a_minute.outcomes("sessions")
    assert outcomes.get("dead_letter", 0) == truth["rejected"]


def test_the_disorder_is_as_strong_as_the_data_says(truth):
    newest_ms, behind, most_ms = 0, 0, 0
    for event in data.elastic(HITS):
        at_ms = data.at_ms(event["timestamp"])
        behind += at_ms < newest_ms
        most_ms = max(most_ms, newest_ms - at_ms)
        newest_ms = max(newest_ms, at_ms)
    assert behind == truth["arrivals_behind_max_seen"]
    assert most_ms == 59_000


async def test_without_lateness_what_is_late_is_dead_lettered_byte_for_byte(strict_site, kafka):
    events = data.elastic(HITS)
    await strict_site.send("sessions", events)
    late, visits = judge_without_lateness(events)
    assert 0 < len(late) < len(events)
    assert strict_site.outcomes("sessions") == {
        "counted": len(events) - len(late),
        "dead_letter": len(late),
    }
    reasons = strict_site.samples("stream_dead_letters_total", of_worker=True)
    assert {key: n for key, n in reasons.items() if n} == {("late", "sessions"): len(late)}
    letters = await read_all(kafka, strict_site.namespace.topic("dead-letters"), len(late))
    assert sorted(letters) == sorted(map(msgspec.json.encode, late))

    pages = strict_site.row("pages_per_session")
    assert pages["numerator"] == len(events) - len(late)
    assert pages["denominator"] == len(visits)
    assert strict_site.row("bounce_rate")["numerator"] == sum(n == 1 for _, _, n in visits)
    lasted_ms = sum(last_ms - first_ms for first_ms, last_ms, _ in visits)
    assert strict_site.row("session_duration")["numerator"] == lasted_ms / 1000


def judge_without_lateness(
    events: list[data.Event],
) -> tuple[list[data.Event], list[tuple[int, int, int]]]:
    """What is late, and the visits as (first, last, interactions), by the rules in plain words.

    An event behind its partition's clock counts only in a visit that has begun by then and that
    may still go on at that clock; all visitors here have no more than one such visit.
    """
    clocks: dict[int, int] = {}
    visits: dict[str, list[tuple[int, int, int]]] = {}
    late = []
    for event in events:
        partition = partition_of(event["visitor_id"].encode(), data.PARTITIONS)
        at_ms, clock_ms = data.at_ms(event["timestamp"]), clocks.get(partition, 0)
        own = visits.setdefault(event["visitor_id"], [])
        first_ms, last_ms, count = own[-1] if own else (0, -TIMEOUT_MS - 1, 0)
        if at_ms >= clock_ms and at_ms - last_ms > TIMEOUT_MS:
            own.append((at_ms, at_ms, 1))
        elif at_ms >= clock_ms or (first_ms <= at_ms and last_ms + TIMEOUT_MS >= clock_ms):
            own[-1] = first_ms, max(last_ms, at_ms), count + 1
        else:
            late.append(event)
        clocks[partition] = max(clock_ms, at_ms)
    return late, [visit for own in visits.values() for visit in own]


async def read_all(kafka, topic: str, count: int) -> list[bytes]:
    """The values of all dead letters; there are exactly `count`."""
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        found = []
        for _ in range(count):
            letter = await asyncio.wait_for(consumer.getone(), 10)
            assert dict(letter.headers)["reason"] == b"late"
            found.append(letter.value)
        ends = await consumer.end_offsets(consumer.assignment())
        assert sum(ends.values()) == count
    finally:
        await consumer.stop()
    return found
