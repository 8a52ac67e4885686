"""Which figure of the data stands where in the API, and why some stand nowhere.

Every figure that the data states is in one of these tables, under the name the data has for it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from tests.conformance.data import ELASTIC, Json
from tests.conformance.site import Read


@dataclass(frozen=True)
class Nowhere:
    """The nine metrics do not say it; `why` stands in docs/conformance.md too."""

    why: str


@dataclass(frozen=True)
class Counted:
    """No metric, but counters at `/metrics`: of ticket events by type, of records by outcome."""

    types: tuple[str, ...]


Place = Read | Nowhere | Counted
Key = tuple[str, str]
"""Where a figure is stated (a case, a case's previous period, a group), and its name there."""

PEOPLE = Nowhere("no metric counts distinct people")
ACTIONS = Nowhere("no metric counts downloads and outlinks together with page views")
PLUS_ONE = Nowhere("Matomo adds 1 s to a visit of several requests")
NO_VALUE = Nowhere("an empty denominator has no value; Plausible says 0")
TIMES = Nowhere("a time, not a metric")
LONGEST = Nowhere("no metric keeps a maximum")

# --- peer cases ---

PEERS: Mapping[str, Place] = {
    "pageviews": Read("pages_per_session", "numerator"),
    "visits": Read("pages_per_session", "denominator"),
    "views_per_visit": Read("pages_per_session", "value"),
    "bounces": Read("bounce_rate", "numerator"),
    "bounce_rate_pct": Read("bounce_rate", "percent"),
    "visit_duration_s": Read("session_duration", "value"),
    "visits_converted": Read("conversion_rate", "numerator"),
    "conversion_rate_pct": Read("conversion_rate", "percent"),
    "visitors": PEOPLE,
    "uniq_visitors": PEOPLE,
    "change": Nowhere("no metric compares a period with the one before"),
    "actions": ACTIONS,
    "max_actions": LONGEST,
    "actions_per_visit": ACTIONS,
    "sum_visit_length_s": PLUS_ONE,
    "avg_time_on_site_s": PLUS_ONE,
}
PEERS_APART: Mapping[Key, Place] = {
    ("plausible-04, previous", "bounce_rate_pct"): NO_VALUE,
    ("plausible-04, previous", "visit_duration_s"): NO_VALUE,
}
BOUNCE = {
    "plausible/analytics": "single",
    "PostHog/posthog": "posthog",
    "matomo-org/matomo": "matomo",
}
"""The bounce rule of each peer."""


def peer_figures(cases: Mapping[str, Json]) -> Iterator[tuple[Key, Place | None]]:
    """Every figure of every case with its place; None where nobody has thought of it."""
    for name, case in cases.items():
        for where, expected in (
            (name, case["expected"]),
            (f"{name}, previous", case.get("expected_previous", {})),
        ):
            for figure in expected:
                yield (where, figure), PEERS_APART.get((where, figure), PEERS.get(figure))


# --- elastic_apache ---

ELASTIC_LOG: Mapping[str, Place] = {
    "lines": Read("pages_per_session", "numerator", {"campaign": "all_hits_by_ip"}),
    "rejected": Counted(("dead_letter",)),
    "arrivals_behind_max_seen": Nowhere("the order of arrival is in no metric"),
    "first": TIMES,
    "last": TIMES,
}
ELASTIC_GROUP: Mapping[str, Place] = {
    "events": Read("pages_per_session", "numerator"),
    "sessions": Read("pages_per_session", "denominator"),
    "pages_per_session": Read("pages_per_session", "value"),
    "bounces": Read("bounce_rate", "numerator"),
    "bounce_rate": Read("bounce_rate", "value"),
    "mean_duration_s": Read("session_duration", "value"),
    "visitors": PEOPLE,
    "median_duration_s": Nowhere("session_duration has a mean and no quantiles"),
    "max_duration_s": LONGEST,
}


def elastic_figures(truth: Json) -> Iterator[tuple[Key, Place | None]]:
    """Every figure with its place."""
    for name, value in truth.items():
        if name in ELASTIC:
            for figure in value:
                yield (name, figure), ELASTIC_GROUP.get(figure)
        else:
            yield ("the log", name), ELASTIC_LOG.get(name)


# --- uci_incidents ---

FCR_A, FCR_B = {"fcr": "no_reassignment"}, {"fcr": "none"}
FCR_C, FCR_D = {"fcr": "no_customer_wait"}, {"fcr": "no_reassignment,no_customer_wait"}
INCIDENTS: Mapping[str, Place] = {
    "tickets": Counted(("opened",)),
    "resolved": Read("fcr", "denominator"),
    "fcr_noreopen_noreassign": Read("fcr", "numerator", FCR_A),
    "fcr_noreopen_noreassign_rate": Read("fcr", "value", FCR_A),
    "noreopen": Read("fcr", "numerator", FCR_B),
    "noreopen_rate": Read("fcr", "value", FCR_B),
    "noreopen_nouserwait": Read("fcr", "numerator", FCR_C),
    "noreopen_nouserwait_rate": Read("fcr", "value", FCR_C),
    "strictest": Read("fcr", "numerator", FCR_D),
    "strictest_rate": Read("fcr", "value", FCR_D),
    "reopened_tickets": Read("fcr", "rest", FCR_B),
    "reopens": Counted(("reopened",)),
    "reassigned_tickets": Read("fcr", "rest", FCR_A),
    "mean_resolution_s": Read("resolution_time", "value"),
    "median_resolution_s": Read("resolution_time", "p50"),
    "p90_resolution_s_nearest_rank": Read("resolution_time", "p90"),
    "max_resolution_s": LONGEST,
    "made_sla": Nowhere("no event carries an agreement on service"),
}
INCIDENT_EVENTS: Mapping[str, Place] = {
    "ticket_opened": Counted(("opened",)),
    "ticket_reassigned": Counted(("reassigned",)),
    "awaiting_user": Counted(("awaiting_customer",)),
    "ticket_resolved_state": Counted(("resolved",)),
    "ticket_resolved": Counted(("resolved",)),
    "ticket_reopened": Counted(("reopened",)),
    "ticket_closed": Counted(("closed",)),
}
BEFORE_REOPENING = "reassigned_tickets"
"""Read before any ticket is reopened; afterwards one that was both is taken out once."""
BY_TEAM_ONLY = Nowhere("the counters of ticket events are by team, not by day of opening")


def incident_figures(truth: Json) -> Iterator[tuple[Key, Place | None]]:
    """Every figure with its place."""
    for group, figures in truth.items():
        places = INCIDENT_EVENTS if group == "event_counts" else INCIDENTS
        for figure in figures:
            place = places.get(figure)
            if group.startswith("opened ") and isinstance(place, Counted):
                place = BY_TEAM_ONLY
            yield (group, figure), place


def nowhere(figures: Iterable[tuple[Key, Place | None]]) -> dict[Key, str]:
    """The figures that no metric says, with the reason."""
    return {key: place.why for key, place in figures if isinstance(place, Nowhere)}
