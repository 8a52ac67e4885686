"""The figures that Plausible, PostHog and Matomo expect of their own cases, under their rules."""

import asyncio
from typing import Any

import pytest

from tests.conformance import data
from tests.conformance.figures import BOUNCE, NO_VALUE, PEERS, PEERS_APART
from tests.conformance.site import ALL_TIME, Range, Read, Site

pytestmark = pytest.mark.timeout(240)  # the first test starts all systems
CASES = (
    *("plausible-01", "plausible-02", "plausible-03", "plausible-04", "plausible-05"),
    *("plausible-06", "plausible-06b"),
    *("posthog-01", "posthog-02", "posthog-03", "posthog-04", "matomo-01"),
)
STATES = ("live", "settled")


@pytest.fixture(scope="module")
def cases() -> dict[str, data.Json]:
    return data.peer_cases()


def send(site: Site, cases: list[data.Json], tick: str) -> Site:
    """All cases in order of time, then clocks go on until everything has settled."""
    events = data.by_time(event for case in cases for event in data.peer_events(case))
    asyncio.run(site.send("sessions", events + data.ticks("sessions", tick)))
    assert set(site.outcomes("sessions")) == {"counted"}
    return site


@pytest.fixture(scope="module")
def by_timeout(wide_site: Site, cases: dict[str, data.Json]) -> Site:
    """Plausible's visits end after 30 minutes; PostHog's are given by ids: one system does both."""
    peers = [case for name, case in cases.items() if not name.startswith("matomo")]
    return send(wide_site, peers, "2024-03-01T00:00:00Z")


@pytest.fixture(scope="module")
def by_day(midnight_site: Site, cases: dict[str, data.Json]) -> Site:
    peers = [case for name, case in cases.items() if name.startswith("matomo")]
    return send(midnight_site, peers, "2010-03-10T00:00:00Z")


@pytest.fixture
def site(request: pytest.FixtureRequest, name: str) -> Site:
    return request.getfixturevalue("by_day" if name.startswith("matomo") else "by_timeout")


def filters_of(case: data.Json) -> dict[str, str]:
    if "session_filter" not in case:
        return {"campaign": case["id"]}
    return {"campaign": case["id"], "channel": case["session_filter"]["source"] or "(not set)"}


def figure(site: Site, case: data.Json, read: Read, span: Range, state: str) -> Any:
    rule = {"bounce": BOUNCE[case["peer"]]} if read.metric == "bounce_rate" else {}
    return site.figure(read, span, state, **filters_of(case), **rule)


def test_no_case_is_left_out(cases):
    assert tuple(cases) == CASES
    assert {case["rules"]["timeout_s"] for case in cases.values()} == {1_800, None}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("name", CASES)
def test_a_case_comes_out_as_its_peer_says(name, state, cases, site):
    case, compared = cases[name], 0
    for where, expected, span in (
        (name, case["expected"], case.get("window")),
        (f"{name}, previous", case.get("expected_previous", {}), case.get("previous_window")),
    ):
        for key, wanted in expected.items():
            read = PEERS_APART.get((where, key), PEERS[key])
            if not isinstance(read, Read):
                continue
            found = figure(site, case, read, tuple(span or ALL_TIME), state)
            if found is not None and "round_dp" in case:
                found = round(found, case["round_dp"])
            assert found == wanted, (where, key)
            compared += 1
    assert compared


def test_a_period_without_visits_has_no_rate_where_plausible_says_0(cases, by_timeout):
    case = cases["plausible-04"]
    span = tuple(case["previous_window"])
    for (_, key), place in PEERS_APART.items():
        assert place is NO_VALUE
        assert case["expected_previous"][key] == 0
        read = PEERS[key]
        assert isinstance(read, Read)
        assert figure(by_timeout, case, read, span, "live") is None
        assert by_timeout.row(read.metric, span, **filters_of(case))["denominator"] == 0


def test_the_change_between_periods_follows_from_two_answers(cases, by_timeout):
    case = cases["plausible-05"]
    rate = Read("conversion_rate", "percent")
    now, before = (
        figure(by_timeout, case, rate, tuple(case[span]), "live")
        for span in ("window", "previous_window")
    )
    assert round(now - before, 1) == case["expected"]["change"]


def test_matomos_visit_length_is_ours_and_a_second_for_each_visit_of_several_requests(
    cases, by_day
):
    case = cases["matomo-01"]
    length = figure(by_day, case, Read("session_duration", "numerator"), ALL_TIME, "live")
    bounces = figure(by_day, case, Read("bounce_rate", "numerator"), ALL_TIME, "live")
    assert length == 1620
    assert case["expected"]["sum_visit_length_s"] == length + 1
    assert bounces == 1  # its page and the goal that its URL meets are one request to Matomo
