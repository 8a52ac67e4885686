"""Who is told of what, and what is held back: asked of Alertmanager and its tool."""

import json
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.deploy.test_alerts import ALERTS
from tests.support.alertmanager import running_alertmanager
from tests.support.choice import Choice
from tests.support.patience import eventually
from tests.support.promtool import ROOT, tool

CONFIG = ROOT / "deploy" / "alertmanager" / "alertmanager.yml"
Labels = Mapping[str, str]


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_reaches_the_receiver_of_its_severity(alert: str) -> None:
    labels = {"alertname": alert, **ALERTS[alert]["labels"]}
    labels["topic"] = labels["topic"] if "{" not in labels.get("topic", "{") else "clicks"
    command = [tool("amtool"), "config", "routes", "test", f"--config.file={CONFIG}"]
    words = [f"{name}={value}" for name, value in labels.items()]
    done = subprocess.run(
        [*command, *words], capture_output=True, text=True, check=False, timeout=30
    )
    wanted = {"none": "watchdog"}.get(labels["severity"], labels["severity"])
    assert (done.returncode, done.stdout.strip()) == (0, wanted), done.stderr


# --- what holds back what ---


def call(url: str, path: str, body: object = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url + path, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=5) as answer:
        content = answer.read()
    return json.loads(content) if content[:1] in (b"[", b"{") else content


@pytest.fixture(scope="module")
def alertmanager(choice: Choice, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_alertmanager(choice, CONFIG, tmp_path_factory.mktemp("alertmanager")) as url:
        yield url


def fired(alert: str, **labels: str) -> Labels:
    return {"alertname": alert, **ALERTS[alert]["labels"], **labels}


CTR = {"level": "campaign", "metric": "ctr", "campaign": "spring"}
TOTAL_CTR = {"level": "total", "metric": "ctr"}
BOUNCE = {"level": "campaign", "metric": "bounce_rate", "campaign": "spring"}
CASES = [
    # fires, also fires, is the second one held back?
    (fired("ViewStale"), fired("CampaignCtrDropped", **CTR), True),
    (fired("RedisAway"), fired("CtrDropped", **TOTAL_CTR), True),
    (fired("RedisAway"), fired("ViewStale"), True),
    (fired("PartitionUnowned", topic="clicks"), fired("CampaignCtrDropped", **CTR), True),
    (fired("PartitionUnowned", topic="tickets"), fired("CampaignCtrDropped", **CTR), False),
    (fired("PartitionPaused", topic="sessions"), fired("CampaignBounceRose", **BOUNCE), True),
    (fired("CatchUpTooSlow", topic="clicks"), fired("CampaignCtrDropped", **CTR), True),
    (fired("PartitionPaused", topic="clicks"), fired("CatchUpTooSlow", topic="clicks"), True),
    (fired("PartitionPaused", topic="clicks"), fired("CatchUpTooSlow", topic="sessions"), False),
    (fired("CatchUpTooSlow", topic="clicks"), fired("PartitionPaused", topic="clicks"), False),
    (fired("CtrDropped", **TOTAL_CTR), fired("CampaignCtrDropped", **CTR), True),
    (fired("CtrDropped", **TOTAL_CTR), fired("CampaignBounceRose", **BOUNCE), False),
    (fired("CampaignCtrDropped", **CTR), fired("CtrDropped", **TOTAL_CTR), False),
    (fired("SeriesDropped"), fired("CampaignCtrDropped", **CTR), False),
    (fired("DeadLetters", topic="clicks"), fired("CampaignCtrDropped", **CTR), False),
    (fired("AuditDifference", topic="clicks"), fired("CampaignCtrDropped", **CTR), False),
    (
        fired("TrafficDropped", topic="clicks", metric="impressions"),
        fired("CampaignSilent", metric="impressions", campaign="spring"),
        True,
    ),
]


def told(case: tuple[Labels, Labels, bool]) -> str:
    first, second, held = case
    return f"{first['alertname']}-{'holds' if held else 'leaves'}-{second['alertname']}"


@pytest.mark.parametrize("case", CASES, ids=told)
async def test_causes_hold_back_what_follows_from_them(
    alertmanager: str, case: tuple[Labels, Labels, bool]
) -> None:
    first, second, held = case
    alerts = [first, second, *CANARIES]
    now = datetime.now(UTC)
    post(alertmanager, alerts, now + timedelta(minutes=5))
    try:
        await eventually(lambda: states(alertmanager).get("canary") == "suppressed", 20)
        found = states(alertmanager)
        assert first["alertname"] in found
        assert found[second["alertname"]] == ("suppressed" if held else "active")
    finally:
        post(alertmanager, alerts, now - timedelta(minutes=5))
        await eventually(lambda: not states(alertmanager), 20, what="all alerts over")


CANARIES = (
    fired("PartitionPaused", topic="canary"),
    fired("CatchUpTooSlow", topic="canary", name="canary"),
)
"""Alerts are taken up in order: when the second is held back, those before have been judged."""


def post(url: str, alerts: Sequence[Labels], ends: datetime) -> None:
    starts = (ends - timedelta(hours=1)).isoformat()
    body = [{"labels": one, "startsAt": starts, "endsAt": ends.isoformat()} for one in alerts]
    call(url, "/api/v2/alerts", body)


def states(url: str) -> dict[str, str]:
    """The state of each alert, by its name."""
    return {
        one["labels"].get("name") or one["labels"]["alertname"]: one["status"]["state"]
        for one in call(url, "/api/v2/alerts")
        if one["labels"].get("topic") != "canary" or "name" in one["labels"]
    }
