"""Commands of those who look after the system: audit, dead letters, backups, repair.

Owns their options and what they print; the work is done elsewhere, and loaded only by the command
that needs it.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from stream.core.durations import parse_duration
from stream.errors import UserError
from stream.letters.commands import add_letters
from stream.settings import Settings

WithSettings = Callable[..., Callable[[Callable[..., None]], Callable[..., None]]]


def add_maintenance(app: typer.Typer, with_settings: WithSettings, rules: tuple[str, ...]) -> None:
    """Add the commands; `rules` are the settings that a worker has."""
    kept = tuple(name for name in rules if not name.startswith(("worker_", "audit_")))
    audit = (*kept, "audit_host", "audit_port")
    app.command("audit")(with_settings(*audit)(audit_command))
    app.command("snapshot")(with_settings(*kept)(snapshot_command))
    app.command("restore")(with_settings(*kept)(restore_command))
    redis = (name for name in kept if name.startswith("redis_"))
    app.command("rewrite")(with_settings(*redis, "group")(rewrite_command))
    kafka = (n for n in kept if n.startswith("kafka") and n != "kafka_session_timeout")
    add_letters(app, with_settings, (*kafka, "topic_prefix"))


def audit_command(
    settings: Settings,
    *,
    once: Annotated[
        bool, typer.Option("--once", help="Check everything, print the differences, and end.")
    ] = False,
    share: Annotated[
        str, typer.Option(help="Share of the partitions under audit at a time, e.g. 5%.")
    ] = "100%",
    every: Annotated[str, typer.Option(help="How often all is compared.")] = "10s",
) -> None:
    """Count the topics again and compare: the ledger with them, Redis with the ledger.

    Goes on until it is stopped and shows what it finds on /metrics; only reads. It needs the
    settings of the workers. With --once the exit code is 1 where anything is different or could not
    be compared.
    """
    from rich.console import Console  # noqa: PLC0415 - commands load only what they run

    from stream.audit.auditor import Auditor  # noqa: PLC0415
    from stream.audit.report import check_once, parse_share  # noqa: PLC0415
    from stream.faults import in_words  # noqa: PLC0415
    from stream.health import serve_health  # noqa: PLC0415
    from stream.logs import set_up_logs  # noqa: PLC0415
    from stream.signals import stop_on_signals  # noqa: PLC0415

    part, every_s = parse_share(share), _seconds(every, "--every")
    set_up_logs()
    if once:
        raise typer.Exit(asyncio.run(in_words(settings, check_once(settings, part, Console()))))

    async def run() -> None:
        auditor = Auditor(settings, part)
        registry, is_ready = auditor.meters.registry, auditor.is_ready
        with (
            serve_health(settings, registry, is_ready, part="audit"),
            stop_on_signals() as stop,
        ):
            await auditor.run(stop, every_s)

    asyncio.run(run())


def snapshot_command(
    settings: Settings,
    file: Annotated[Path, typer.Argument(help="Where to write it.", dir_okay=False)],
) -> None:
    """Write the state of all ledgers to a file. Disturbs nobody; needs the workers' settings."""
    from stream.backup import snapshot  # noqa: PLC0415
    from stream.faults import in_words  # noqa: PLC0415
    from stream.logs import set_up_logs  # noqa: PLC0415

    set_up_logs()
    for line in asyncio.run(in_words(settings, snapshot(settings, file))):
        typer.echo(line)


def restore_command(
    settings: Settings,
    file: Annotated[Path, typer.Argument(help="What `stream snapshot` has written.")],
    *,
    replace: Annotated[
        bool, typer.Option("--replace", help="Also where a ledger holds a state already.")
    ] = False,
    accept_loss: Annotated[
        bool, typer.Option("--accept-loss", help="Also where Kafka lacks records after it.")
    ] = False,
) -> None:
    """Put a snapshot in the place of the ledgers; the workers count on from there.

    Stop the workers first. It needs their settings.
    """
    from stream.backup import restore  # noqa: PLC0415
    from stream.faults import in_words  # noqa: PLC0415
    from stream.logs import set_up_logs  # noqa: PLC0415

    set_up_logs()
    work = restore(settings, file, replace=replace, accept_loss=accept_loss)
    for line in asyncio.run(in_words(settings, work)):
        typer.echo(line)


def rewrite_command(
    settings: Settings,
    partitions: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TOPIC/PARTITION]...", help="e.g. clicks/3; none: all of them"),
    ] = None,
) -> None:
    """Have the workers write partitions to Redis again, from their ledgers."""
    from stream.repair import rewrite  # noqa: PLC0415

    typer.echo(asyncio.run(rewrite(settings, partitions or ())))


def _seconds(text: str, option: str) -> float:
    try:
        return parse_duration(text) / 1000
    except ValueError as error:
        raise UserError(f"{option}: {error}") from None
