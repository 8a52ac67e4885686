"""`stream dead-letters`: options and printing; the work is `office`'s."""

import asyncio
from typing import Annotated

import typer

from stream.clock import wall_clock_ms
from stream.core.durations import parse_duration
from stream.core.records import Reason
from stream.errors import UserError
from stream.letters.choice import Choice
from stream.options import KAFKA, with_settings
from stream.serve.times import parse_time
from stream.settings import Settings

Reasons = Annotated[
    list[str] | None, typer.Option("--reason", help="Only of this reason; repeatable.")
]
Topics = Annotated[
    list[str] | None,
    typer.Option("--topic", help="Only of this topic (clicks, sessions, tickets); repeatable."),
]
Since = Annotated[
    str | None, typer.Option(help="Only written since then: RFC 3339, or 2h for two hours ago.")
]
Until = Annotated[str | None, typer.Option(help="Only written before then, written likewise.")]


def add_letters(app: typer.Typer) -> None:
    """Add the commands."""
    letters = typer.Typer(
        name="dead-letters",
        help="Look through the dead letters, and send them back.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    for name, command in (("list", list_command), ("show", show_command), ("send", send_command)):
        letters.command(name)(with_settings(*KAFKA, "topic_prefix")(command))
    app.add_typer(letters)


def list_command(
    settings: Settings,
    *,
    reason: Reasons = None,
    topic: Topics = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(min=0, help="How many of the last ones are listed.")] = 20,
    json: Annotated[bool, typer.Option("--json", help="All, a line of JSON each.")] = False,
) -> None:
    """Count the dead letters by topic and reason, and list the last ones."""
    from rich.console import Console  # noqa: PLC0415 - commands load only what they run

    from stream.faults import in_words  # noqa: PLC0415
    from stream.letters.display import as_json, count_table, letter_table  # noqa: PLC0415
    from stream.letters.letter import Letter  # noqa: PLC0415
    from stream.letters.office import list_letters  # noqa: PLC0415
    from stream.logs import set_up_logs  # noqa: PLC0415

    def show(letter: Letter, sent: bool) -> None:
        typer.echo(as_json(letter, sent=sent))

    set_up_logs()
    choice = _choice(settings, (), reason, topic, since, until)
    work = list_letters(settings, choice, limit, show if json else None)
    listing = asyncio.run(in_words(settings, work))
    if json:
        return
    if not listing.counts:
        typer.echo("no dead letters")
        return
    console = Console()
    console.print(count_table(listing.counts))
    if listing.last:
        console.print(letter_table(listing.last))


def show_command(
    settings: Settings,
    letter: Annotated[str, typer.Argument(metavar="PARTITION/OFFSET", help="As `list` names it.")],
) -> None:
    """Show one dead letter: why it is one, where it came from, and what it holds."""
    from stream.faults import in_words  # noqa: PLC0415
    from stream.letters.display import lines_of  # noqa: PLC0415
    from stream.letters.office import find_letter  # noqa: PLC0415
    from stream.logs import set_up_logs  # noqa: PLC0415

    set_up_logs()
    work = find_letter(settings, *_position(letter))
    found, sent = asyncio.run(in_words(settings, work))
    for line in lines_of(found, sent=sent):
        typer.echo(line)


def send_command(
    settings: Settings,
    letter: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PARTITION/OFFSET]...", help="Only these, as `list` names them."),
    ] = None,
    *,
    reason: Reasons = None,
    topic: Topics = None,
    since: Since = None,
    until: Until = None,
    edit: Annotated[
        str | None,
        typer.Option(
            help="Shell command that gets a record on its standard input and writes what is to be "
            "sent; nothing leaves it out, an exit code other than 0 stops."
        ),
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Also those that were sent.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Send nothing, only say.")] = False,
    all_: Annotated[bool, typer.Option("--all", help="All of them; else choose some.")] = False,
) -> None:
    """Send dead letters back to the topics that they came from, each of them once.

    What would only come back is left out: unedited ones that were late, and whatever is still
    unreadable or ahead of its time.
    """
    from stream.faults import in_words  # noqa: PLC0415
    from stream.letters.display import report_lines  # noqa: PLC0415
    from stream.letters.office import editor, send_letters  # noqa: PLC0415
    from stream.logs import set_up_logs  # noqa: PLC0415

    if not (all_ or letter or reason or topic or since or until):
        raise UserError("choose letters by position, --reason, --topic or --since, or take --all")
    set_up_logs()
    choice = _choice(settings, letter or (), reason, topic, since, until)
    work = send_letters(
        settings, choice, None if edit is None else editor(edit), again=again, dry_run=dry_run
    )
    report = asyncio.run(in_words(settings, work))
    for line in report_lines(report, dry_run=dry_run):
        typer.echo(line)


def _choice(
    settings: Settings,
    letters: list[str] | tuple[()],
    reasons: list[str] | None,
    topics: list[str] | None,
    since: str | None,
    until: str | None,
) -> Choice:
    for reason in reasons or ():
        if reason not in list(Reason):
            raise UserError(f"--reason: '{reason}' is not one of {', '.join(Reason)}")
    return Choice(
        reasons=frozenset(reasons or ()),
        topics=frozenset(map(settings.topic, topics or ())),
        positions=frozenset(map(_position, letters)),
        since_ms=_moment(since, "--since"),
        until_ms=_moment(until, "--until"),
    )


def _position(text: str) -> tuple[int, int]:
    partition, _, offset = text.partition("/")
    if not (partition.isdecimal() and offset.isdecimal()):
        raise UserError(f"'{text}' is no dead letter; write PARTITION/OFFSET, e.g. 3/17")
    return int(partition), int(offset)


def _moment(text: str | None, option: str) -> int | None:
    if text is None:
        return None
    try:
        return wall_clock_ms() - parse_duration(text)
    except ValueError:
        pass
    try:
        return parse_time(text)
    except ValueError as error:
        raise UserError(f"{option}: {error}, or like 2h for two hours ago") from None
