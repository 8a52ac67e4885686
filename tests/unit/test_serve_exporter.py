"""The exposition: names, labels and values to the letter, staleness, the cap, both formats."""

import asyncio
from collections.abc import Iterable

import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_open_metrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse_text

from stream.core.catalogue import CLICKS, SESSIONS, TICKETS
from stream.core.cells import encode_cell
from stream.core.records import TopicPartition
from stream.live.view import View
from stream.serve.exporter import accepts_gzip
from stream.serve.exposition import prefers_open_metrics
from tests.support.serving import Served, settings_of
from tests.support.views import NOW_MS, HandMade

HOSTILE = 'a"b\\c{}=,\u2028<script>alert(1)</script>'
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]
DAY_MS = 86_400_000


def launch() -> HandMade:
    made = HandMade()
    made.count(CLICKS, ("spring", "email", "A"), {"impressions": 200, "clicks": 20})
    made.count(CLICKS, ("spring", "social", "B"), {"impressions": 100, "clicks": 4})
    made.count(CLICKS, ("autumn", "email", "A"), {"impressions": 50}, at_ms=NOW_MS - 1_800_000)
    made.total(CLICKS, ("spring", "email", "A"), {"impressions": 5_000, "clicks": 300})
    made.total(CLICKS, ("spring", "social", "B"), {"impressions": 1_000, "clicks": 7})
    made.total(CLICKS, ("autumn", "email", "A"), {"impressions": 60})
    made.count(
        SESSIONS,
        ("spring", "email", "A"),
        {
            "sessions": 10,
            "page_views": 25,
            "duration_ms": 90_000,
            "single_interaction": 4,
            "bounced_ga4": 3,
            "converted": 2,
            "active": 6,
        },
    )
    made.total(SESSIONS, ("spring", "email", "A"), {"page_views_total": 9, "conversions_total": 2})
    made.count(
        TICKETS,
        ("chat", "billing"),
        {
            "resolved": 4,
            "first_contact_111": 2,
            "first_contact_110": 1,
            "first_resolution_ms": 400_000,
            "answered": 2,
            "first_response_ms": 90_000,
        },
        settled=True,
        durations_ms={"first_response_ms": [30_000, 60_000], "first_resolution_ms": [100_000] * 4},
    )
    made.total(TICKETS, ("chat", "billing"), {"opened_total": 5, "resolved_total": 4})
    return made


def samples_of(families: Iterable[Metric]) -> Samples:
    found: Samples = {}
    for family in families:
        for sample in family.samples:
            key = (sample.name, frozenset((k, v) for k, v in sample.labels.items() if v))
            assert key not in found, key
            found[key] = sample.value
    return found


async def scrape(served: Served) -> Samples:
    return samples_of(parse_text((await served.parts.exporter.expose(False)).decode()))


def at(samples: Samples, name: str, **labels: str) -> float | None:
    return samples.get((name, frozenset(labels.items())))


def names(samples: Samples, prefix: str = "engagement_") -> set[str]:
    return {name for name, _ in samples if name.startswith(prefix)}


async def test_gauges_by_level_window_and_state() -> None:
    samples = await scrape(Served(await launch().view()))
    total = {"window": "5m", "state": "live", "level": "total"}
    spring = {"window": "5m", "state": "live", "level": "campaign", "campaign": "spring"}
    assert at(samples, "engagement_ctr_ratio", **total) == 24 / 300
    assert at(samples, "engagement_ctr_ratio", **spring) == 24 / 300
    assert at(samples, "engagement_ctr_ratio", **{**total, "window": "1h"}) == 24 / 350
    email = {"window": "5m", "state": "live", "level": "channel", "channel": "email"}
    assert at(samples, "engagement_ctr_ratio", **email) == 0.1
    assert at(samples, "engagement_window_impressions", **email) == 200
    assert at(samples, "engagement_window_clicks", **spring) == 24
    assert at(samples, "engagement_bounce_ratio", **spring) == 0.4
    assert at(samples, "engagement_window_bounced_sessions", **total) == 4
    assert at(samples, "engagement_window_bounce_sessions", **total) == 10
    assert at(samples, "engagement_conversion_ratio", **total) == 0.2
    assert at(samples, "engagement_window_converted_sessions", **total) == 2
    assert at(samples, "engagement_window_sessions", **total) == 10
    assert at(samples, "engagement_window_page_views", **total) == 25
    assert at(samples, "engagement_pages_per_session", **total) == 2.5
    assert at(samples, "engagement_session_duration_mean_seconds", **total) == 9.0
    assert at(samples, "engagement_active_sessions", level="total") == 6
    assert at(samples, "engagement_active_sessions", level="channel", channel="email") == 6


