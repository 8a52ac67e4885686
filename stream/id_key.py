"""The key that visitor and ticket ids are hashed with: read from its file, made at the first start.

Owns the file. Whoever loses it cannot go on with the ledgers that it was used for.
"""

import os
import secrets
from pathlib import Path
from typing import NamedTuple

import structlog

from stream.durable import sync_folder
from stream.secret_files import read_secret
from stream.settings import SettingsError

SETTING = "STREAM_ID_KEY_FILE"
NEW_BYTES, BYTES_MIN, BYTES_MAX = 32, 16, 64

log = structlog.get_logger(__name__)


class IdKey(NamedTuple):
    """A key and the file it lies in."""

    path: Path
    key: bytes


def load_id_key(path: Path | None) -> IdKey:
    """The key in a file (None: in the user's state folder); a missing file is made.

    Whoever else makes it at the same time gets the same key. Raises SettingsError, one line.
    """
    if path is None:
        path = _default_path()
        _make_folder(path.parent)
    if not path.exists() and _make(path):
        log.warning(
            "id_key_made", file=str(path), then="every worker of the group needs this same file; "
            "without it the ledgers cannot be read on"
        )  # fmt: skip
    return IdKey(path, _parse(read_secret(path, SETTING), path))


def _default_path() -> Path:
    state = os.environ.get("XDG_STATE_HOME", "")
    try:
        folder = Path(state) if Path(state).is_absolute() else Path.home() / ".local" / "state"
    except RuntimeError:
        raise SettingsError(f"{SETTING} is needed: this user has no home folder") from None
    return folder / "stream" / "id.key"


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(
            f"{SETTING} is needed: {folder} cannot be made: {error.strerror}"
        ) from None


def _make(path: Path) -> bool:
    """Write a new key under another name first, so that nobody ever sees half of it.

    False where somebody else was faster.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(NEW_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)  # unlike a rename it never takes another's place
        sync_folder(path.parent)
    except FileExistsError:
        return False
    except OSError as error:
        raise SettingsError(
            f"{SETTING}: {path} is not there and cannot be made: {error.strerror}"
        ) from None
    finally:
        draft.unlink(missing_ok=True)
    return True


def _parse(text: str, path: Path) -> bytes:
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if not BYTES_MIN <= len(key) <= BYTES_MAX:
        raise SettingsError(
            f"{SETTING}: {path} holds no key: {BYTES_MIN} to {BYTES_MAX} bytes written in hex; "
            "make one with: openssl rand -hex 32"
        )
    return key
