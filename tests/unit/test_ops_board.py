"""The board of the ops room: figures as the API has them, compared at one age, never jumping."""

import math
from datetime import UTC, datetime
from functools import partial
from typing import Any

import jsonschema
import pytest

from stream.core.catalogue import CLICKS, SESSIONS, TICKETS
from stream.serve.openapi import document
from stream.serve.ops.comparison import ENOUGH
from stream.serve.ops.endpoints import MOST_KEPT, Kept
from stream.serve.times import parse_time
from tests.support.serving import Served, settings_of
from tests.support.views import NOW_MS, HandMade

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
SPRING, AUTUMN = ("spring", "email", "A"), ("autumn", "social", "B")
WEEK_AGO = NOW_MS - 7 * DAY


def clicks(made: HandMade, at_ms: int, clicked: int, shown: int, labels=SPRING) -> HandMade:
    return made.count(CLICKS, labels, {"clicks": clicked, "impressions": shown}, at_ms=at_ms)


def sessions(made: HandMade, at_ms: int, n: int, labels=SPRING, **fields: int) -> HandMade:
    return made.count(SESSIONS, labels, {"sessions": n, **fields}, at_ms=at_ms)


async def board_of(served: Served, **parameters: Any) -> dict[str, Any]:
    answer = await served.get("/api/v1/board", **parameters)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def tiles_of(served: Served, **parameters: Any) -> dict[str, dict[str, Any]]:
    return {tile["name"]: tile for tile in (await board_of(served, **parameters))["tiles"]}


def busy() -> HandMade:
    made = HandMade()
    for ago in range(130):
        clicks(made, NOW_MS - ago * MINUTE - 5_000, 7 + ago % 5, 100)
        clicks(made, NOW_MS - ago * MINUTE - 5_000, 2, 50, AUTUMN)
        sessions(
            made,
            NOW_MS - ago * MINUTE - 5_000,
            20,
            single_interaction=9 + ago % 3,
            converted=4,
            converted_within_5m=2,
            converted_within_15m=3,
            engaged_within_5m=8,
            engaged_within_15m=10,
        )
    resolved = {"resolved": 30, "first_contact_111": 20, "first_contact_011": 4}
    return made.count(TICKETS, ("chat", "billing"), resolved)


async def test_every_ratio_is_what_the_api_says() -> None:
    served = Served(await busy().view())
    for part in ({}, {"campaign": "spring"}, {"channel": ["email", "social"]}):
        tiles = await tiles_of(served, **part)
        for name in ENOUGH:
            tile = tiles[name]
            asked = {k: v for k, v in part.items() if k not in tile["ignored"]}
            said = await served.get("/api/v1/query", metric=name, window=tile["window"], **asked)
            [row] = said.json()["rows"]
            assert tile["n"] == row["denominator"], (name, part)
            if tile["n"] >= tile["needed"]:
                assert (tile["value"], tile["low"], tile["high"]) == (
                    row["value"],
                    row["low"],
                    row["high"],
                )
            else:
                assert tile["value"] is None