async def test_ticket_gauges_have_their_own_windows_levels_and_quantiles() -> None:
    samples = await scrape(Served(await launch().view()))
    for window, state in (("24h", "live"), ("24h", "settled"), ("7d", "live")):
        team = {"window": window, "state": state, "level": "team", "team": "billing"}
        assert at(samples, "engagement_fcr_ratio", **team) == 0.75
        assert at(samples, "engagement_window_resolved_tickets", **team) == 4
        assert at(samples, "engagement_window_first_contact_tickets", **team) == 3
        assert at(samples, "engagement_first_response_time_mean_seconds", **team) == 45
        median = at(samples, "engagement_first_response_time_p50_seconds", **team)
        assert median == pytest.approx(30, rel=0.01)
        slow = at(samples, "engagement_first_response_time_p90_seconds", **team)
        assert slow == pytest.approx(60, rel=0.01)
        assert at(samples, "engagement_first_resolution_time_mean_seconds", **team) == 100
        assert at(samples, "engagement_resolution_time_mean_seconds", **team) is None
    windows = {dict(labels)["window"] for name, labels in samples if name == "engagement_fcr_ratio"}
    assert windows == {"24h", "7d"}


async def test_labels_are_all_dimensions_of_the_source_others_empty() -> None:
    text = (await Served(await launch().view()).parts.exporter.expose(False)).decode()
    assert (
        'engagement_ctr_ratio{window="5m",state="live",level="campaign",'
        'campaign="spring",channel="",variant=""} 0.08\n'
    ) in text


async def test_an_empty_denominator_has_no_ratio_but_its_total_counts() -> None:
    samples = await scrape(Served(await HandMade().view()))
    total = {"window": "5m", "state": "live", "level": "total"}
    assert at(samples, "engagement_ctr_ratio", **total) is None
    assert at(samples, "engagement_window_impressions", **total) == 0
    assert at(samples, "engagement_active_sessions", level="total") == 0
    assert not [key for key in samples if ("level", "campaign") in key[1]]


async def test_the_definitions_of_the_settings_are_used() -> None:
    settings = settings_of(bounce="ga4", fcr_conditions="none")
    samples = await scrape(Served(await launch().view(), settings))
    total = {"window": "24h", "state": "live", "level": "total"}
    assert at(samples, "engagement_bounce_ratio", **total) == 0.3
    assert at(samples, "engagement_fcr_ratio", **total) == 0.75
    [info] = [dict(labels) for name, labels in samples if name == "stream_definition_info"]
    assert (info["bounce"], info["fcr"], info["session_timeout"]) == ("ga4", "none", "30m")


async def test_more_levels_and_windows_on_request() -> None:
    settings = settings_of(
        metrics_levels=("campaign_channel", "campaign_variant", "channel", "team_channel"),
        metrics_windows=(300_000,),
    )
    samples = await scrape(Served(await launch().view(), settings))
    levels = {
        dict(labels)["level"] for name, labels in samples if name.startswith("engagement_window_")
    }
    assert levels == {
        *("total", "channel", "campaign", "campaign_channel", "campaign_variant"),
        *("team", "team_channel"),
    }
    pair = {"level": "campaign_channel", "campaign": "spring", "channel": "social"}
    assert at(samples, "engagement_ctr_ratio", window="5m", state="live", **pair) == 0.04
    desk = {"level": "channel", "channel": "chat"}
    assert at(samples, "engagement_fcr_ratio", window="24h", state="live", **desk) == 0.75


