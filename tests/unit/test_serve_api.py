"""The JSON endpoints over a view made by hand, the problems they tell, and the pages."""

import re
from html.parser import HTMLParser

import jsonschema
import pytest

from stream.core.catalogue import CLICKS, METRICS, SESSIONS, TICKETS
from stream.core.records import TopicPartition
from stream.live.view import View
from stream.serve.openapi import document
from stream.serve.problems import MEDIA_TYPE
from stream.settings import Settings
from tests.support.serving import Served
from tests.support.views import DEFINITION, NOW_MS, HandMade

HOSTILE = '"><img src=x onerror=alert(1)>\u2028'


async def served(settings: Settings | None = None) -> Served:
    made = HandMade()
    made.count(CLICKS, ("spring", "email", "A"), {"impressions": 200, "clicks": 20})
    made.count(CLICKS, (HOSTILE, "social", "B"), {"impressions": 10, "clicks": 20})
    made.count(
        SESSIONS,
        ("spring", "email", "A"),
        {"sessions": 10, "single_interaction": 4, "converted": 2, "duration_ms": 91_500},
        settled=True,
    )
    made.count(
        TICKETS,
        ("chat", "billing"),
        {"answered": 2, "first_response_ms": 90_000},
        durations_ms={"first_response_ms": [30_000, 60_000]},
    )
    return Served(await made.view(), settings)


async def test_query_answers_everything_the_contract_names() -> None:
    answer = await (await served()).get("/api/v1/query", metric="ctr", window="5m", by="campaign")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    body = answer.json()
    assert set(body) == {
        *("metric", "from", "to", "state", "as_of", "settled_through", "complete"),
        *("truncated", "rows"),
    }
    assert (body["metric"], body["state"], body["complete"]) == ("ctr", "live", True)
    assert body["settled_through"] is None
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", body["as_of"])
    [spring, hostile] = body["rows"]
    assert spring.items() >= {"value": 0.1, "numerator": 20, "denominator": 200}.items()
    assert spring["low"] < 0.1 < spring["high"]
    assert hostile["labels"] == {"campaign": HOSTILE}
    assert (hostile["value"], hostile["low"], hostile["high"]) == (2.0, None, None)
    assert "quantiles" not in spring


async def test_no_data_is_one_row_of_null() -> None:
    one = await served()
    body = (await one.get("/api/v1/query", metric="ctr", window="5m", campaign="none")).json()
    [row] = body["rows"]
    assert row == {
        "labels": {},
        "value": None,
        "numerator": 0,
        "denominator": 0,
        "low": None,
        "high": None,
    }
    grouped = await one.get(
        "/api/v1/query", metric="ctr", window="5m", campaign="none", by="campaign"
    )
    assert grouped.json()["rows"] == []


async def test_seconds_and_quantiles() -> None:
    one = await served()
    body = (await one.get("/api/v1/query", metric="session_duration", window="1h")).json()
    [row] = body["rows"]
    assert (row["numerator"], row["denominator"], row["value"]) == (91.5, 10, 9.15)
    body = (await one.get("/api/v1/query", metric="first_response_time", window="24h")).json()
    [row] = body["rows"]
    assert row["quantiles"] == pytest.approx({"p50": 30, "p90": 60}, rel=0.01)


async def test_limit_and_order() -> None:
    one = await served()
    body = (
        await one.get(
            "/api/v1/query", metric="ctr", window="5m", by="campaign", limit="1", order="-value"
        )
    ).json()
    assert [row["labels"]["campaign"] for row in body["rows"]] == [HOSTILE]
    assert body["truncated"] is True


async def test_series_has_rows_with_at() -> None:
    one = await served()
    body = (await one.get("/api/v1/series", metric="ctr", window="1h", step="1m")).json()
    assert body["step"] == "1m"
    [row] = body["rows"]
    assert row["at"].endswith(":00.000Z")
    assert row["denominator"] == 210


async def test_too_many_rows_blame_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream.live.evaluate.MAX_SERIES_ROWS", 0)
    one = await served()
    answer = await one.get("/api/v1/series", metric="ctr", window="1h", step="1m")
    assert answer.status_code == 422
    assert answer.json()["param"] == "step"


async def test_problems_name_the_parameter() -> None:
    one = await served()
    answer = await one.get("/api/v1/query", metric="ctr", window="5m", state="settled")
    assert answer.status_code == 422
    assert answer.headers["content-type"] == MEDIA_TYPE
    assert answer.json().items() >= {"status": 422, "param": "state"}.items()
    for path in ("/api/v1/status", "/api/v1/catalogue", "/api/v1/live"):
        refused = await one.get(path, verbose="1")
        assert (refused.status_code, refused.json()["param"]) == (422, "verbose")


async def test_other_paths_and_methods_are_problems_too() -> None:
    one = await served()
    missing = await one.get("/api/v1/nothing")
    assert (missing.status_code, missing.headers["content-type"]) == (404, MEDIA_TYPE)
    wrong = await one.client.post("/api/v1/query")
    assert (wrong.status_code, wrong.headers["content-type"]) == (405, MEDIA_TYPE)
    assert "GET" in wrong.headers["allow"]


