"""Files that hold secrets: read whole, and only if nobody else can read them.

Owns what is asked of such a file and the words when it is not so; its contents never appear in
them. Knows nothing of what the secrets are for.
"""

import os
import stat
from pathlib import Path

from stream.settings import SettingsError


def read_secret(path: Path, setting: str) -> str:
    """The text of a file, without the line's end. `setting` is the variable that named it.

    Raises SettingsError, one line, where the file is missing, empty, no text, or open to others.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            raw = file.read()
    except IsADirectoryError:
        raise SettingsError(f"{setting}: {path} is a folder, not a file") from None
    except OSError as error:
        raise SettingsError(f"{setting}: {_missing(path, error)}") from None
    if stat.S_ISREG(mode) and mode & 0o007:  # a pipe has no readers but us
        raise SettingsError(f"{setting}: {path} can be read by others; run: chmod o= {path}")
    try:
        text = raw.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise SettingsError(f"{setting}: {path} is not text") from None
    if not text.strip():
        raise SettingsError(f"{setting}: {path} is empty")
    return text


def read_lines(path: Path, setting: str) -> list[tuple[int, str]]:
    """Numbered lines of a secret file, without blank ones and comments (`#`).

    Raises SettingsError as `read_secret` does, and where nothing is left.
    """
    lines = [
        (number, line.strip())
        for number, line in enumerate(read_secret(path, setting).splitlines(), 1)
        if line.strip() and not line.lstrip().startswith("#")
    ]
    if not lines:
        raise SettingsError(f"{setting}: {path} holds nothing but comments")
    return lines


def _missing(path: Path, error: OSError) -> str:
    """Why it cannot be read; the path is not shown if it may be the secret itself."""
    if path.parent != Path() and path.parent.is_dir():
        return f"{path}: {error.strerror}"
    return f"{error.strerror}; it must be a path with its folder (the value is not shown)"