async def test_counters_and_who_is_among_them() -> None:
    made = launch()
    made.count(CLICKS, ("old", "email", "A"), {"impressions": 3}, at_ms=NOW_MS - 40 * DAY_MS)
    made.total(CLICKS, ("old", "email", "A"), {"impressions": 3})
    made.total(TICKETS, ("chat", "new"), {"opened_total": 2})
    samples = await scrape(Served(await made.view()))
    assert at(samples, "engagement_impressions_total", campaign="spring") == 6_000
    assert at(samples, "engagement_clicks_total", campaign="spring") == 307
    assert at(samples, "engagement_clicks_total", campaign="autumn") == 0
    assert at(samples, "engagement_impressions_total", campaign="old") is None, "left its windows"
    assert at(samples, "engagement_page_views_total", campaign="spring") == 9
    assert at(samples, "engagement_conversions_total", campaign="spring") == 2
    assert at(samples, "engagement_ticket_events_total", team="billing", type="opened") == 5
    assert at(samples, "engagement_ticket_events_total", team="billing", type="closed") == 0
    assert at(samples, "engagement_ticket_events_total", team="new", type="opened") == 2


async def test_the_backlog_by_level() -> None:
    made = HandMade()
    for labels, waits, age_ms in (
        (("chat", "billing"), 1, 120_000),
        (("mail", "billing"), 0, 3 * DAY_MS),
        (("mail", "sales"), 0, 60_000),
    ):
        made.total(TICKETS, labels, {"open": 2, "awaiting": waits})
        made.count(TICKETS, labels, {"still_open": 1}, at_ms=NOW_MS - age_ms)
        made.count(TICKETS, labels, {"still_open": 1}, at_ms=NOW_MS)
    made.total(TICKETS, ("mail", "idle"), {"opened_total": 1})
    samples = await scrape(Served(await made.view()))
    team = {"level": "team", "team": "billing"}
    assert at(samples, "engagement_open_tickets", level="total") == 6
    assert at(samples, "engagement_open_tickets", **team) == 4
    assert at(samples, "engagement_awaiting_tickets", **team) == 1
    assert at(samples, "engagement_awaiting_tickets", level="team", team="sales") == 0
    assert at(samples, "engagement_open_tickets", level="team", team="idle") is None
    age = "engagement_oldest_open_ticket_age_seconds"
    for level in ({"level": "total"}, team):
        seconds = at(samples, age, **level)
        assert seconds is not None
        assert 3 * 86_400 <= seconds <= 3 * 86_400 + 3_600
    assert at(samples, age, level="team", team="sales") == pytest.approx(60, abs=10)


async def test_without_open_tickets_their_total_is_nothing_and_has_no_age() -> None:
    samples = await scrape(Served(await HandMade().view()))
    assert at(samples, "engagement_open_tickets", level="total") == 0
    assert at(samples, "engagement_awaiting_tickets", level="total") == 0
    assert "engagement_oldest_open_ticket_age_seconds" not in names(samples)


async def test_teams_beyond_the_cap_are_one_in_the_backlog_too() -> None:
    made = HandMade()
    for i in range(200):
        made.total(TICKETS, ("chat", f"t{i:03}"), {"open": 1})
        made.count(TICKETS, ("chat", f"t{i:03}"), {"still_open": 1}, at_ms=NOW_MS - i * 60_000)
    samples = await scrape(Served(await made.view(), settings_of(metrics_max_series=400)))
    teams = {
        dict(labels)["team"]: value
        for (name, labels), value in samples.items()
        if name == "engagement_open_tickets" and ("level", "team") in labels
    }
    assert 1 < len(teams) < 200
    assert sum(teams.values()) == at(samples, "engagement_open_tickets", level="total") == 200
    assert teams["(other)"] > 1
    age = "engagement_oldest_open_ticket_age_seconds"
    oldest = {
        dict(labels)["team"]: value
        for (name, labels), value in samples.items()
        if name == age and ("level", "team") in labels
    }
    assert oldest.keys() == teams.keys()
    assert max(oldest.values()) == at(samples, age, level="total")


