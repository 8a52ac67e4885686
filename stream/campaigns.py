"""`stream campaign`: what managers say of their campaigns, kept in the topic `campaigns`.

Owns the commands' options, and what they print. A change is laid over what is there; two people who
change one campaign at once both have their way.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated, TypeVar

import typer

from stream.clock import wall_clock_ms
from stream.core.campaigns import (
    Campaign,
    Change,
    check_name,
    check_text,
    decode_campaign,
    floor_minute,
    format_instant,
    parse_channels,
    parse_instant,
    parse_note,
    parse_target,
)
from stream.errors import UsageError, UserError
from stream.options import KAFKA, given, parsed, with_settings
from stream.settings import Settings

T = TypeVar("T")
_PARTS = {
    "launch-at": "launch_ms",
    "name": "name",
    "owner": "owner",
    "targets": "targets",
    "notes": "notes",
    "channels": "channels",
}


def add_campaigns(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        help="Say what is known of a campaign: its launch, owner, targets, notes, channels.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    for name, command in (
        ("set", set_command),
        ("list", list_command),
        ("show", show_command),
        ("remove", remove_command),
    ):
        group.command(name)(with_settings(*KAFKA, "topic_prefix")(command))
    app.add_typer(group, name="campaign")


_Name = Annotated[str, typer.Argument(metavar="CAMPAIGN", help="As its events name it.")]


def set_command(
    settings: Settings,
    campaign: _Name,
    *,
    launch_at: Annotated[
        str | None, typer.Option(help="When it begins, e.g. 2026-03-01T09:00Z.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="What people call it.")] = None,
    owner: Annotated[str | None, typer.Option(help="Whose it is.")] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(help="E.g. conversions=5000@24h, from the launch; may be repeated."),
    ] = None,
    note: Annotated[
        list[str] | None,
        typer.Option(help="'mail sent', now or …@2026-03-01T09:10Z; may be repeated."),
    ] = None,
    channels: Annotated[
        str | None, typer.Option(help="Channels that are expected, e.g. email,social.")
    ] = None,
    clear: Annotated[
        list[str] | None, typer.Option(help=f"Forget one of {', '.join(_PARTS)}.")
    ] = None,
) -> None:
    """Describe a campaign: what is given is laid over what is there; notes are added."""
    from stream.campaign_topic import change_campaign  # noqa: PLC0415 - commands load only what they run

    now_ms = wall_clock_ms()
    change = Change(
        launch_ms=given("--launch-at", launch_at, lambda t: floor_minute(parse_instant(t))),
        name=given("--name", name, partial(check_text, "name")),
        owner=given("--owner", owner, partial(check_text, "owner")),
        targets=_each("--target", target, parse_target),
        notes=_each("--note", note, lambda text: parse_note(text, now_ms)),
        channels=given("--channels", channels, parse_channels),
        drop=frozenset(_each("--clear", clear, _part)),
    )
    if change.empty:
        raise UsageError("nothing to set: give --launch-at, --name, --owner, --target, --note, …")
    typer.echo(_spell(campaign, asyncio.run(change_campaign(settings, _key(campaign), change))))


def list_command(settings: Settings) -> None:
    """Every campaign that is described."""
    from stream.campaign_topic import read_campaigns  # noqa: PLC0415 - commands load only what they run

    values = asyncio.run(read_campaigns(settings))
    rows = [("CAMPAIGN", "LAUNCH", "NAME", "OWNER", "TARGETS")]
    for key, raw in sorted(values.items()):
        rows.append(_row(str(key, "utf-8", "replace"), raw))
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    for row in rows if len(rows) > 1 else ():
        padded = (text.ljust(width) for text, width in zip(row, widths, strict=True))
        typer.echo("  ".join(padded).rstrip())
    if len(rows) == 1:
        typer.echo("no campaign is described; begin with: stream campaign set NAME --launch-at …")


def show_command(settings: Settings, campaign: _Name) -> None:
    """All that is said of a campaign."""
    from stream.campaign_topic import read_campaign, read_campaigns  # noqa: PLC0415 - commands load only what they run

    raw = asyncio.run(read_campaigns(settings)).get(_key(campaign))
    if raw is None:
        raise UserError(f"campaign '{campaign}' is not described; see: stream campaign list")
    typer.echo(_spell(campaign, read_campaign(_key(campaign), raw)))


def remove_command(settings: Settings, campaign: _Name) -> None:
    """Forget what is said of a campaign; its events and past launches stay."""
    from stream.campaign_topic import forget_campaign, read_campaigns  # noqa: PLC0415 - commands load only what they run

    key = _key(campaign)
    if key not in asyncio.run(read_campaigns(settings)):
        raise UserError(f"campaign '{campaign}' is not described; see: stream campaign list")
    asyncio.run(forget_campaign(settings, key))
    typer.echo(f"{campaign} is forgotten")


# --- words ---


def _spell(campaign: str, about: Campaign) -> str:
    """A campaign in lines."""
    lines = [campaign]
    for what, text in (
        ("name", about.name),
        ("owner", about.owner),
        ("launch", None if about.launch_ms is None else format_instant(about.launch_ms)),
        ("targets", ", ".join(map(str, about.targets))),
        ("channels", ", ".join(about.channels)),
        *(("note", f"{format_instant(note.at_ms)}  {note.text}") for note in about.notes),
    ):
        if text:
            lines.append(f"  {what:<9} {text}")
    return "\n".join(lines)


def _row(name: str, raw: bytes) -> tuple[str, str, str, str, str]:
    try:
        about = decode_campaign(raw)
    except ValueError as error:
        return name, "-", f"cannot be read: {error}", "", ""
    launch = "-" if about.launch_ms is None else format_instant(about.launch_ms)
    targets = ", ".join(map(str, about.targets))
    return name, launch, about.name or "-", about.owner or "-", targets or "-"


def _key(campaign: str) -> bytes:
    return parsed("CAMPAIGN", campaign, partial(check_name, "campaign")).encode()


def _each(option: str, texts: Sequence[str] | None, parse: Callable[[str], T]) -> tuple[T, ...]:
    return tuple(parsed(option, text, parse) for text in texts or ())


def _part(text: str) -> str:
    if text not in _PARTS:
        raise ValueError(f"'{text}' is not one of {', '.join(_PARTS)}")
    return _PARTS[text]
