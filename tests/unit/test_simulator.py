"""The simulator: reproducible, in order, paced, and its truth agrees with the independent judge."""

import asyncio
import base64
import json
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import replace
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import pytest

from stream.demo.faults import Record
from stream.demo.scenarios import CHAOS, CLEAN, DROP, LAUNCH, SCENARIOS, STEADY, Faults, Scenario
from stream.demo.simulator import SimulateOptions, bounded, check, make_plan, simulate
from stream.demo.traffic import Plan, records
from stream.demo.truth import Truth
from stream.errors import UserError
from stream.partitioner import partition_of
from tests import reference

START_MS = 1_780_000_000_000
PARTITIONS = 4
Sums = dict[str, dict[str, int]]
STORM = replace(CHAOS, faults=Faults(delayed=0.3, duplicated=0.1, late=0.05, bad=0.1))


def plan_of(scenario: Scenario, **changes: Any) -> Plan:
    return replace(Plan(scenario, seed=7, start_ms=START_MS, live_ms=START_MS, rate=20), **changes)


def some(plan: Plan, count: int) -> list[Record]:
    return list(islice(records(plan), count))


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=lambda scenario: scenario.name)
def test_same_plan_same_bytes(scenario: Scenario) -> None:
    plan = plan_of(scenario)
    assert [(r.at_ms, r.topic, r.key, r.value) for r in some(plan, 3_000)] == [
        (r.at_ms, r.topic, r.key, r.value) for r in some(plan, 3_000)
    ]


def test_another_seed_or_start_is_another_stream() -> None:
    plan = plan_of(STEADY)
    ids = {
        json.loads(record.value)["event_id"]
        for other in (plan, replace(plan, seed=8), replace(plan, start_ms=START_MS + 1))
        for record in some(other, 500)
        if record.outcome == "counted" and record.value
    }
    assert len(ids) > 1_450


def test_records_come_in_order_of_sending_and_never_before_their_event() -> None:
    found = some(plan_of(STORM), 5_000)
    assert all(a.at_ms <= b.at_ms for a, b in pairwise(found))
    assert all(r.event is None or r.event.time_ms <= r.at_ms for r in found)


def test_backfill_is_in_order_of_event_time_and_without_faults() -> None:
    live_ms = START_MS + 300_000
    before = [r for r in some(plan_of(STORM, live_ms=live_ms), 8_000) if r.at_ms < live_ms]
    assert len(before) > 1_000
    assert {r.outcome for r in before} == {"counted"}
    assert all(r.event is not None and r.event.time_ms == r.at_ms for r in before)


def test_the_usual_rate_is_the_one_asked_for() -> None:
    plan = plan_of(replace(CLEAN, daily_swing=0.0), rate=50.0, ticket_speed=3_600.0)
    found = some(plan, 50_000)
    assert 50_000 / (found[-1].at_ms - START_MS) * 1000 == pytest.approx(50, rel=0.05)


# --- the truth -----------------------------------------------------------------------------------


@pytest.mark.parametrize("ticket_speed", [60.0, 1.0, 2_000.0])
def test_truth_agrees_with_the_judge(ticket_speed: float) -> None:
    """Half an hour of a storm, cut off anywhere, read by the independent reading of the rules."""
    plan = plan_of(STORM, rate=4.0, ticket_speed=ticket_speed)
    sent = some(plan, 7_000)
    truth = Truth()
    for record in sent:
        truth.add(record)
    told = truth.report()
    outcomes, dead, sums = judge(sent)
    assert told["outcomes"] == outcomes
    assert told["dead_letters"] == dead
    assert told["clicks_by_campaign"] == sums["clicks"]
    assert told["sessions_by_campaign"] == sums["sessions"]
    assert told["tickets_by_team"] == sums["tickets"]
    assert set(dead["clicks"]) | set(dead["sessions"]) == {
        *("malformed", "invalid", "unknown_type", "oversize", "future", "too_late", "late")
    }
    assert outcomes["clicks"]["unchecked"] > 20
    assert outcomes["tickets"]["duplicate"] > 5


SESSION_FIELDS = {
    "sessions": "sessions",
    "page_views": "page_views",
    "conversions": "conversions",
    "converted": "converted",
    "duration_ms": "duration_ms",
    "single_interaction": "bounced_single",
    "bounced_ga4": "bounced_ga4",
    "with_page_view": "with_page_view",
    "bounced_posthog": "bounced_posthog",
    "bounced_matomo": "bounced_matomo",
}