async def test_an_exposition_is_of_one_moment_though_the_view_goes_on_meanwhile() -> None:
    made = HandMade()
    for i in range(700):
        made.count(CLICKS, (f"c{i}", "email", "A"), {"impressions": 1, "clicks": 1})
    served = Served(await made.view())
    exposed = asyncio.create_task(served.parts.exporter.expose(False))
    turns = 0
    while not exposed.done():
        turns += 1
        cells = [(bytes(4), encode_cell({0: turns, 1: turns}, {}))]
        places = made.picture("clicks").cells.keys()
        served.view.take_step(
            TopicPartition("clicks", 0),
            made.info("clicks"),
            served.now_ms,
            (),
            [(place, cells) for place in places],
        )
        served.view.publish()
        await asyncio.sleep(0)
    assert turns > 3
    samples = samples_of(parse_text((await exposed).decode()))
    counts = {
        value
        for (name, labels), value in samples.items()
        if name in ("engagement_window_impressions", "engagement_window_clicks")
        and {("level", "total"), ("state", "live")} <= labels
    }
    assert len(counts) == 1, "every window and both counts"
    by_campaign = [
        value
        for (name, labels), value in samples.items()
        if name == "engagement_window_impressions"
        and {("level", "campaign"), ("window", "5m")} <= labels
    ]
    assert {sum(by_campaign)} == counts


async def test_what_left_every_window_is_gone() -> None:
    served = Served(await launch().view())
    campaigns = {dict(labels).get("campaign") for _, labels in await scrape(served)}
    assert {"spring", "autumn"} <= campaigns
    served.now_ms += DAY_MS + 7_200_000
    view = served.view
    for topic in ("clicks", "sessions", "tickets"):
        info = HandMade(served.now_ms).info(topic)
        view.take_step(TopicPartition(topic, 0), info, served.now_ms)
    view.publish()
    samples = await scrape(served)
    assert at(samples, "engagement_view_age_seconds") == 0
    assert not [key for key in samples if "spring" in dict(key[1]).values()]


async def test_a_stale_view_shows_its_age_and_partitions_and_no_figure() -> None:
    served = Served(await launch().view())
    served.now_ms += 30_000
    assert "engagement_ctr_ratio" in names(await scrape(served))
    served.now_ms += 1
    samples = await scrape(served)
    assert names(samples) == {"engagement_view_age_seconds", "engagement_partitions"}
    assert at(samples, "engagement_view_age_seconds") == pytest.approx(30.001)
    assert at(samples, "engagement_partitions", topic="clicks", status="unowned") == 1


async def test_a_view_that_never_heard_anything() -> None:
    samples = await scrape(Served(View()))
    assert at(samples, "engagement_view_age_seconds") == float("inf")
    assert at(samples, "engagement_partitions", topic="clicks", status="live") == 0
    assert names(samples, "stream_") >= {"stream_build_info"}


async def test_settled_through_and_latency() -> None:
    view = await launch().view()
    view.take_latencies([(NOW_MS - 300, 5), (NOW_MS - 70_000, 2), (NOW_MS + 9_000, 1)], NOW_MS)
    samples = await scrape(Served(view))
    settled = at(samples, "engagement_settled_through_timestamp_seconds", metric="bounce_rate")
    assert settled == NOW_MS / 1000 - 10
    assert at(samples, "engagement_settled_through_timestamp_seconds", metric="ctr") is None
    stem = "stream_event_to_view_seconds"
    assert at(samples, f"{stem}_bucket", le="0.25") == 1, "a clock ahead counts as no wait"
    assert at(samples, f"{stem}_bucket", le="0.5") == 6
    assert at(samples, f"{stem}_bucket", le="60.0") == 6
    assert at(samples, f"{stem}_bucket", le="+Inf") == at(samples, f"{stem}_count") == 8
    assert at(samples, f"{stem}_sum") == pytest.approx(141.5)


async def test_hostile_names_come_back_unharmed() -> None:
    made = HandMade()
    made.count(CLICKS, (HOSTILE, "line\nbreak", "A"), {"impressions": 1})
    made.total(CLICKS, (HOSTILE, "line\nbreak", "A"), {"impressions": 1})
    served = Served(await made.view())
    samples = await scrape(served)
    assert at(samples, "engagement_impressions_total", campaign=HOSTILE) == 1
    live = {"window": "5m", "state": "live"}
    assert at(samples, "engagement_window_impressions", level="campaign", campaign=HOSTILE, **live)
    text = (await served.parts.exporter.expose(True)).decode()
    assert samples_of(parse_open_metrics(text)) == samples


