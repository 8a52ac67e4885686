"""Grafana's dashboards: what lies in deploy/ is what the code makes, and every query finds data."""

import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.support.patience import eventually
from tests.support.ports import free_port
from tests.support.processes import StreamProcess
from tests.support.prometheus import found, prometheus
from tools.dashboards import alerting
from tools.dashboards.__main__ import FOLDER
from tools.dashboards.boards import BOARDS, rendered

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
QUIET = {"stream_dead_letters_total"}
"""What a sound system has no samples of."""

each_board = pytest.mark.parametrize("name", BOARDS)


def made(name: str) -> dict[str, Any]:
    board = json.loads((FOLDER / f"{name}.json").read_text())
    assert isinstance(board, dict)
    return board


def panels(board: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for panel in board["panels"]:
        if panel["type"] == "row":
            yield from panel.get("panels", [])
        else:
            yield panel


def test_every_file_is_what_the_code_makes() -> None:
    files = {path.stem: path.read_text() for path in FOLDER.glob("*.json")}
    assert files == {name: rendered(make()) for name, make in BOARDS.items()}, "run: make docs"


def test_alerts_are_the_same_for_prometheus_grafana_and_the_operator() -> None:
    assert {path: path.read_text() for path in alerting.files()} == alerting.files(), (
        "run: make docs"
    )
    ours = {
        rule["alert"]: rule
        for group in alerting.groups()
        for rule in group["rules"]
        if "alert" in rule
    }
    grafana = yaml.safe_load(alerting.GRAFANA.read_text())
    theirs = {rule["title"]: rule for group in grafana["groups"] for rule in group["rules"]}
    assert set(theirs) == set(ours)
    assert len({rule["uid"] for rule in theirs.values()}) == len(ours)
    for name, rule in theirs.items():
        assert rule["data"][0]["model"]["expr"] == ours[name]["expr"]
        assert {part["refId"] for part in rule["data"]} == {"A", "B", "C"}


def test_grafana_finds_what_is_provisioned() -> None:
    folder = FOLDER.parent / "provisioning"
    (source,) = yaml.safe_load((folder / "datasources" / "prometheus.yml").read_text())[
        "datasources"
    ]
    grafana = yaml.safe_load(alerting.GRAFANA.read_text())
    asked = {
        part["datasourceUid"]
        for group in grafana["groups"]
        for rule in group["rules"]
        for part in rule["data"]
    }
    assert asked == {source["uid"], "__expr__"}


@each_board
def test_a_dashboard_keeps_its_address_and_its_source_is_chosen(name: str) -> None:
    board = made(name)
    assert board["uid"] == f"engagement-{name}"
    assert next(one["name"] for one in board["templating"]["list"]) == "datasource"
    for panel in panels(board):
        for part in (panel, *panel["targets"]):
            assert part["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


@each_board
def test_every_variable_that_is_used_is_there(name: str) -> None:
    board = made(name)
    there = {one["name"] for one in board["templating"]["list"]}
    used = {
        word
        for panel in panels(board)
        for target in panel["targets"]
        for word in re.findall(r"\$(\w+)", target["expr"])
    }
    assert used - {"__rate_interval"} <= there
    assert there - {"datasource"} <= used


@each_board
def test_every_panel_says_what_it_shows(name: str) -> None:
    for panel in panels(made(name)):
        assert panel["description"], panel["title"]
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])


@pytest.fixture
def ports() -> dict[str, str]:
    return {part: str(free_port()) for part in ("kafka", "redis", "worker", "http")}


@pytest.mark.slow
async def test_every_query_finds_data_in_the_demonstration(
    stream_process: Callable[..., StreamProcess], ports: dict[str, str], tmp_path: Path
) -> None:
    options = [word for part, port in ports.items() for word in (f"--{part}-port", port)]
    demo = stream_process("demo", *options)
    jobs = {"server": f"127.0.0.1:{ports['http']}", "worker": f"127.0.0.1:{ports['worker']}"}
    async with prometheus(tmp_path, jobs, interval="1s") as client:
        asked: set[str] = set()
        for board in map(made, BOARDS):
            asked |= set(queries(board, await chosen(client, board)))

        async def all_found() -> bool:
            for query in sorted(asked):
                if await found(client, query) or any(quiet in query for quiet in QUIET):
                    asked.discard(query)
            assert not asked, f"no data: {asked}"
            return True

        await eventually(all_found, 60, interval_s=1.0)
    assert demo.running


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
