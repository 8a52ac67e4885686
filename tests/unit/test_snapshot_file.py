"""The file of a snapshot: what is written is read back, and a bad file is refused in one line."""

import struct
import zlib
from pathlib import Path

import msgspec
import pytest

from stream import snapshot_file
from stream.errors import UserError
from stream.snapshot_file import MAGIC, Head, Header, SnapshotReader, SnapshotWriter

HEADER = Header(
    program="1",
    group="g",
    made_ms=1,
    definition_id="d",
    key_fingerprint="f",
    partitions={"clicks": 2},
)
STATES = [
    (Head("clicks", 0, 70, 3), {b"a": b"1" * 40, b"b": b"2" * 40, b"c": b""}),
    (Head("clicks", 1, None, 0), {}),
]


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot_file, "PIECE_BYTES", 50)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "state.snapshot"
    with SnapshotWriter(path, HEADER) as writer:
        for head, entries in STATES:
            writer.write(head, entries)
    assert writer.size == path.stat().st_size
    return path


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        SnapshotReader(path).verify()
    text = str(caught.value)
    assert text.startswith(str(path))
    assert "\n" not in text
    return text.removeprefix(str(path))


def test_what_is_written_is_read_back(file: Path) -> None:
    reader = SnapshotReader(file)
    reader.verify()
    assert reader.header == HEADER
    assert list(reader.partitions()) == STATES


def test_only_its_owner_may_read_it(file: Path) -> None:
    assert file.stat().st_mode & 0o777 == 0o600


def test_every_cut_is_noticed(file: Path) -> None:
    whole = file.read_bytes()
    for length in range(len(whole)):
        file.write_bytes(whole[:length])
        assert refusal(file) in (
            " is no snapshot",
            " ends in the middle: the snapshot is not whole",
        )


def test_every_changed_byte_is_noticed(file: Path) -> None:
    whole = file.read_bytes()
    for at in range(len(whole)):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        refusal(file)


def test_bytes_behind_the_end_are_noticed(file: Path) -> None:
    file.write_bytes(file.read_bytes() + b"x")
    assert "damaged" in refusal(file)


def test_another_format_is_refused(file: Path) -> None:
    payload = zlib.compress(msgspec.msgpack.encode({"format": 9}))
    frame = struct.pack(">cII", b"H", len(payload), zlib.crc32(b"H" + payload))
    file.write_bytes(MAGIC + frame + payload)
    assert refusal(file) == (" has format 9, this version reads 1: use the version that wrote it")


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    assert refusal(tmp_path / "x") == ": No such file or directory"


def test_a_run_that_fails_leaves_the_last_snapshot_and_nothing_else(file: Path) -> None:
    whole = file.read_bytes()

    def fail() -> None:
        with SnapshotWriter(file, HEADER) as writer:
            writer.write(*STATES[0])
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert file.read_bytes() == whole
    assert list(file.parent.iterdir()) == [file]


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    with (
        pytest.raises(UserError, match=r"x/y cannot be written: No such file or directory$"),
        SnapshotWriter(tmp_path / "x" / "y", HEADER),
    ):
        pass
