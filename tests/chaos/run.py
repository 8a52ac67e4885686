"""A run: traffic, faults one after another, and the verdict. `python -m tests.chaos.run --help`."""

import argparse
import asyncio
import json
import logging
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from stream.clock import wall_clock_ms
from tests.chaos.arena import Arena
from tests.chaos.faults import FAULTS, Attack
from tests.chaos.feeder import Feeder
from tests.chaos.plan import Traffic
from tests.chaos.verdict import Verdict, compare_api, compare_letters, compare_redis
from tests.chaos.witness import Witness
from tests.support.patience import eventually

CALM_S = 2.0
"""So long without being behind, and it has come back."""


@dataclass(frozen=True)
class Options:
    """What is to be run. Outages stay well below the lateness, or sessions would rightly be cut."""

    seed: int = 1
    faults: int = 20
    events: int = 300_000
    rate: float = 1_500.0
    workers: int = 2
    session_timeout_s: int = 6
    outage_s: float = 12.0
    lateness_s: int = 60
    session_gap_s: int = 30
    recovery_most_s: float = 90.0
    only: Sequence[str] = ()
    settled: bool = True

    def rules(self) -> dict[str, str]:
        return {
            "STREAM_ALLOWED_LATENESS": f"{self.lateness_s}s",
            "STREAM_SESSION_TIMEOUT": f"{self.session_gap_s}s",
            "STREAM_SESSION_MAX": "1h",
            "STREAM_FCR_REOPEN_WINDOW": f"{self.session_gap_s}s",
        }


@dataclass
class Blow:
    """One fault and what came of it."""

    name: str
    at_s: float
    lasted_s: float
    recovery_s: float
    statuses: dict[str, int] = field(default_factory=dict)
    readyz: dict[int, int] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    missed: str = ""


@dataclass
class Report:
    """All that a run has to say; `sound` is the judgement."""

    options: Options
    events: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    sending_s: float = 0.0
    blows: list[Blow] = field(default_factory=list)
    verdict: Verdict = field(default_factory=Verdict)
    complaints: list[str] = field(default_factory=list)
    exits: list[str] = field(default_factory=list)
    anew: dict[str, int] = field(default_factory=dict)
    scrapes: int = 0
    latest_s: float = 0.0

    @property
    def void(self) -> str:
        """Why the run says nothing, if so: sessions over a pause beyond the lateness do settle."""
        if self.latest_s < self.options.lateness_s:
            return ""
        allowed_s = self.options.lateness_s
        return f"records came up to {self.latest_s:.0f} s late, {allowed_s} s are allowed"

    @property
    def sound(self) -> bool:
        late = [b for b in self.blows if b.recovery_s == float("inf")]
        return not (self.void or self.verdict.difference or self.complaints or self.exits or late)

    def lines(self) -> Iterator[str]:
        o, v = self.options, self.verdict
        yield f"{len(self.blows)} faults, {self.events:,} events, seed {o.seed}"
        sent = self.events / self.sending_s if self.sending_s else 0.0
        told = f"{sent:,.0f} events a second sent, {o.rate:,.0f} wanted"
        yield f"{self.seconds:.0f} s, {told}, {o.workers} workers"
        yield f"difference: {v.difference} in {v.compared:,} figures compared"
        told = ", ".join(f"{n:,} {name}" for name, n in sorted(self.outcomes.items()))
        yield f"records by outcome: {told}"
        yield f"dead letters: {v.letters:,}, repeated {v.repeated_letters:,}"
        yield f"scrapes: {self.scrapes:,}, complaints {len(self.complaints)}"
        yield "recovery after (s):                       n  median   worst"
        by_name = defaultdict(list)
        for blow in self.blows:
            by_name[blow.name].append(blow.recovery_s)
        for name, took in sorted(by_name.items()):
            yield f"  {name:38} {len(took):3}  {statistics.median(took):6.1f}  {max(took):6.1f}"
        every = [blow.recovery_s for blow in self.blows]
        if every:
            yield f"  {'all':38} {len(every):3}  {statistics.median(every):6.1f}  {max(every):6.1f}"
        for why, n in sorted(self.anew.items()):
            yield f"started anew {n} x: {why}"
        if self.void:
            yield f"! void, the machine was too slow: {self.void}"
        for text in (*v.faults[:40], *self.complaints[:20], *self.exits[:20]):
            yield f"! {text}"
        for blow in self.blows:
            for remark in (*blow.remarks, *([f"missed {blow.missed}"] if blow.missed else [])):
                yield f"  {blow.name}: {remark}"


