"""60,000 real impressions and their clicks: every figure, in whatever order they come."""

import asyncio
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import pytest

from stream.partitioner import partition_of
from tests.conformance import data
from tests.conformance.site import Range, Site

pytestmark = pytest.mark.timeout(240)  # the first test starts all systems
WEEK: Range = ("2019-11-24T00:00:00Z", "2019-12-01T00:00:00Z")
LAST_DAY = "2019-11-30"
TOTAL = 60_287
HORIZON_MS = 600_000
GROUPS = {
    "campaign": ("campaign",),
    "policy": ("variant",),
    "policy+campaign": ("variant", "campaign"),
    "position": ("channel",),
}
BY_POSITION, BY_ITEM = "position", "item_id"


@pytest.fixture(scope="module")
def truth() -> dict[str, Any]:
    return data.read_json("obd", "ground_truth.json")


@pytest.fixture(scope="module")
def in_order(wide_site: Site) -> Site:
    impressions, clicks = data.obd(BY_POSITION)
    asyncio.run(wide_site.send("clicks", data.by_time(impressions + clicks)))
    assert wide_site.outcomes("clicks") == {"counted": TOTAL}
    return wide_site


@pytest.fixture(scope="module")
def clicks_first(minute_site: Site) -> Site:
    impressions, clicks = data.obd(BY_POSITION)
    asyncio.run(minute_site.send("clicks", clicks + impressions))
    return minute_site


@pytest.fixture(scope="module")
def clicks_last_and_all_twice(midnight_site: Site) -> Site:
    impressions, clicks = data.obd(BY_ITEM)
    asyncio.run(midnight_site.send("clicks", (impressions + clicks) * 2))
    return midnight_site


@pytest.fixture(params=["in_order", "clicks_first"])
def site(request: pytest.FixtureRequest) -> Site:
    return request.getfixturevalue(request.param)


def figures(rows: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Rows as the truth writes them."""
    return {
        name: {"impressions": r["denominator"], "clicks": r["numerator"], "ctr": r["value"]}
        for name, r in rows.items()
    }


def test_the_truth_has_no_other_figures(truth):
    over_time = {"day", "hour", "campaign+day"}
    assert set(truth) == {"total", "item", *GROUPS, *over_time}
    assert {k for group in truth.values() for row in group.values() for k in row} == {
        *("impressions", "clicks", "ctr")
    }


def test_the_total(truth, site):
    for span in (WEEK, ("2000-01-01T00:00:00Z", "2040-01-01T00:00:00Z")):
        assert figures({"all": site.row("ctr", span)}) == truth["total"]


@pytest.mark.parametrize("group", GROUPS)
def test_every_group(truth, site, group):
    assert figures(site.table("ctr", *GROUPS[group], span=WEEK)) == truth[group]


def test_every_day(truth, site):
    days = site.series("ctr", "1d", WEEK)
    assert figures({row["at"][:10]: row for row in days}) == truth["day"]


def test_every_day_of_every_campaign(truth, site):
    days = site.series("ctr", "1d", WEEK, by="campaign")
    found = figures({f"{row['labels']['campaign']}/{row['at'][:10]}": row for row in days})
    assert found == truth["campaign+day"]


def test_every_hour(truth, site):
    hours = site.series("ctr", "1h", WEEK)
    assert figures({row["at"][:13]: row for row in hours}) == truth["hour"]
    assert len(hours) == 168


def test_every_hour_as_a_range_of_its_own(truth, in_order):
    found = {}
    for hour in truth["hour"]:
        start = datetime.fromisoformat(f"{hour}:00:00+00:00")
        span = start.isoformat(), (start + timedelta(hours=1)).isoformat()
        found[hour] = in_order.row("ctr", span)
    assert figures(found) == truth["hour"]


def test_every_item_although_clicks_come_a_week_late_and_everything_twice(
    truth, clicks_last_and_all_twice
):
    site = clicks_last_and_all_twice
    assert site.outcomes("clicks") == {"counted": TOTAL, "duplicate": TOTAL}
    assert figures(site.table("ctr", "campaign", "channel", span=WEEK)) == truth["item"]
    assert figures({"all": site.row("ctr", WEEK)}) == truth["total"]
    assert figures(site.table("ctr", "variant", span=WEEK)) == truth["policy"]
    hours = site.series("ctr", "1h", WEEK)
    assert figures({row["at"][:13]: row for row in hours}) == truth["hour"]


def test_clicks_before_their_impressions_are_all_there(clicks_first):
    found = clicks_first.outcomes("clicks")
    assert set(found) == {"counted", "unchecked"}
    assert sum(found.values()) == TOTAL


async def test_a_copy_from_beyond_the_horizon_counts_again_and_is_said_to_be_unchecked(
    truth, strict_site
):
    impressions, clicks = data.obd(BY_POSITION)
    events = [e for e in data.by_time(impressions + clicks) if e["timestamp"].startswith(LAST_DAY)]
    await strict_site.send("clicks", events)
    await strict_site.send("clicks", events)
    clock_ms = clocks(events)
    again = [event for event in events if not is_known(event, clock_ms)]
    assert 0 < len(again) < len(events)
    assert strict_site.outcomes("clicks") == {
        "counted": len(events),
        "unchecked": len(again),
        "duplicate": len(events) - len(again),
    }
    counted = Counter((event["campaign"], event["type"]) for event in events + again)
    found = strict_site.table("ctr", "campaign", span=WEEK)
    assert {name: (row["numerator"], row["denominator"]) for name, row in found.items()} == {
        name: (counted[name, "click"], counted[name, "impression"]) for name in truth["campaign"]
    }


def clocks(events: list[data.Event]) -> dict[int, int]:
    """Where each partition's clock stands after all events."""
    found: dict[int, int] = {}
    for event in events:
        partition = partition_of(event["event_id"].encode(), data.PARTITIONS)
        found[partition] = max(found.get(partition, 0), data.at_ms(event["timestamp"]))
    return found


def is_known(event: data.Event, clock_ms: dict[int, int]) -> bool:
    """Whether an event that came already lies within the horizon of ten minutes."""
    partition = partition_of(event["event_id"].encode(), data.PARTITIONS)
    return data.at_ms(event["timestamp"]) >= clock_ms[partition] - HORIZON_MS