async def test_a_fault_of_ours_tells_nothing_of_the_inside(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(View, "query", fail)
    one = await served()
    one.client._transport.raise_app_exceptions = False  # type: ignore[attr-defined]
    answer = await one.get("/api/v1/query", metric="ctr", window="5m")
    assert (answer.status_code, answer.headers["content-type"]) == (500, MEDIA_TYPE)
    assert "secret" not in answer.text


async def test_catalogue_lists_every_metric() -> None:
    body = (await (await served()).get("/api/v1/catalogue")).json()
    assert [metric["name"] for metric in body["metrics"]] == list(METRICS)
    ctr = body["metrics"][0]
    assert ctr.items() >= {"unit": "ratio", "numerator": "clicks", "states": ["live"]}.items()
    assert ctr["dimensions"] == ["campaign", "channel", "variant", "creative"]
    assert body["windows"] == ["1m", "5m", "15m", "1h", "24h", "7d", "30d"]


async def test_status_and_a_view_that_ages() -> None:
    one = await served()
    body = (await one.get("/api/v1/status")).json()
    assert (body["ready"], body["view_age_s"], body["definition_id"]) == (True, 0.0, DEFINITION)
    assert body["partitions"][0] == {
        "topic": "clicks",
        "partition": 0,
        "status": "live",
        "through": 42,
        "lag": 0,
        "watermark": "2025-10-09T08:43:19.000Z",
        "worker": "worker-1",
    }
    one.now_ms += 31_000
    aged = (await one.get("/api/v1/status")).json()
    assert (aged["ready"], aged["view_age_s"]) == (False, 31.0)
    assert {partition["status"] for partition in aged["partitions"]} == {"unowned"}
    answer = (await one.get("/api/v1/query", metric="ctr", window="1h")).json()
    assert answer["complete"] is False


async def test_a_paused_partition_is_ready_but_not_complete() -> None:
    one = await served()
    info = HandMade().info("clicks", status="paused")
    one.view.take_step(TopicPartition("clicks", 0), info, NOW_MS)
    one.view.publish()
    assert (await one.get("/api/v1/status")).json()["ready"] is True
    assert (await one.get("/api/v1/query", metric="ctr", window="1h")).json()["complete"] is False


async def test_health_and_readiness_depend_on_what_they_say() -> None:
    one = Served(View())
    assert (await one.get("/healthz")).status_code == 200
    assert (await one.get("/readyz")).status_code == 200
    one.store_up = False
    assert (await one.get("/healthz")).status_code == 200
    assert (await one.get("/readyz")).status_code == 503


async def test_answers_are_as_openapi_says() -> None:
    one = await served()
    schemas = document()["components"]
    asked = {
        "/api/v1/query?metric=first_response_time&window=24h&by=team": "QueryAnswer",
        "/api/v1/series?metric=ctr&window=1h&step=10s&by=campaign,variant": "SeriesAnswer",
        "/api/v1/status": "StatusBody",
        "/api/v1/catalogue": "CatalogueBody",
        "/api/v1/query": "Problem",
        "/healthz": "Health",
    }
    for path, name in asked.items():
        schema = {"$ref": f"#/components/schemas/{name}", "components": schemas}
        jsonschema.validate((await one.client.get(path)).json(), schema)
    assert (await one.get("/openapi.json")).json() == document()


class Found(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.inline: list[str] = []
        self._script = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.links += [v for k in ("src", "href") if (v := given.get(k))]
        self.inline += [k for k in given if k.startswith("on") or k == "style"]
        self._script = tag in ("script", "style")

    def handle_data(self, data: str) -> None:
        if self._script and data.strip():
            self.inline.append(data)


@pytest.mark.parametrize("path", ["/", "/launch/spring", "/launch/a%2Fb", "/launch/%3Cscript%3E"])
async def test_pages_have_a_strict_policy_and_nothing_inline(path: str) -> None:
    one = await served()
    page = await one.client.get(path)
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["content-security-policy"].startswith("default-src 'none'; ")
    assert "unsafe" not in page.headers["content-security-policy"]
    assert page.headers["x-content-type-options"] == "nosniff"
    found = Found(page.text)
    assert found.inline == []
    assert "%3Cscript" not in page.text
    for link in found.links:
        if link.startswith("#"):
            assert f'id="{link[1:]}"' in page.text
            continue
        assert link.startswith("/"), link
        assert (await one.client.get(link)).status_code == 200


async def test_static_files_are_those_that_there_are() -> None:
    one = await served()
    script = await one.client.get("/static/common.js")
    assert script.headers["content-type"] == "text/javascript; charset=utf-8"
    assert "innerHTML" not in script.text
    again = await one.client.get(
        "/static/common.js", headers={"if-none-match": script.headers["etag"]}
    )
    assert again.status_code == 304
    for path in ("/static/ops.html", "/static/__init__.py", "/static/..%2F__init__.py"):
        assert (await one.client.get(path)).status_code == 404
