"""The simulator: paces the traffic by the wall clock and sends it to Kafka, or writes it to a file.

Event time runs `speed` times as fast as the wall clock, never ahead of it. A ticket's life is sped
up (`ticket_speed`, 60 by default: an hour takes a minute) so that figures move while one watches.
Knows nothing of what the metrics mean; `truth` does.
"""

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import SystemRandom

from stream.clock import wall_clock_ms
from stream.core.campaigns import Campaign, Note, encode_campaign, floor_minute, parse_target
from stream.core.durations import format_duration
from stream.demo.faults import Record
from stream.demo.scenarios import SCENARIOS
from stream.demo.sinks import TOPICS, KafkaSink, Sink, open_file
from stream.demo.traffic import Plan, records
from stream.demo.truth import Truth
from stream.engine.credentials import Credentials
from stream.errors import UserError
from stream.producer import Producer, Say, quiet_client_log, silent
from stream.signals import finishes, stop_on_signals, wait_at_most
from stream.topic_plan import CAMPAIGNS

TICK_S = 0.05
BURST = 2_000
"""Records made between two looks at the clock and at what is waiting to be sent."""
TOPIC_PATIENCE_S = 60.0

WallClock = Callable[[], int]


@dataclass(frozen=True, slots=True)
class SimulateOptions:
    """What to send, how fast and for how long. Times and durations are milliseconds.

    `start_ms` is the first event time (default: now, less the backfill). The first `backfill_ms` of
    event time are sent at once, in order and without faults. After it `speed` event seconds pass
    per second; 0 is as fast as it goes. It ends after `count` records or `duration_ms` of event
    time (the backfill not counted), or never. `out` is a file, `-`, or a folder (ends in `/`)
    instead of Kafka: written as fast as it goes.
    """

    kafka: str = "127.0.0.1:9092"
    credentials: Credentials | None = None
    topic_prefix: str = ""
    scenario: str = "mixed"
    rate: float = 100.0
    seed: int | None = None
    speed: float = 1.0
    start_ms: int | None = None
    backfill_ms: int = 0
    duration_ms: int | None = None
    count: int | None = None
    ticket_speed: float = 60.0
    lateness_ms: int = 600_000
    truth: Path | None = None
    out: str | None = None


@dataclass(frozen=True, slots=True)
class SimulateReport:
    """How it ended. `complete` is false where records were given up unacknowledged.

    `resent` records may stand in Kafka more often than the truth says.
    """

    seed: int
    truth: Mapping[str, object]
    complete: bool
    resent: int
    seconds: float

    @property
    def summary(self) -> str:
        """One line for a person."""
        count = self.truth["records"]
        ending = "" if self.complete else "; the last ones were not acknowledged"
        return f"{count} records in {self.seconds:.1f} s (seed {self.seed}){ending}"


async def simulate(
    options: SimulateOptions,
    *,
    say: Say = silent,
    stop: asyncio.Event | None = None,
    now_ms: WallClock = wall_clock_ms,
) -> SimulateReport:
    """Send traffic until it ends or `stop` is set. Raises UserError."""
    check(options)
    began = time.monotonic()
    stop = stop or asyncio.Event()
    sink = await _open(options, say, stop)
    if sink is None:
        return SimulateReport(options.seed or 0, Truth().report(), True, 0, 0.0)
    plan = make_plan(options, now_ms())
    say(_opening(options, plan))
    for campaign, value in campaigns_of(plan):
        sink.describe(campaign, value)
    truth = Truth()
    complete = False
    try:
        await _pump(options, plan, sink, truth, stop, now_ms)
        complete = await sink.finish(stop)
    finally:
        await sink.close()
        took_s = time.monotonic() - began
        report = SimulateReport(plan.seed, truth.report(), complete, sink.resent, took_s)
        if options.truth is not None:
            _write_truth(options.truth, options, plan, report)
    return report


async def run_simulator(options: SimulateOptions, say: Say) -> SimulateReport:
    """The same for a person: faults in our own words, ends in order on Ctrl-C and SIGTERM."""
    quiet_client_log()
    with stop_on_signals() as stop:
        return await simulate(options, say=say, stop=stop)


def check(options: SimulateOptions) -> None:
    """Raise UserError where options are wrong or contradict each other."""
    if options.scenario not in SCENARIOS:
        known = ", ".join(SCENARIOS)
        raise UserError(f"'{options.scenario}' is not a scenario; choose from {known}")
    if options.out is not None and options.count is None and options.duration_ms is None:
        raise UserError("--out writes without end: give --count or --duration")
    for name, value, least in (
        ("rate", options.rate, 0.0),
        ("ticket-speed", options.ticket_speed, 0.0),
        ("count", options.count, 0.0),
        ("duration", options.duration_ms, 0.0),
    ):
        if value is not None and not value > least:
            raise UserError(f"--{name} must be more than 0")
    for name, value in (("speed", options.speed), ("backfill", options.backfill_ms)):
        if not value >= 0:
            raise UserError(f"--{name} must not be negative")


