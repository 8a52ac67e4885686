"""The command line: reads options, loads settings, runs one thing, tells faults in one line."""

import asyncio
import inspect
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

import structlog
import typer

from stream import __version__
from stream.campaigns import add_campaigns
from stream.core.durations import format_duration, parse_duration, spell_span
from stream.errors import UsageError, UserError
from stream.maintenance import add_maintenance
from stream.settings import Settings, load_settings

RESTART_S = 1.0
PORT_MAX = 65_535
PASSWORD_CHARACTERS_MIN = 10

app = typer.Typer(
    name="stream",
    help="Live engagement metrics from Kafka: CTR, bounce, conversion, first-contact resolution.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _named(*prefixes: str) -> tuple[str, ...]:
    return tuple(name for name in Settings.model_fields if name.startswith(prefixes))


_KAFKA = tuple(name for name in _named("kafka") if name != "kafka_session_timeout")
_REDIS = _named("redis_")
_CONNECTION = (*_KAFKA, *_REDIS, "group", "topic_prefix")
_READ = ("bounce", "fcr_conditions")
_SCREEN = ("targets", "alertmanager")
_GUARD = ("http_token_file", "http_users_file", "http_open", *_named("http_tls_"))
_SERVER = ("http_host", "http_port", *_named("metrics_"), *_SCREEN)
_SERVE = (*_REDIS, "group", "kafka_session_timeout", *_READ, *_SERVER, *_GUARD)
_CLIENT = ("http_token_file", "http_ca")
_OTHERS = (*_READ, *_SERVER, "http_ca", "audit_host", "audit_port", "processes")
_WORKER = tuple(name for name in Settings.model_fields if name not in _OTHERS)


def with_settings(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command an option for each named setting and call it with the loaded `settings`."""

    def wrap(command: Callable[..., None]) -> Callable[..., None]:
        def run(**given: Any) -> None:
            options = {name: given.pop(name) for name in names}
            command(load_settings(options), **given)

        own = list(inspect.signature(command).parameters.values())[1:]
        run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [*own, *(_parameter(name) for name in names)]
        )
        run.__annotations__ = {p.name: p.annotation for p in run.__signature__.parameters.values()}  # type: ignore[attr-defined]
        run.__doc__, run.__name__ = command.__doc__, command.__name__
        return run

    return wrap


def _parameter(name: str) -> inspect.Parameter:
    field = Settings.model_fields[name]
    default = field.default
    if isinstance(default, int) and ("Duration" in str(field.annotation) or field.metadata):
        shown = _spell(name, default)
    elif isinstance(default, tuple):
        shown = ",".join(map(spell_span, default))
    else:
        shown = str(default or "")
    text = f"{field.description}" + (f"  [default: {shown}]" if shown else "")
    option = typer.Option(
        f"--{name.replace('_', '-')}",
        help=text,
        envvar=f"STREAM_{name.upper()}",
        show_default=False,
        metavar="TEXT",
    )
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[str | None, option],
    )


def _spell(name: str, default: int) -> str:
    counts = ("partitions", "replication", "dedupe_max_ids", "metrics_max_series", "_port")
    return str(default) if name.endswith(counts) else format_duration(default)


def _duration(text: str | None, option: str) -> int | None:
    if text is None:
        return None
    try:
        return parse_duration(text)
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from None


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
        backfill_ms=_duration(backfill, "--backfill"),
    )
    asyncio.run(run_demo(options, say=typer.echo))


@app.command("worker")
@with_settings(*_WORKER, "processes")
def worker_command(settings: Settings) -> None:
    """Count the events: read the topics, keep the ledger, write the figures to Redis."""
    if settings.processes > 1:
        raise typer.Exit(asyncio.run(_worker_processes(settings)))
    from stream.logs import set_up_logs  # noqa: PLC0415 - commands load only what they run
    from stream.signals import stop_on_signals  # noqa: PLC0415
    from stream.worker import Worker, WorkerError  # noqa: PLC0415

    set_up_logs()

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
@with_settings(*_SERVE)
def serve_command(settings: Settings) -> None:
    """Serve the figures in Redis: HTTP API, /metrics, live events and the ops screen."""
    from stream.logs import set_up_logs  # noqa: PLC0415
    from stream.serve.server import run_server  # noqa: PLC0415
    from stream.signals import stop_on_signals  # noqa: PLC0415

    set_up_logs()

    async def run() -> None:
        with stop_on_signals() as stop:
            await run_server(settings, stop)

    asyncio.run(run())


@app.command("simulate")
@with_settings(*_KAFKA, "topic_prefix", "allowed_lateness")
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
        start_ms=_instant(start),
        backfill_ms=_duration(backfill, "--backfill") or 0,
        duration_ms=_duration(duration, "--duration"),
        count=count,
        ticket_speed=ticket_speed,
        lateness_ms=settings.allowed_lateness,
        truth=truth,
        out=out,
    )
    asyncio.run(run_simulator(options, lambda text: typer.echo(text, err=True)))


def _instant(text: str | None) -> int | None:
    from stream.core.events import parse_timestamp  # noqa: PLC0415

    if text is None:
        return None
    try:
        return parse_timestamp(int(text) if text.lstrip("-").isdigit() else text)
    except ValueError as error:
        raise UsageError(f"--start: {error}") from None


@app.command("replay")
@with_settings(*_KAFKA, "topic_prefix")
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
@with_settings(*_CLIENT)
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
@with_settings(*_CLIENT)
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


@app.command("doctor")
@with_settings(
    *_CONNECTION, "partitions", "replication", "kafka_session_timeout", "dead_letters_retention"
)
def doctor_command(
    settings: Settings,
    *,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until all is ready.")] = False,
    timeout: Annotated[str, typer.Option(help="How long to wait.")] = "2m",
) -> None:
    """Say what is wrong or cannot be reached, and what to do about it."""
    from stream.doctor import run_doctor  # noqa: PLC0415

    timeout_s = (_duration(timeout, "--timeout") or 0) / 1000
    raise typer.Exit(asyncio.run(run_doctor(settings, wait=wait, timeout_s=timeout_s)))


@app.command("password")
def password_command(
    name: Annotated[str, typer.Argument(help="Who signs in with it.")],
) -> None:
    """Ask for a password and print its line for STREAM_HTTP_USERS_FILE.

    Off a terminal the password is the first line of standard input.
    """
    from stream.passwords import PasswordHash  # noqa: PLC0415

    if ":" in name or not name.isprintable() or name != name.strip() or name.startswith("#"):
        raise UsageError("a name has no colon, and neither begins nor ends with a space")
    if sys.stdin.isatty():
        password = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    if len(password) < PASSWORD_CHARACTERS_MIN:
        raise UsageError(f"a password has at least {PASSWORD_CHARACTERS_MIN} characters")
    typer.echo(f"{name}:{PasswordHash.make(password)}")


@app.command("resume")
@with_settings(*_REDIS, "group")
def resume_command(
    settings: Settings,
    partition: Annotated[str, typer.Argument(metavar="TOPIC/PARTITION", help="e.g. clicks/3")],
    *,
    skip_to: Annotated[
        int | None, typer.Option(help="Go on at this offset; records before it are passed over.")
    ] = None,
) -> None:
    """Go on with a partition that was paused because most of its records were unreadable."""
    from stream.repair import resume  # noqa: PLC0415

    typer.echo(asyncio.run(resume(settings, partition, skip_to)))


@app.command("rebuild")
@with_settings(*_CONNECTION)
def rebuild_command(
    settings: Settings,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Count all topics again into a new ledger, e.g. after the rules were changed.

    Stop the workers first. What Kafka no longer holds of the topics will be missing.
    """
    from stream.repair import rebuild  # noqa: PLC0415

    if not yes and not typer.confirm(
        "All figures are counted again from what Kafka still holds of the topics. Go on?"
    ):
        raise typer.Exit(1)
    for text in asyncio.run(rebuild(settings)):
        typer.echo(text)


add_maintenance(app, with_settings, _WORKER)
add_campaigns(app, with_settings, _KAFKA)


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
