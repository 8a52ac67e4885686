"""From figures in Redis to an alert: the real server and Prometheus, and the real rules.

Only their patience is taken from them: they are evaluated every second, and fire at once.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from stream.clock import wall_clock_ms
from stream.core.catalogue import CLICKS
from tests.integration.test_serve import serving, settings_for, write
from tests.support.namespaces import Namespace
from tests.support.patience import eventually
from tests.support.prometheus import prometheus
from tests.support.promtool import LINKS, RULES
from tests.support.services import Service
from tests.support.views import HandMade

WEEK, MINUTE = 604_800_000, 60_000
NAME = "spring & summer"


def dropped(now_ms: int) -> HandMade:
    """A campaign of four weeks whose click-through rate has halved."""
    made, labels = HandMade(now_ms), (NAME, "email", "A")
    for week in range(1, 5):
        counts = {"impressions": 10_000, "clicks": 1_000}
        made.count(CLICKS, labels, counts, at_ms=now_ms - week * WEEK)
    return made.count(CLICKS, labels, {"impressions": 5_000, "clicks": 250})


def hurried(folder: Path) -> Iterator[Path]:
    """Copies of the rules that are in a hurry."""
    for path in RULES:
        text = re.sub(r"^( +)for: \w+$", r"\1for: 0s", path.read_text(), flags=re.MULTILINE)
        (folder / path.name).write_text(text.replace("interval: 15s", "interval: 1s"))
        yield folder / path.name


async def get(client: httpx.AsyncClient, path: str) -> Any:
    try:
        answer = await client.get(path)
    except httpx.TransportError:
        return {}
    return answer.json()["data"] if answer.status_code == 200 else {}


@pytest.mark.slow
async def test_a_drop_in_redis_becomes_an_alert(
    redis_server: Service, namespace: Namespace, tmp_path: Path
) -> None:
    settings = settings_for(redis_server, namespace)
    await write(redis_server, namespace, dropped(wall_clock_ms()))
    jobs = {"engagement-server": f"127.0.0.1:{settings.http_port}"}
    rules = list(hurried(tmp_path))
    async with (
        serving(settings),
        prometheus(tmp_path, jobs, rules, interval="1s", external_labels=LINKS) as client,
    ):

        async def fired() -> Any:
            alerts = (await get(client, "/api/v1/alerts")).get("alerts", [])
            return next(
                (a for a in alerts if a["labels"]["alertname"] == "CampaignCtrDropped"), None
            )

        alert = await eventually(fired, 40, interval_s=0.5, what="the alert")
        groups = (await get(client, "/api/v1/rules"))["groups"]
    assert alert["labels"]["campaign"] == NAME
    notes = alert["annotations"]
    assert notes["summary"] == f"The click-through rate of {NAME} is 50% below usual"
    assert notes["launch_url"] == "http://s/launch/spring%20%26%20summer"
    assert notes["dashboard_url"] == "http://g/d/engagement-launch?var-campaign=spring+%26+summer"
    assert notes["runbook_url"] == "http://r/docs/operations.md#alert-campaignctrdropped"
    health = {rule["name"]: rule["health"] for group in groups for rule in group["rules"]}
    assert len(health) > 30
    assert {name for name, state in health.items() if state != "ok"} == set()
