"""Gauges of change: against which past, at which age, for whom, how often, and within the cap."""

import math
from collections.abc import Iterable

import pytest

from stream.core.buckets import Size
from stream.core.catalogue import CLICKS, SESSIONS, TICKETS
from stream.core.records import TopicPartition
from stream.live.view import View
from stream.serve.change_gauges import REFRESH_MS, ChangeGauges
from stream.serve.history import History
from stream.serve.levels import Rollup, levels_of
from tests.support.serving import Served, settings_of
from tests.support.views import NOW_MS, HandMade
from tests.unit.test_serve_exporter import Samples, at, names, scrape

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
SPRING, AUTUMN = ("spring", "email", "A"), ("autumn", "social", "B")
CTR = {"state": "live", "metric": "ctr", "level": "campaign", "campaign": "spring"}
GAUGES = ("engagement_baseline_ratio", "engagement_change_ratio", "engagement_change_zscore")


def in_past_weeks(
    made: HandMade, weeks: Iterable[int] = (1, 2, 3, 4), clicks: int = 100
) -> HandMade:
    for week in weeks:
        counts = {"impressions": 1_000, "clicks": clicks}
        made.count(CLICKS, SPRING, counts, at_ms=NOW_MS - week * 7 * DAY)
    return made


def change(samples: Samples, **labels: str) -> list[float | None]:
    return [at(samples, name, **labels) for name in GAUGES]


async def test_the_same_hours_of_four_weeks_are_pooled() -> None:
    made = in_past_weeks(HandMade()).count(CLICKS, SPRING, {"impressions": 1_000, "clicks": 70})
    made.count(CLICKS, SPRING, {"impressions": 1_000, "clicks": 200}, at_ms=NOW_MS - 7 * DAY - HOUR)
    for elsewhere_ms in (3 * HOUR, -3 * HOUR, DAY, -DAY, 28 * DAY):
        far = {"impressions": 50_000, "clicks": 1}
        made.count(CLICKS, SPRING, far, at_ms=NOW_MS - 7 * DAY - elsewhere_ms)
    samples = await scrape(Served(await made.view()))
    baseline, by, zscore = change(samples, window="5m", basis="weeks", **CTR)
    assert baseline == pytest.approx(600 / 5_000)
    assert by == pytest.approx(0.07 / 0.12 - 1)
    pooled = 670 / 6_000
    spread = math.sqrt(pooled * (1 - pooled) * (1 / 1_000 + 1 / 5_000))
    assert zscore == pytest.approx((0.07 - 0.12) / spread)
    for level in ({"level": "total"}, {"level": "channel", "channel": "email"}):
        labels = {"window": "1h", "state": "live", "metric": "ctr", "basis": "weeks", **level}
        assert at(samples, "engagement_baseline_ratio", **labels) == pytest.approx(0.12)


async def test_the_labels_are_those_of_the_ratio_and_metric_and_basis() -> None:
    made = in_past_weeks(HandMade()).count(CLICKS, SPRING, {"impressions": 1_000, "clicks": 70})
    text = (await Served(await made.view()).parts.exporter.expose(False)).decode()
    assert (
        'engagement_baseline_ratio{window="5m",state="live",level="campaign",campaign="spring",'
        'channel="",variant="",metric="ctr",basis="weeks"} 0.1\n'
    ) in text


@pytest.mark.parametrize("weeks", [(), (3,), (1,)])
async def test_without_two_weeks_of_history_the_last_day_is_the_basis(
    weeks: tuple[int, ...],
) -> None:
    made = in_past_weeks(HandMade(), weeks)
    made.count(CLICKS, SPRING, {"impressions": 1_000, "clicks": 70})
    for ago_ms, clicks in ((8 * MINUTE, 80), (20 * HOUR, 120)):
        counts = {"impressions": 1_000, "clicks": clicks}
        made.count(CLICKS, SPRING, counts, at_ms=NOW_MS - ago_ms)
    made.count(CLICKS, SPRING, {"impressions": 9_000}, at_ms=NOW_MS - 26 * HOUR)
    samples = await scrape(Served(await made.view()))
    assert change(samples, window="5m", basis="weeks", **CTR) == [None] * 3
    baseline, by, _ = change(samples, window="5m", basis="recent", **CTR)
    assert baseline == pytest.approx(0.1)
    assert by == pytest.approx(-0.3)
    assert at(
        samples, "engagement_baseline_ratio", window="1h", basis="recent", **CTR
    ) == pytest.approx(0.12), "what is in the window is not in its basis"


async def test_two_weeks_are_enough() -> None:
    made = in_past_weeks(HandMade(), (2, 4))
    made.count(CLICKS, SPRING, {"impressions": 1_000, "clicks": 70})
    samples = await scrape(Served(await made.view()))
    assert at(samples, "engagement_baseline_ratio", window="5m", basis="weeks", **CTR) == 0.1


