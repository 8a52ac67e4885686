"""Secrets come from files: what is asked of these files, and that no secret is in what is said."""

import os
import threading
from pathlib import Path

import pytest

from stream.access import load_access, read_tokens
from stream.passwords import PasswordHash
from stream.secret_files import read_secret
from stream.settings import SettingsError, load_settings

TOKEN = "token-4711-of-this-test"


def refusal(path: Path) -> str:
    with pytest.raises(SettingsError) as caught:
        read_secret(path, "STREAM_X_FILE")
    assert caught.value.exit_code == 2
    [line] = str(caught.value).splitlines()
    return line


def write(path: Path, text: str | bytes, mode: int = 0o600) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    path.chmod(mode)
    return path


def test_a_secret_is_the_text_without_the_end_of_its_line(tmp_path: Path) -> None:
    assert read_secret(write(tmp_path / "a", " pass word \r\n"), "X") == " pass word "
    assert read_secret(write(tmp_path / "b", "of the group", 0o640), "X") == "of the group"


@pytest.mark.parametrize("mode", [0o604, 0o644, 0o601, 0o602, 0o777])
def test_a_file_that_others_can_reach_is_refused(tmp_path: Path, mode: int) -> None:
    path = write(tmp_path / "s", "secret", mode)
    assert refusal(path) == f"STREAM_X_FILE: {path} can be read by others; run: chmod o= {path}"


def test_a_missing_an_empty_and_an_odd_file_are_told_apart(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none").endswith("none: No such file or directory")
    assert refusal(tmp_path).endswith("is a folder, not a file")
    assert refusal(write(tmp_path / "e", "\n \n")).endswith("is empty")
    assert refusal(write(tmp_path / "b", b"\xff\xfe")).endswith("is not text")


@pytest.mark.parametrize("misplaced", ["hunter2-hunter2", "c2VjcmV0/c2VjcmV0", "/c2VjcmV0/x"])
def test_a_secret_that_stands_where_its_file_belongs_is_not_shown(misplaced: str) -> None:
    line = refusal(Path(misplaced))
    assert misplaced not in line
    assert "it must be a path" in line


def test_a_pipe_will_do(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o644)
    writer = threading.Thread(target=pipe.write_text, args=("secret\n",))
    writer.start()
    assert read_secret(pipe, "X") == "secret"
    writer.join()


def test_tokens_stand_one_a_line_among_comments(tmp_path: Path) -> None:
    path = write(tmp_path / "t", f"# Prometheus\n{TOKEN}\n\n  another-token-of-16  \n")
    assert read_tokens(path) == [TOKEN, "another-token-of-16"]


@pytest.mark.parametrize("bad", ["short", "with spaces in it, but long", "täken-of-enough-length"])
def test_a_weak_token_is_refused_by_its_line_and_not_shown(tmp_path: Path, bad: str) -> None:
    path = write(tmp_path / "t", f"{TOKEN}\n{bad}\n")
    with pytest.raises(SettingsError, match=r"line 2: a token has at least 16") as caught:
        read_tokens(path)
    assert bad not in str(caught.value)


def test_a_file_of_comments_lets_nobody_in_and_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="nothing but comments"):
        read_tokens(write(tmp_path / "t", "# no token yet\n"))


@pytest.mark.parametrize(
    "bad",
    [
        "anna:geheim-geheim",
        "anna",
        ":$scrypt$ln=15,r=8,p=3$AAAAAAAAAAAAAAAAAAAAAA$AAAA",
        "anna:$scrypt$ln=15,r=8,p=3$AAAAAAAAAAAAAAAAAAAAAA$AAAA",
        "anna:$scrypt$ln=30,r=8,p=3$AAAAAAAAAAAAAAAAAAAAAA$" + "A" * 43,
        "anna:$scrypt$ln=24,r=8,p=1$AAAAAAAAAAAAAAAAAAAAAA$" + "A" * 43,
        "anna:$scrypt$ln=15,r=8,p=99$AAAAAAAAAAAAAAAAAAAAAA$" + "A" * 43,
    ],
)
def test_a_line_that_is_no_user_is_refused_by_its_number_and_not_shown(
    tmp_path: Path, bad: str
) -> None:
    path = write(tmp_path / "u", f"# users\n{bad}\n")
    with pytest.raises(SettingsError, match="line 2 ") as caught:
        load_access(load_settings({"http_users_file": path}))
    assert bad.partition(":")[2] not in str(caught.value) or not bad.partition(":")[2]
    assert "stream password" in str(caught.value)


def test_a_password_is_kept_as_a_hash_of_its_own_salt() -> None:
    one, other = PasswordHash.make("correct horse"), PasswordHash.make("correct horse")
    assert one != other
    assert "correct" not in str(one)
    again = PasswordHash.parse(str(one))
    assert again.fits("correct horse")
    assert not again.fits("correct house")
