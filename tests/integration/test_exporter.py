"""`/metrics` judged by others: promtool, and a real Prometheus that scrapes and is asked."""

import asyncio
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest

from stream.clock import wall_clock_ms
from stream.core.catalogue import CLICKS, SESSIONS, TICKETS
from tests.integration.test_serve import serving, settings_for, write
from tests.support.namespaces import Namespace
from tests.support.prometheus import prometheus
from tests.support.services import Service
from tests.support.serving import Served
from tests.support.views import HandMade

HOSTILE = 'a "b" \\c, {d="e"} \u2028'


def busy(now_ms: int | None = None) -> HandMade:
    made = HandMade() if now_ms is None else HandMade(now_ms)
    for i, campaign in enumerate(["spring", "autumn", HOSTILE]):
        labels = (campaign, "email", "A")
        made.count(CLICKS, labels, {"impressions": 100 * (i + 1), "clicks": 7})
        made.total(CLICKS, labels, {"impressions": 100 * (i + 1), "clicks": 7})
        made.count(
            SESSIONS, labels, {"sessions": 9, "single_interaction": 4, "active": 2}, settled=True
        )
    made.count(
        TICKETS,
        ("chat", "billing"),
        {"resolved": 4, "first_contact_111": 3, "answered": 1, "first_response_ms": 30_000},
        settled=True,
        durations_ms={"first_response_ms": [30_000]},
    )
    return made.total(TICKETS, ("chat", "billing"), {"opened_total": 5})


def promtool(text: bytes) -> str:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed")
    done = subprocess.run(
        ["promtool", "check", "metrics", "--extended"],
        input=text,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stderr.decode()


async def test_promtool_finds_nothing() -> None:
    view = await busy().view()
    view.take_latencies([(view.calendar.day(0)[0] + 5, 3)], 70)
    assert promtool(await Served(view).parts.exporter.expose(False)) == ""


async def test_promtool_finds_nothing_when_the_view_is_stale() -> None:
    served = Served(await busy().view())
    served.now_ms += 60_000
    assert promtool(await served.parts.exporter.expose(False)) == ""


async def ask(client: httpx.AsyncClient, query: str) -> dict[str, float]:
    """Values by campaign, once there are any."""
    async with asyncio.timeout(30):
        while True:
            try:
                answer = await client.get("/api/v1/query", params={"query": query})
                result = answer.json()["data"]["result"] if answer.status_code == 200 else []
            except httpx.TransportError:
                result = []
            if result:
                return {one["metric"].get("campaign", ""): float(one["value"][1]) for one in result}
            await asyncio.sleep(0.1)


@pytest.mark.slow
async def test_a_real_prometheus_scrapes_it(
    redis_server: Service, namespace: Namespace, tmp_path: Path
) -> None:
    settings = settings_for(redis_server, namespace)
    await write(redis_server, namespace, busy(wall_clock_ms()))
    target = f"127.0.0.1:{settings.http_port}"
    async with serving(settings), prometheus(tmp_path, {"stream": target}) as client:
        live = 'state="live",window="5m"'
        ratios = await ask(client, f'engagement_ctr_ratio{{level="campaign",{live}}}')
        assert ratios == {"spring": 0.07, "autumn": 0.035, HOSTILE: pytest.approx(7 / 300)}
        total = await ask(client, f'sum(engagement_window_clicks{{level="campaign",{live}}})')
        assert total == {"": 21.0}
        assert await ask(client, "engagement_impressions_total") == {
            "spring": 100,
            "autumn": 200,
            HOSTILE: 300,
        }
        assert await ask(client, "up") == {"": 1.0}
        targets = (await client.get("/api/v1/targets")).json()["data"]["activeTargets"]
        assert {one["lastError"] for one in targets} == {""}
