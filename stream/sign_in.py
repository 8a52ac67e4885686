"""How the commands that ask the server over HTTP sign in and check whom they talk to."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field

from stream.access import read_tokens
from stream.settings import Settings
from stream.tls import client_context

NEEDED = "the server asks for a token: put it into a file that STREAM_HTTP_TOKEN_FILE names"


@dataclass(frozen=True, slots=True)
class SignIn:
    """Headers to send, and the TLS of an https address (None: what the system trusts)."""

    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    context: ssl.SSLContext | None = None


NOBODY = SignIn()


def sign_in(settings: Settings) -> SignIn:
    """With the first token of the settings' file, if there is one. Raises SettingsError."""
    headers = {}
    if settings.http_token_file is not None:
        headers["Authorization"] = f"Bearer {read_tokens(settings.http_token_file)[0]}"
    context = None
    if settings.http_ca is not None:
        context = client_context(settings.http_ca, None, None, "STREAM_HTTP")
    return SignIn(headers, context)