async def test_both_formats_say_the_same_and_are_chosen_by_accept() -> None:
    served = Served(await launch().view())
    plain = await served.get("/metrics")
    assert plain.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    served.client.headers["accept"] = (
        "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.4,*/*;q=0.1"
    )
    open_metrics = await served.get("/metrics")
    assert open_metrics.headers["content-type"].startswith(
        "application/openmetrics-text; version=1.0.0"
    )
    assert open_metrics.text.endswith("# EOF\n")
    assert samples_of(parse_open_metrics(open_metrics.text)) == samples_of(parse_text(plain.text))
    assert plain.headers["content-encoding"] == "gzip"  # httpx asks for it and undoes it


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", False),
        ("*/*", False),
        ("text/plain", False),
        ("application/openmetrics-text", True),
        ("application/openmetrics-text; version=1.0.0; charset=utf-8", True),
        ("application/openmetrics-text;version=0.0.1;q=0.5,text/plain;q=0.9", False),
        ("application/openmetrics-text;version=2.0.0", False),
        ("application/openmetrics-text;q=0", False),
        ("application/openmetrics-text;q=x", False),
    ],
)
def test_formats_are_ranked(accept: str, expected: bool) -> None:
    assert prefers_open_metrics(accept) is expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [("", False), ("gzip", True), ("br, gzip;q=0.5", True), ("gzip;q=0", False), ("*", True)],
)
def test_compression_only_if_allowed(header: str, expected: bool) -> None:
    assert accepts_gzip(header) is expected


async def test_figures_are_rendered_once_per_version(monkeypatch: pytest.MonkeyPatch) -> None:
    served = Served(await launch().view())
    calls = 0
    collect = served.parts.exporter._collection.collect

    async def counting(view: View, now_ms: int) -> object:
        nonlocal calls
        calls += 1
        return await collect(view, now_ms)

    monkeypatch.setattr(served.parts.exporter._collection, "collect", counting)
    await asyncio.gather(*(scrape(served) for _ in range(5)))
    assert calls == 1
    served.view.publish()
    await scrape(served)
    assert calls == 2


async def test_beyond_the_cap_the_finest_level_goes_and_the_smallest_fold() -> None:
    made = HandMade()
    for i in range(200):
        labels = (f"c{i:03}", "email", "A")
        made.count(CLICKS, labels, {"impressions": 1_000 + i, "clicks": 10})
        made.total(CLICKS, labels, {"impressions": 2_000 + i, "clicks": 20})
    settings = settings_of(metrics_max_series=600, metrics_levels=("campaign_variant",))
    served = Served(await made.view(), settings)
    samples = await scrape(served)
    exported = [key for key in samples if key[0].startswith("engagement_")]
    assert len(exported) <= 600
    assert not [key for key in exported if ("level", "campaign_variant") in key[1]]
    live = {"window": "5m", "state": "live"}
    kept = {
        dict(labels)["campaign"]: value
        for (name, labels), value in samples.items()
        if name == "engagement_window_impressions" and {*live.items()} < labels
        if ("level", "campaign") in labels
    }
    assert "c199" in kept
    assert "c000" not in kept
    assert kept.keys() - {"(other)"} == {f"c{i:03}" for i in range(201 - len(kept), 200)}
    total = at(samples, "engagement_window_impressions", level="total", **live)
    assert sum(kept.values()) == total, "what is folded still counts"
    dropped = at(samples, "engagement_series_dropped")
    assert dropped is not None
    assert dropped > 1_000


async def test_a_folded_counter_never_goes_down_and_misses_nothing() -> None:
    made = HandMade()
    for i in range(100):
        labels = (f"c{i:03}", "email", "A")
        made.count(CLICKS, labels, {"impressions": 1_000 + i})
        made.total(CLICKS, labels, {"impressions": 5_000})
    served = Served(await made.view(), settings_of(metrics_max_series=400))
    before = await scrape(served)
    assert at(before, "engagement_impressions_total", campaign="(other)") == 0
    made.total(CLICKS, ("c000", "email", "A"), {"impressions": 7})
    await served.view.take_picture(
        TopicPartition("clicks", 0), made.picture("clicks"), made.info("clicks"), NOW_MS
    )
    served.view.publish()
    after = await scrape(served)
    assert at(after, "engagement_impressions_total", campaign="(other)") == 7
    assert at(after, "engagement_impressions_total", campaign="c000") is None
