"""Replay without Kafka: lines in, records out, bad lines named, paces kept; and the key hash."""

import asyncio
import contextlib
import gzip
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka.partitioner import murmur2 as murmur2_of_aiokafka
from hypothesis import given
from hypothesis import strategies as st

from stream.errors import UserError
from stream.ndjson import Chunk, Source
from stream.pace import by_event_time, by_rate, event_time_ms
from stream.partitioner import murmur2, partition_of
from stream.producer import RECORD_BYTES_MAX, Producer
from stream.progress import NoProgress, TerminalProgress
from stream.replay import OnBad, ReplayOptions, ReplayReport, check, replay
from tests.support.patience import eventually

T0 = 1_780_000_000_000


class Kept(Producer):
    """A producer that keeps what it is given, and when."""

    def __init__(self) -> None:
        super().__init__("nowhere:0")
        self.records: list[tuple[str, bytes | None, bytes | None]] = []
        self.at_s: list[float] = []
        self.stuck = False

    async def open(self, topic: str, timeout_s: float | None = None) -> int:
        return 4

    def add(self, topic: str, key: bytes | None, value: bytes | None) -> None:
        self.records.append((topic, key, value))
        self.at_s.append(time.monotonic())

    async def submit_full(self) -> None:
        if self.stuck:
            await asyncio.Event().wait()

    async def flush(self) -> None:
        await self.submit_full()
        self.acked = len(self.records)

    @property
    def values(self) -> list[bytes | None]:
        return [value for _, _, value in self.records]


def event(number: int, **fields: Any) -> bytes:
    body = {"event_id": f"e{number}", "type": "click", "timestamp": T0 + number, **fields}
    return json.dumps(body).encode()


def written(path: Path, *lines: bytes, end: bytes = b"\n") -> str:
    path.write_bytes(b"\n".join(lines) + end)
    return str(path)


async def run(producer: Producer, file: str, topic: str = "clicks", **options: Any) -> ReplayReport:
    return await replay(ReplayOptions(file, topic, **options), producer, NoProgress())


# --- what is sent --------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [b"\n", b"", b"\n\n  \n"])
async def test_every_line_goes_unchanged_and_in_order(tmp_path: Path, end: bytes) -> None:
    lines = [event(i, visitor_id=f"v{i % 7}") for i in range(2_500)]
    lines[3] = b' {"event_id" : "e\xc3\xa9","visitor_id":"v"}\t\r'
    producer = Kept()
    report = await run(producer, written(tmp_path / "x", *lines, end=end), topic_prefix="p-")
    assert producer.values == lines
    assert {topic for topic, _, _ in producer.records} == {"p-clicks"}
    assert (report.sent, report.bad, report.interrupted) == (2_500, 0, False)
    assert report.through == report.lines
    assert report.bytes == sum(map(len, lines))


@pytest.mark.parametrize(
    ("topic", "body", "key"),
    [
        ("clicks", {"event_id": "e", "visitor_id": "v"}, b"v"),
        ("clicks", {"event_id": "e"}, b"e"),
        ("clicks", {"event_id": "e", "visitor_id": None}, b"e"),
        ("clicks", {"visitor_id": ""}, None),
        ("sessions", {"event_id": "e", "visitor_id": "v\u00e9"}, "v\u00e9".encode()),
        ("sessions", {"event_id": "e"}, None),
        ("sessions", {"event_id": "e", "visitor_id": 7}, None),
        ("tickets", {"event_id": "e", "ticket_id": "t", "visitor_id": "v"}, b"t"),
    ],
)
async def test_keys_are_those_of_the_contract(
    tmp_path: Path, topic: str, body: dict[str, Any], key: bytes | None
) -> None:
    producer = Kept()
    await run(producer, written(tmp_path / "x", json.dumps(body).encode()), topic)
    assert [found for _, found, _ in producer.records] == [key]


@pytest.mark.parametrize("members", [1, 3])
async def test_gzip_of_several_members(tmp_path: Path, members: int) -> None:
    lines = [event(i, filler="x" * 300) for i in range(30_000)]
    parts = [lines[i::members] for i in range(members)]
    packed = b"".join(gzip.compress(b"\n".join(part) + b"\n") for part in parts)
    (tmp_path / "x.gz").write_bytes(packed)
    producer = Kept()
    await run(producer, str(tmp_path / "x.gz"))
    assert producer.values == [line for part in parts for line in part]