def judge(sent: list[Record]) -> tuple[Sums, Sums, dict[str, Sums]]:
    """Outcomes, dead letters and sums by group, as the judge finds them, over four partitions."""
    outcomes: dict[str, Counter[str]] = defaultdict(Counter)
    dead: dict[str, Counter[str]] = defaultdict(Counter)
    sums: dict[str, dict[str, Counter[str]]] = {
        topic: defaultdict(Counter) for topic in ("clicks", "sessions", "tickets")
    }
    for topic, groups in sums.items():
        logs: list[list[reference.Record]] = [[] for _ in range(PARTITIONS)]
        for record in sent:
            if record.topic == topic:
                key = record.key.encode()
                log = logs[partition_of(key, PARTITIONS)]
                log.append(reference.Record(len(log), record.at_ms, key, record.value))
        for log in logs:
            found = reference.partition_truth(topic, log, reference.Rules())
            assert found.miskeyed == 0
            for outcome in found.outcomes.values():
                if outcome in ("counted", "unchecked", "duplicate"):
                    outcomes[topic][outcome] += 1
                else:
                    outcomes[topic]["dead_letter"] += 1
                    dead[topic][outcome] += 1
            add_sums(topic, found, groups)
    return plain(outcomes), plain(dead), {topic: plain(one) for topic, one in sums.items()}


def add_sums(topic: str, found: reference.PartitionTruth, groups: dict[str, Counter[str]]) -> None:
    if topic == "clicks":
        for (size, _, (campaign, *_)), fields in found.live.items():
            if size == reference.ALL:
                groups[campaign].update({k: fields.get(k, 0) for k in ("impressions", "clicks")})
    for session in found.sessions:
        fields = session.fields()
        groups[session.dims[0]].update(
            {told: fields[name] for name, told in SESSION_FIELDS.items()}
        )
    for ticket in found.tickets:
        first, answer = ticket.first_resolution, ticket.first_response
        if answer is not None:
            groups[answer.dims[1]].update(answered=1)
        if first is not None and first.opened_ms is not None:
            good = not first.reopened and first.single_contact
            groups[first.dims[1]].update(resolved=1, first_contact=int(good))


def plain(groups: dict[str, Counter[str]]) -> Sums:
    return {k: {f: n for f, n in sorted(v.items()) if n} for k, v in sorted(groups.items())}


# --- the stories ---------------------------------------------------------------------------------


def share(found: list[Record], campaign: str, low_s: float, high_s: float) -> tuple[int, int]:
    """(clicks, impressions) of a campaign within those seconds."""
    count: Counter[str] = Counter()
    for record in found:
        event = record.event
        if event is None or event.topic != "clicks" or event.body["campaign"] != campaign:
            continue
        if low_s <= (event.time_ms - START_MS) / 1000 < high_s:
            count[str(event.body["type"])] += 1
    return count["click"], count["impression"]


def test_a_launch_comes_up_from_nothing() -> None:
    found = [r for r in some(plan_of(LAUNCH, rate=60.0), 60_000) if r.at_ms < START_MS + 600_000]
    first, last = (share(found, "launch", a, a + 60)[1] for a in (0, 540))
    assert first < 30
    assert last > 10 * first


def test_engagement_drops_and_comes_back() -> None:
    found = some(plan_of(DROP, rate=60.0), 120_000)
    before, during, after = (
        clicks / seen
        for clicks, seen in (share(found, "summer-sale", a, a + 300) for a in (100, 460, 900))
    )
    assert during < before / 2
    assert during < after / 2


# --- the shell -----------------------------------------------------------------------------------


async def test_stream_file_holds_every_record(tmp_path: Path) -> None:
    out, truth = tmp_path / "all.ndjson", tmp_path / "truth.json"
    options = SimulateOptions(
        scenario="chaos", seed=3, start_ms=START_MS, count=4_000, out=str(out), truth=truth
    )
    report = await simulate(options)
    lines = [json.loads(line) for line in out.read_bytes().splitlines()]
    expected = list(bounded(options, make_plan(options, 0)))
    assert len(lines) == len(expected) == 4_000
    for line, record in zip(lines, expected, strict=True):
        assert (line["at"], line["topic"], line["key"]) == (record.at_ms, record.topic, record.key)
        if "base64" in line:
            assert base64.b64decode(line["base64"]) == record.value
        elif line["value"] is None:
            assert record.value is None
        else:
            assert record.value is not None
            assert line["value"] == json.loads(record.value)
    told = json.loads(truth.read_text())
    assert told["records"] == 4_000
    assert told["seed"] == 3
    assert told["complete"] is True
    assert report.complete


