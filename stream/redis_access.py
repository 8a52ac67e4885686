"""How the settings say to reach Redis: the one place that makes its clients' options."""

from typing import Any
from urllib.parse import urlsplit

from stream.live.link import Link
from stream.secret_files import read_secret
from stream.settings import Settings
from stream.tls import client_context


def link_to_redis(settings: Settings, *, timeout_s: float = 2.0) -> Link:
    """A link that signs in as the settings say. Raises SettingsError where a file is wrong."""
    return Link(settings.redis_url, options=_options(settings), timeout_s=timeout_s)


def show_redis(settings: Settings) -> str:
    """The URL as it may be shown: without user, password and options."""
    parts = urlsplit(settings.redis_url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _options(settings: Settings) -> dict[str, Any]:
    """What a URL does not say, in redis-py's words."""
    options: dict[str, Any] = {}
    if settings.redis_password_file is not None:
        options["password"] = read_secret(
            settings.redis_password_file, "STREAM_REDIS_PASSWORD_FILE"
        )
    files = {
        "ssl_ca_certs": settings.redis_ca,
        "ssl_certfile": settings.redis_cert,
        "ssl_keyfile": settings.redis_key,
    }
    if any(files.values()):
        client_context(settings.redis_ca, settings.redis_cert, settings.redis_key, "STREAM_REDIS")
        options |= {name: str(path) for name, path in files.items() if path is not None}
    return options
