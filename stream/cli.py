"""The command line: what runs, feeds and shows the system; tells faults in one line."""

import asyncio
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import structlog
import typer

from stream import __version__
from stream.campaigns import add_campaigns
from stream.core.durations import parse_duration
from stream.core.events import parse_timestamp
from stream.errors import UsageError, UserError
from stream.garbage import collect_nothing, collect_rarely
from stream.maintenance import add_maintenance
from stream.options import CLIENT, KAFKA, SERVE, WORKER, given, parsed, with_settings
from stream.settings import Settings, load_settings

RESTART_S = 1.0
PORT_MAX = 65_535

app = typer.Typer(
    name="stream",
    help="Live engagement metrics from Kafka: CTR, bounce, conversion, first-contact resolution.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        typer.echo(f"stream {__version__}")
        raise typer.Exit


@app.command("demo")
def demo_command(
    *,
    events: Annotated[bool, typer.Option("--events/--no-events", help="Run the simulator.")] = True,
    kafka_port: Annotated[int, typer.Option(help="Port of the embedded broker.")] = 9092,
    redis_port: Annotated[int, typer.Option(help="Port of the embedded store.")] = 6379,
    worker_port: Annotated[int, typer.Option(help="Port of the worker's metrics.")] = 6066,
    http_port: Annotated[int, typer.Option(help="Port of the server.")] = 8000,
    scenario: Annotated[str, typer.Option(help="What the simulator plays.")] = "launches",
    rate: Annotated[float, typer.Option(help="Events a second.")] = 100.0,
    seed: Annotated[int | None, typer.Option(help="Makes the events reproducible.")] = None,
    backfill: Annotated[
        str | None, typer.Option(help="History that is sent first; default: as the scenario has.")
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show the parts' logs.")] = False,
) -> None:
    """Run everything on this machine: broker, store, worker, server and simulated events.

    With STREAM_KAFKA or STREAM_REDIS_URL set, that one is used. Nothing is kept after it ends.
    """
    from stream.demo.demo import DemoOptions, run_demo  # noqa: PLC0415 - an extra that may lack

    load_settings()
    options = DemoOptions(
        events=events,
        kafka_port=kafka_port,
        redis_port=redis_port,
        worker_port=worker_port,
        http_port=http_port,
        kafka=os.environ.get("STREAM_KAFKA") or None,
        redis_url=os.environ.get("STREAM_REDIS_URL") or None,
        verbose=verbose,
        scenario=scenario,
        rate=rate,
        seed=seed,
        backfill_ms=given("--backfill", backfill, parse_duration),
    )
    asyncio.run(run_demo(options, say=typer.echo))


@app.command("worker")
@with_settings(*WORKER, "processes")
def worker_command(settings: Settings) -> None:
    """Count the events: read the topics, keep the ledger, write the figures to Redis."""
    if settings.processes > 1:
        raise typer.Exit(asyncio.run(_worker_processes(settings)))
    collect_nothing()
    from stream.logs import set_up_logs  # noqa: PLC0415 - commands load only what they run
    from stream.signals import stop_on_signals  # noqa: PLC0415
    from stream.worker import Worker, WorkerError  # noqa: PLC0415

    set_up_logs()
    collect_rarely()

    async def run() -> None:
        with stop_on_signals() as stop:
            await Worker(settings).run(stop)

    try:
        asyncio.run(run())
    except WorkerError as error:
        # What Faust keeps in a process cannot be made anew inside it.
        structlog.get_logger("stream.worker").error("starting_anew", why=str(error))
        time.sleep(RESTART_S)
        os.execv(sys.executable, [sys.executable, "-m", "stream", *sys.argv[1:]])  # noqa: S606


async def _worker_processes(settings: Settings) -> int:
    """Run workers that differ in name and port; return the exit code."""
    from stream.logs import set_up_logs  # noqa: PLC0415
    from stream.processes import Processes  # noqa: PLC0415
    from stream.signals import stop_on_signals  # noqa: PLC0415

    set_up_logs()
    with stop_on_signals() as stop:
        return await Processes(list(worker_commands(settings, sys.argv[1:]))).run(stop)


def worker_commands(settings: Settings, args: Sequence[str]) -> Iterator[list[str]]:
    """The command line of each process of a worker that was started with `args`.

    Raises UserError where there are not enough ports for all.
    """
    last = settings.worker_port + settings.processes - 1
    if last > PORT_MAX:
        raise UserError(
            f"{settings.processes} processes from port {settings.worker_port} on would need port "
            f"{last}; choose a lower --worker-port or STREAM_WORKER_PORT"
        )
    for number in range(settings.processes):
        own = ["--processes", "1", "--worker-port", str(settings.worker_port + number)]
        if settings.worker_id is not None:
            own += ["--worker-id", f"{settings.worker_id}-{number}"]
        yield [sys.executable, "-m", "stream", *args, *own]  # of two options the last one counts


@app.command("serve")
@with_settings(*SERVE)
def serve_command(settings: Settings) -> None:
    """Serve the figures in Redis: HTTP API, /metrics, live events and the ops screen."""
    collect_nothing()
    from stream.logs import set_up_logs  # noqa: PLC0415
    from stream.serve.server import run_server  # noqa: PLC0415
    from stream.signals import stop_on_signals  # noqa: PLC0415

    set_up_logs()
    collect_rarely()

    async def run() -> None:
        with stop_on_signals() as stop:
            await run_server(settings, stop)

    asyncio.run(run())


@app.command("simulate")
@with_settings(*KAFKA, "topic_prefix", "allowed_lateness")
def simulate_command(
    settings: Settings,
    *,
    scenario: Annotated[str, typer.Option(help="mixed, steady, launch, drop, …")] = "mixed",
    rate: Annotated[float, typer.Option(help="Events a second of event time.")] = 100.0,
    seed: Annotated[int | None, typer.Option(help="Makes the events reproducible.")] = None,
    speed: Annotated[float, typer.Option(help="Event seconds a second; 0: full speed.")] = 1.0,
    start: Annotated[str | None, typer.Option(help="First event time, RFC 3339 or ms.")] = None,
    backfill: Annotated[str, typer.Option(help="History that is sent first.")] = "0s",
    duration: Annotated[str | None, typer.Option(help="Event time to play.")] = None,
    count: Annotated[int | None, typer.Option(help="Records to send.")] = None,
    ticket_speed: Annotated[float, typer.Option(help="How much faster tickets live.")] = 60.0,
    truth: Annotated[Path | None, typer.Option(help="Write what was sent, counted, here.")] = None,
    out: Annotated[
        str | None, typer.Option(help="File, folder/ or - instead of Kafka (NDJSON).")
    ] = None,
) -> None:
    """Send simulated traffic: campaigns, a launch, a drop, disorder, duplicates, bad records."""
    from stream.demo.simulator import SimulateOptions, run_simulator  # noqa: PLC0415
    from stream.kafka_access import kafka_credentials  # noqa: PLC0415

    options = SimulateOptions(
        kafka=settings.kafka,
        credentials=kafka_credentials(settings),
        topic_prefix=settings.topic_prefix,
        scenario=scenario,
        rate=rate,
        seed=seed,
        speed=speed,
        start_ms=given("--start", start, _instant),
        backfill_ms=parsed("--backfill", backfill, parse_duration),
        duration_ms=given("--duration", duration, parse_duration),
        count=count,
        ticket_speed=ticket_speed,
        lateness_ms=settings.allowed_lateness,
        truth=truth,
        out=out,
    )
    asyncio.run(run_simulator(options, lambda text: typer.echo(text, err=True)))


def _instant(text: str) -> int:
    return parse_timestamp(int(text) if text.lstrip("-").isdigit() else text)


@app.command("replay")
@with_settings(*KAFKA, "topic_prefix")
def replay_command(
    settings: Settings,
    file: Annotated[str, typer.Argument(help="NDJSON, plain or gzip; - is standard input.")],
    *,
    topic: Annotated[str, typer.Option("--topic", help="clicks, sessions or tickets.")],
    rate: Annotated[float | None, typer.Option(help="Lines a second.")] = None,
    speed: Annotated[
        float | None, typer.Option(help="Event seconds a second, by the events' own times.")
    ] = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out lines that are no JSON object.")
    ] = False,
    send_bad: Annotated[
        bool, typer.Option("--send-bad", help="Send such lines too, as they are.")
    ] = False,
) -> None:
    """Send a file's events to a topic, in order: at full speed, at a rate, or at their own pace."""
    from stream.replay import ReplayOptions, run_replay  # noqa: PLC0415

    if skip_bad and send_bad:
        raise UsageError("--skip-bad and --send-bad contradict each other")
    options = ReplayOptions(
        file=file,
        topic=topic,
        topic_prefix=settings.topic_prefix,
        rate=rate,
        speed=speed,
        on_bad="skip" if skip_bad else "send" if send_bad else "stop",
    )
    report = asyncio.run(
        run_replay(
            options,
            settings,
            terminal=sys.stderr.isatty(),
            say=lambda text: typer.echo(text, err=True),
        )
    )
    typer.echo(report.summary)
    if report.interrupted:
        raise typer.Exit(130)


@app.command("top")
@with_settings(*CLIENT)
def top_command(
    settings: Settings,
    *,
    url: Annotated[str, typer.Option(help="Where the server is.")] = "http://127.0.0.1:8000",
    window: Annotated[str, typer.Option(help="Sliding window to show.")] = "5m",
    once: Annotated[bool, typer.Option("--once", help="Print one frame and end.")] = False,
) -> None:
    """Watch the figures in the terminal."""
    from stream.sign_in import sign_in  # noqa: PLC0415
    from stream.top import show_top  # noqa: PLC0415

    show_top(url, sign_in(settings), once=once, window=window)


@app.command("explain")
@with_settings(*CLIENT)
def explain_command(
    settings: Settings,
    metric: Annotated[str, typer.Argument(help="ctr, bounce_rate, fcr, …")],
    *,
    window: Annotated[str | None, typer.Option(help="Sliding window, e.g. 1h.")] = None,
    from_: Annotated[str | None, typer.Option("--from", help="Start, RFC 3339.")] = None,
    to: Annotated[str | None, typer.Option(help="End, RFC 3339, not included.")] = None,
    campaign: Annotated[list[str] | None, typer.Option(help="Only these; repeatable.")] = None,
    channel: Annotated[list[str] | None, typer.Option(help="Only these; repeatable.")] = None,
    variant: Annotated[list[str] | None, typer.Option(help="Only these; repeatable.")] = None,
    creative: Annotated[list[str] | None, typer.Option(help="Only these; repeatable.")] = None,
    team: Annotated[list[str] | None, typer.Option(help="Only these; repeatable.")] = None,
    state: Annotated[str | None, typer.Option(help="live or settled.")] = None,
    bounce: Annotated[str | None, typer.Option(help="Bounce rule.")] = None,
    fcr: Annotated[str | None, typer.Option(help="FCR conditions.")] = None,
    age: Annotated[str | None, typer.Option(help="Outcomes as of this age.")] = None,
    url: Annotated[str, typer.Option(help="Where the server is.")] = "http://127.0.0.1:8000",
) -> None:
    """Say what stands behind a figure: cells, offsets, what was left out, and the definition."""
    from stream.explain import explain  # noqa: PLC0415
    from stream.sign_in import sign_in  # noqa: PLC0415

    one = {"metric": metric, "window": window, "from": from_, "to": to, "state": state}
    one |= {"bounce": bounce, "fcr": fcr, "age": age}
    many = {"campaign": campaign, "channel": channel, "variant": variant, "creative": creative}
    many["team"] = team
    pairs = [(name, value) for name, value in one.items() if value is not None]
    pairs += [(name, value) for name, values in many.items() for value in values or ()]
    if window is None and from_ is None and to is None:
        pairs.append(("window", "1h"))
    typer.echo(explain(url, pairs, sign_in(settings)))


add_maintenance(app)
add_campaigns(app)


def main() -> NoReturn:
    """Run the command line; a fault that a person can mend is one line on standard error."""
    try:
        app()
    except UserError as error:
        for text in str(error).splitlines():
            typer.echo(f"stream: {text}", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(0)
