"""Who may ask the HTTP servers: bearer tokens and users with passwords, both from files.

Owns reading an `Authorization` header and the refusal to listen beyond this machine unguarded.
Knows nothing of requests or answers; server and worker share it.
"""

import binascii
import hashlib
import hmac
import ipaddress
import secrets
import threading
from base64 import b64decode
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from pathlib import Path

import structlog

from stream.passwords import PasswordHash
from stream.secret_files import read_lines
from stream.settings import Settings, SettingsError

TOKEN_CHARACTERS_MIN = 16
REFUSED_MAX = 1_024
"""Wrong headers that are remembered, so that whoever repeats one costs nothing."""

log = structlog.get_logger(__name__)


class Access:
    """The tokens and users that are let in.

    A password costs a third of a second once; then its header is known by a digest, under a key
    that lives and dies with the process. A token may also be given as the password of any user, for
    browsers.
    """

    def __init__(self, tokens: Iterable[str], users: Mapping[str, PasswordHash]) -> None:
        self._secret = secrets.token_bytes(32)
        self._tokens = [self._digest(token) for token in tokens]
        self._users = dict(users)
        self._nobody = PasswordHash.make(secrets.token_hex()) if users else None
        self._accepted: list[bytes] = []
        self._refused: OrderedDict[bytes, None] = OrderedDict()
        self._turn = threading.Lock()

    @property
    def challenges(self) -> tuple[str, ...]:
        """Values of `WWW-Authenticate`; browsers ask for name and password."""
        basic = 'Basic realm="stream", charset="UTF-8"'
        return (basic, 'Bearer realm="stream"') if self._tokens else (basic,)

    def recall(self, header: str) -> bool | None:
        """The verdict on an `Authorization` header; None where it takes `decide` to know."""
        scheme, given = _split(header)
        if scheme == "bearer":
            return self._is_token(given)
        if scheme != "basic":
            return False
        if self._is_token(_parse_basic(given)[1]):
            return True
        known = self._digest(given)
        if _among(known, self._accepted):
            return True
        return False if self._nobody is None or known in self._refused else None

    def decide(self, header: str) -> bool:
        """The verdict on any header; may take a third of a second, one at a time."""
        with self._turn:
            verdict = self.recall(header)
            if verdict is None:
                given = _split(header)[1]
                verdict = self._is_user(*_parse_basic(given))
                self._remember(self._digest(given), verdict)
            return verdict

    def _remember(self, digest: bytes, verdict: bool) -> None:
        if verdict:
            self._accepted.append(digest)
            return
        self._refused[digest] = None
        if len(self._refused) > REFUSED_MAX:
            self._refused.popitem(last=False)

    def _is_user(self, name: str, password: str) -> bool:
        # A name that nobody has takes as long as a wrong password: it has one that nobody knows.
        kept = self._users.get(name, self._nobody)
        return kept is not None and kept.fits(password)

    def _is_token(self, text: str) -> bool:
        return _among(self._digest(text), self._tokens)

    def _digest(self, text: str) -> bytes:
        return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), key=self._secret).digest()


def _among(digest: bytes, known: Iterable[bytes]) -> bool:
    """Whether a digest is one of these; takes the same time wherever it stands."""
    return sum(hmac.compare_digest(digest, each) for each in known) > 0


def _split(header: str) -> tuple[str, str]:
    scheme, _, given = header.partition(" ")
    return scheme.lower(), given.strip()


def _parse_basic(text: str) -> tuple[str, str]:
    try:
        name, _, password = b64decode(text, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return name, password


def load_access(settings: Settings) -> Access | None:
    """What the files of the settings say; None: nobody is asked. Raises SettingsError."""
    if settings.http_token_file is None and settings.http_users_file is None:
        return None
    tokens = users = None
    if settings.http_token_file is not None:
        tokens = read_tokens(settings.http_token_file)
    if settings.http_users_file is not None:
        users = _read_users(settings.http_users_file)
    return Access(tokens or (), users or {})


def read_tokens(path: Path) -> list[str]:
    """Bearer tokens, one a line. Raises SettingsError."""
    setting, tokens = "STREAM_HTTP_TOKEN_FILE", []
    for number, line in read_lines(path, setting):
        if len(line) < TOKEN_CHARACTERS_MIN or not line.isascii() or " " in line:
            raise SettingsError(
                f"{setting}: {path}, line {number}: a token has at least {TOKEN_CHARACTERS_MIN} "
                "characters and no spaces; make one with: openssl rand -hex 32"
            )
        tokens.append(line)
    return tokens


def _read_users(path: Path) -> dict[str, PasswordHash]:
    setting, users = "STREAM_HTTP_USERS_FILE", {}
    for number, line in read_lines(path, setting):
        name, colon, text = line.partition(":")
        try:
            if not (name and colon):
                raise ValueError("is not name:hash; `stream password NAME` makes such a line")
            users[name] = PasswordHash.parse(text)
        except ValueError as error:
            raise SettingsError(f"{setting}: {path}, line {number} {error}") from None
    return users


def check_exposure(settings: Settings, host: str, setting: str, access: Access | None) -> None:
    """Raise SettingsError where `host` can be reached from elsewhere and nothing guards it."""
    if is_loopback(host) or settings.http_open:
        return
    if access is None:
        raise SettingsError(
            f"{setting}: others can reach {host}, and nobody is asked for a token or password: set "
            "STREAM_HTTP_TOKEN_FILE or STREAM_HTTP_USERS_FILE, or, where the network itself is "
            "guarded, STREAM_HTTP_OPEN=true"
        )
    if settings.http_tls_cert is None:
        log.warning(
            "credentials_in_the_clear", host=host, then="set STREAM_HTTP_TLS_CERT and _KEY, or put "
            "a proxy that speaks TLS before it"
        )  # fmt: skip


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