async def test_gzip_cut_in_the_middle_is_an_error_after_what_could_be_read(tmp_path: Path) -> None:
    lines = [event(i) for i in range(60_000)]
    packed = gzip.compress(b"\n".join(lines), 1)
    (tmp_path / "x.gz").write_bytes(packed[: len(packed) // 2])
    producer = Kept()
    with pytest.raises(UserError, match=r"x\.gz: the gzip file ends in the middle"):
        await run(producer, str(tmp_path / "x.gz"))
    assert 0 < producer.acked < 60_000


async def test_nothing_at_all_is_fine(tmp_path: Path) -> None:
    report = await run(Kept(), written(tmp_path / "x", b"", end=b""))
    assert (report.lines, report.sent) == (0, 0)


# --- bad lines -----------------------------------------------------------------------------------

BAD = [
    (b'{"event_id": "e"', "not a JSON object"),
    (b"[1]", "not a JSON object"),
    (b"null", "not a JSON object"),
    (b"plain words", "not a JSON object"),
    (b'{"event_id": "e", "note": "\xff"}', "not UTF-8"),
    (b'\xef\xbb\xbf{"event_id": "e"}', "not a JSON object"),
    (b'{"event_id": "' + b"x" * RECORD_BYTES_MAX + b'"}', "more than Kafka takes"),
]


@pytest.mark.parametrize(("bad", "why"), BAD, ids=range(len(BAD)))
async def test_a_bad_line_is_named_and_nothing_after_it_is_sent(
    tmp_path: Path, bad: bytes, why: str
) -> None:
    lines = [event(i) for i in range(1_500)]
    file = written(tmp_path / "x.ndjson", *lines[:1_203], bad, *lines[1_203:])
    producer = Kept()
    with pytest.raises(UserError, match=rf"x\.ndjson, line 1,204: .*{why}"):
        await run(producer, file)
    assert producer.values == lines[:1_203]
    assert producer.acked == 1_203


@pytest.mark.parametrize("on_bad", ["skip", "send"])
async def test_bad_lines_are_counted_and_left_out_or_sent(tmp_path: Path, on_bad: OnBad) -> None:
    good = [event(i) for i in range(3)]
    lines = [good[0], *(bad for bad, _ in BAD), *good[1:]]
    producer = Kept()
    report = await run(producer, written(tmp_path / "x", *lines), on_bad=on_bad)
    sendable = [line for line in lines if len(line) <= RECORD_BYTES_MAX]
    assert producer.values == (good if on_bad == "skip" else sendable)
    assert report.bad == len(BAD)
    assert report.first_bad is not None
    assert report.first_bad.startswith("line 2: not a JSON object")
    assert "7 bad, the first: line 2" in report.summary


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (ReplayOptions("x", "dead-letters"), "choose from clicks, sessions, tickets"),
        (ReplayOptions("x", "clicks", rate=1, speed=1), "contradict"),
        (ReplayOptions("x", "clicks", rate=0), "--rate must be more than 0"),
        (ReplayOptions("x", "clicks", speed=-1), "--speed must be more than 0"),
    ],
)
def test_wrong_options_are_told(options: ReplayOptions, words: str) -> None:
    with pytest.raises(UserError, match=words):
        check(options)


@pytest.mark.parametrize("what", ["missing", "folder"])
async def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, what: str) -> None:
    file = tmp_path / "nothing" if what == "missing" else tmp_path
    with pytest.raises(UserError, match=rf"{file.name}: (No such file|is a folder)"):
        await run(Kept(), str(file))


# --- paces ---------------------------------------------------------------------------------------


def test_a_rate_is_even() -> None:
    pace = by_rate(100.0)
    assert [pace(None) for _ in range(61)] == pytest.approx([n / 100 for n in range(61)])


@pytest.mark.parametrize("form", ["ms", "rfc3339"])
def test_speed_follows_event_time(form: str) -> None:
    pace = by_event_time(10.0)
    came = [pace(stamp) for stamp in stamps(form)]
    assert came == [0.0, 0.4, 0.2, None, 0.8]


@pytest.mark.parametrize("options", [{"rate": 5.0}, {"speed": 10.0}])
async def test_nothing_is_sent_before_it_is_due(tmp_path: Path, options: dict[str, Any]) -> None:
    file = written(tmp_path / "x", *(event(i, timestamp=s) for i, s in enumerate(stamps("ms"))))
    producer = Kept()
    began_s = time.monotonic()
    await run(producer, file, **options)
    came = [at_s - began_s for at_s in producer.at_s]
    dues = [0.0, 0.4, 0.4, 0.4, 0.8] if "speed" in options else [0.0, 0.2, 0.4, 0.6, 0.8]
    assert all(at_s > due_s - 0.01 for at_s, due_s in zip(came, dues, strict=True)), came


def stamps(form: str) -> list[object]:
    """A file's timestamps: in order, one late, one that is none."""

    def stamp(ms: int) -> object:
        return T0 + ms if form == "ms" else f"2026-05-28T20:26:{40 + ms // 1000}+00:00"

    return [stamp(0), stamp(4_000), stamp(2_000), "whenever", stamp(8_000)]


@pytest.mark.parametrize(
    ("stamp", "ms"),
    [
        (T0, T0),
        ("2026-05-28T20:26:40Z", T0),
        ("2026-05-28T22:26:40.250+02:00", T0 + 250),
        ("2026-05-28T20:26:40", None),
        ("noon", None),
        (True, None),
        (1.5, None),
        (None, None),
    ],
)
def test_event_times(stamp: object, ms: int | None) -> None:
    assert event_time_ms(stamp) == ms


