"""The key of ids: made once, the same for whoever starts at the same time, and refused if wrong."""

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from stream.id_key import load_id_key
from stream.settings import SettingsError

SECRET = "c0ffee" * 8
_LOAD = """
import sys
from pathlib import Path
from stream.id_key import load_id_key
sys.stdin.readline()
print(load_id_key(Path(sys.argv[1])).key.hex())
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    return tmp_path


def refusal(path: Path) -> str:
    with pytest.raises(SettingsError) as caught:
        load_id_key(path)
    [line] = str(caught.value).splitlines()
    return line


def test_the_first_start_makes_a_key_that_only_its_user_can_read(home: Path) -> None:
    made = load_id_key(None)
    assert made.path == home / ".local" / "state" / "stream" / "id.key"
    assert stat.S_IMODE(made.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(made.path.parent.stat().st_mode) == 0o700
    assert len(made.key) == 32
    assert made.path.read_text() == made.key.hex() + "\n"
    assert [*made.path.parent.iterdir()] == [made.path], "nothing else is left"
    assert load_id_key(None) == made


def test_the_state_folder_may_be_elsewhere(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(home / "state"))
    assert load_id_key(None).path == home / "state" / "stream" / "id.key"
    monkeypatch.setenv("XDG_STATE_HOME", "relative")  # as the specification has it: not counted
    assert load_id_key(None).path == home / ".local" / "state" / "stream" / "id.key"


def test_all_that_start_at_once_end_up_with_one_key(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _LOAD, str(tmp_path / "id.key")]
    started = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(6)
    ]
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    keys = {process.communicate(timeout=30)[0].splitlines()[-1] for process in started}
    assert len(keys) == 1
    assert keys == {(tmp_path / "id.key").read_text().strip()}
    assert [path.name for path in tmp_path.iterdir()] == ["id.key"]


def test_whoever_is_late_takes_the_key_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load_id_key(tmp_path / "id.key")
    monkeypatch.setattr(Path, "exists", lambda _: False)  # it looked a moment before
    assert load_id_key(tmp_path / "id.key") == first
    assert [path.name for path in tmp_path.iterdir()] == ["id.key"]


@pytest.mark.parametrize("text", ["", "no hex at all", "c0ffee", "c0ffe" * 9, "ab" * 65])
def test_a_file_without_a_key_is_refused_and_not_shown(tmp_path: Path, text: str) -> None:
    path = tmp_path / "id.key"
    path.write_text(text)
    path.chmod(0o600)
    line = refusal(path)
    assert line.startswith(f"STREAM_ID_KEY_FILE: {path} ")
    assert not text or text not in line
    assert path.read_text() == text, "never written over"


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "id.key"
    path.write_text(SECRET)
    path.chmod(0o644)
    assert "can be read by others" in refusal(path)
    path.chmod(0o400)
    assert load_id_key(path).key.hex() == SECRET


def test_a_folder_that_is_not_there_is_not_made_up(tmp_path: Path) -> None:
    line = refusal(tmp_path / "mnt" / "id.key")
    assert line.endswith("is not there and cannot be made: No such file or directory")
    assert not (tmp_path / "mnt").exists()