async def test_too_little_to_tell_is_not_exported() -> None:
    made = in_past_weeks(HandMade()).count(CLICKS, SPRING, {"impressions": 199, "clicks": 0})
    samples = await scrape(Served(await made.view()))
    assert change(samples, window="5m", basis="weeks", **CTR) == [None] * 3
    made.count(CLICKS, SPRING, {"impressions": 1})
    samples = await scrape(Served(await made.view()))
    assert at(samples, "engagement_change_ratio", window="5m", basis="weeks", **CTR) == -1.0


async def test_sessions_are_compared_at_the_same_age() -> None:
    """Of an hour's window the age is 15 minutes: it ends so long before all that is recorded."""
    made = HandMade()
    session = {"sessions": 1_000, "single_interaction": 1_000}
    for week in (1, 2):
        counts = {**session, "converted": 300, "converted_within_15m": 100}
        made.count(SESSIONS, SPRING, counts, at_ms=NOW_MS - week * 7 * DAY)
    counts = {**session, "converted": 90, "converted_within_15m": 80, "engaged_within_15m": 400}
    made.count(SESSIONS, SPRING, counts, at_ms=NOW_MS - 20 * MINUTE)
    made.count(SESSIONS, SPRING, {"sessions": 50_000}, at_ms=NOW_MS - 14 * MINUTE)
    samples = await scrape(Served(await made.view()))
    labels = {"window": "1h", "state": "live", "level": "total", "basis": "weeks"}
    baseline, by, _ = change(samples, metric="conversion_rate", **labels)
    assert baseline == pytest.approx(0.1)
    assert by == pytest.approx(-0.2)
    assert change(samples, metric="bounce_rate", **labels) == [None] * 3, "all of them bounced then"


async def test_a_lagging_pipeline_moves_the_window_at_an_age_with_it() -> None:
    made = HandMade()
    for week in (1, 2):
        counts = {"sessions": 1_000, "converted_within_15m": 100}
        made.count(SESSIONS, SPRING, counts, at_ms=NOW_MS - week * 7 * DAY)
    counts = {"sessions": 1_000, "converted_within_15m": 100}
    made.count(SESSIONS, SPRING, counts, at_ms=NOW_MS - 50 * MINUTE)
    made.count(SESSIONS, SPRING, {"sessions": 1_000}, at_ms=NOW_MS - 30 * MINUTE)
    served = Served(await made.view(as_of_ms=NOW_MS - 25 * MINUTE))
    labels = {"window": "1h", "state": "live", "level": "total", "basis": "weeks"}
    samples = await scrape(served)
    assert at(
        samples, "engagement_change_ratio", metric="conversion_rate", **labels
    ) == pytest.approx(0.0)
    assert at(samples, "engagement_as_of_timestamp_seconds", topic="sessions") == pytest.approx(
        NOW_MS / 1000 - 1_500
    )


async def test_tickets_are_compared_when_they_have_settled() -> None:
    made = HandMade()
    for day, first_contact in ((3, 120), (10, 180), (17, 180), (24, 180), (31, 180), (38, 0)):
        counts = {"resolved": 200, "first_contact_111": first_contact}
        made.count(TICKETS, ("chat", "billing"), counts, at_ms=NOW_MS - day * DAY, settled=True)
    samples = await scrape(Served(await made.view()))
    labels = {"window": "7d", "state": "settled", "metric": "fcr", "basis": "weeks"}
    baseline, by, _ = change(samples, level="team", team="billing", **labels)
    assert baseline == pytest.approx(0.9)
    assert by == pytest.approx(0.6 / 0.9 - 1)
    assert not [key for key in samples if {("state", "live"), ("metric", "fcr")} <= key[1]]


# --- usual traffic ---


