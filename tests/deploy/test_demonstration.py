"""All that dashboards ask and rules read, asked of a real Prometheus that scrapes the real demo."""

import re
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.deploy.test_dashboards import made, panels
from tests.support.patience import eventually
from tests.support.ports import free_port
from tests.support.processes import StreamProcess
from tests.support.prometheus import found, prometheus
from tests.support.promtool import LINKS, RULES
from tools.dashboards.boards import BOARDS

VALUES = {
    "campaign": ".*",
    "channel": ".*",
    "team": ".*",
    "topic": ".*",
    "state": "live",
    "__rate_interval": "10s",
}
CHOSEN = {"campaign": "autumn", "window": "24h"}
"""What is chosen where one value must be: the launch that runs now, and a window that has all."""
QUIET = {
    "stream_dead_letters_total": "no record need be bad",
    "stream_lost_records_total": "Kafka has deleted nothing unread",
    "stream_miskeyed_total": "every key is right",
    "engagement_audit_difference": "of `stream audit`, which the demonstration does not run",
    "group:engagement_worse_ratio:max": "nothing need have got worse",
    "group:engagement_day_ago:max": "Prometheus has run for a minute",
    'group:engagement_traffic_ratio:max{level="total", window="5m", basis="recent"}': (
        "weeks of history are there"
    ),
}
"""What may have no samples in a sound system, and why."""
JOBS = {"engagement-server": "http", "engagement-worker": "worker"}
WEEK_S, HOUR_S = 7 * 24 * 3_600, 3_600
PAST_RATE, PAST_S = 0.6, 4 * HOUR_S
"""Events a second of the past weeks, of which the same hours are played that it is now."""
SELECTOR = re.compile(
    r'(?<![:\w"])((?:engagement|stream|prometheus)_\w+|[a-z]+:[a-z_]+:[a-z]+|up)\b(?!:)(\{[^}]*\})?'
)


@pytest.fixture
def ports() -> dict[str, str]:
    return {part: str(free_port()) for part in ("kafka", "redis", "worker", "http")}


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_every_query_and_every_input_of_an_alert_has_data(
    stream_process: Callable[..., StreamProcess], ports: dict[str, str], tmp_path: Path
) -> None:
    options = [word for part, port in ports.items() for word in (f"--{part}-port", port)]
    demo = stream_process("demo", "--no-events", *options)
    jobs = {part: f"127.0.0.1:{ports[port]}" for part, port in JOBS.items()}
    async with prometheus(tmp_path, jobs, RULES, interval="1s", external_labels=LINKS) as client:
        await play(partial(stream_process, env={"STREAM_KAFKA": f"127.0.0.1:{ports['kafka']}"}))
        asked = set(read_by_rules())
        for board in map(made, BOARDS):
            asked |= set(queries(board, await chosen(client, board)))

        async def all_found() -> bool:
            for query in sorted(asked):
                if await found(client, query) or any(quiet in query for quiet in QUIET):
                    asked.discard(query)
            assert not asked, f"no data: {asked}"
            return True

        await eventually(all_found, 80, interval_s=1.0)
        assert await faults_of_rules(client) == []
    assert demo.running


async def play(start: Callable[..., StreamProcess]) -> None:
    """The same hours of the last four weeks, thin; then the story that the demonstration tells."""
    for weeks in range(4, 0, -1):
        begin_s = time.time() - weeks * WEEK_S - PAST_S / 2
        past = start(
            *("simulate", "--scenario", "clean", "--rate", f"{PAST_RATE}", "--speed", "0"),
            *("--start", f"{begin_s * 1000:.0f}", "--count", f"{PAST_RATE * PAST_S:.0f}"),
        )
        assert await past.ended(60) == 0, past.text
    start("simulate", "--scenario", "launches", "--backfill", "48h")


async def chosen(client: httpx.AsyncClient, board: dict[str, Any]) -> dict[str, str]:
    """A value for each variable, once Prometheus has it among those that the board offers."""
    values = dict(VALUES)
    for one in board["templating"]["list"]:
        if one["type"] != "query":
            continue
        asked = re.fullmatch(r"label_values\((.+), (\w+)\)", one["query"])
        assert asked, one["query"]
        wanted = None if one["includeAll"] else CHOSEN[one["name"]]
        await eventually(partial(offered, client, asked[1], asked[2], wanted), 80, what=asked[0])
        if wanted is not None:
            values[one["name"]] = wanted
    return values


async def offered(client: httpx.AsyncClient, series: str, label: str, wanted: str | None) -> bool:
    """Whether a variable offers the wanted value, or any."""
    known = {labels[label] for labels in await found(client, series) if labels.get(label)}
    return bool(known) if wanted is None else wanted in known


def queries(board: dict[str, Any], values: dict[str, str]) -> Iterator[str]:
    for panel in panels(board):
        for target in panel["targets"]:
            yield re.sub(r"\$(\w+)", lambda word: values[word[1]], target["expr"])


def read_by_rules() -> Iterator[str]:
    """The selectors of all rules: what is exported, and what other rules have recorded."""
    for path in RULES:
        for group in yaml.safe_load(path.read_text())["groups"]:
            for rule in group["rules"]:
                yield from (name + matchers for name, matchers in SELECTOR.findall(rule["expr"]))


async def faults_of_rules(client: httpx.AsyncClient) -> list[str]:
    """Rules that Prometheus could not evaluate."""
    answer = (await client.get("/api/v1/rules")).json()
    rules = [rule for group in answer["data"]["groups"] for rule in group["rules"]]
    return [f"{rule['name']}: {rule['lastError']}" for rule in rules if rule["health"] != "ok"]


def test_the_selectors_are_found() -> None:
    read = set(read_by_rules())
    assert len(read) > 60
    assert {"stream_redis_up", 'up{job=~"engagement-.*"}', "group:engagement_day_ago:max"} <= read
