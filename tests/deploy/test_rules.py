"""The rule files: accepted by promtool, made of what is exported, and each alert explained."""

import asyncio
import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families as parse

from stream.audit.meters import AuditMeters
from stream.core.catalogue import AGES_MS, CLICKS, SESSIONS, TICKETS
from stream.core.rules import Rules
from stream.live.rows import PartitionInfo
from stream.meters import Meters
from tests.support.promtool import LINKS, ROOT, RULES, run
from tests.support.serving import Served
from tests.support.views import NOW_MS, HandMade
from tests.unit.test_docs import HEADING, slug
from tests.unit.test_partition import batch, page, partition_of

RECORDED = re.compile(r"^[a-z]+:[a-z_]+:[a-z]+$")
OURS = re.compile(r"(?<![:\w])((?:engagement|stream|prometheus)_\w+|up)\b(?!:)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
BOARD = re.compile(r"\{\{ \$externalLabels\.grafana_url }}/d/([\w-]+)(.*)")
OPERATIONS = ROOT / "docs" / "operations.md"
CHAPTERS = {slug(heading) for heading in HEADING.findall(OPERATIONS.read_text())}
DASHBOARDS = ROOT / "deploy" / "grafana" / "dashboards"
MINUTE, HOUR, WEEK = 60_000, 3_600_000, 604_800_000


def rules() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in RULES:
        for group in yaml.safe_load(path.read_text())["groups"]:
            for rule in group["rules"]:
                yield path.name, rule


EVERY = [rule for _, rule in rules()]
ALERTS = [rule for rule in EVERY if "alert" in rule]
EXPRESSIONS = [pytest.param(r["expr"], id=r.get("alert") or r["record"]) for r in EVERY]


def test_promtool_accepts_them() -> None:
    done = run("check", "rules", "--lint=all", "--lint-fatal", *map(str, RULES))
    assert done.returncode == 0, done.stdout + done.stderr


def test_names_are_told_once_and_recorded_ones_have_their_form() -> None:
    names = Counter(rule.get("alert") or rule["record"] for rule in EVERY)
    assert [name for name, n in names.items() if n > 1] == []
    recorded = [rule["record"] for rule in EVERY if "record" in rule]
    assert [name for name in recorded if not RECORDED.match(name)] == []
    read = {name for rule in EVERY for name in re.findall(r"\b[a-z]+:[a-z_]+:[a-z]+", rule["expr"])}
    assert read <= set(recorded)
    assert set(recorded) <= read, "recorded, but read by nobody"


# --- what they read ---

Sample = tuple[str, dict[str, str]]


async def exposed() -> list[Sample]:
    """Samples of a server whose view has weeks behind it, of a worker, of an auditor."""
    made = HandMade()
    past = (week * WEEK + hours * HOUR for week in range(1, 5) for hours in (-1, 0, 1, 2))
    spring = ("spring", "email", "A")
    for ago_ms in (4 * MINUTE, 20 * MINUTE, *past):
        at_ms = NOW_MS - ago_ms
        made.count(CLICKS, spring, {"impressions": 1_000, "clicks": 100}, at_ms=at_ms)
        within = {
            f"{what}_within_{age}": 400 for what in ("converted", "engaged") for age in AGES_MS
        }
        made.count(SESSIONS, spring, {"sessions": 1_000, **within}, at_ms=at_ms)
        counts, then_ms = {"resolved": 500, "first_contact_111": 300}, at_ms - 12 * HOUR
        made.count(TICKETS, ("chat", "billing"), counts, at_ms=then_ms, settled=True)
    made.total(CLICKS, spring, {"impressions": 1}).total(SESSIONS, spring, {"page_views_total": 1})
    server = (await Served(await made.view()).parts.exporter.expose(False)).decode()
    texts = [server, *(generate_latest(one).decode() for one in (worker(), auditor()))]
    return [
        (sample.name, sample.labels)
        for text in texts
        for family in parse(text)
        for sample in family.samples
    ]


def worker() -> CollectorRegistry:
    """A worker that has read a good record, one under a wrong key, and one that is none."""
    meters, partition = Meters(), partition_of("sessions")
    for records, keys in (
        ([(NOW_MS, page(NOW_MS)), (NOW_MS, page(NOW_MS))], [b"v", b"x"]),
        ([(NOW_MS, b"{")], [b"v"]),
    ):
        meters.count(
            "sessions", partition.fold(batch("sessions", records, partition.position, keys=keys))
        )
    meters.lost.labels("sessions", "0").inc()
    meters.limit(Rules(dedupe_horizon_ms=600_000))
    info = PartitionInfo(topic="sessions", partition=0, status="paused", lag=3, dedupe_horizon_ms=5)
    meters.show(info, partition.sizes())
    return meters.registry


def auditor() -> CollectorRegistry:
    """An auditor that has found something."""
    meters = AuditMeters()
    meters.difference.labels("clicks", "0", "redis").set(1)
    return meters.registry


def selectors(expression: str) -> Iterator[tuple[str, list[tuple[str, str, str]]]]:
    """What is read that is not recorded: names and matchers."""
    for name, matchers in OURS.findall(expression):
        yield name, MATCHER.findall(matchers)


def fits(labels: dict[str, str], matchers: list[tuple[str, str, str]]) -> bool:
    compare = {
        "=": lambda value, wanted: value == wanted,
        "!=": lambda value, wanted: value != wanted,
        "=~": lambda value, wanted: re.fullmatch(wanted, value) is not None,
        "!~": lambda value, wanted: re.fullmatch(wanted, value) is None,
    }
    return all(compare[sign](labels.get(name, ""), wanted) for name, sign, wanted in matchers)


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    return asyncio.run(exposed())


PROMETHEUS_OWN = {"up", "prometheus_rule_evaluation_failures_total"}


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_all_that_is_read_is_exported(expression: str, samples: list[Sample]) -> None:
    for name, matchers in selectors(expression):
        if name not in PROMETHEUS_OWN:
            found = [labels for sample, labels in samples if sample == name]
            assert found, f"{name} is not exported"
            assert any(fits(labels, matchers) for labels in found), f"{name}{matchers}"


def test_the_selectors_are_found() -> None:
    read = {name for rule in EVERY for name, _ in selectors(rule["expr"])}
    assert len(read) > 20
    assert {"engagement_change_ratio", "stream_redis_up", "up"} <= read


# --- what is said of them ---


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_every_alert_says_what_it_is_and_what_to_do(rule: dict[str, Any]) -> None:
    labels, notes = rule["labels"], rule["annotations"]
    assert labels["severity"] in ("page", "warning", "ticket", "none")
    assert labels["layer"] in ("engagement", "pipeline")
    assert labels.get("blinds", "all") in ("all", "topic")
    assert {"summary", "description", "runbook_url", "dashboard_url"} <= notes.keys()
    if labels["severity"] != "ticket" and labels["layer"] == "engagement":
        assert "launch_url" in notes
    assert "for" in rule or rule["alert"] in ("Watchdog", "AuditDifference", "RecordsLost")
    assert "keep_firing_for" in rule or rule["alert"] == "Watchdog"
    assert len(notes["summary"]) < 120


def test_first_contact_never_wakes_anybody() -> None:
    assert {r["labels"]["severity"] for r in ALERTS if "fcr" in r["expr"]} == {"ticket"}


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_the_runbook_has_a_chapter_for_it(rule: dict[str, Any]) -> None:
    link = rule["annotations"]["runbook_url"]
    file, _, anchor = link.removeprefix("{{ $externalLabels.repository_url }}/").partition("#")
    assert (ROOT / file, anchor) == (OPERATIONS, f"alert-{rule['alert'].lower()}")
    assert anchor in CHAPTERS


def test_the_runbook_has_no_chapter_of_an_alert_that_is_no_more() -> None:
    told = {chapter for chapter in CHAPTERS if chapter.startswith("alert-")}
    assert told == {f"alert-{rule['alert'].lower()}" for rule in ALERTS}


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_its_links_lead_to_dashboards_and_pages_that_exist(rule: dict[str, Any]) -> None:
    notes = rule["annotations"]
    found = BOARD.fullmatch(notes["dashboard_url"])
    assert found
    uid, query = found.groups()
    boards = [json.loads(path.read_text()) for path in DASHBOARDS.glob("*.json")]
    [board] = [board for board in boards if board["uid"] == uid]
    variables = {one["name"] for one in board["templating"]["list"]}
    assert set(re.findall(r"var-(\w+)=", query)) <= variables
    page = notes.get("launch_url", "{{ $externalLabels.server_url }}/")
    assert re.match(r"\{\{ \$externalLabels\.server_url }}/(launch/\{\{.*)?$", page)


def test_the_links_are_set_in_one_place_and_do_not_become_labels() -> None:
    settings = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text())
    external = set(settings["global"]["external_labels"])
    read = {
        name
        for rule in ALERTS
        for note in rule["annotations"].values()
        for name in re.findall(r"\$externalLabels\.(\w+)", note)
    }
    assert read == external == LINKS.keys()
    [drop] = settings["alerting"]["alert_relabel_configs"]
    assert all(re.fullmatch(drop["regex"], name) for name in external)
