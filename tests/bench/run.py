"""Runs the benchmarks and keeps what they say: `python -m tests.bench.run --help`.

The figures go to a JSON file; `tests.bench.report` makes docs/performance.md and its plots of it.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from stream.clock import wall_clock_ms
from tests.bench import flush, latency, recovery, scale, throughput, view
from tests.bench.figures import Figure, repeat
from tests.bench.machine import describe
from tests.bench.stage import PARTITIONS, Stage
from tests.bench.traffic import Shape, Workload

Found = dict[str, Any]


class Bench:
    """One run over one stage."""

    def __init__(self, stage: Stage, events: int, times: int, highest_per_s: float) -> None:
        self._stage = stage
        self._events = events
        self._times = times
        self.highest_per_s = highest_per_s

    async def throughput(self) -> Found:
        """Clicks, sessions and tickets beside the loops that they are compared with."""
        found = {}
        for topic in ("clicks", "sessions", "tickets"):
            work = Workload(topic, self._events, wall_clock_ms())
            rows = await throughput.measure(self._stage, work, self._times, topic == "clicks")
            found[topic] = rows
            for name, row in rows.items():
                say(f"{topic:9} {name:27} {row['events_per_s'].text(0):>32} events/s"
                    f"  {row['cpu_per_million'].text():>22} CPU s/M")  # fmt: skip
        self.highest_per_s = found["clicks"]["one worker"]["events_per_s"].median
        return found

    async def long(self) -> Found:
        """Ten times the events in one go: does the cost or the memory grow? And two workers."""
        work = Workload("clicks", 10 * self._events, wall_clock_ms())
        space = await self._stage.fill(work)
        run, group = await self._stage.drain(space, "clicks", work.events)
        await throughput.check(self._stage, space, group, work)
        million, few = self._events, self._events // (PARTITIONS + 1)
        full, _ = await self._stage.drain(
            space, "clicks", work.events, STREAM_DEDUPE_MAX_IDS=str(few)
        )
        parts = {
            str(number + 1): {
                "cpu_per_million": run.cpu_between(number * million, (number + 1) * million),
                "resident_mib": run.resident_after((number + 1) * million - million // 50),
                "few_ids_mib": full.resident_after((number + 1) * million - million // 50),
            }
            for number in range(10)
        }
        for number, part in parts.items():
            say(f"part {number:>2}  {part['cpu_per_million']:6.2f} CPU s/M"
                f"  {part['resident_mib']:7.1f} MiB, with few ids {part['few_ids_mib']:7.1f} MiB"
            )  # fmt: skip
        both, _ = await self._stage.drain(space, "clicks", work.events, workers=2)
        say(f"one {run.events_per_s:,.0f}/s, two {both.events_per_s:,.0f}/s")
        one, two = throughput.told(run), throughput.told(both)
        return {"parts": parts, "few_ids": few, "one worker": one, "two workers": two}

    async def growth(self) -> Found:
        """The cost of a million clicks with ten and a hundred times the campaigns or visitors."""
        found = {}
        for name, shape in (
            ("as it is", Shape()),
            ("10 × campaigns", Shape(campaigns=500)),
            ("100 × campaigns", Shape(campaigns=5_000)),
            ("10 × visitors", Shape(visitors=1_000_000)),
            ("100 × visitors", Shape(visitors=10_000_000)),
        ):
            work = Workload("clicks", self._events, wall_clock_ms(), shape)
            space = await self._stage.fill(work)

            async def once(space: Any = space) -> dict[str, float]:
                run, _ = await self._stage.drain(space, "clicks", self._events)
                return throughput.told(run)

            found[name] = await repeat(self._times, once)
            say(f"{name:18} {found[name]['cpu_per_million'].text()} CPU s/M"
                f"  {found[name]['peak_mib'].text(0)} MiB")  # fmt: skip
        return found

    async def latency(self) -> Found:
        """From record to API at fixed rates, and at 80 % of the highest."""
        rates = [10_000, 50_000]
        if self.highest_per_s:
            rates.append(int(0.8 * self.highest_per_s) // 1_000 * 1_000)
        found = {}
        for rate in rates:
            found[str(rate)] = await repeat(
                self._times,
                lambda rate=rate: latency.measure(self._stage, rate, 15),  # type: ignore[misc]
            )
            row = found[str(rate)]
            say(f"{rate:>8}/s  p50 {row['p50_ms'].text(0)} ms  p99 {row['p99_ms'].text(0)} ms"
                f"  (sent {row['records_per_s'].text(0)}/s)")  # fmt: skip
        return found

    async def recovery(self) -> Found:
        """From the start of a process until it counts again, by keys of its ledgers."""
        found = {}
        for keys, times in (
            (1_000, self._times),
            (self._events, self._times),
            (10 * self._events, 1),
        ):
            found[str(keys)] = await repeat(times, lambda k=keys: recovery.measure(self._stage, k))  # type: ignore[misc]
            say(f"{keys:>10} keys  {found[str(keys)]['seconds'].text()} s")
        return found

    async def flush(self) -> Found:
        """How long flushing and folding keep each other waiting at full speed."""
        found = {}
        for topic in ("clicks", "sessions", "tickets"):

            async def once(topic: str = topic) -> dict[str, float]:
                work = Workload(topic, 2 * self._events, wall_clock_ms())
                return await flush.measure(self._stage, work)

            found[topic] = await repeat(self._times, once)
            say(f"{topic:9} " + "  ".join(f"{k} {f.text(1)}" for k, f in found[topic].items()))
        return found

    async def scale(self) -> Found:
        """What many names, sessions and tickets cost in memory, and how fast answers are then."""
        found = {}
        for name, topic, share, records in (
            ("a day of 1,000 campaigns × 10 channels", "clicks", 2.0, scale.day_of_clicks),
            ("100,000 label sets", "clicks", 1.0, scale.label_sets),
            ("5 M open sessions", "sessions", 5.0, scale.open_sessions),
            ("4 M open tickets", "tickets", 4.0, scale.open_tickets),
        ):
            count = int(share * self._events)
            found[name] = await scale.measure(self._stage, topic, count, records)
            say(f"{name:40} " + "  ".join(f"{key} {n:,.1f}" for key, n in found[name].items()))
        return found

    async def view(self) -> Found:
        """The same of a server alone, without Kafka, Redis and the wall clock."""
        found: Found = {}
        for name in view.SHAPES:
            found[name] = view.in_a_process(name)
            say(f"{name:40} " + "  ".join(f"{key} {n:,.1f}" for key, n in found[name].items()))
        return found


CASES = ("throughput", "long", "growth", "latency", "recovery", "flush", "scale", "view")


def say(line: str) -> None:
    """Tell the person who waits."""
    print(line, file=sys.stderr, flush=True)


async def run(names: list[str], events: int, times: int, highest_per_s: float = 0.0) -> Found:
    """The figures of the benchmarks that were named; `highest_per_s` is of an earlier run."""
    found: Found = {"machine": describe(), "events": events, "times": times}
    with tempfile.TemporaryDirectory(prefix="bench-"):
        stage = Stage()
        stage.open()
        try:
            bench = Bench(stage, events, times, highest_per_s)
            for name in names:
                say(f"· {name}")
                case: Callable[[], Awaitable[Found]] = getattr(bench, name)
                found[name] = await case()
        finally:
            stage.close()
    return found


def main() -> None:
    """Read the options, run, write."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("cases", nargs="*", help=f"of {', '.join(CASES)}; default: all")
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--times", type=int, default=3, help="runs of each; the median is told")
    parser.add_argument("--out", type=Path, default=Path("bench.json"))
    options = parser.parse_args()
    unknown = set(options.cases) - set(CASES)
    if unknown:
        parser.error(
            f"no such benchmark: {', '.join(sorted(unknown))}; there are {', '.join(CASES)}"
        )
    known = json.loads(options.out.read_text()) if options.out.exists() else {}
    earlier = known.get("throughput", {}).get("clicks", {}).get("one worker", {})
    highest_per_s = earlier.get("events_per_s", {}).get("median", 0.0)
    names = options.cases or list(CASES)
    found = asyncio.run(run(names, options.events, options.times, highest_per_s))
    text = json.dumps(known | found, default=_plain, indent=1)
    options.out.write_text(text + "\n")
    say(f"written to {options.out}")


def _plain(value: object) -> object:
    assert isinstance(value, Figure)
    return asdict(value)


if __name__ == "__main__":
    main()
