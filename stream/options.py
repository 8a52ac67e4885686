"""Settings as options: each command names those that it needs, and is called with them loaded."""

import inspect
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import typer

from stream.core.durations import format_duration, spell_span
from stream.errors import UsageError
from stream.settings import Settings, load_settings

Command = Callable[..., None]
T = TypeVar("T")


def _named(*prefixes: str) -> tuple[str, ...]:
    return tuple(name for name in Settings.model_fields if name.startswith(prefixes))


KAFKA = tuple(name for name in _named("kafka") if name != "kafka_session_timeout")
REDIS = _named("redis_")
CONNECTION = (*KAFKA, *REDIS, "group", "topic_prefix")
_READ = ("bounce", "fcr_conditions")
_SCREEN = ("targets", "alertmanager")
_GUARD = ("http_token_file", "http_users_file", "http_open", *_named("http_tls_"))
_SERVER = ("http_host", "http_port", *_named("metrics_"), *_SCREEN)
SERVE = (*REDIS, "group", "kafka_session_timeout", *_READ, *_SERVER, *_GUARD)
CLIENT = ("http_token_file", "http_ca")
_OTHERS = (*_READ, *_SERVER, "http_ca", "audit_host", "audit_port", "processes")
WORKER = tuple(name for name in Settings.model_fields if name not in _OTHERS)


def with_settings(*names: str) -> Callable[[Command], Command]:
    """Give a command an option for each named setting and call it with the loaded `settings`."""

    def wrap(command: Command) -> Command:
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


def parsed(option: str, text: str, parse: Callable[[str], T]) -> T:
    """What was given for an option. Raises UsageError where `parse` raises ValueError."""
    try:
        return parse(text)
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from None


def given(option: str, text: str | None, parse: Callable[[str], T]) -> T | None:
    """The same for an option that may be left out."""
    return None if text is None else parsed(option, text, parse)
