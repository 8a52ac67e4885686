"""`stream top`: what is on the screen, how old it says it is, and that it fits."""

import io
import json
import queue
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import msgspec
import pytest
from rich.console import Console

from stream import top
from stream.errors import UserError
from stream.feed import FeedError, decode_events, parse_url, read_feed
from stream.serve.bodies import Delta, LiveKey, LiveRow, LiveStatus, PartitionBody, Snapshot
from stream.serve.bodies import StatusBody as Status
from stream.top import Board, clean, frame, show_top

URL = "http://127.0.0.1:8000"
AT, AS_OF = "2026-03-01T09:00:00.400Z", "2026-03-01T09:00:00.000Z"


def row(metric: str, value: float | None, n: int, window: str = "5m", **labels: str) -> LiveRow:
    return LiveRow(metric, window, labels, value, 0, n, None, None)


def partition(topic: str, status: str = "live", lag: int | None = 0) -> PartitionBody:
    return PartitionBody(topic, 0, status, 1, lag, None, "worker-1")


def snapshot(*rows: LiveRow, as_of: str | None = AS_OF, complete: bool = True) -> Snapshot:
    status = Status(True, 0.1, "d", [partition("clicks"), partition("tickets", "paused", 1_200)])
    return Snapshot(AT, as_of, complete, False, 1_234, list(rows), status)


def launch() -> Board:
    board = Board()
    rows = [
        row("ctr", 0.0321, 10_000),
        row("bounce_rate", 0.41, 900),
        row("conversion_rate", 0.025, 900),
        row("ctr", 0.05, 4_000, campaign="spring"),
        row("conversion_rate", None, 0, campaign="spring"),
        row("ctr", 0.01, 6_000, campaign="autumn"),
        row("fcr", 0.75, 40, "24h", team="billing"),
        row("first_response_time", 90.0, 30, "24h", team="billing"),
        row("resolution_time", 7_200.0, 30, "24h", team="billing"),
    ]
    board.take(snapshot(*rows), 100.0)
    return board


def screen(board: Board, now_s: float = 100.0, height: int = 24, window: str = "5m") -> str:
    console = Console(file=io.StringIO(), width=80, height=height, color_system=None)
    console.print(frame(board, URL, window, height, now_s))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    lines = text.splitlines()
    assert len(lines) <= height
    assert all(len(line) <= 80 for line in lines)
    return "\n".join(line.rstrip() for line in lines)


def test_a_frame_shows_everything_in_80_by_24() -> None:
    text = screen(launch())
    assert "live · 0.4 s" in text
    lines = {line.split()[0]: line.split() for line in text.splitlines() if line.strip()}
    assert lines["All"] == ["All", "traffic", "10,000", "3.2%", "900", "41.0%", "2.5%", "1,234"]
    assert lines["spring"] == ["spring", "4,000", "5.0%", "0", "–", "–"]
    assert lines["autumn"] == ["autumn", "6,000", "1.0%", "–", "–", "–"]
    assert text.index("autumn") < text.index("spring"), "more traffic first"
    assert lines["billing"] == ["billing", "40", "75.0%", "90", "s", "2", "h"]
    assert "Partitions: 1 live, 1 paused · 1,200 records behind" in text


@pytest.mark.parametrize("height", [12, 16, 24, 50])
def test_a_frame_fits_however_much_there_is(height: int) -> None:
    board = Board()
    rows = [row("ctr", 0.1, i, campaign=f"campaign {i:03} {'x' * 100}") for i in range(100)]
    rows += [row("fcr", 0.5, i, "24h", team=f"team {i}") for i in range(30)]
    board.take(snapshot(*rows), 0.0)
    text = screen(board, 0.0, height)
    assert "Partitions:" in text
    assert "All traffic" in text
    if height >= 24:
        assert "campaign 099" in text
        assert "team 29" in text
        assert " more" in text


def test_the_other_window() -> None:
    board = launch()
    board.take(snapshot(row("ctr", 0.5, 8, "1h")), 100.0)
    assert "50.0%" in screen(board, window="1h")
    assert "50.0%" not in screen(board, window="5m")


def test_it_says_how_old_the_figures_are() -> None:
    board = Board()
    assert board.freshness(0.0)[1] == "connecting"
    board.take(snapshot(as_of=None), 0.0)
    assert board.freshness(1.0)[1] == "waiting for data"
    board.take(snapshot(), 10.0)
    assert board.freshness(10.0)[1] == "live · 0.4 s"
    assert board.freshness(19.0)[1] == "live · 9.4 s"
    assert board.freshness(55.0)[1] == "delayed 45 s"
    assert board.freshness(610.0)[1] == "delayed 10 min"
    board.take(snapshot(complete=False), 700.0)
    assert board.freshness(700.0)[1] == "live · 0.4 s · incomplete"
    board.lose(datetime(2026, 3, 1, 9, 5, 7, tzinfo=UTC))
    board.lose(datetime(2026, 3, 1, 9, 6, 0, tzinfo=UTC))
    assert board.freshness(800.0)[1] == "server unreachable since 09:05:07"
    board.take(snapshot(), 900.0)
    assert board.freshness(900.0)[1] == "live · 0.4 s"