def make_plan(options: SimulateOptions, now_ms: int) -> Plan:
    """The plan that these options mean at that moment. The same start and seed: the same plan."""
    length_ms = options.duration_ms or 0 if options.out is not None else 0
    start_ms = options.start_ms
    if start_ms is None:
        start_ms = now_ms - options.backfill_ms - length_ms
    return Plan(
        scenario=SCENARIOS[options.scenario],
        seed=SystemRandom().getrandbits(32) if options.seed is None else options.seed,
        start_ms=start_ms,
        live_ms=start_ms + options.backfill_ms,
        rate=options.rate,
        ticket_speed=options.ticket_speed,
        lateness_ms=options.lateness_ms,
    )


def campaigns_of(plan: Plan) -> Iterator[tuple[str, bytes]]:
    """What managers say of the campaigns; nothing where their history is not played."""
    if plan.live_ms - plan.start_ms < plan.scenario.history_s * 1000:
        return
    for brief in plan.scenario.briefs:
        campaign = Campaign(
            launch_ms=floor_minute(plan.live_ms + round(brief.launched_s * 1000)),
            name=brief.name,
            owner=brief.owner,
            targets=tuple(map(parse_target, brief.targets)),
            notes=tuple(Note(plan.live_ms + round(s * 1000), text) for s, text in brief.notes),
            channels=brief.channels,
        )
        yield brief.campaign, encode_campaign(campaign)


def bounded(options: SimulateOptions, plan: Plan) -> Iterator[Record]:
    """The plan's records up to where the options end it."""
    end_ms = None if options.duration_ms is None else plan.live_ms + options.duration_ms
    for number, record in enumerate(records(plan)):
        if number == options.count or (end_ms is not None and record.at_ms >= end_ms):
            return
        yield record


async def _pump(
    options: SimulateOptions,
    plan: Plan,
    sink: Sink,
    truth: Truth,
    stop: asyncio.Event,
    now_ms: WallClock,
) -> None:
    """Send each record when its time has come."""
    pace = _Pace(options, plan, now_ms)
    burst = 0
    for record in bounded(options, plan):
        burst += 1
        due = record.at_ms <= pace.reached_ms
        if not due or burst >= BURST:
            await sink.submit()
            await asyncio.sleep(0)
            burst = 0
            while not stop.is_set() and record.at_ms > pace.read():
                await wait_at_most(stop, TICK_S)
        if stop.is_set():
            return
        truth.add(record)
        sink.add(record)


class _Pace:
    """How far event time has come."""

    def __init__(self, options: SimulateOptions, plan: Plan, now_ms: WallClock) -> None:
        self._unpaced = options.out is not None or options.speed == 0
        self._speed, self._live_ms, self._now_ms = options.speed, plan.live_ms, now_ms
        self._began_s: float | None = None
        self.reached_ms: float = plan.live_ms

    def read(self) -> float:
        """Event time now: all up to it is due. It starts when what lies before it was sent."""
        if self._unpaced:
            self.reached_ms = float("inf")
        elif self._began_s is None:
            self._began_s = time.monotonic()
        else:
            passed_ms = (time.monotonic() - self._began_s) * 1000 * self._speed
            self.reached_ms = min(self._live_ms + passed_ms, self._now_ms())
        return self.reached_ms


async def _open(options: SimulateOptions, say: Say, stop: asyncio.Event) -> Sink | None:
    """The sink; None where `stop` was set while it was waited for."""
    if options.out is not None:
        return open_file(options.out)
    producer = Producer(options.kafka, credentials=options.credentials, say=say)
    try:
        if await finishes(_connect(producer, options), stop):
            return KafkaSink(producer, options.topic_prefix)
    except BaseException:
        await producer.stop()
        raise
    await producer.stop()
    return None


async def _connect(producer: Producer, options: SimulateOptions) -> None:
    await producer.start()
    described = (CAMPAIGNS,) if SCENARIOS[options.scenario].briefs else ()
    for topic in (*TOPICS, *described):
        await producer.open(options.topic_prefix + topic, TOPIC_PATIENCE_S)


def _opening(options: SimulateOptions, plan: Plan) -> str:
    where = f"Kafka at {options.kafka}" if options.out is None else options.out
    return (
        f"scenario {plan.scenario.name}, seed {plan.seed}: about {plan.rate:g} events/s of event "
        f"time to {where}; a ticket's hour takes {_ticket_hour(plan)}"
    )


def _ticket_hour(plan: Plan) -> str:
    return format_duration(max(1, round(3600 / plan.ticket_speed)) * 1000)


def _write_truth(path: Path, options: SimulateOptions, plan: Plan, report: SimulateReport) -> None:
    whole = {
        "scenario": plan.scenario.name,
        "seed": plan.seed,
        "start_ms": plan.start_ms,
        "live_ms": plan.live_ms,
        "rate": plan.rate,
        "ticket_speed": plan.ticket_speed,
        "lateness_ms": plan.lateness_ms,
        "topic_prefix": options.topic_prefix,
        "complete": report.complete,
        "resent": report.resent,
        **report.truth,
    }
    try:
        path.write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")
    except OSError as fault:
        raise UserError(f"{path}: {fault.strerror}") from fault
