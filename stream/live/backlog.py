"""Backlog: the tickets that are open now, by channel and team, and how long they have been.

How many are open, and how many of those wait for the customer, are levels of the bucket without
end. How old they are is told by `still_open`, which stands in the buckets of the instants at which
they were opened and leaves them again when they close. Pure reading of a view's cells.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stream.core.buckets import WINDOWS_MS, Calendar, Size
from stream.core.catalogue import LIVE, METRICS, TICKETS
from stream.live.axis import Labels
from stream.live.store import Store

if TYPE_CHECKING:
    from stream.live.view import View

AGES = ("1h", "24h", "7d", "30d")
"""The windows by which the backlog is divided into ages."""
OPEN, AWAITING = TICKETS.index["open"], TICKETS.index["awaiting"]
_STILL_OPEN = TICKETS.index["still_open"]
_FINER = {Size.D1: Size.H1, Size.H1: Size.M1, Size.M1: Size.S10}

Group = tuple[str, ...]
Bucket = tuple[Size, int]


@dataclass(frozen=True, slots=True)
class Backlog:
    """The open tickets of one group of channels and teams, under those that they have now.

    `awaiting` of the `open` ones wait for their customer. The oldest was opened at or after
    `oldest_opened_ms` and before `oldest_before_ms`, which lie as far apart as the finest bucket
    that is still kept there (10 s to 1 d); None where none is open, or it is older than all
    buckets. `younger` counts, for each of `AGES`, the open tickets that were opened within it.
    """

    labels: Mapping[str, str]
    open: int
    awaiting: int
    oldest_opened_ms: int | None
    oldest_before_ms: int | None
    younger: Mapping[str, int]


def backlog(
    view: "View", now_ms: int, by: tuple[str, ...], filters: Mapping[str, frozenset[str]]
) -> list[Backlog]:
    """A row per group that has open tickets, most first; without `by` always exactly one row."""
    members = _members(view, by, filters)
    store = view.store(TICKETS.topic)
    is_open, awaiting = (store.field((Size.ALL, 0), field) for field in (OPEN, AWAITING))
    oldest, younger = oldest_buckets(view, members), _younger(view, now_ms)
    rows = []
    for group, labels in members.items():
        at = oldest.get(group)
        rows.append(
            Backlog(
                dict(zip(by, group, strict=True)),
                _sum(is_open, labels),
                _sum(awaiting, labels),
                None if at is None else at[1],
                None if at is None else view.calendar.end(*at),
                {name: _sum(counts, labels) for name, counts in younger.items()},
            )
        )
    rows.sort(key=lambda row: (-row.open, tuple(row.labels.values())))
    return rows


def oldest_buckets(view: "View", members: Mapping[Group, list[Labels]]) -> dict[Group, Bucket]:
    """The finest bucket in which the oldest open ticket of each group was opened.

    Days are looked through from the newest back, until all that are open have been met.
    """
    store = view.store(TICKETS.topic)
    is_open = store.field((Size.ALL, 0), OPEN)
    left = {group: _sum(is_open, labels) for group, labels in members.items()}
    found: dict[Group, Bucket] = {}
    for start_ms in sorted(store.starts(Size.D1), reverse=True):
        left = {group: n for group, n in left.items() if n > 0}
        if not left:
            break
        for group in left:
            count = _sum(store.field((Size.D1, start_ms), _STILL_OPEN), members[group])
            if count:
                found[group] = Size.D1, start_ms
                left[group] -= count
    return {group: _refine(store, view.calendar, at, members[group]) for group, at in found.items()}


def _members(
    view: "View", by: tuple[str, ...], filters: Mapping[str, frozenset[str]]
) -> dict[Group, list[Labels]]:
    """Label sets with open tickets, by group."""
    store = view.store(TICKETS.topic)
    place: Callable[[str], int] = TICKETS.dimensions.index
    shown, wanted = [place(n) for n in by], [(place(n), kept) for n, kept in filters.items()]
    members: dict[Group, list[Labels]] = {} if by else {(): []}
    for labels in store.field((Size.ALL, 0), OPEN):
        if all(labels[i] in kept for i, kept in wanted):
            members.setdefault(tuple(labels[i] for i in shown), []).append(labels)
    return members


def _refine(store: Store, calendar: Calendar, at: Bucket, labels: list[Labels]) -> Bucket:
    """The first of the finer buckets of a bucket that holds any, as fine as they are kept."""
    size, start_ms = at
    end_ms = calendar.end(size, start_ms)
    while (finer := _FINER.get(size)) is not None:
        at_ms = calendar.start(finer, start_ms)
        while at_ms < end_ms and not _sum(store.field((finer, at_ms), _STILL_OPEN), labels):
            at_ms = calendar.end(finer, at_ms)
        if at_ms >= end_ms:
            break
        size, start_ms, end_ms = finer, at_ms, calendar.end(finer, at_ms)
    return size, start_ms


def _sum(counts: Mapping[Labels, int], labels: Iterable[Labels]) -> int:
    return sum(counts.get(one, 0) for one in labels)


def _younger(view: "View", now_ms: int) -> dict[str, Mapping[Labels, int]]:
    """Open tickets that were opened within each of the ages, by label set."""
    found: dict[str, Mapping[Labels, int]] = {}
    for name in AGES:
        window = view.window(METRICS["fcr"], WINDOWS_MS[name], LIVE, now_ms)
        found[name] = window.field(_STILL_OPEN) if window else {}
    return found
