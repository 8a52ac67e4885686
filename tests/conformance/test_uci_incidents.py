"""890 real incidents: first-contact resolution under four definitions, and resolution times."""

import asyncio
import math
from collections.abc import Iterator
from typing import Any

import pytest

from stream.clock import wall_clock_ms
from tests.conformance import data
from tests.conformance.figures import BEFORE_REOPENING, INCIDENT_EVENTS, INCIDENTS, Counted
from tests.conformance.site import ALL_TIME, Read, Site
from tests.support.patience import eventually

pytestmark = pytest.mark.timeout(240)  # the first test starts all systems
TICK = "2018-06-01T00:00:00Z"
STATES = ("live", "settled")
PRIORITIES = ("1 - Critical", "2 - High", "3 - Moderate", "4 - Low")
DAYS = ("opened 2016-02-29", "opened 2016-03-01", "opened 2016-03-02")
GROUPS = ("all", *PRIORITIES, *DAYS)
QUANTILES = {"median_resolution_s": 0.5, "p90_resolution_s_nearest_rank": 0.9}
WITHIN = 0.01
"""The relative error that the specification allows a quantile."""


@pytest.fixture(scope="module")
def truth() -> dict[str, Any]:
    return data.read_json("uci_incidents", "ground_truth.json")


@pytest.fixture(scope="module")
def in_order(wide_site: Site) -> Site:
    events = data.incident_events() + data.ticks("tickets", TICK)
    asyncio.run(wide_site.send("tickets", events))
    assert wide_site.outcomes("tickets") == {"counted": len(events)}
    return wide_site


def filters_of(group: str) -> dict[str, str]:
    if group == "all":
        return {}
    return {"channel" if group.startswith("opened") else "team": group}


def exact_figures() -> Iterator[tuple[str, Read]]:
    """The figures that must be equal once all events are in."""
    for key, read in INCIDENTS.items():
        if isinstance(read, Read) and key not in QUANTILES and key != BEFORE_REOPENING:
            yield key, read


def check(site: Site, group: str, wanted: dict[str, Any], state: str) -> None:
    found = {
        key: site.figure(read, ALL_TIME, state, **filters_of(group))
        for key, read in exact_figures()
    }
    assert found == {key: wanted[key] for key in found}


def test_the_truth_has_no_other_groups(truth):
    assert set(truth) == {*GROUPS, "event_counts"}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("group", GROUPS)
def test_every_exact_figure(truth, in_order, group, state):
    check(in_order, group, truth[group], state)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("group", GROUPS)
def test_quantiles_are_within_one_percent_of_the_nearest_rank(truth, in_order, group, state):
    lasted_s = resolution_seconds(group)
    for key, share in QUANTILES.items():
        read = INCIDENTS[key]
        assert isinstance(read, Read)
        found = in_order.figure(read, ALL_TIME, state, **filters_of(group))
        nearest_s = lasted_s[math.ceil(share * len(lasted_s)) - 1]
        assert found == pytest.approx(nearest_s, rel=WITHIN)
        assert found == pytest.approx(truth[group][key], rel=WITHIN)
        if key.endswith("nearest_rank") or len(lasted_s) % 2:  # else the mean of the two middles
            assert nearest_s == truth[group][key]


def resolution_seconds(group: str) -> list[int]:
    """How long the resolved tickets of a group took, in order."""
    return sorted(
        int(ticket["resolution_s"])
        for ticket in data.incidents().values()
        if ticket["resolved_at"]
        and group in ("all", ticket["priority"], f"opened {ticket['opened_at'][:10]}")
    )


@pytest.mark.parametrize("state", STATES)
def test_the_first_resolution_is_the_first_of_all(in_order, state):
    first_ms: dict[str, int] = {}
    opened_ms: dict[str, int] = {}
    for event in data.incident_events():
        ticket, at_ms = event["ticket_id"], data.at_ms(event["timestamp"])
        if event["type"] == "opened":
            opened_ms[ticket] = at_ms
        elif event["type"] == "resolved":
            first_ms.setdefault(ticket, at_ms)
    row = in_order.row("first_resolution_time", ALL_TIME, state)
    assert row["denominator"] == len(first_ms) == 861
    assert row["numerator"] == sum(at - opened_ms[t] for t, at in first_ms.items()) / 1000


