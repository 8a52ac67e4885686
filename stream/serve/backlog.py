"""Gauges of the backlog: open tickets, those that wait for their customer, the age of the oldest.

Knows the view and the levels; which groups are exported is the caller's.
"""

from collections.abc import Mapping

from stream.core.buckets import Size
from stream.core.catalogue import TICKETS
from stream.live.axis import Counts, Labels
from stream.live.backlog import AWAITING, OPEN, oldest_buckets
from stream.live.view import View
from stream.serve.exposition import Family, Sample
from stream.serve.levels import TOTAL, Group, Groups, LabelTexts, Level, Rollup

WIDTH = 3
"""Samples of one group at most."""


def roll_backlog(totals: Counts, rollup: Rollup) -> dict[Level, Groups]:
    """The groups that have open tickets, on each level, of the bucket without end."""
    return {
        level: {
            group: {OPEN: values.get(OPEN, 0), AWAITING: values.get(AWAITING, 0)}
            for group, values in groups.items()
            if OPEN in values or level == TOTAL
        }
        for level, groups in rollup.sum(totals).items()
    }


def backlog_families(
    view: View, groups: Mapping[Level, Groups], texts: LabelTexts, now_ms: int
) -> list[Family]:
    """The samples of the groups that are shown; others are among `(other)`."""
    is_open: list[Sample] = []
    awaiting: list[Sample] = []
    ages: list[Sample] = []
    for level, by_group in groups.items():
        oldest = _oldest(view, level, by_group)
        for group, values in by_group.items():
            labels = texts.of(level, group)
            is_open.append(("", labels, values.get(OPEN, 0)))
            awaiting.append(("", labels, values.get(AWAITING, 0)))
            if group in oldest:
                ages.append(("", labels, max(0, now_ms - oldest[group]) / 1000))
    return [
        Family("engagement_open_tickets", "gauge", "Tickets that are open now.", is_open),
        Family(
            "engagement_awaiting_tickets",
            "gauge",
            "Open tickets that wait for their customer.",
            awaiting,
        ),
        Family(
            "engagement_oldest_open_ticket_age_seconds",
            "gauge",
            "Seconds since the oldest open ticket was opened, up to a bucket's width too many.",
            ages,
        ),
    ]


def _oldest(view: View, level: Level, shown: Groups) -> dict[Group, int]:
    """When the oldest open ticket of each group that is shown was opened."""
    places = [TICKETS.dimensions.index(name) for name in level.dimensions]
    members: dict[Group, list[Labels]] = {}
    for labels in view.store(TICKETS.topic).field((Size.ALL, 0), OPEN):
        group = tuple(labels[i] for i in places)
        group = group if group in shown or level == TOTAL else level.other
        members.setdefault(group, []).append(labels)
    return {group: start_ms for group, (_, start_ms) in oldest_buckets(view, members).items()}
