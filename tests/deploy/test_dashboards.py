"""Grafana's dashboards: what lies in deploy/ is what the code makes, and says what it shows."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tools.dashboards import alerting
from tools.dashboards.__main__ import FOLDER
from tools.dashboards.boards import BOARDS, rendered

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