async def test_folder_holds_raw_values_by_topic(tmp_path: Path) -> None:
    options = SimulateOptions(
        scenario="chaos", seed=3, start_ms=START_MS, duration_ms=60_000, out=f"{tmp_path}/sub/"
    )
    report = await simulate(options)
    expected = list(bounded(options, make_plan(options, 0)))
    assert report.truth["records"] == len(expected)
    assert max(r.at_ms for r in expected) < START_MS + 60_000
    for topic in ("clicks", "sessions", "tickets"):
        lines = (tmp_path / "sub" / f"{topic}.ndjson").read_bytes().splitlines()
        values = [b"null" if r.value is None else r.value for r in expected if r.topic == topic]
        assert lines == values


async def test_standard_output(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    await simulate(SimulateOptions(scenario="clean", seed=1, count=20, out="-"))
    lines = capfdbinary.readouterr().out.splitlines()
    assert len(lines) == 20
    assert all(json.loads(line)["value"]["event_id"] for line in lines)


async def test_out_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere/x\.ndjson: No such file"):
        await simulate(SimulateOptions(count=1, out=f"{tmp_path}/nowhere/x.ndjson"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (SimulateOptions(scenario="boredom"), "choose from mixed, steady"),
        (SimulateOptions(out="x"), "give --count or --duration"),
        (SimulateOptions(rate=0), "--rate must be more than 0"),
        (SimulateOptions(rate=float("nan")), "--rate must be more than 0"),
        (SimulateOptions(ticket_speed=-1), "--ticket-speed must be more than 0"),
        (SimulateOptions(count=0), "--count must be more than 0"),
        (SimulateOptions(speed=-1), "--speed must not be negative"),
    ],
)
def test_wrong_options_are_told_in_one_line(options: SimulateOptions, words: str) -> None:
    with pytest.raises(UserError, match=words):
        check(options)


def test_start_lies_before_now_by_the_backfill() -> None:
    plan = make_plan(SimulateOptions(backfill_ms=900_000), START_MS)
    assert (plan.start_ms, plan.live_ms) == (START_MS - 900_000, START_MS)


# --- pacing --------------------------------------------------------------------------------------


class Noted:
    """A sink that notes when each record came, on a clock that the test turns."""

    resent = 0

    def __init__(self, now: Callable[[], int]) -> None:
        self.came: list[tuple[int, Record]] = []
        self._now = now

    def add(self, record: Record) -> None:
        self.came.append((self._now(), record))

    async def submit(self) -> None:
        pass

    async def finish(self, stop: asyncio.Event) -> bool:
        return True

    async def close(self) -> None:
        pass


async def test_backfill_goes_at_once_and_the_rest_keeps_to_the_clock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()

    def now_ms() -> int:
        return START_MS + int((loop.time() - began) * 1000)

    sink = Noted(now_ms)

    async def opened(*_args: object) -> Noted:
        return sink

    monkeypatch.setattr("stream.demo.simulator._open", opened)
    options = SimulateOptions(
        scenario="clean", seed=1, rate=200.0, backfill_ms=60_000, duration_ms=1_000
    )
    await simulate(options, now_ms=now_ms)
    before = [(at, r) for at, r in sink.came if r.at_ms < START_MS]
    live = [(at, r) for at, r in sink.came if r.at_ms >= START_MS]
    assert len(before) > 5_000
    assert len(live) > 50
    assert all(at >= r.at_ms for at, r in live), "a record went before its time"
    assert now_ms() >= START_MS + 900
    assert [r.at_ms for _, r in sink.came] == sorted(r.at_ms for _, r in sink.came)


async def test_stop_ends_an_endless_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    sink = Noted(lambda: 0)

    async def opened(*_args: object) -> Noted:
        return sink

    monkeypatch.setattr("stream.demo.simulator._open", opened)
    stop = asyncio.Event()
    running = asyncio.create_task(simulate(SimulateOptions(rate=500.0, seed=1), stop=stop))
    await asyncio.sleep(0.2)
    assert not running.done()
    stop.set()
    report = await asyncio.wait_for(running, 1.0)
    assert report.truth["records"] == len(sink.came)


async def test_speed_catches_up_with_the_wall_clock_and_never_passes_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    began_s = time.monotonic()

    def now_ms() -> int:
        return START_MS + int((time.monotonic() - began_s) * 1000)

    sink = Noted(now_ms)

    async def opened(*_args: object) -> Noted:
        return sink

    monkeypatch.setattr("stream.demo.simulator._open", opened)
    past_ms = START_MS - 20_000
    options = SimulateOptions(
        scenario="clean", seed=1, start_ms=past_ms, speed=50.0, duration_ms=20_600
    )
    await simulate(options, now_ms=now_ms)
    assert all(at >= r.at_ms for at, r in sink.came)
    half = [at for at, r in sink.came if r.at_ms < past_ms + 10_000]
    assert max(half) - START_MS < 400, "twenty seconds were to take 0.4"
    assert now_ms() - START_MS >= 500
