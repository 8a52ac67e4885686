"""Commands of those who look after the system: doctor, repair, audit, backups, dead letters.

Owns their options and what they print; the work is done elsewhere, and loaded only by the command
that needs it.
"""

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer

from stream.core.durations import parse_duration
from stream.errors import UsageError
from stream.letters.commands import add_letters
from stream.options import CONNECTION, REDIS, WORKER, parsed, with_settings
from stream.settings import Settings

_STATE = tuple(name for name in WORKER if not name.startswith(("worker_", "audit_")))
"""What has to be as the workers have it."""
_TOPICS = ("partitions", "replication", "kafka_session_timeout", "dead_letters_retention")
PASSWORD_CHARACTERS_MIN = 10


def add_maintenance(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("doctor")(with_settings(*CONNECTION, *_TOPICS)(doctor_command))
    app.command("password")(password_command)
    app.command("resume")(with_settings(*REDIS, "group")(resume_command))
    app.command("rebuild")(with_settings(*CONNECTION)(rebuild_command))
    app.command("audit")(with_settings(*_STATE, "audit_host", "audit_port")(audit_command))
    app.command("snapshot")(with_settings(*_STATE)(snapshot_command))
    app.command("restore")(with_settings(*_STATE)(restore_command))
    app.command("rewrite")(with_settings(*REDIS, "group")(rewrite_command))
    add_letters(app)


def doctor_command(
    settings: Settings,
    *,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until all is ready.")] = False,
    timeout: Annotated[str, typer.Option(help="How long to wait.")] = "2m",
) -> None:
    """Say what is wrong or cannot be reached, and what to do about it."""
    from stream.doctor import run_doctor  # noqa: PLC0415

    timeout_s = parsed("--timeout", timeout, parse_duration) / 1000
    raise typer.Exit(asyncio.run(run_doctor(settings, wait=wait, timeout_s=timeout_s)))


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

    part, every_s = parse_share(share), parsed("--every", every, parse_duration) / 1000
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