async def test_usual_traffic_is_the_least_of_three_hours() -> None:
    """12:13 after a full hour: the window of an hour is weighed with the hours that it covers."""
    made, hour_ms = HandMade(), NOW_MS - NOW_MS % HOUR
    for week in (1, 2, 3):
        for hours_ago, n in ((-1, 9_000), (0, 6_000), (1, 3_000), (2, 600)):
            then_ms = hour_ms - week * 7 * DAY - hours_ago * HOUR
            made.count(CLICKS, SPRING, {"impressions": n}, at_ms=then_ms)
    made.count(CLICKS, SPRING, {"impressions": 1})
    samples = await scrape(Served(await made.view()))
    labels = {"state": "live", "level": "campaign", "campaign": "spring", "basis": "weeks"}
    into = (NOW_MS // 10_000 * 10_000 + 10_000 - hour_ms) / HOUR
    hour = at(samples, "engagement_expected_impressions", window="1h", **labels)
    assert hour == pytest.approx((1 - into) * 600 + into * 3_000)
    assert into > 1 / 12
    minutes = at(samples, "engagement_expected_impressions", window="5m", **labels)
    assert minutes == pytest.approx(3_000 / 12)


async def test_what_began_within_two_weeks_is_expected_as_yesterday() -> None:
    made = HandMade().count(CLICKS, SPRING, {"impressions": 5})
    for hours_ago in range(22, 28):
        made.count(CLICKS, SPRING, {"impressions": 1_200}, at_ms=NOW_MS - hours_ago * HOUR)
    samples = await scrape(Served(await made.view()))
    labels = {"window": "5m", "state": "live", "level": "total", "basis": "recent"}
    assert at(samples, "engagement_expected_impressions", **labels) == pytest.approx(100)


async def test_who_was_not_there_in_the_last_day_is_not_waited_for() -> None:
    made = in_past_weeks(HandMade())
    for week in (1, 2, 3):
        for shift_ms in (-HOUR, HOUR):
            then_ms = NOW_MS - week * 7 * DAY + shift_ms
            made.count(CLICKS, SPRING, {"impressions": 1_000}, at_ms=then_ms)
    made.count(CLICKS, AUTUMN, {"impressions": 1_000})
    samples = await scrape(Served(await made.view()))
    told = [key for key in samples if key[0] == "engagement_expected_impressions"]
    assert {dict(labels)["level"] for _, labels in told} == {"total"}
    made.count(CLICKS, SPRING, {"impressions": 1}, at_ms=NOW_MS - 23 * HOUR)
    samples = await scrape(Served(await made.view()))
    labels = {"window": "1h", "state": "live", "basis": "weeks"}
    spring = {"level": "campaign", "campaign": "spring"}
    assert at(samples, "engagement_expected_impressions", **labels, **spring)


# --- how often, and how many ---


async def test_they_are_made_anew_after_a_while_and_follow_corrections_of_the_past() -> None:
    made = in_past_weeks(HandMade()).count(CLICKS, SPRING, {"impressions": 1_000, "clicks": 70})
    served = Served(await made.view())
    labels = {"window": "1h", "basis": "weeks", **CTR}
    assert at(await scrape(served), "engagement_baseline_ratio", **labels) == 0.1
    in_past_weeks(made, (1,), clicks=500)
    view = served.view
    place = TopicPartition("clicks", 0)
    await view.take_picture(place, made.picture("clicks"), made.info("clicks"), NOW_MS)
    view.publish()
    served.now_ms += REFRESH_MS - 1
    assert at(await scrape(served), "engagement_baseline_ratio", **labels) == 0.1
    served.now_ms += 1
    view.publish()
    samples = await scrape(served)
    assert at(samples, "engagement_baseline_ratio", **labels) == pytest.approx(900 / 5_000)


async def test_an_hour_that_has_not_changed_is_not_summed_up_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    view = await in_past_weeks(HandMade()).view()
    rollup = Rollup(CLICKS, levels_of(CLICKS, settings_of()))
    history = History(CLICKS, rollup, "live", [("clicks",), ("impressions",)])
    hours = set(view.store("clicks").starts(Size.H1))
    await history.load(view.store("clicks"), hours)
    pooled = history.pooled(dict.fromkeys(hours, 1.0))
    assert pooled[0].tolist() == [400, 4_000]
    monkeypatch.setattr(rollup, "sum", None)
    await history.load(view.store("clicks"), hours)
    assert history.pooled(dict.fromkeys(hours, 0.5))[0].tolist() == [200, 2_000]
    await history.load(view.store("clicks"), set())
    assert not history.pooled(dict.fromkeys(hours, 1.0)).any(), "what is not asked for is let go"


async def test_a_stale_view_shows_no_change() -> None:
    made = in_past_weeks(HandMade()).count(CLICKS, SPRING, {"impressions": 1_000, "clicks": 70})
    served = Served(await made.view())
    assert GAUGES[0] in names(await scrape(served))
    served.now_ms += 31_000
    assert not names(await scrape(served)) & {*GAUGES, "engagement_as_of_timestamp_seconds"}


async def test_they_count_within_the_cap_and_what_is_folded_has_none() -> None:
    made = HandMade()
    for i in range(60):
        for week in range(4):
            at_ms = NOW_MS - (week * 7 * DAY or MINUTE)
            counts = {"impressions": 1_000 + i, "clicks": 100}
            made.count(CLICKS, (f"c{i:02}", "email", "A"), counts, at_ms=at_ms)
    samples = await scrape(Served(await made.view(), settings_of(metrics_max_series=900)))
    assert sum(name.startswith("engagement_") for name, _ in samples) <= 900
    compared = {
        dict(labels)["campaign"]
        for name, labels in samples
        if name in GAUGES and ("level", "campaign") in labels
    }
    shown = {
        dict(labels)["campaign"]
        for name, labels in samples
        if name == "engagement_ctr_ratio" and ("level", "campaign") in labels
    }
    assert 0 < len(compared) < 60
    assert compared == shown - {"(other)"}
    assert "(other)" in shown


async def test_a_view_that_knows_nothing_yet_has_no_changes() -> None:
    gauges = ChangeGauges(settings_of())
    await gauges.refresh(View(), NOW_MS)
    assert gauges.samples == {}