@pytest.mark.parametrize(("n", "value"), [(199, None), (200, 0.5)])
async def test_too_little_is_no_number(n: int, value: float | None) -> None:
    made = sessions(HandMade(), NOW_MS - MINUTE, n, converted=n // 2)
    tile = (await tiles_of(Served(await made.view())))["conversion_rate"]
    assert (tile["value"], tile["n"], tile["needed"]) == (value, n, 200)
    assert (tile["low"] is None) == (value is None)


async def test_a_filter_that_a_figure_cannot_obey_is_told() -> None:
    served = Served(await busy().view())
    tiles = await tiles_of(served, campaign="spring", team="billing")
    ignored = {name: tile["ignored"] for name, tile in tiles.items()}
    assert ignored["ctr"] == ignored["active_sessions"] == ["team"]
    assert ignored["fcr"] == ignored["tickets_waiting"] == ["campaign"]
    assert tiles["fcr"]["n"] == 30


async def test_targets_are_those_of_the_settings() -> None:
    served = Served(await busy().view(), settings_of(targets="ctr=3%, tickets_waiting=20"))
    tiles = await tiles_of(served)
    assert {n: t["target"] for n, t in tiles.items() if t["target"] is not None} == {
        "ctr": 0.03,
        "tickets_waiting": 20,
    }


async def test_a_week_ago_comes_first_then_the_hour_before_then_nothing() -> None:
    made = clicks(HandMade(), NOW_MS - 10 * MINUTE, 60, 1_000)
    assert (await tiles_of(Served(await made.view())))["ctr"]["change"] is None
    clicks(made, NOW_MS - 70 * MINUTE, 50, 1_000)
    change = (await tiles_of(Served(await made.view())))["ctr"]["change"]
    assert (change["basis"], change["then"]["value"]) == ("hour", 0.05)
    clicks(made, WEEK_AGO - 10 * MINUTE, 80, 1_000)
    change = (await tiles_of(Served(await made.view())))["ctr"]["change"]
    assert (change["basis"], change["then"]["value"]) == ("week", 0.08)
    assert change["difference"] == pytest.approx(-0.02)
    pooled = 140 / 2_000
    assert change["z"] == pytest.approx(-0.02 / math.sqrt(pooled * (1 - pooled) * 2 / 1_000))


async def test_a_week_ago_is_the_whole_hours_around_the_same_time() -> None:
    made = clicks(HandMade(), NOW_MS - 10 * MINUTE, 60, 1_000)
    clicks(made, WEEK_AGO - 10 * MINUTE, 80, 1_000)
    then = (await tiles_of(Served(await made.view()), window="15m"))["ctr"]["change"]["then"]
    hour_ms = WEEK_AGO - WEEK_AGO % HOUR
    begins, ends = parse_time(then["from"]), parse_time(then["to"])
    assert begins <= WEEK_AGO - 15 * MINUTE
    assert ends >= WEEK_AGO
    assert begins % HOUR == ends % HOUR == 0
    assert ends - begins <= 2 * HOUR
    assert hour_ms in (begins, begins + HOUR)


async def test_too_little_a_week_ago_is_not_compared_with() -> None:
    made = clicks(HandMade(), NOW_MS - 10 * MINUTE, 60, 1_000)
    clicks(made, WEEK_AGO - 10 * MINUTE, 9, 10)
    clicks(made, NOW_MS - 70 * MINUTE, 50, 1_000)
    assert (await tiles_of(Served(await made.view())))["ctr"]["change"]["basis"] == "hour"


async def test_young_sessions_do_not_look_worse_than_those_of_before() -> None:
    """The same conduct in both hours; only that the last one's sessions have had less time."""
    made = HandMade()
    for ago in range(1, 130):
        converted = 3 if ago < 15 else 6
        sessions(
            made, NOW_MS - ago * MINUTE, 30, converted=converted, converted_within_15m=min(3, ago)
        )
    tile = (await tiles_of(Served(await made.view())))["conversion_rate"]
    assert tile["value"] < 0.2
    change = tile["change"]
    assert (change["age"], change["basis"]) == ("15m", "hour")
    assert change["difference"] == 0.0
    assert change["now"]["value"] == 0.1
    assert parse_time(change["now"]["to"]) <= NOW_MS - 15 * MINUTE


async def test_tickets_are_compared_by_settled_figures_alone() -> None:
    made = HandMade()
    chat = ("chat", "billing")
    settled_ms = NOW_MS - 72 * HOUR
    for ago, kept in ((10, 20), (10 + 7 * 24, 25)):
        fields = {"resolved": 40, "first_contact_111": kept}
        made.count(TICKETS, chat, fields, at_ms=settled_ms - ago * HOUR, settled=True)
    made.count(TICKETS, chat, {"resolved": 400, "first_contact_111": 400})
    view = await made.view(settled_through_ms={"tickets": settled_ms})
    tile = (await tiles_of(Served(view)))["fcr"]
    assert (tile["value"], tile["n"]) == (1.0, 400)
    change = tile["change"]
    assert (change["state"], change["basis"], change["age"]) == ("settled", "week", None)
    assert (change["now"]["value"], change["then"]["value"]) == (0.5, 0.625)


async def test_a_bounce_rule_without_ages_is_compared_by_settled_figures() -> None:
    made = HandMade()
    for ago in (10, 70):
        fields = {"sessions": 300, "bounced_ga4": 60 + ago}
        made.count(SESSIONS, SPRING, fields, at_ms=NOW_MS - ago * MINUTE, settled=True)
    served = Served(await made.view(), settings_of(bounce="ga4"))
    change = (await tiles_of(served))["bounce_rate"]["change"]
    assert (change["state"], change["age"], change["basis"]) == ("settled", None, "hour")


async def test_a_spark_has_a_point_a_minute_each_of_the_five_minutes_before() -> None:
    served = Served(await busy().view())
    spark = (await tiles_of(served))["ctr"]["spark"]
    assert (len(spark["values"]), spark["step_s"], spark["trail_s"]) == (60, 60, 300)
    first_ms = parse_time(spark["from"])
    assert first_ms + 59 * MINUTE == NOW_MS - NOW_MS % MINUTE
    for place in (0, 17, 59):
        at_ms = first_ms + place * MINUTE
        bounds = {
            name: datetime.fromtimestamp(ms / 1000, UTC).isoformat()
            for name, ms in (("from", at_ms - 5 * MINUTE), ("to", at_ms))
        }
        [row] = (await served.get("/api/v1/query", metric="ctr", **bounds)).json()["rows"]
        assert spark["values"][place] == pytest.approx(row["value"], abs=1e-6)
        assert spark["n"][place] == row["denominator"]


async def test_a_spark_of_sessions_ends_where_they_become_too_young() -> None:
    spark = (await tiles_of(Served(await busy().view())))["conversion_rate"]["spark"]
    assert spark["age"] == "5m"
    assert spark["values"][-5:] == [None] * 5
    assert spark["values"][-6] == pytest.approx(0.1)


async def test_minutes_with_too_little_are_gaps() -> None:
    made = clicks(HandMade(), NOW_MS - 30 * MINUTE, 3, 19)
    spark = (await tiles_of(Served(await made.view())))["ctr"]["spark"]
    assert set(spark["values"]) == {None}
    assert max(spark["n"]) == 19


async def test_active_sessions_are_compared_with_the_sample_of_an_hour_before() -> None:
    made = sessions(HandMade(), NOW_MS - MINUTE, 1, active=80)
    sessions(made, NOW_MS - MINUTE, 1, AUTUMN, active=20)
    served = Served(await made.view())
    samples = served.parts.ops._samples
    assert (await tiles_of(served))["active_sessions"]["change"] is None
    samples.take(NOW_MS)
    later = HandMade(NOW_MS + HOUR)
    sessions(later, NOW_MS + HOUR - MINUTE, 1, active=100)
    moved = Served(await later.view())
    moved.now_ms = NOW_MS + HOUR
    moved.parts.ops._samples._taken = samples._taken
    tile = (await tiles_of(moved))["active_sessions"]
    assert (tile["value"], tile["change"]["difference"]) == (100, 0)
    assert tile["spark"]["values"].count(None) == 60
    spring = (await tiles_of(moved, campaign="spring"))["active_sessions"]
    assert (spring["value"], spring["change"]["difference"]) == (100, 20)
    assert spring["change"]["z"] == pytest.approx(20 / math.sqrt(180))


async def test_a_sample_is_taken_once_a_minute_for_an_hour_and_not_of_an_old_view() -> None:
    made = sessions(HandMade(), NOW_MS - MINUTE, 1, active=5)
    view = await made.view()
    samples = Served(view).parts.ops._samples
    samples.take(NOW_MS + 31_000)  # nobody has been heard for 31 s
    assert len(samples._taken) == 0
    for second in range(0, 130 * 60, 10):
        view.take_redis_time(NOW_MS, NOW_MS + second * 1_000)
        samples.take(NOW_MS + second * 1_000)
    assert len(samples._taken) == 62
    assert {sample.at_ms % MINUTE for sample in samples._taken} == {0}


async def test_waiting_tickets_are_the_open_ones_that_do_not_wait_for_their_customer() -> None:
    made = HandMade()
    for team, open_, awaiting in (("billing", 9, 2), ("sales", 4, 0)):
        labels = ("chat", team)
        made.total(TICKETS, labels, {"open": open_, "awaiting": awaiting})
        made.count(TICKETS, labels, {"still_open": open_}, at_ms=NOW_MS - 3 * HOUR)
    served = Served(await made.view())
    tile = (await tiles_of(served))["tickets_waiting"]
    assert (tile["value"], tile["n"]) == (11, 13)
    assert (await tiles_of(served, team="sales"))["tickets_waiting"]["value"] == 4
    [billing, sales] = (await board_of(served))["teams"]
    assert (billing["team"], billing["open"], billing["waiting"]) == ("billing", 9, 7)
    assert 0 <= NOW_MS - 3 * HOUR - parse_time(sales["oldest_opened"]) < MINUTE


async def test_teams_have_their_answers_resolutions_and_reopenings() -> None:
    made = HandMade()
    labels = ("chat", "billing")
    made.count(TICKETS, labels, {"resolved": 10, "first_contact_111": 5, "first_contact_011": 3})
    made.count(TICKETS, labels, {"resolved": 10}, at_ms=NOW_MS - 3 * DAY)
    made.count(
        TICKETS,
        labels,
        {"answered": 2, "first_response_ms": 90_000},
        durations_ms={"first_response_ms": [30_000, 60_000]},
    )
    [team] = (await board_of(Served(await made.view())))["teams"]
    assert (team["answered"], team["resolved"], team["fcr"]) == (2, 10, 0.5)
    assert team["first_response_p50_s"] == pytest.approx(30, rel=0.01)
    assert (team["resolved_7d"], team["reopened"]) == (20, 0.6)


async def test_an_hour_that_lies_in_two_days_counts_whole_and_once() -> None:
    made = HandMade()
    made._calendar = type(made._calendar)("Asia/Kolkata")  # days begin at half past
    begins_ms = made._calendar.day(NOW_MS)[0]
    evening, morning = begins_ms - 20 * MINUTE, begins_ms + 20 * MINUTE
    clicks(made, evening, 30, 300)
    clicks(made, morning, 30, 300)
    clicks(made, evening, 30, 300, ("spring", "seen in the evening", "A"))
    clicks(made, morning, 30, 300, ("spring", "seen in the morning", "A"))
    made.now_ms = begins_ms + 7 * DAY + 10 * MINUTE
    clicks(made, made.now_ms - MINUTE, 30, 300)
    view = await made.view()
    view.calendar = made._calendar
    served = Served(view)
    served.now_ms = made.now_ms
    for part in ({}, {"campaign": "spring"}):
        change = (await tiles_of(served, **part))["ctr"]["change"]
        assert (change["basis"], change["then"]["n"]) == ("week", 1_200), part


async def test_an_answer_is_kept_for_a_moment_and_no_longer() -> None:
    made = clicks(HandMade(), NOW_MS - MINUTE, 20, 1_000)
    served = Served(await made.view())
    first = await board_of(served)
    served.now_ms += 200
    assert await board_of(served) == first
    assert await board_of(served, window="15m") != first
    served.now_ms += 100
    assert (await board_of(served))["at"] != first["at"]


def test_questions_asked_longest_ago_are_forgotten() -> None:
    kept: Kept[int] = Kept()
    for n in range(MOST_KEPT + 5):
        kept.get((n,), lambda _: True, partial(int, n))
    assert kept.get((6,), lambda _: True, lambda: -1) == 6
    assert kept.get((0,), lambda _: True, lambda: -1) == -1
    assert len(kept._held) == MOST_KEPT


@pytest.mark.parametrize(
    ("path", "param"),
    [
        ("/api/v1/board?window=2m", "window"),
        ("/api/v1/board?window=5m&window=5m", "window"),
        ("/api/v1/board?metric=ctr", "metric"),
        ("/api/v1/board?campaign=", "campaign"),
        ("/api/v1/board?team=a%00b", "team"),
        ("/api/v1/movers?by=team", "by"),
        ("/api/v1/movers?by=campaign,channel", "by"),
        ("/api/v1/movers?window=1h", "window"),
        ("/api/v1/alerts?active=true", "active"),
    ],
)
async def test_wrong_parameters_are_named(path: str, param: str) -> None:
    answer = await Served(await HandMade().view()).client.get(path)
    assert (answer.status_code, answer.json()["param"]) == (422, param)


async def test_answers_are_as_openapi_says() -> None:
    schemas = document()["components"]
    for view in (await HandMade().view(), await busy().view()):
        served = Served(view)
        for path, name in (
            ("/api/v1/board", "BoardAnswer"),
            ("/api/v1/movers", "MoversAnswer"),
            ("/api/v1/alerts", "AlertsAnswer"),
        ):
            schema = {"$ref": f"#/components/schemas/{name}", "components": schemas}
            jsonschema.validate((await served.client.get(path)).json(), schema)
