"""The launch view over views made by hand: what it says, what it refuses, and what it equals."""

import csv
import io
from decimal import Decimal
from typing import Any

import jsonschema
import pytest

from stream.core.campaigns import Campaign, Note, Target, format_instant
from stream.core.catalogue import CLICKS, NOT_SET, SESSIONS
from stream.core.launches import LaunchId
from stream.live.launch_book import LaunchBook
from stream.live.mirror import News
from stream.serve.launch.sheet import cell
from stream.serve.openapi import document
from tests.support.launches import (
    DAY,
    HOUR,
    MINUTE,
    described,
    kept_hours,
    labels_of,
    launch,
    visit,
)
from tests.support.serving import Served, settings_of
from tests.support.views import NOW_MS, HandMade

T = (NOW_MS - 47 * MINUTE) // MINUTE * MINUTE
PAST = [NOW_MS // MINUTE * MINUTE - hours * HOUR for hours in (46, 41, 36, 31, 26)]
HOSTILE = '=HYPERLINK("http://x","<img src=x onerror=alert(1)>")'
SCHEMAS = document()
TARGETS = (Target("conversions", Decimal(5_000), DAY),)


def town() -> tuple[HandMade, LaunchBook]:
    """Five launches of the last two days, and one of 47 minutes ago."""
    made, book = HandMade(), LaunchBook()
    for number, at_ms in enumerate(PAST):
        launch(made, f"past-{number}", at_ms, minutes=150, size=2 + number % 3)
    launch(made, "spring", T, minutes=60, size=3)
    launch(made, "spring", T, minutes=60, size=1, channel="social", variant="B")
    visit(made, "spring", T - 3 * MINUTE, 2)
    told = {f"past-{n}": Campaign(launch_ms=at_ms) for n, at_ms in enumerate(PAST)}
    described(book, spring=Campaign(T, "Spring", "Ana", TARGETS), **told)
    return made, book


async def served(**more: Any) -> Served:
    made, book = town()
    return Served(await made.view(**more), book=book)


async def ask(to: Served, campaign: str = "spring", **parameters: Any) -> Any:
    answer = await to.get(f"/api/v1/launch/{campaign}", **parameters)
    assert answer.status_code == 200, answer.text
    jsonschema.validate(answer.json(), {"$ref": "#/components/schemas/LaunchAnswer", **SCHEMAS})
    return answer.json()


async def figures(server: Served, metric: str, **parameters: Any) -> dict[str, tuple[int, int]]:
    answer = (await server.get("/api/v1/query", metric=metric, **parameters)).json()
    by = parameters.get("by")
    return {
        row["labels"].get(by, ""): (row["numerator"], row["denominator"]) for row in answer["rows"]
    }


# --- it says what the API says ---


@pytest.mark.parametrize("bounce", ["single", "posthog"])
@pytest.mark.parametrize("at", [None, format_instant(T + 20 * MINUTE)])
async def test_totals_and_splits_are_the_queries_figures(at: str | None, bounce: str) -> None:
    made, book = town()
    to = Served(await made.view(), settings_of(bounce=bounce), book)
    told = await ask(to, **({"at": at} if at else {}))
    over = {"from": told["from"], "to": told["to"], "campaign": "spring"}
    assert told["from"] == told["launch_at"]
    for metric in ("ctr", "bounce_rate", "conversion_rate"):
        total = told["totals"][metric]
        asked = await figures(to, metric, **over)
        assert asked == {"": (total["numerator"], total["denominator"])}
        for split in told["splits"]:
            if split["dimension"] in (CLICKS if metric == "ctr" else SESSIONS).dimensions:
                rows = {r["label"]: r["figures"][metric] for r in split["rows"]}
                by = await figures(to, metric, by=split["dimension"], **over)
                assert by == {n: (r["numerator"], r["denominator"]) for n, r in rows.items()}


async def test_the_last_point_of_a_line_is_the_total() -> None:
    told = await ask(await served(), at=format_instant(T + 40 * MINUTE))
    lines = {line["measure"]: line["launch"] for line in told["lines"]}
    for name in ("impressions", "clicks", "sessions"):
        assert lines[name][40] == told["totals"][name]
        assert lines[name][41:] == [None] * 80
    assert told["axis"]["minutes"] == list(range(121))
    assert lines["ctr"][40] == pytest.approx(told["totals"]["ctr"]["value"], abs=1e-5)


async def test_a_frozen_moment_is_told_as_it_stood() -> None:
    to = await served()
    told = await ask(to, at=format_instant(T + 10 * MINUTE))
    assert (told["frozen"], told["elapsed_s"], told["at"]) == (True, 600, told["to"])
    [pace] = told["pace"]
    assert pace["value"] < told["totals"]["conversions"]
    assert (await ask(to))["frozen"] is False


async def test_what_came_before_is_left_out_and_told() -> None:
    told = await ask(await served())
    assert told["before"] | {"from": ""} == {
        "from": "",
        "impressions": 200,
        "clicks": 40,
        "sessions": 30,
    }
    first = next(line for line in told["lines"] if line["measure"] == "impressions")
    assert first["launch"][0] == 0


# --- beside others ---


async def test_the_last_five_are_compared_with_and_others_may_be_chosen() -> None:
    to = await served()
    told = await ask(to)
    assert [each["campaign"] for each in told["launches"] if each["chosen"]] == [
        *("past-4", "past-3", "past-2", "past-1", "past-0"),
    ]
    assert [len(line["earlier"]) for line in told["lines"]] == [5] * len(told["lines"])
    chosen = [f"past-1@{format_instant(PAST[1])}", "past-3"]
    told = await ask(to, compare=chosen)
    assert [e["campaign"] for e in told["launches"] if e["chosen"]] == ["past-3", "past-1"]
    assert set(told["lines"][0]["median"]) == {None}
    told = await ask(to, compare="")
    assert not [each for each in told["launches"] if each["chosen"]]
    assert (told["way"]["basis"], told["pace"][0]["why"]) == ("lowest", "few_launches")


async def test_the_pace_is_a_sentence() -> None:
    [pace] = (await ask(await served(), at=format_instant(T + 47 * MINUTE)))["pace"]
    assert (pace["within_s"], pace["target"], pace["launches"]) == (86_400, 5_000, 5)
    found = pace["projection"]
    assert pace["value"] <= found["low"] <= found["value"] <= found["high"]
    share, usual = pace["share"], pace["usual_share"]
    assert pace["text"].startswith(
        f"at T + 47 min {pace['value']:,.0f} of 5,000 conversions ({100 * share:.1f} %); "
        f"the median launch had {100 * usual:.0f} %; projected at 24h "
    )
    assert "(80 %: " in pace["text"]


async def test_a_campaign_without_a_target_has_a_pace_too() -> None:
    made, book = town()
    described(book, spring=Campaign(T))
    [pace] = (await ask(Served(await made.view(), book=book)))["pace"]
    assert (pace["measure"], pace["target"], pace["share"], pace["within"]) == (
        *("conversions", None, None, "24h"),
    )
    assert pace["projection"] is not None


async def test_the_way_marks_the_weakest_step_against_the_median() -> None:
    made, book = town()
    for minute in range(40):  # many who click, and never arrive
        made.count(
            CLICKS,
            labels_of(CLICKS, "spring", "display", "A"),
            {"impressions": 500, "clicks": 400},
            at_ms=T + minute * MINUTE,
        )
    way = (await ask(Served(await made.view(), book=book)))["way"]
    assert [step["name"] for step in way["steps"]] == [
        *("impressions", "clicks", "sessions", "conversions"),
    ]
    assert (way["weakest"], way["basis"]) == ("sessions", "median")
    sessions = way["steps"][2]
    assert sessions["share"] < sessions["usual_share"]


async def test_step_by_step_and_by_span() -> None:
    to = await served()
    told = await ask(to, curve="per_minute", at=format_instant(T + 30 * MINUTE))
    line = next(line for line in told["lines"] if line["measure"] == "impressions")
    assert line["launch"][0] == 100 * (24 + 8)
    assert told["outcome_age"] == "5m"
    for span, step, last in (("2h", 60, 120), ("2d", 600, 2_880), ("7d", 3_600, 10_080)):
        axis = (await ask(to, span=span))["axis"]
        assert (axis["span"], axis["step_s"], axis["minutes"][-1]) == (span, step, last)


# --- what it is made of, as time goes on ---


async def test_what_minutes_no_longer_say_the_book_does() -> None:
    made, book = town()
    launch_id = LaunchId("past-0", PAST[0])
    now = await ask(Served(await made.view(), book=book), "past-0", span="7d")
    book.take_launches(News(False, kept_hours(made, launch_id, 20)))
    later = HandMade(NOW_MS + 5 * DAY)
    to = Served(await later.view(), book=book)
    to.now_ms = later.now_ms
    then = await ask(to, "past-0", span="7d")
    assert then["resolution"] == "10m"
    assert then["totals"] == now["totals"]
    assert then["splits"][0] == now["splits"][0]
    for before, after in zip(now["lines"], then["lines"], strict=True):
        both = zip(before["launch"][:20], after["launch"][:20], strict=True)
        pairs = [(a, b) for a, b in both if a is not None]
        assert pairs
        assert [b for _, b in pairs] == pytest.approx([a for a, _ in pairs], rel=0.02)


async def test_what_the_book_lacks_is_read_in_hours_and_said_so() -> None:
    book = LaunchBook()
    at_ms = NOW_MS // HOUR * HOUR - 10 * DAY
    made = HandMade()
    visit(made, "old", at_ms + 5 * MINUTE)
    visit(made, "old", at_ms + 3 * HOUR)
    described(book, old=Campaign(at_ms))
    told = await ask(Served(await made.view(), book=book), "old", span="2h")
    assert told["resolution"] == "1h"
    assert told["totals"]["impressions"] == 200
    line = next(line for line in told["lines"] if line["measure"] == "impressions")
    assert line["launch"][:61:30] == [0, 50, 100]


# --- tagging ---


async def test_what_is_not_tagged_and_who_is_silent() -> None:
    made, book = town()
    visit(made, "spring", T + 10 * MINUTE, 2, variant=NOT_SET)
    visit(made, NOT_SET, T + 10 * MINUTE, 5)
    about = Campaign(T, channels=("email", "podcast"), notes=(Note(T + MINUTE, "mail sent"),))
    described(book, spring=about)
    told = await ask(Served(await made.view(), book=book))
    tagging = told["tagging"]
    assert tagging["silent"] == ["podcast"]
    seen = {each["channel"]: each for each in tagging["channels"]}
    assert [(n, e["expected"]) for n, e in seen.items()] == [
        *(("email", True), ("podcast", True), ("social", False)),
    ]
    assert seen["email"]["first"] == told["launch_at"]
    assert seen["podcast"]["first"] is None
    missing = {(u["topic"], u["dimension"]): u["missing"] for u in tagging["untagged"]}
    assert missing["clicks", "variant"] == 240
    assert missing["sessions", "variant"] == 30
    assert missing["clicks", "channel"] == 0
    assert missing["clicks", "campaign"] == 600
    assert told["annotations"] == [
        {"at": told["annotations"][0]["at"], "minute": 1.0, "text": "mail sent"}
    ]


# --- not launched, not known, not understood ---


async def test_a_campaign_that_was_not_launched_says_so() -> None:
    made = HandMade()
    visit(made, "trickle", NOW_MS - HOUR)
    to = Served(await made.view())
    told = await ask(to, "trickle")
    assert (told["launch_at"], told["known"], told["lines"], told["totals"]) == (
        *(None, None, [], None),
    )
    listed = (await to.get("/api/v1/campaigns")).json()
    assert [(c["campaign"], c["launch_at"]) for c in listed["campaigns"]] == [("trickle", None)]


async def test_a_launch_to_come_has_nothing_yet() -> None:
    made, book = HandMade(), LaunchBook()
    visit(made, "soon", NOW_MS - HOUR)
    described(book, soon=Campaign(NOW_MS // MINUTE * MINUTE + DAY))
    told = await ask(Served(await made.view(), book=book), "soon")
    assert told["elapsed_s"] < 0
    assert told["totals"]["impressions"] == 0
    assert told["before"]["impressions"] == 100
    assert told["pace"][0]["why"] == "not_begun"


async def test_what_nobody_knows_is_not_found() -> None:
    answer = await (await served()).get("/api/v1/launch/nobody")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"] == "there is no campaign 'nobody'"


@pytest.mark.parametrize(
    ("parameters", "param"),
    [
        ({"at": "yesterday"}, "at"),
        ({"at": "2100-01-01T00:00Z"}, "at"),
        ({"at": ["2025-10-09T08:00Z", "2025-10-09T08:01Z"]}, "at"),
        ({"span": "3h"}, "span"),
        ({"curve": "straight"}, "curve"),
        ({"format": "pdf"}, "format"),
        ({"compare": "nobody"}, "compare"),
        ({"compare": "past-1@2020-01-01T00:00Z"}, "compare"),
        ({"compare": ["past-1"] * 11}, "compare"),
        ({"compare": "x" * 129}, "compare"),
        ({"window": "5m"}, "window"),
    ],
)
async def test_a_wrong_parameter_is_named(parameters: dict, param: str) -> None:
    answer = await (await served()).get("/api/v1/launch/spring", **parameters)
    assert (answer.status_code, answer.json()["param"]) == (422, param)


async def test_incomplete_partitions_are_told() -> None:
    assert (await ask(await served(status="recovering")))["complete"] is False
    assert (await ask(await served()))["complete"] is True


# --- the list, and the sheet ---


async def test_every_campaign_is_listed_with_its_launches() -> None:
    answer = (await (await served()).get("/api/v1/campaigns")).json()
    jsonschema.validate(answer, {"$ref": "#/components/schemas/CampaignsAnswer", **SCHEMAS})
    spring = answer["campaigns"][-1]
    assert (spring["campaign"], spring["name"], spring["owner"], spring["known"]) == (
        *("spring", "Spring", "Ana", "declared"),
    )
    assert spring["targets"] == [{"measure": "conversions", "count": 5_000, "within": "24h"}]
    assert spring["launches"] == [spring["launch_at"]]


async def test_the_sheet_has_what_the_answer_has() -> None:
    to = await served()
    told = await ask(to)
    answer = await to.get("/api/v1/launch/spring", format="csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == "attachment; filename*=UTF-8''spring.csv"
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    line = next(line for line in told["lines"] if line["measure"] == "clicks")
    mine = [r for r in rows if r["launch"] == "spring" and r["measure"] == "clicks"]
    values = {int(r["minute"]): float(r["value"]) for r in mine if r["value"]}
    assert values == {m: v for m, v in enumerate(line["launch"]) if v is not None}
    assert float(mine[30]["median"]) == line["median"][30]
    assert {r["launch"] for r in rows} == {"spring", *(f"past-{n}" for n in range(5))}


async def test_a_sheet_runs_nothing_whatever_a_campaign_is_called() -> None:
    made, book = HandMade(), LaunchBook()
    launch(made, HOSTILE, T)
    described(book, **{HOSTILE: Campaign(T, HOSTILE)})
    to = Served(await made.view(), book=book)
    answer = await to.client.get(
        "/api/v1/launch/" + "".join(f"%{b:02x}" for b in HOSTILE.encode()), params={"format": "csv"}
    )
    rows = list(csv.reader(io.StringIO(answer.text)))
    assert {row[0] for row in rows[1:]} == {f"'{HOSTILE}"}


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\t=1", "\r=1", "\n=1"])
def test_no_cell_begins_like_a_formula(text: str) -> None:
    assert cell(text) == f"'{text}"
    assert cell("spring-1") == "spring-1"
