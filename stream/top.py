"""`stream top`: the live figures in a terminal, read from a server's live feed.

Knows only the HTTP interface. It says how old the figures are and never shows the last ones as if
they were now.
"""

import queue
import threading
import time
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from stream.errors import UserError
from stream.feed import Address, FeedError, Message, parse_url, read_feed
from stream.serve.bodies import LiveRow, LiveStatus, PartitionBody, Snapshot
from stream.serve.times import parse_time
from stream.sign_in import NOBODY, SignIn

RETRY_S = 1.0
FRAME_S = 0.25
DELAYED_S = 10.0
WINDOWS = ("5m", "1h")
"""The live feed has these."""
TICKET_WINDOW = "24h"
_BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f")

Key = tuple[str, str, tuple[tuple[str, str], ...]]
News = queue.SimpleQueue[tuple[float, Message | datetime]]
"""Messages, or the moment at which the server was lost, with the monotonic second of hearing."""


@dataclass
class Board:
    """What is known: rows by metric, window and labels, and when it was heard (monotonic s)."""

    rows: dict[Key, LiveRow] = field(default_factory=dict)
    partitions: list[PartitionBody] = field(default_factory=list)
    active_sessions: int | None = None
    complete: bool = False
    lag_s: float | None = None
    heard_s: float | None = None
    lost_at: datetime | None = None

    def take(self, message: Message, now_s: float) -> None:
        """Bring the board up to a message."""
        self.lost_at, self.heard_s, self.complete = None, now_s, message.complete
        as_of = message.as_of
        self.lag_s = None if as_of is None else (parse_time(message.at) - parse_time(as_of)) / 1000
        if isinstance(message, LiveStatus):
            self.partitions = message.partitions
            return
        if isinstance(message, Snapshot):
            self.rows.clear()
            self.partitions = message.status.partitions
        else:
            for gone in message.gone:
                self.rows.pop(_key(gone.metric, gone.window, gone.labels), None)
        self.active_sessions = message.active_sessions
        self.rows.update((_key(row.metric, row.window, row.labels), row) for row in message.rows)

    def lose(self, at: datetime) -> None:
        """Note that the server cannot be reached; the first moment counts."""
        self.lost_at = self.lost_at or at

    def row(self, metric: str, window: str, **labels: str) -> LiveRow | None:
        """One row, None where there is no data."""
        return self.rows.get(_key(metric, window, labels))

    def names(self, dimension: str, metrics: Iterable[str], window: str) -> list[str]:
        """Values of a dimension that have rows, those with the most traffic first."""
        traffic: dict[str, int] = {}
        for (metric, of, labels), row in self.rows.items():
            if metric in metrics and of == window and [name for name, _ in labels] == [dimension]:
                name = labels[0][1]
                traffic[name] = traffic.get(name, 0) + row.denominator
        return sorted(traffic, key=lambda name: (-traffic[name], name))

    def freshness(self, now_s: float) -> tuple[str, str]:
        """How old the figures are: style and words."""
        if self.lost_at is not None:
            return "bold red", f"server unreachable since {self.lost_at:%H:%M:%S}"
        if self.heard_s is None:
            return "dim", "connecting"
        if self.lag_s is None:
            return "yellow", "waiting for data"
        age_s = max(0.0, self.lag_s) + now_s - self.heard_s
        if age_s > DELAYED_S:
            return "bold yellow", f"delayed {_span(age_s)}"
        incomplete = "" if self.complete else " · incomplete"
        return ("green" if self.complete else "yellow"), f"live · {age_s:.1f} s{incomplete}"


def show_top(url: str, sign_in: SignIn = NOBODY, *, once: bool = False, window: str = "5m") -> None:
    """Show the figures of the server at `url` until interrupted; `once` prints a single frame.

    Raises UserError for a URL that is none, and with `once` if the server does not answer.
    """
    address = parse_url(url)
    if window not in WINDOWS:
        raise UserError(f"'{window}' is not shown; choose from {', '.join(WINDOWS)}")
    console = Console()
    board = Board()
    if once:
        board.take(_first(address, sign_in, url), time.monotonic())
        console.print(frame(board, url, window, max(console.height, 24), time.monotonic()))
        return
    news: News = queue.SimpleQueue()
    following = (address, news, sign_in)
    threading.Thread(target=_follow, args=following, daemon=True, name="feed").start()
    try:
        with Live(console=console, screen=True, auto_refresh=False) as live:
            while True:
                _hear(board, news)
                shown = frame(board, url, window, console.height, time.monotonic())
                live.update(shown, refresh=True)
                time.sleep(FRAME_S)
    except KeyboardInterrupt:
        return


def _first(address: Address, sign_in: SignIn, url: str) -> Message:
    try:
        return next(read_feed(address, sign_in))
    except FeedError as error:
        raise UserError(f"{clean(url)} cannot be read: {clean(str(error))}") from None


def _follow(address: Address, news: News, sign_in: SignIn = NOBODY) -> None:
    while True:
        try:
            for message in read_feed(address, sign_in):
                news.put((time.monotonic(), message))
        except FeedError:
            news.put((time.monotonic(), datetime.now().astimezone()))
        time.sleep(RETRY_S)


