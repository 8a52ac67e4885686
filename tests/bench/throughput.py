"""How fast a filled topic is counted, beside the loops of `loops/`, in one run on one machine."""

import json
import subprocess
import sys
from functools import partial

from tests.bench.figures import Figure
from tests.bench.machine import pin
from tests.bench.stage import Drained, Stage
from tests.bench.traffic import Workload
from tests.support.namespaces import Namespace
from tests.support.patience import eventually
from tests.support.ports import free_port
from tests.support.processes import ROOT
from tests.support.system import ask

PLAIN_EVENTS = 100_000
Row = dict[str, Figure]


async def measure(stage: Stage, work: Workload, times: int, plain: bool) -> dict[str, Row]:
    """Our worker, the hand-written loop and (for clicks) plain Faust.

    They take turns, so that a change of the machine's mood meets all of them.
    """
    space = await stage.fill(work)
    rows: dict[str, list[dict[str, float]]] = {}
    for number in range(times):
        rows.setdefault("hand-written aiokafka loop", []).append(
            loop(stage, "hand_written", space, work, work.events)
        )
        run, group = await stage.drain(space, work.topic, work.events)
        rows.setdefault("one worker", []).append(told(run))
        if number == 0:
            await check(stage, space, group, work)
    if plain:
        rows["plain Faust"] = [
            loop(stage, "plain_faust", space, work, min(PLAIN_EVENTS, work.events))
            for _ in range(times)
        ]
    return {
        name: {key: Figure.of([one[key] for one in found]) for key in found[0]}
        for name, found in rows.items()
    }


def told(run: Drained) -> dict[str, float]:
    """The figures of a run that are compared."""
    return {
        "events_per_s": run.events_per_s,
        "cpu_per_million": run.cpu_per_million,
        "peak_mib": run.peak_mib,
        "start_s": run.start_s,
    }


def loop(
    stage: Stage, name: str, space: Namespace, work: Workload, events: int
) -> dict[str, float]:
    """Run one of the programs that the worker is compared with, on one core."""
    cores = stage.cores(1)
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", f"tests.bench.loops.{name}"),
            *(stage.kafka.bootstrap, space.topic(work.topic), str(events), str(stage.folder)),
        ],
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    pin(process.pid, cores.tested)
    answer, _ = process.communicate(timeout=600)
    if process.returncode:
        raise RuntimeError(f"{name} ended with {process.returncode}")
    found: dict[str, float] = json.loads(answer[answer.rindex(b"{") :])  # Faust draws before it
    return found


async def check(stage: Stage, space: Namespace, group: str, work: Workload) -> None:
    """Compare what the API says with what was sent; AssertionError where it differs."""
    port = free_port()
    server = stage.start(space, group, "serve", STREAM_HTTP_PORT=str(port))
    try:
        for metric, wanted in work.sums.items():
            await eventually(partial(_agree, port, metric, work.by, wanted), 30, what=metric)
    finally:
        server.clean_up()


def _agree(port: int, metric: str, by: str, wanted: dict[str, tuple[int, int]]) -> bool:
    parameters = {"metric": metric, "by": by, "window": "24h", "limit": "10000"}
    rows = ask(port, "/api/v1/query", parameters)["rows"]
    found = {r["labels"][by]: (r["numerator"], r["denominator"]) for r in rows}
    wrong = {
        n: (found.get(n), wanted.get(n)) for n in {*found, *wanted} if found.get(n) != wanted.get(n)
    }
    assert not wrong, f"{metric}: found and sent differ: {dict(list(wrong.items())[:3])}"
    return True