def test_nobody_answered_since_the_data_has_no_contacts(in_order):
    row = in_order.row("first_response_time")
    assert (row["value"], row["denominator"], row["quantiles"]["p50"]) == (None, 0, None)


async def test_the_counters_of_ticket_events_know_what_is_long_past(truth, gap_site):
    """They are shown for teams of which something lies in a window, so each resolves one now."""
    await gap_site.send("tickets", [*data.incident_events(), *one_now(PRIORITIES)])

    def found(types: tuple[str, ...], *teams: str) -> float:
        samples = gap_site.samples("engagement_ticket_events_total")
        more = len(teams) * len({"opened", "resolved"} & set(types))
        return sum(samples.get((team, kind), 0) for team in teams for kind in types) - more

    await eventually(lambda: found(("opened",), *PRIORITIES) == truth["all"]["tickets"], 60)
    for group in ("all", *PRIORITIES):
        teams = PRIORITIES if group == "all" else (group,)
        for key, place in INCIDENTS.items():
            if isinstance(place, Counted):
                assert found(place.types, *teams) == truth[group][key], (group, key)
    counts = dict(truth["event_counts"])
    both = counts.pop("ticket_resolved") + counts.pop("ticket_resolved_state")
    assert found(("resolved",), *PRIORITIES) == both - resolutions_left_out()
    for key, wanted in counts.items():
        place = INCIDENT_EVENTS[key]
        assert isinstance(place, Counted)
        assert found(place.types, *PRIORITIES) == wanted, key


def one_now(teams: tuple[str, ...]) -> Iterator[data.Event]:
    """A ticket for each team, opened and resolved now."""
    now_ms = wall_clock_ms()
    for team in teams:
        for kind in ("opened", "resolved"):
            event = {"event_id": f"{team}-{kind}", "type": kind, "timestamp": now_ms}
            yield event | {"ticket_id": f"now-{team}", "team": team}


def resolutions_left_out() -> int:
    """Resolutions of the tickets that have no `resolved_at`, which the truth passes over too."""
    tickets = data.incidents()
    rows = data.read_csv("uci_incidents", "ticket_events.csv")
    return sum(
        data.TICKET_TYPES[row["event"]] == "resolved" and not tickets[row["ticket"]]["resolved_at"]
        for row in rows
    )


async def test_a_reopening_takes_the_resolution_back_until_it_has_settled(truth, midnight_site):
    site, events = midnight_site, data.incident_events()
    reopenings = [event for event in events if event["type"] == "reopened"]
    await site.send("tickets", [event for event in events if event["type"] != "reopened"])
    for group in GROUPS:
        told, filters = truth[group], filters_of(group)
        without = site.row("fcr", fcr="none", **filters)
        assert (without["numerator"], without["denominator"]) == (told["resolved"],) * 2
        reassigned = INCIDENTS[BEFORE_REOPENING]
        assert isinstance(reassigned, Read)
        assert site.figure(reassigned, **filters) == told[BEFORE_REOPENING]

    await site.send("tickets", reopenings[:1])
    one = site.row("fcr", fcr="none")
    assert (one["numerator"], one["denominator"]) == (860, 861)
    assert site.row("fcr", fcr="none", team=reopenings[0]["team"])["numerator"] == (
        truth[reopenings[0]["team"]]["resolved"] - 1
    )

    await site.send("tickets", reopenings[1:])
    for group in GROUPS:
        check(site, group, truth[group], "live")
    await site.send("tickets", data.ticks("tickets", TICK))
    too_late = first_contact(events) | {"event_id": "too-late", "type": "reopened"}
    await site.send("tickets", [too_late])
    assert set(site.outcomes("tickets")) <= {"counted", "unchecked"}
    for group in GROUPS:
        for state in STATES:
            check(site, group, truth[group], state)


def first_contact(events: list[data.Event]) -> data.Event:
    """The last event of a ticket that was resolved and never reopened."""
    reopened = {event["ticket_id"] for event in events if event["type"] == "reopened"}
    resolved = {event["ticket_id"] for event in events if event["type"] == "resolved"}
    return next(event for event in events[::-1] if event["ticket_id"] in resolved - reopened)