def deck(rng: Random, only: Sequence[str]) -> Iterator[str]:
    """Faults in an order without end, each kind as often as the others."""
    names = sorted(only or FAULTS)
    while True:
        rng.shuffle(names)
        yield from names


async def run(options: Options, *, keep_logs: Path | None = None) -> Report:
    """Run it all; the report. Raises where the judge itself fails."""
    report, began_s = Report(options), time.monotonic()
    arena = Arena(options.rules(), options.session_timeout_s)
    feeding: asyncio.Task[None] | None = None
    witness: Witness | None = None
    try:
        await arena.open(options.workers)
        feeder, witness = arena.attach(Traffic(options.seed, options.rate), options.events)
        await eventually(lambda: _is_ready(arena, witness), 60, what="ready")
        start_ms = wall_clock_ms()
        witness.start()
        feeding, fed_s = asyncio.create_task(feeder.run()), time.monotonic()
        await arena.nap(3)
        await _attack(options, arena, feeder, witness, report, feeding)
        await _finish(arena, feeder, witness, feeding)
        report.sending_s = time.monotonic() - fed_s
        witness.stop()
        await _judge(options, arena, feeder, witness, report, start_ms)
    finally:
        report.anew, report.exits = arena.reasons(), arena.exits
        if feeding is not None:
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)
        if keep_logs is not None:
            keep_logs.mkdir(parents=True, exist_ok=True)
            for log in arena.folder.glob("*.log"):
                (keep_logs / log.name).write_bytes(log.read_bytes())
            (keep_logs / "diary.log").write_text("\n".join(arena.diary))
        await arena.close()
    report.seconds = time.monotonic() - began_s
    return report


def _is_ready(arena: Arena, witness: Witness) -> bool:
    arena.mind()
    code, body = witness.get("/api/v1/status")
    return code == 200 and json.loads(body)["ready"]


async def _attack(
    options: Options,
    arena: Arena,
    feeder: Feeder,
    witness: Witness,
    report: Report,
    feeding: "asyncio.Task[None]",
) -> None:
    """Faults with pauses between, so that the last falls before the events end."""
    rng = Random(f"faults/{options.seed}")
    names = deck(rng, options.only)
    while len(report.blows) < options.faults:
        if feeding.done():
            feeding.result()
            if not feeder.done:
                raise AssertionError("the feeder has ended")
            break
        name = next(names)
        attack = Attack(arena, rng, options.outage_s)
        witness.begin()
        arena.note(name)
        began_s = time.monotonic()
        await FAULTS[name](attack)
        took_s = await _recovery(attack, witness, options.recovery_most_s)
        seen = witness.seen
        blow = Blow(
            name,
            began_s,
            attack.healed_s - began_s,
            took_s,
            dict(seen.statuses),
            dict(seen.readyz),
            attack.remarks,
            attack.missed,
        )
        report.blows.append(blow)
        arena.note(
            f"  {name}: lasted {blow.lasted_s:.1f} s, back after {took_s:.1f} s, "
            f"readyz {blow.readyz}, status {blow.statuses} {blow.remarks or ''} {blow.missed}"
        )
        if witness.complaints or arena.exits:
            arena.note(f"  complaints: {witness.complaints[-3:]} {arena.exits[-3:]}")
        await arena.nap(rng.uniform(0.5, 3))


async def _recovery(attack: Attack, witness: Witness, most_s: float) -> float:
    """Seconds from the end of the harm until nothing acknowledged is missing for a while."""
    while True:
        await attack.arena.nap(0.1)
        now_s = time.monotonic()
        behind_s = max(attack.healed_s, witness.seen.behind_until_s or 0)
        if now_s - max(behind_s, attack.healed_s + 1.0) > CALM_S:
            return behind_s - attack.healed_s
        if now_s - attack.healed_s > most_s:
            return float("inf")