def _hear(board: Board, news: News) -> None:
    while not news.empty():
        at_s, item = news.get()
        if isinstance(item, datetime):
            board.lose(item)
        else:
            board.take(item, at_s)


def frame(board: Board, url: str, window: str, height: int, now_s: float) -> Group:
    """The screen, at most `height` lines and readable at 80 columns."""
    style, words = board.freshness(now_s)
    stale = board.lost_at is not None or words.startswith("delayed")
    head = Table.grid(expand=True)
    head.add_column(no_wrap=True, overflow="ellipsis")
    head.add_column(justify="right", no_wrap=True)
    head.add_row(Text.assemble(("Engagement ", "bold"), (clean(url), "dim")), Text(words, style))
    room = max(4, height - 8)
    teams = board.names("team", ("fcr", "first_response_time"), TICKET_WINDOW)
    for_teams = min(max(1, len(teams)), max(2, room // 3))
    return Group(
        head,
        Text(),
        _campaigns(board, window, room - for_teams, stale),
        Text(),
        _teams(board, teams, for_teams, stale),
        Text(),
        _partitions(board),
    )


def _campaigns(board: Board, window: str, room: int, stale: bool) -> Table:
    table = _table(f"Last {window}", "Impressions", "CTR", "Sessions", "Bounce", "Conv.", "Active")
    active = "–" if board.active_sessions is None else f"{board.active_sessions:,}"
    cells = _campaign_cells(board, window, {})
    table.add_row(Text("All traffic", "bold"), *cells, active, style="dim" if stale else "bold")
    names = board.names("campaign", ("ctr", "conversion_rate"), window)
    shown = _fitting(names, room)
    for name in shown:
        cells = _campaign_cells(board, window, {"campaign": name})
        table.add_row(Text(clean(name)), *cells, "", style="dim" if stale else "")
    _tell_rest(table, len(names) - len(shown))
    return table


def _campaign_cells(board: Board, window: str, labels: dict[str, str]) -> list[str]:
    ctr, bounce, conversion = (
        board.row(metric, window, **labels) for metric in ("ctr", "bounce_rate", "conversion_rate")
    )
    return [_count(ctr), _percent(ctr), _count(conversion), _percent(bounce), _percent(conversion)]


def _teams(board: Board, names: list[str], room: int, stale: bool) -> Table:
    table = _table(f"Teams, {TICKET_WINDOW}", "Resolved", "First contact", "Response", "Resolution")
    shown = _fitting(names, room)
    for name in shown:
        rows = [
            board.row(metric, TICKET_WINDOW, team=name)
            for metric in ("fcr", "first_response_time", "resolution_time")
        ]
        cells = [_count(rows[0]), _percent(rows[0]), _mean(rows[1]), _mean(rows[2])]
        table.add_row(Text(clean(name)), *cells, style="dim" if stale else "")
    if not names:
        table.add_row(Text("no tickets yet", "dim"))
    _tell_rest(table, len(names) - len(shown))
    return table


def _fitting(names: list[str], room: int) -> list[str]:
    """As many as there is room for, leaving a line to say how many more there are."""
    return names if len(names) <= room else names[: max(0, room - 1)]


def _tell_rest(table: Table, count: int) -> None:
    if count:
        table.add_row(Text(f"… {count} more", "dim"))


def _partitions(board: Board) -> Text:
    statuses: dict[str, int] = {}
    for partition in board.partitions:
        statuses[partition.status] = statuses.get(partition.status, 0) + 1
    if not statuses:
        return Text("Partitions: none known", "yellow", no_wrap=True)
    lag = sum(partition.lag or 0 for partition in board.partitions)
    words = ", ".join(f"{n} {name}" for name, n in sorted(statuses.items()))
    style = "" if set(statuses) == {"live"} else "yellow"
    return Text(f"Partitions: {words} · {lag:,} records behind", style, no_wrap=True)


def _table(*columns: str) -> Table:
    table = Table(box=None, padding=(0, 1), expand=True, pad_edge=False)
    first, *others = columns
    table.add_column(first, no_wrap=True, overflow="ellipsis", ratio=1, header_style="bold cyan")
    for name in others:
        table.add_column(name, justify="right", no_wrap=True, header_style="dim")
    return table


def clean(text: str) -> str:
    """Text that cannot steer a terminal, whoever wrote it."""
    return "".join(
        "\N{REPLACEMENT CHARACTER}" if unicodedata.category(c) in ("Cc", "Cs") or c in _BIDI else c
        for c in text
    )


def _count(row: LiveRow | None) -> str:
    return "–" if row is None else f"{row.denominator:,}"


def _percent(row: LiveRow | None) -> str:
    return "–" if row is None or row.value is None else f"{row.value:.1%}"


def _mean(row: LiveRow | None) -> str:
    return "–" if row is None or row.value is None else _span(row.value)


def _span(seconds: float) -> str:
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _key(metric: str, window: str, labels: dict[str, str]) -> Key:
    return metric, window, tuple(sorted(labels.items()))
