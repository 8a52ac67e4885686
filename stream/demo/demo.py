"""`stream demo`: everything on one machine, and nothing left of it afterwards.

Composition root: broker, store, worker, server and simulator, by their commands and addresses.
"""

import asyncio
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import stream
from stream.core.durations import HOUR_MS, format_duration
from stream.demo.broker import EmbeddedBroker
from stream.demo.local import PortInUseError, check_port_free
from stream.demo.scenarios import SCENARIOS
from stream.demo.store import EmbeddedStore
from stream.demo.supervisor import Part, Place, Supervisor, stop_or_kill
from stream.errors import UserError
from stream.producer import Say

HOST = "127.0.0.1"
PROBE_PATIENCE_S = 2.0


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """Where things listen and what the simulator does.

    `kafka` (bootstrap servers) or `redis_url` given: that one is used and none started. Without
    `backfill_ms` as much history is sent first as the scenario needs.
    """

    events: bool = True
    kafka_port: int = 9092
    redis_port: int = 6379
    worker_port: int = 6066
    http_port: int = 8000
    kafka: str | None = None
    redis_url: str | None = None
    verbose: bool = False
    scenario: str = "launches"
    rate: float = 100.0
    seed: int | None = None
    backfill_ms: int | None = None


async def run_demo(options: DemoOptions, say: Say = print) -> None:
    """Run until Ctrl-C or SIGTERM. Raises UserError where it cannot start or go on."""
    check_ports(options)
    env = environment(options, os.environ)
    with tempfile.TemporaryDirectory(prefix="stream-demo-key-") as folder:
        if options.kafka is None:  # a ledger of its own, and nothing of it is kept
            env["STREAM_ID_KEY_FILE"] = str(Path(folder, "id.key"))
        supervisor = Supervisor(
            places_of(options), stages_of(options), env=env, say=say, verbose=options.verbose
        )

        def kill() -> None:
            supervisor.kill()
            shutil.rmtree(folder, ignore_errors=True)

        with stop_or_kill(kill) as stop:
            say("starting …")
            await supervisor.run(stop, lambda: say(banner(options)))


def check_ports(options: DemoOptions) -> None:
    """Raise UserError that names every port that cannot be had, and the option that moves it."""
    ports = [
        ("the embedded Kafka broker", options.kafka_port, "--kafka-port", options.kafka is None),
        ("the embedded Redis store", options.redis_port, "--redis-port", options.redis_url is None),
        ("the worker", options.worker_port, "--worker-port", True),
        ("the server", options.http_port, "--http-port", True),
    ]
    faults: list[str] = []
    taken: dict[int, str] = {}
    for what, port, option, wanted in ports:
        if not wanted:
            continue
        if port in taken:
            faults.append(f"port {port} is wanted by {taken[port]} and {what}: move one ({option})")
            continue
        taken[port] = what
        try:
            check_port_free(what, HOST, port)
        except PortInUseError as fault:
            faults.append(f"{fault}: move it with {option}")
        except UserError as fault:
            faults.append(f"{fault} ({option})")
    if faults:
        raise UserError("\n".join(faults))


def places_of(options: DemoOptions) -> list[Place]:
    """The servers to start: those that are not given."""
    places = []
    if options.kafka is None:
        places.append(Place(EmbeddedBroker(), HOST, options.kafka_port))
    if options.redis_url is None:
        places.append(Place(EmbeddedStore(), HOST, options.redis_port))
    return places


def stages_of(options: DemoOptions) -> list[list[Part]]:
    """Worker and server together, then the simulator."""
    program = (sys.executable, "-m", "stream")
    worker = Part(
        "worker", (*program, "worker"), ready=partial(answers_ok, options.worker_port, "/readyz")
    )
    server = Part(
        "server", (*program, "serve"), ready=partial(answers_ok, options.http_port, "/readyz")
    )
    if not options.events:
        return [[worker, server]]
    simulate = [*program, "simulate", "--scenario", options.scenario, "--rate", f"{options.rate:g}"]
    if options.seed is not None:
        simulate += ["--seed", str(options.seed)]
    simulator = Part(
        "simulator",
        (*simulate, "--backfill", format_duration(_backfill_ms(options))),
        again=tuple(simulate),
        may_end=True,
    )
    return [[worker, server], [simulator]]


def _backfill_ms(options: DemoOptions) -> int:
    if options.backfill_ms is not None:
        return options.backfill_ms
    scenario = SCENARIOS.get(options.scenario)  # the simulator refuses one that there is not
    return round(scenario.history_s * 1000) if scenario else 0


def environment(options: DemoOptions, inherited: Mapping[str, str]) -> dict[str, str]:
    """What the children are told: addresses, and where to find this package."""
    package = str(Path(stream.__file__).resolve().parent.parent)
    path = inherited.get("PYTHONPATH")
    return {
        **inherited,
        "PYTHONPATH": f"{package}{os.pathsep}{path}" if path else package,
        "STREAM_KAFKA": options.kafka or f"{HOST}:{options.kafka_port}",
        "STREAM_REDIS_URL": options.redis_url or f"redis://{HOST}:{options.redis_port}/0",
        "STREAM_WORKER_HOST": HOST,
        "STREAM_WORKER_PORT": str(options.worker_port),
        "STREAM_HTTP_HOST": HOST,
        "STREAM_HTTP_PORT": str(options.http_port),
    }


def banner(options: DemoOptions) -> str:
    """Where to look, in a few lines."""
    told = environment(options, {})
    server = f"http://{HOST}:{options.http_port}"
    events = "none; send your own: stream replay FILE --topic clicks"
    if options.events:
        events = (
            f"{options.rate:g} a second, scenario {options.scenario}; "
            "tickets live 60 times faster than in life"
        )
    return "\n".join(
        (
            f"Screen   {server}/",
            *_launch_line(options, server),
            f"API      {server}/api/v1/query?metric=ctr&window=5m&by=campaign",
            f"Metrics  {server}/metrics   worker: http://{HOST}:{options.worker_port}/metrics",
            f"Kafka    {told['STREAM_KAFKA']}   Redis: {told['STREAM_REDIS_URL']}",
            f"Events   {events}",
            *_history_line(options),
            "Ctrl-C ends it; nothing is kept.",
        )
    )


def _launch_line(options: DemoOptions, server: str) -> list[str]:
    scenario = SCENARIOS.get(options.scenario)
    live = [brief for brief in scenario.briefs if brief.targets] if scenario else []
    if not (options.events and live):
        return []
    newest = max(live, key=lambda brief: brief.launched_s)
    return [f"Launch   {server}/launch/{newest.campaign}"]


def _history_line(options: DemoOptions) -> list[str]:
    history_ms = _backfill_ms(options) if options.events else 0
    if not history_ms:
        return []
    hours = history_ms / HOUR_MS
    return [f"History  {hours:g} h of it are sent first; they show within a minute or two"]


async def answers_ok(port: int, path: str) -> bool:
    """Whether a local HTTP server answers 200."""
    try:
        async with asyncio.timeout(PROBE_PATIENCE_S):
            reader, writer = await asyncio.open_connection(HOST, port)
            try:
                writer.write(f"GET {path} HTTP/1.0\r\nHost: {HOST}\r\n\r\n".encode())
                return b" 200 " in await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False