async def _finish(
    arena: Arena, feeder: Feeder, witness: Witness, feeding: "asyncio.Task[None]"
) -> None:
    """Send what is still to be sent, then wait until all of it is in."""
    while not feeding.done():
        await arena.nap(0.2)
    feeding.result()

    def all_in() -> bool:
        arena.mind()
        places = witness.partitions
        return all(
            place in places and places[place]["through"] >= n and places[place]["status"] == "live"
            for place, n in feeder.acknowledged.items()
        )

    await eventually(all_in, 120, what="all records in")
    arena.note("all in")


async def _judge(
    options: Options,
    arena: Arena,
    feeder: Feeder,
    witness: Witness,
    report: Report,
    start_ms: int,
) -> None:
    verdict, truth = report.verdict, feeder.truth.report()
    report.events, report.outcomes = feeder.truth.records, dict(feeder.truth.outcomes)
    report.complaints, report.scrapes = witness.complaints, witness.scrapes
    report.latest_s = feeder.latest_ms / 1000
    in_log = sum(feeder.acknowledged.values())
    if in_log != feeder.truth.records:
        raise AssertionError(f"{in_log} records in the log, {feeder.truth.records} acknowledged")
    compare_api(verdict, witness, truth, "live", start_ms)
    compare_redis(verdict, arena.redis.url, arena.namespace, truth)
    await compare_letters(verdict, arena.kafka.bootstrap, arena.namespace, feeder)
    if options.settled:
        await _wait_settled(options, arena, witness)
        compare_api(verdict, witness, truth, "settled", start_ms)
        compare_api(verdict, witness, truth, "live", start_ms)


async def _wait_settled(options: Options, arena: Arena, witness: Witness) -> None:
    """Nothing comes any more, so the wall clock has to settle all there is."""
    ended_ms = wall_clock_ms()

    def settled() -> bool:
        arena.mind()
        for metric in ("bounce_rate", "fcr", "first_response_time"):
            code, body = witness.get(f"/api/v1/query?metric={metric}&window=1h&state=settled")
            told: Any = json.loads(body)["settled_through"] if code == 200 else None
            if told is None or _ms(told) < ended_ms + 10_000:
                return False
        return True

    await eventually(settled, options.lateness_s + 120, interval_s=0.5, what="all settled")
    arena.note("all settled")


def _ms(text: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(text).timestamp() * 1000


def main() -> int:
    parser = argparse.ArgumentParser(prog="make chaos")
    parser.add_argument("--seed", type=int, default=wall_clock_ms() % 1_000_000)
    parser.add_argument("--faults", type=int, default=Options.faults)
    parser.add_argument("--events", type=int, default=Options.events)
    parser.add_argument("--rate", type=float, default=Options.rate, help="records a second")
    parser.add_argument("--only", default="", help="names of faults, with commas between")
    parser.add_argument("--session-timeout", type=int, default=Options.session_timeout_s)
    parser.add_argument(
        "--outage",
        type=float,
        default=Options.outage_s,
        help="seconds that servers are away, at most",
    )
    parser.add_argument("--report", type=Path, default=Path("chaos-report.txt"))
    parser.add_argument("--logs", type=Path, default=None, help="folder to keep the logs in")
    given = parser.parse_args()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # the judge's own troubles are meant
    options = Options(
        seed=given.seed,
        faults=given.faults,
        events=given.events,
        rate=given.rate,
        session_timeout_s=given.session_timeout,
        outage_s=given.outage,
        lateness_s=max(Options.lateness_s, int(3 * given.outage)),
        only=tuple(filter(None, given.only.split(","))),
    )
    report = asyncio.run(run(options, keep_logs=given.logs))
    text = "\n".join(report.lines()) + "\n"
    given.report.write_text(text)
    print(text, end="")
    verdict = "void" if report.void else "sound" if report.sound else "NOT SOUND"
    print(f"verdict: {verdict} (written to {given.report})")
    return 0 if report.sound else 1


if __name__ == "__main__":
    sys.exit(main())
