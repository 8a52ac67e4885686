"""Real data with known answers, beside the project, as events of the contract.

Owns how each data set becomes events; what the figures must be stands in the data's own files.
"""

import csv
import gzip
import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from stream.partitioner import partition_of
from tests.support.processes import ROOT

DATA = ROOT.parent / "shared" / "data"
PARTITIONS = 4
Event = dict[str, Any]
Json = dict[str, Any]


def read_json(*path: str) -> Any:
    """A JSON file of the data."""
    return json.loads(DATA.joinpath(*path).read_text())


def read_csv(*path: str) -> list[dict[str, str]]:
    """The rows of a CSV file of the data, plain or gzip."""
    raw = DATA.joinpath(*path).read_bytes()
    text = gzip.decompress(raw) if path[-1].endswith(".gz") else raw
    return list(csv.DictReader(text.decode().splitlines()))


def at_ms(text: str) -> int:
    """Milliseconds of an RFC 3339 time; finer digits are cut."""
    moment = datetime.fromisoformat(text)
    return int(moment.timestamp()) * 1000 + moment.microsecond // 1000


def by_time(events: Iterable[Event]) -> list[Event]:
    """Events in order of time, those of one instant as they come."""
    return sorted(events, key=lambda event: at_ms(event["timestamp"]))


def ticks(topic: str, timestamp: str) -> list[Event]:
    """Events that count in no metric, but bring the clock of every partition to an instant."""
    name, kind = {"sessions": ("visitor_id", "ping"), "tickets": ("ticket_id", "opened")}[topic]
    found: dict[int, str] = {}
    for number in range(1_000):
        found.setdefault(partition_of(f"tick-{number}".encode(), PARTITIONS), f"tick-{number}")
    assert len(found) == PARTITIONS
    return [
        {"event_id": f"{key}-{timestamp}", "type": kind, "timestamp": timestamp, name: key}
        for key in found.values()
    ]


# --- peer cases ---


def peer_cases() -> dict[str, Json]:
    """All cases by id."""
    return {case["id"]: case for case in read_json("peer_cases", "cases.json")}


def peer_events(case: Json) -> Iterator[Event]:
    """A case's events; the case is the campaign, and its visitors are its own."""
    name = case["id"]
    for number, given in enumerate(case["events"]):
        event = {
            "type": _peer_type(given, case.get("goal")),
            "timestamp": given["ts"],
            "event_id": f"{name}-{number}",
            "visitor_id": f"{name}-{given['visitor']}",
            "campaign": name,
        }
        for theirs, ours in (("source", "channel"), ("session", "session_id"), ("page", "page")):
            if theirs in given:
                event[ours] = given[theirs]
        if event["type"] == "conversion":
            event["goal"] = given["name"]
            if "revenue" in given:
                event["value"] = given["revenue"]
        yield event


def _peer_type(given: Json, goal: Json | None) -> str:
    if goal is not None and all(given.get(name) == wanted for name, wanted in goal.items()):
        assert given["type"] != "pageview", "a page that is the goal is two events"
        return "conversion"
    known = {"pageview": "page_view", "engagement": "ping", "goal": "conversion"}
    return known.get(given["type"], "action")


# --- obd: impressions and clicks ---


def obd(channel: str) -> tuple[list[Event], list[Event]]:
    """Impressions and clicks in order of time; `channel` is the column that fills it.

    The data has no times of clicks: each carries its impression's.
    """
    impressions, clicks = [], []
    for row in read_csv("obd", "impressions.csv.gz"):
        event = {
            "event_id": f"{row['impression_id']}-i",
            "type": "impression",
            "timestamp": row["timestamp"],
            "campaign": row["campaign"],
            "channel": row[channel],
            "variant": row["policy"],
        }
        impressions.append(event)
        if row["click"] == "1":
            clicks.append(event | {"event_id": f"{row['impression_id']}-c", "type": "click"})
    return impressions, clicks


# --- elastic_apache: requests of a web server ---

ELASTIC = (
    "all_hits_by_ip",
    "page_views_by_ip",
    "page_views_by_ip_ua",
    "human_page_views_by_ip_ua",
    "human_page_views_by_ip_ua_gap_3h",
)
BY_ID = "human_page_views_by_ip_ua_gap_3h"
"""Its sessions are given by an id, where the others' are the visitor's runs of events."""


def elastic(*mappings: str, given_ids: bool = True) -> list[Event]:
    """Requests in order of arrival as page views; the mapping is the campaign."""
    events = []
    for row in read_csv("elastic_apache", "hits.csv"):
        for mapping in mappings:
            if not _is_seen(row, mapping):
                continue
            who = f"{row['ip']}/{row['ua']}" if "_ip_ua" in mapping else row["ip"]
            event = {
                "event_id": f"{ELASTIC.index(mapping)}-{row['arrival']}",
                "type": "page_view",
                "timestamp": row["timestamp"],
                "visitor_id": f"{mapping}/{who}",
                "campaign": mapping,
            }
            if mapping == BY_ID and given_ids:
                event["session_id"] = "1"
            events.append(event)
    return events


def _is_seen(row: dict[str, str], mapping: str) -> bool:
    if mapping.startswith("all_hits"):
        return True
    return row["is_page"] == "1" and not ("human" in mapping and row["is_bot"] == "1")


# --- uci_incidents: tickets ---

TICKET_TYPES = {
    "ticket_opened": "opened",
    "ticket_reassigned": "reassigned",
    "awaiting_user": "awaiting_customer",
    "ticket_resolved_state": "resolved",
    "ticket_resolved": "resolved",
    "ticket_reopened": "reopened",
    "ticket_closed": "closed",
}


def incidents() -> dict[str, dict[str, str]]:
    """The tickets by number."""
    return {row["number"]: row for row in read_csv("uci_incidents", "tickets.csv")}


def incident_events() -> list[Event]:
    """All events in order of time; the priority is the team, the day of opening the channel.

    A ticket without `resolved_at` has no resolution in the data's own truth, so none is sent.
    """
    tickets = incidents()
    events = []
    for number, row in enumerate(read_csv("uci_incidents", "ticket_events.csv")):
        ticket = tickets[row["ticket"]]
        kind = TICKET_TYPES[row["event"]]
        if kind == "resolved" and not ticket["resolved_at"]:
            continue
        events.append(
            {
                "event_id": f"e{number}",
                "type": kind,
                "timestamp": row["timestamp"],
                "ticket_id": row["ticket"],
                "team": ticket["priority"],
                "channel": f"opened {ticket['opened_at'][:10]}",
            }
        )
    return events