# --- standard input and stopping -----------------------------------------------------------------


@pytest.fixture
def pipe() -> Iterator[tuple[str, Callable[[bytes], None], Callable[[], None]]]:
    """A file that never ends by itself: its name, how to write to it, how to end it."""
    reading, writing = os.pipe()
    ended = threading.Event()

    def end() -> None:
        if not ended.is_set():
            ended.set()
            os.close(writing)

    yield f"/dev/fd/{reading}", lambda data: void(os.write(writing, data)), end
    end()
    os.close(reading)


def void(_count: int) -> None:
    """The count does not matter."""


async def test_lines_of_a_pipe_go_as_they_come(
    pipe: tuple[str, Callable[[bytes], None], Callable[[], None]],
) -> None:
    file, write, end = pipe
    producer = Kept()
    running = asyncio.create_task(run(producer, file))
    write(event(0) + b"\n" + event(1)[:9])
    await eventually(lambda: producer.values == [event(0)])
    write(event(1)[9:] + b"\n")
    await eventually(lambda: producer.values == [event(0), event(1)])
    end()
    assert (await running).sent == 2


async def test_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "x").open("w+b") as file:
        file.write(event(0) + b"\n[]")
        file.seek(0)
        monkeypatch.setattr("stream.ndjson.STDIN", file.fileno())
        producer = Kept()
        with pytest.raises(UserError, match=r"^standard input, line 2: not a JSON object"):
            await run(producer, "-")
    assert producer.values == [event(0)]


async def test_progress_on_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path / "x", *(event(i) for i in range(3_000)))
    with TerminalProgress("clicks", terminal=True) as progress:
        await replay(ReplayOptions(file, "clicks"), Kept(), progress)
        progress.update(3_000, 10, None)
    told = capsys.readouterr()
    assert "3,000 lines" in told.err
    assert told.out == ""


async def test_stop_while_waiting_for_input(
    pipe: tuple[str, Callable[[bytes], None], Callable[[], None]],
) -> None:
    file, write, _ = pipe
    producer, stop = Kept(), asyncio.Event()
    options = ReplayOptions(file, "clicks")
    running = asyncio.create_task(replay(options, producer, NoProgress(), stop))
    write(b"".join(event(i) + b"\n" for i in range(10)))
    await eventually(lambda: len(producer.records) == 10)
    stop.set()
    report = await asyncio.wait_for(running, 1.0)
    assert (report.sent, report.through, report.interrupted) == (10, 10, True)
    assert "interrupted, all up to line 10 are sent" in report.summary


async def test_stop_between_two_lines_far_apart(tmp_path: Path) -> None:
    file = written(tmp_path / "x", event(0), event(0, timestamp=T0 + 3_600_000))
    producer, stop = Kept(), asyncio.Event()
    options = ReplayOptions(file, "clicks", speed=1.0)
    running = asyncio.create_task(replay(options, producer, NoProgress(), stop))
    await eventually(lambda: len(producer.records) == 1)
    stop.set()
    report = await asyncio.wait_for(running, 1.0)
    assert (report.sent, report.through, report.interrupted) == (1, 1, True)


async def test_stop_while_kafka_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream.replay.STOP_PATIENCE_S", 0.1)
    producer, stop = Kept(), asyncio.Event()
    producer.stuck = True
    options = ReplayOptions(written(tmp_path / "x", event(0)), "clicks")
    running = asyncio.create_task(replay(options, producer, NoProgress(), stop))
    await eventually(lambda: len(producer.records) == 1)
    stop.set()
    report = await asyncio.wait_for(running, 1.0)
    assert (report.sent, report.interrupted) == (0, True)
    assert "interrupted, the rest unacknowledged" in report.summary


async def test_the_reader_does_not_run_ahead_without_bound(tmp_path: Path) -> None:
    source = Source(written(tmp_path / "x", *[b"x" * 9_999] * 2_000))
    seen: list[Chunk] = []
    async with contextlib.aclosing(source.chunks()) as chunks:
        async for chunk in chunks:
            seen.append(chunk)
            await asyncio.sleep(0.05)
            break
    assert seen[0].position < 8 * 1024 * 1024
    assert source.size == 20_000_000


# --- keys to partitions --------------------------------------------------------------------------


@given(st.binary(max_size=80))
def test_murmur2_is_the_java_clients(key: bytes) -> None:
    assert murmur2(key) == murmur2_of_aiokafka(key)


@pytest.mark.parametrize(
    ("key", "hashed"),
    [  # Kafka's own test vectors
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_murmur2_vectors(key: bytes, hashed: int) -> None:
    assert murmur2(key) == hashed & 0xFFFFFFFF
    assert partition_of(key, 12) == (hashed & 0x7FFFFFFF) % 12
