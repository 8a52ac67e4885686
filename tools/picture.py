"""Draws docs/images/top.svg: `stream top` as it looks while the real demonstration runs.

    python -m tools.picture                       run the demonstration for a while, then draw
    python -m tools.picture --url http://…:8000   draw what runs already

The picture refers to no other host: fonts are those of the reader's machine.
"""

import argparse
import io
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme

from stream.errors import UserError
from stream.feed import FeedError, parse_url, read_feed
from stream.top import Board, frame

FILE = Path(__file__).parents[1] / "docs" / "images" / "top.svg"
COLUMNS, LINES = 88, 24
SHOWN_URL = "http://127.0.0.1:8000"
FONTS = "ui-monospace, 'SF Mono', Menlo, Consolas, 'DejaVu Sans Mono', monospace"
START_S = 60.0
_FONT_FACE = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)
_COMMENT = re.compile(r"<!--.*?-->\s*", re.DOTALL)
_REMOTE = re.compile(r"https?://(?!www\.w3\.org/|127\.0\.0\.1)")
_THEME = TerminalTheme(
    (13, 17, 23),
    (222, 226, 230),
    [
        *((13, 17, 23), (240, 100, 100), (110, 200, 130), (230, 190, 90)),
        *((110, 160, 240), (190, 140, 230), (110, 200, 220), (222, 226, 230)),
    ],
)


def main() -> None:
    """Draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", help="a server that runs already")
    parser.add_argument("--after", type=float, default=540.0, help="seconds of demonstration")
    given = parser.parse_args()
    if given.url:
        FILE.write_text(draw(given.url))
        return
    with demonstration() as url:
        wait_for(url)
        time.sleep(given.after)
        FILE.write_text(draw(url))


@contextmanager
def demonstration(*more: str) -> Iterator[str]:
    """A demonstration on free ports, for as long as the block runs; yields the server's URL.

    `more` are further options of `stream demo`.
    """
    ports = {name: free_port() for name in ("kafka", "redis", "worker", "http")}
    options = [word for name, port in ports.items() for word in (f"--{name}-port", str(port))]
    process = subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-m", "stream", "demo", "--seed", "7", *options, *more]
    )
    try:
        yield f"http://127.0.0.1:{ports['http']}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(url: str) -> None:
    """Return once the server has figures to show."""
    until_s = time.monotonic() + START_S
    while time.monotonic() < until_s:
        try:
            if next(read_feed(parse_url(url))).complete:
                return
        except FeedError:
            pass
        time.sleep(0.5)
    raise UserError(f"nothing to draw at {url}")


def draw(url: str) -> str:
    """One frame of `stream top` as SVG."""
    board = Board()
    board.take(next(read_feed(parse_url(url))), time.monotonic())
    console = Console(
        record=True,
        file=io.StringIO(),
        width=COLUMNS,
        height=LINES,
        force_terminal=True,
        color_system="truecolor",
        legacy_windows=False,
    )
    console.print(frame(board, SHOWN_URL, "5m", LINES, time.monotonic()))
    return without_fonts(console.export_svg(title="stream top", theme=_THEME, unique_id="top"))


def without_fonts(svg: str) -> str:
    """The same picture in the fonts of the machine that shows it."""
    svg = _COMMENT.sub("", _FONT_FACE.sub("", svg))
    svg = re.sub(r"font-family: [^;]*;", f"font-family: {FONTS};", svg)
    if found := _REMOTE.search(svg):
        raise ValueError(f"the picture refers to {svg[found.start() : found.start() + 60]}")
    return "\n".join(line.rstrip() for line in svg.strip().splitlines()) + "\n"


if __name__ == "__main__":
    main()
