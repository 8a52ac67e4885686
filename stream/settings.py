"""Settings: `STREAM_*` environment variables, or command-line options of the same meaning.

All faults are reported at once. Knows the rules of the core; knows nothing of Kafka or Redis.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import (
    BeforeValidator,
    Field,
    PlainSerializer,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from stream.core.buckets import WINDOW_NAMES, WINDOWS_MS
from stream.core.catalogue import BOUNCE_RULES, conditions_of
from stream.core.durations import format_duration, parse_duration
from stream.core.rules import Rules
from stream.errors import UserError
from stream.targets import parse_targets


def _duration(value: object) -> object:
    return parse_duration(value) if isinstance(value, str) else value


def _words(value: object) -> object:
    if isinstance(value, str):
        return tuple(word.strip() for word in value.split(",") if word.strip())
    return value


def _level(value: str) -> str:
    known = ("campaign_channel", "campaign_variant", "channel", "team_channel")
    if value not in known:
        raise ValueError(f"'{value}' is not a level; choose from {', '.join(known)}")
    return value


def _targets(value: object) -> object:
    return parse_targets(value) if isinstance(value, str) else value


Duration = Annotated[
    int, BeforeValidator(_duration), PlainSerializer(format_duration, return_type=str)
]
Positive = Annotated[Duration, Field(gt=0)]
Windows = Annotated[tuple[Duration, ...], NoDecode, BeforeValidator(_words)]
Levels = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_words)]
Targets = Annotated[dict[str, float], NoDecode, BeforeValidator(_targets)]
Port = Annotated[int, Field(ge=1, le=65_535)]
Upper = BeforeValidator(lambda value: value.upper() if isinstance(value, str) else value)
KafkaSecurity = Annotated[Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"], Upper]
Mechanism = Annotated[Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"], Upper]
File = Path | None
T = TypeVar("T")


class Settings(BaseSettings):
    """Every setting, with its default. Durations are milliseconds inside."""

    model_config = SettingsConfigDict(
        env_prefix="STREAM_", extra="ignore", env_ignore_empty=True, validate_default=True
    )

    kafka: str = Field("127.0.0.1:9092", description="Kafka bootstrap servers, host:port,…")
    kafka_security: KafkaSecurity = Field(
        "PLAINTEXT", description="PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL"
    )
    kafka_ca: File = Field(
        None, description="PEM file of who signs the brokers' certificates; default: the system's"
    )
    kafka_cert: File = Field(None, description="PEM file of this client's certificate")
    kafka_key: File = Field(None, description="PEM file of its key")
    kafka_mechanism: Mechanism = Field(
        "SCRAM-SHA-512", description="PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512"
    )
    kafka_user: str | None = Field(None, description="name to sign in to Kafka with")
    kafka_password_file: File = Field(None, description="file that holds its password")
    redis_url: str = Field(
        "redis://127.0.0.1:6379/0",
        repr=False,
        description="Redis, redis:// or rediss:// (TLS); may name the user",
    )
    redis_ca: File = Field(
        None, description="PEM file of who signs Redis' certificate, beside the system's"
    )
    redis_cert: File = Field(None, description="PEM file of this client's certificate")
    redis_key: File = Field(None, description="PEM file of its key")
    redis_password_file: File = Field(None, description="file that holds the password for Redis")
    group: str = Field(
        "stream",
        pattern=r"^[A-Za-z0-9._-]{1,64}$",
        description="consumer group; also names the ledger and the keys in Redis",
    )
    topic_prefix: str = Field(
        "", pattern=r"^[A-Za-z0-9._-]{0,64}$", description="put before every topic's name"
    )
    partitions: int = Field(4, ge=1, le=1024, description="partitions of topics that are created")
    replication: int | None = Field(
        None, ge=1, le=32767, description="replication of created topics; default: up to 3"
    )
    worker_id: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9._-]{1,64}$",
        description="stable name of this worker (static membership); default: the host's name",
    )
    dead_letters_retention: Positive = Field(
        1_209_600_000, description="how long Kafka keeps dead letters, which are raw records"
    )
    id_key_file: File = Field(
        None,
        description="key that visitor and ticket ids are hashed with, the same for all workers; "
        "default: made once, stream/id.key in the user's state folder",
    )
    kafka_session_timeout: Positive = Field(
        10_000, description="a worker silent for so long loses its partitions"
    )
    flush_interval: Positive = Field(250, description="how often changes are written")

    allowed_lateness: Duration = Field(600_000, ge=0, description="how late an event may come")
    session_timeout: Positive = Field(1_800_000, description="a longer gap starts a new session")
    session_id_timeout: Positive | None = Field(
        None, description="the same for sessions with an id; default: the session time-out"
    )
    session_max: Positive = Field(43_200_000, description="a session is cut after so long")
    session_split: Literal["none", "midnight"] = Field(
        "none", description="`midnight` starts a new session each day"
    )
    timezone: str = Field("UTC", description="time zone of days")
    fcr_reopen_window: Positive = Field(
        259_200_000, description="a ticket reopened within it was not resolved at first contact"
    )
    ticket_retention: Positive = Field(
        34_560_000_000, description="how long a ticket is kept after its last event"
    )
    dedupe_horizon: Duration | None = Field(
        None, gt=0, description="how long an event_id is remembered; default: 10m or the lateness"
    )
    dedupe_max_ids: int = Field(
        2_000_000, ge=1, description="event ids remembered per partition at most"
    )

    bounce: str = Field("single", description="bounce rule when a query names none")
    fcr_conditions: str = Field(
        "single_contact", description="FCR conditions when a query names none"
    )
    metrics_windows: Windows = Field((300_000, 3_600_000, 86_400_000), description="gauge windows")
    metrics_ticket_windows: Windows = Field(
        (86_400_000, 604_800_000), description="gauge windows of ticket metrics"
    )
    metrics_levels: Levels = Field((), description="more levels of gauges, e.g. campaign_channel")
    metrics_max_series: int = Field(50_000, ge=100, description="engagement_* samples at most")

    targets: Targets = Field(
        {}, description="target lines of the ops screen, e.g. ctr=3%,conversion_rate=2.5%,fcr=70%"
    )
    alertmanager: str | None = Field(
        None,
        repr=False,
        description="URL of Alertmanager, whose alerts the ops screen shows; default: none",
    )

    http_host: str = Field("127.0.0.1", description="address the server listens on")
    http_port: Port = Field(8000, description="port the server listens on")
    live_clients: int = Field(
        1_000, ge=0, description="live streams (/api/v1/live) open at once; more are refused"
    )
    worker_host: str = Field("127.0.0.1", description="address of the worker's own /metrics")
    worker_port: Port = Field(6066, description="port of the worker's own /metrics")
    processes: int = Field(
        1,
        ge=1,
        le=256,
        description="processes of a worker, a core each; they listen on its port and the next ones",
    )
    audit_host: str = Field("127.0.0.1", description="address of the auditor's /metrics")
    audit_port: Port = Field(6067, description="port of the auditor's /metrics")
    http_token_file: File = Field(
        None, description="bearer tokens, one a line, that server and worker ask for"
    )
    http_users_file: File = Field(
        None, description="users they ask for, lines of `stream password`"
    )
    http_open: bool = Field(
        False, description="true: listen beyond this machine without asking for either"
    )
    http_tls_cert: File = Field(
        None, description="PEM file of the certificate (and chain) of server and worker"
    )
    http_tls_key: File = Field(None, description="PEM file of its key")
    http_ca: File = Field(
        None, description="PEM file of who signs the server's certificate; default: the system's"
    )

    @field_validator("timezone")
    @classmethod
    def _zone_exists(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ValueError, KeyError, OSError) as error:
            raise ValueError(
                f"'{value}' is not a time zone; write one like Europe/Paris"
            ) from error
        return value

    @field_validator("bounce")
    @classmethod
    def _bounce_exists(cls, value: str) -> str:
        if value not in BOUNCE_RULES:
            raise ValueError(f"'{value}' is not one of {', '.join(BOUNCE_RULES)}")
        return value

    @field_validator("fcr_conditions")
    @classmethod
    def _conditions_exist(cls, value: str) -> str:
        conditions_of(value)
        return value

    @field_validator("metrics_windows", "metrics_ticket_windows")
    @classmethod
    def _windows_are_kept(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        for window_ms in value:
            if window_ms not in WINDOW_NAMES:
                kept = ", ".join(WINDOWS_MS)
                raise ValueError(f"'{format_duration(window_ms)}' is not one of {kept}")
        return value

    @field_validator("metrics_levels")
    @classmethod
    def _levels_exist(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(_level, value))

    @field_validator("alertmanager")
    @classmethod
    def _is_http(cls, value: str | None) -> str | None:
        try:
            parts = urlsplit(value or "http://none")
            _ = parts.port
        except ValueError:
            parts = None
        if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("is no URL; write one like http://127.0.0.1:9093")
        return value

    @field_validator("redis_url")
    @classmethod
    def _is_redis(cls, value: str) -> str:
        try:
            parts = urlsplit(value)
            _ = parts.port
        except ValueError:
            parts = None
        if parts is None or parts.scheme not in ("redis", "rediss", "unix"):
            raise ValueError(
                "is no URL of Redis; write redis://host:6379/0, or rediss:// for TLS "
                "(a password with / ? # or @ in it belongs into STREAM_REDIS_PASSWORD_FILE)"
            )
        return value

    # Faults between settings are found beside those of others: each looks at the valid ones so far.

    @field_validator("kafka_ca", "kafka_cert", "kafka_key")
    @classmethod
    def _has_tls(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value is not None and not info.data.get("kafka_security", "SSL").endswith("SSL"):
            raise ValueError("needs STREAM_KAFKA_SECURITY=SSL or SASL_SSL")
        return value

    @field_validator("kafka_user", "kafka_password_file")
    @classmethod
    def _signs_in(cls, value: T, info: ValidationInfo) -> T:
        security = info.data.get("kafka_security")
        if security is None:
            return value
        if value is None and security.startswith("SASL"):
            raise ValueError(f"is needed with STREAM_KAFKA_SECURITY={security}")
        if value is not None and not security.startswith("SASL"):
            raise ValueError("needs STREAM_KAFKA_SECURITY=SASL_SSL (or SASL_PLAINTEXT)")
        return value

    @field_validator("redis_ca", "redis_cert", "redis_key")
    @classmethod
    def _is_rediss(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value is not None and not info.data.get("redis_url", "rediss:").startswith("rediss:"):
            raise ValueError("needs a STREAM_REDIS_URL that begins with rediss://")
        return value

    @field_validator("redis_password_file")
    @classmethod
    def _one_password(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value is not None and urlsplit(info.data.get("redis_url", "")).password:
            raise ValueError("STREAM_REDIS_URL has a password too; leave one of them out")
        return value

    @field_validator("kafka_key", "redis_key", "http_tls_key")
    @classmethod
    def _belongs_to_a_certificate(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        certificate = str(info.field_name).replace("_key", "_cert")
        if certificate in info.data and (value is None) != (info.data[certificate] is None):
            raise ValueError(f"belongs together with STREAM_{certificate.upper()}: give both")
        return value

    @field_validator("dedupe_horizon")
    @classmethod
    def _covers_lateness(cls, value: int | None, info: ValidationInfo) -> int | None:
        lateness_ms = info.data.get("allowed_lateness", 0)
        if value is not None and value < lateness_ms:
            raise ValueError(
                f"must not be shorter than STREAM_ALLOWED_LATENESS ({format_duration(lateness_ms)})"
            )
        return value

    @field_validator("ticket_retention")
    @classmethod
    def _covers_reopening(cls, value: int, info: ValidationInfo) -> int:
        least_ms = 2 * info.data.get("fcr_reopen_window", 0)
        if value < least_ms:
            raise ValueError(
                f"must be at least twice STREAM_FCR_REOPEN_WINDOW ({format_duration(least_ms)})"
            )
        return value

    def topic(self, name: str) -> str:
        """Full Kafka name of a topic."""
        return self.topic_prefix + name

    def rules(self) -> Rules:
        """The rules of the core that these settings choose."""
        return Rules(
            allowed_lateness_ms=self.allowed_lateness,
            session_timeout_ms=self.session_timeout,
            session_id_timeout_ms=self.session_id_timeout or self.session_timeout,
            session_max_ms=self.session_max,
            split_at_midnight=self.session_split == "midnight",
            timezone=self.timezone,
            fcr_reopen_window_ms=self.fcr_reopen_window,
            ticket_retention_ms=self.ticket_retention,
            dedupe_horizon_ms=self.dedupe_horizon or max(600_000, self.allowed_lateness),
            dedupe_max_ids=self.dedupe_max_ids,
        )


class SettingsError(UserError):
    """Wrong settings, one line each."""

    exit_code = 2


def load_settings(options: Mapping[str, Any] | None = None) -> Settings:
    """Settings from the environment and from options that were given (None = not given).

    Raises SettingsError that names every fault, one line each.
    """
    given = {name: value for name, value in (options or {}).items() if value is not None}
    if os.environ.get("STREAM_FCR_CONDITIONS") == "":  # the empty list, not "use the default"
        given.setdefault("fcr_conditions", "none")
    try:
        return Settings(**given)
    except ValidationError as error:
        lines = {_line(fault, given) for fault in error.errors()}
        raise SettingsError("\n".join(sorted(lines))) from None


def _line(fault: Any, given: Mapping[str, Any]) -> str:
    message = str(fault["msg"]).removeprefix("Value error, ")
    field = str(fault["loc"][0])
    name = "STREAM_" + field.upper()
    value = given.get(field, os.environ.get(name))
    # A URL may hold a password, and a password may stand where the name of its file belongs.
    secret = field in ("redis_url", "alertmanager") or field.endswith("_file")
    hidden = secret or value is None or str(value) in message
    shown = "" if hidden else f" (is '{value}')"
    return f"{name}: {message}{shown}"