def test_deltas_change_and_remove_rows() -> None:
    board = launch()
    gone = [LiveKey("ctr", "5m", {"campaign": "autumn"})]
    board.take(Delta(AT, AS_OF, True, 7, [row("ctr", 0.9, 5, campaign="spring")], gone), 101.0)
    text = screen(board, 101.0)
    assert "autumn" not in text
    assert "90.0%" in text
    partitions = [partition("clicks", "unowned", None)]
    board.take(LiveStatus(False, 9.0, "d", partitions, at=AT, as_of=AS_OF, complete=False), 102.0)
    assert "1 unowned" in screen(board, 102.0)


def test_names_cannot_steer_the_terminal() -> None:
    assert clean("a\x1b[31mb\u202ec\n\ud800") == "a�[31mb�c��"
    board = Board()
    board.take(snapshot(row("ctr", 0.1, 5, campaign="\x1b]0;owned\x07[red]x")), 0.0)
    text = screen(board, 0.0)
    assert "\x1b" not in text
    assert "[red]x" in text, "shown as it is, not as markup"


def test_events_are_read_from_the_lines() -> None:
    body = msgspec.json.encode(snapshot())
    lines = [b": hello\n", b"event: snapshot\n", b"id: 3\n", b"data: " + body + b"\n", b"\n"]
    lines += [b"event: later\n", b"data: {}\n", b"\n", b": still here\r\n", b"\r\n"]
    assert list(decode_events(lines)) == [snapshot()]


@pytest.mark.parametrize("url", ["ftp://x", "http://", "http://x:port", "http://[::1"])
def test_a_url_that_is_none_is_told(url: str) -> None:
    with pytest.raises(UserError, match="is not a URL"):
        parse_url(url)


def test_urls_may_leave_out_the_scheme_and_have_a_path() -> None:
    assert parse_url("localhost:9000")[1:] == ("localhost", 9000, "/api/v1/live")
    assert parse_url("https://host/metrics/")[1:] == ("host", None, "/metrics/api/v1/live")


class Handler(BaseHTTPRequestHandler):
    body = b""
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    kind = type("Answering", (Handler,), {})
    with ThreadingHTTPServer(("127.0.0.1", 0), kind) as serving:
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        yield serving
        serving.shutdown()
        thread.join()


def url_of(server: ThreadingHTTPServer) -> str:
    return f"http://127.0.0.1:{server.server_port}"


def answer(server: ThreadingHTTPServer, body: bytes, status: int = 200) -> None:
    server.RequestHandlerClass.body = body  # type: ignore[attr-defined]
    server.RequestHandlerClass.status = status  # type: ignore[attr-defined]


def test_once_prints_a_frame_and_ends(
    server: ThreadingHTTPServer, capsys: pytest.CaptureFixture[str]
) -> None:
    body = msgspec.json.encode(snapshot(row("ctr", 0.125, 80)))
    answer(server, b"event: snapshot\nid: 1\ndata: " + body + b"\n\n")
    show_top(url_of(server), once=True)
    assert "12.5%" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("body", "status", "why"),
    [
        (b"", 503, "answered 503"),
        (b"", 200, "ended the feed"),
        (b"event: snapshot\ndata: {}\n\n", 200, "missing required field"),
        (b"event: snapshot\ndata: " + json.dumps({"at": 1}).encode() + b"\n\n", 200, "Expected"),
    ],
)
def test_a_server_that_is_none_of_ours(
    server: ThreadingHTTPServer, body: bytes, status: int, why: str
) -> None:
    answer(server, body, status)
    with pytest.raises(UserError, match=why):
        show_top(url_of(server), once=True)


def test_nobody_there() -> None:
    with pytest.raises(FeedError, match="refused"):
        list(read_feed(parse_url("http://127.0.0.1:1")))


def test_the_feed_is_followed_and_its_loss_noted(
    server: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(top, "RETRY_S", 0.01)
    body = msgspec.json.encode(snapshot())
    answer(server, b"event: snapshot\ndata: " + body + b"\n\n")
    news: top.News = queue.SimpleQueue()
    threading.Thread(
        target=top._follow, args=(parse_url(url_of(server)), news), daemon=True
    ).start()
    kinds = [type(news.get(timeout=5)[1]) for _ in range(4)]
    assert kinds == [Snapshot, datetime, Snapshot, datetime]
