"""TLS contexts from PEM files: of a server, and of a client that checks whom it talks to.

Owns what is asked of the files and the words when it is not so. Knows nothing of who uses them.
"""

import ssl
from pathlib import Path

from stream.secret_files import read_secret
from stream.settings import Settings, SettingsError

_CERTIFICATE, _KEY = "-----BEGIN CERTIFICATE-----", "PRIVATE KEY-----"


def load_server_tls(settings: Settings) -> ssl.SSLContext | None:
    """What server and worker show their clients; None: they speak no TLS. Raises SettingsError."""
    certificate, key = settings.http_tls_cert, settings.http_tls_key
    if certificate is None or key is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _load_pair(context, certificate, key, "STREAM_HTTP_TLS")
    return context


def client_context(
    authority: Path | None, certificate: Path | None, key: Path | None, setting: str
) -> ssl.SSLContext:
    """How a client checks a server and, with a certificate, shows who it is.

    Without an `authority` the system's are trusted; `setting` names the files: `{setting}_CA`,
    `_CERT`, `_KEY`. Raises SettingsError, one line.
    """
    if authority is not None:
        _check_certificate(authority, f"{setting}_CA")
    try:
        context = ssl.create_default_context(cafile=authority)
    except ssl.SSLError as error:
        raise SettingsError(f"{setting}_CA: {authority} cannot be used: {_why(error)}") from None
    if certificate is not None and key is not None:
        _load_pair(context, certificate, key, setting)
    return context


def _load_pair(context: ssl.SSLContext, certificate: Path, key: Path, setting: str) -> None:
    """Give a context a certificate and its key. Raises SettingsError."""
    _check_certificate(certificate, f"{setting}_CERT")
    text = read_secret(key, f"{setting}_KEY")
    if _KEY not in text:
        raise SettingsError(f"{setting}_KEY: {key} holds no key in PEM form")
    if "ENCRYPTED" in text:
        raise SettingsError(
            f"{setting}_KEY: {key} is locked with a password; store it without (openssl pkey)"
        )
    try:
        context.load_cert_chain(certificate, key)
    except ssl.SSLError as error:
        why = f"cannot be used with {certificate}: {_why(error)}"
        if error.reason == "KEY_VALUES_MISMATCH":
            why = f"does not belong to the certificate {certificate}"
        raise SettingsError(f"{setting}_KEY: {key} {why}") from None


def _check_certificate(path: Path, setting: str) -> None:
    try:
        text = path.read_text(errors="replace")
    except OSError as error:
        raise SettingsError(f"{setting}: {path}: {error.strerror}") from None
    if _CERTIFICATE not in text:
        raise SettingsError(f"{setting}: {path} holds no certificate in PEM form")


def _why(error: ssl.SSLError) -> str:
    return (error.reason or str(error)).replace("_", " ").lower()
