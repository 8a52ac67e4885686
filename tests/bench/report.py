"""Writes docs/performance.md and its plots from the figures that `tests.bench.run` has kept.

`python -m tests.bench.report [FIGURES]`
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl

from tests.bench.figures import Figure
from tests.support.processes import ROOT

mpl.use("svg")
mpl.rcParams |= {"svg.hashsalt": "performance", "font.size": 9, "axes.spines.top": False}

from matplotlib import pyplot as plt  # noqa: E402 - the backend is chosen first

DOCS = ROOT / "docs"
FIGURES = DOCS / "performance.json"
Found = dict[str, Any]

_HEAD = """\
# Performance

Written by `make bench`; the figures are in [performance.json](performance.json).

Everything is on in every figure of the worker: duplicates are dropped, each flush goes to the
ledger, Redis is written, and the metrics are counted; the sums are compared with what was sent. The
worker has one core for itself, Kafka and Redis have the others. All values are medians with the
least and the most of {times} runs.
"""


def main() -> None:
    """Read the figures, write the page and the plots."""
    found = json.loads(Path(sys.argv[1]).read_text() if sys.argv[1:] else FIGURES.read_text())
    (DOCS / "performance.md").write_text("\n".join(page(found)) + "\n")


def page(found: Found) -> Iterator[str]:
    """The lines of the page; a part that was not measured is left out."""
    yield _HEAD.format(times=found["times"])
    yield "| the machine | |\n| --- | --- |"
    yield from (f"| {name} | {value} |" for name, value in found["machine"].items())
    for name, write in (
        ("throughput", _throughput),
        ("long", _long),
        ("growth", _growth),
        ("latency", _latency),
        ("recovery", _recovery),
        ("flush", _flush),
        ("scale", _scale),
        ("view", _view),
    ):
        if name in found:
            yield ""
            yield from write(found[name], found["events"])


def _throughput(rows: Found, events: int) -> Iterator[str]:
    yield f"## How fast a backlog is counted\n\n{events:,} events of each kind, 4 partitions."
    for topic, ways in rows.items():
        yield f"\n### {topic.capitalize()}\n"
        yield "| | events/s | × the loop | CPU s per 1 M | peak MiB |"
        yield "| --- | ---: | ---: | ---: | ---: |"
        base = _figure(ways["hand-written aiokafka loop"], "events_per_s").median
        for name, row in ways.items():
            speed = _figure(row, "events_per_s")
            peak = f"{_figure(row, 'peak_mib').median:,.0f}" if "peak_mib" in row else ""
            yield (
                f"| {name} | {speed.text(0)} | {speed.median / base:.2f} "
                f"| {_figure(row, 'cpu_per_million').text()} | {peak} |"
            )
    _plot_throughput(rows)
    yield "\n![Events a second](images/performance-throughput.svg)"
    yield (
        "\nThe hand-written loop only counts: it drops no duplicates, keeps nothing, and a crash "
        "loses all\n([source](../tests/bench/loops/hand_written.py)). Plain Faust is the program "
        "of its documentation\n([source](../tests/bench/loops/plain_faust.py))."
    )


def _long(found: Found, events: int) -> Iterator[str]:
    yield f"## Does it grow?\n\n{10 * events:,} clicks in one go, by tenth.\n"
    few = found["few_ids"]
    yield f"| tenth | CPU s per 1 M | resident MiB | with at most {few:,} ids a partition |"
    yield "| ---: | ---: | ---: | ---: |"
    for number, part in found["parts"].items():
        yield (
            f"| {number} | {part['cpu_per_million']:.2f} | {part['resident_mib']:,.0f} "
            f"| {part['few_ids_mib']:,.0f} |"
        )
    one, two = found["one worker"], found["two workers"]
    times = two["events_per_s"] / one["events_per_s"]
    yield (
        f"\nAll in all {one['events_per_s']:,.0f} events/s, at most {one['peak_mib']:,.0f} MiB. "
        f"Two workers, a core each:\n{two['events_per_s']:,.0f} events/s, {times:.2f} times that.\n"
        "\nWhat grows is the memory of event ids: the dedupe horizon holds more of them as it "
        "fills, at most\n`STREAM_DEDUPE_MAX_IDS` a partition: two million, which are reached "
        "after eight. The last column\nis a second run in which the horizon is full within the "
        "first tenth."
    )


def _growth(rows: Found, events: int) -> Iterator[str]:
    yield f"## What more names cost\n\n{events:,} clicks each.\n"
    yield "| | events/s | CPU s per 1 M | peak MiB |\n| --- | ---: | ---: | ---: |"
    for name, row in rows.items():
        yield (
            f"| {name} | {_figure(row, 'events_per_s').text(0)} "
            f"| {_figure(row, 'cpu_per_million').text()} | {_figure(row, 'peak_mib').text(0)} |"
        )


def _latency(rows: Found, _: int) -> Iterator[str]:
    yield (
        "## From record to view\n\nFrom the moment at which Kafka takes a click to the API's "
        "counting it.\n"
    )
    yield "| rate | p50 ms | p99 ms |\n| ---: | ---: | ---: |"
    for rate, row in rows.items():
        yield (
            f"| {_sent(int(rate), row)} | {_figure(row, 'p50_ms').text(0)} "
            f"| {_figure(row, 'p99_ms').text(0)} |"
        )


def _sent(rate: int, row: Found) -> str:
    """A rate in words, with what was really sent if it is less."""
    sent: float = _figure(row, "records_per_s").median
    return f"{rate:,}/s" if sent > 0.98 * rate else f"{rate:,}/s ({sent:,.0f}/s were sent)"


def _recovery(rows: Found, _: int) -> Iterator[str]:
    yield (
        "## Recovery\n\nFrom the start of the process that takes over after `kill -9` until it "
        "counts again; the first\nline is what a start costs anyway.\n"
    )
    yield "| keys in the ledgers | s | peak MiB |\n| ---: | ---: | ---: |"
    for keys, row in rows.items():
        yield (
            f"| {int(keys):,} | {_figure(row, 'seconds').text()} "
            f"| {_figure(row, 'peak_mib').text(0)} |"
        )


def _flush(rows: Found, events: int) -> Iterator[str]:
    yield (
        f"## Flushing and folding\n\n{2 * events:,} events in one go. What a worker does shares "
        "one event loop. *Held* is how long a piece\nof a flush, of writing to Redis or of a fold "
        "kept it from all else; *late* is how long after it was due a\nflush began. Milliseconds, "
        "as the worker exports them (`stream_loop_blocked_seconds`,\n`stream_flush_delay_seconds`)."
        "\n"
    )
    works = {"flush": "held: flush", "project": "Redis", "fold": "fold", "delay": "late"}
    told = [f"{name} {what}" for name in works.values() for what in ("p99", "longest")]
    yield "| | " + " | ".join(told) + " |\n| --- |" + " ---: |" * len(told)
    for topic, row in rows.items():
        figures = [_figure(row, f"{w}_{what}_ms") for w in works for what in ("p99", "longest")]
        yield f"| {topic} | " + " | ".join(figure.text(0) for figure in figures) + " |"


def _scale(rows: Found, events: int) -> Iterator[str]:
    yield (
        f"## What is held, and how fast answers are then\n\nOne worker, one server on one core. "
        f"The day is one of {2 * events:,} clicks; all buckets of all sizes\nare kept. A query "
        "asks for the CTR of 24 h by campaign.\n"
    )
    yield (
        "| | worker MiB | Redis MiB | server MiB | `/metrics` ms | query p99 ms "
        "| 500 live streams |\n| --- | ---: | ---: | ---: | ---: | ---: | --- |"
    )
    for name, row in rows.items():
        live = (
            f"{row['listeners_cpu']:.0%} of a core, {row['messages_per_s']:.2f} messages/s each, "
            f"longest gap {row['longest_gap_s']:.1f} s"
            if "listeners_cpu" in row
            else ""
        )
        yield (
            f"| {name} | {row['worker_mib']:,.0f} | {row['redis_mib']:,.0f} "
            f"| {row['server_mib']:,.0f} | {row['scrape_ms']:,.0f} "
            f"| {row['query_p99_ms']:,.1f} | {live} |"
        )


def _view(rows: Found, _: int) -> Iterator[str]:
    yield (
        "## A server's view\n\nOne process, no Kafka, no Redis. Milliseconds of its own CPU time; "
        "*hold* is the longest that the event\nloop was held. Scrapes are five seconds apart, with "
        "events in between; the first one sums all windows.\nThe query is the CTR of 24 h by "
        "campaign, the range one of 19 h with crooked ends.\n"
    )
    yield (
        "| | resident MiB | first scrape | scrape, hold | query p50, p99 | range p99 "
        "| 500 live streams |\n| --- | ---: | ---: | ---: | ---: | ---: | --- |"
    )
    for name, row in rows.items():
        yield (
            f"| {name} | {row['resident_mib']:,.0f} | {row['first_scrape_ms']:,.0f} "
            f"| {row['scrape_p50_ms']:,.0f}, {row['scrape_hold_ms']:,.0f} "
            f"| {row['query_p50_ms']:,.1f}, {row['query_p99_ms']:,.1f} "
            f"| {row['range_p99_ms']:,.1f} | {row['live_cpu_share']:.0%} of a core, "
            f"{row['live_messages_per_s']:.2f} messages/s each, longest gap "
            f"{row['live_longest_gap_s']:.1f} s, hold {row['live_hold_ms']:,.0f} |"
        )


def _figure(row: Found, name: str) -> Figure:
    return Figure(**row[name])


def _plot_throughput(rows: Found) -> None:
    names = list(dict.fromkeys(name for ways in rows.values() for name in ways))
    figure, axes = plt.subplots(figsize=(7, 2.6))
    height = 0.8 / len(names)
    for place, name in enumerate(names):
        having = [
            (y, _figure(ways[name], "events_per_s"))
            for y, ways in enumerate(rows.values())
            if name in ways
        ]
        axes.barh(
            [y + (place - (len(names) - 1) / 2) * height for y, _ in having],
            [speed.median / 1000 for _, speed in having],
            height * 0.9,
            xerr=[
                [(speed.median - speed.least) / 1000 for _, speed in having],
                [(speed.most - speed.median) / 1000 for _, speed in having],
            ],
            label=name,
        )
    axes.set_yticks(range(len(rows)), list(rows))
    axes.invert_yaxis()
    axes.set_xlabel("thousand events a second")
    axes.legend(frameon=False, fontsize=8)
    figure.tight_layout()
    figure.savefig(
        DOCS / "images" / "performance-throughput.svg",
        metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")),
    )
    plt.close(figure)


if __name__ == "__main__":
    main()
