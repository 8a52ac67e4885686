"""A launch by channel, variant and whatever else clicks carry; and whether it is tagged right."""

from collections.abc import Mapping, Sequence

from stream.core.campaigns import Campaign
from stream.core.catalogue import CLICKS, METRICS, NOT_SET, SESSIONS, Fraction, Source
from stream.core.launches import KEPT_BY, LaunchId
from stream.launch.answer import ChannelSeen, Figures, Part, Split, Tagging, Untagged
from stream.launch.cells import Reading, Sighting, sum_between
from stream.launch.measures import MICROS
from stream.live.query import Query
from stream.live.view import View

PARTS_LISTED = 20
_EVENTS = {CLICKS.topic: ("impressions", "clicks"), SESSIONS.topic: ("sessions",)}

Sums = Mapping[str, float]


def figures_of(sums: Sums, bounce: Fraction) -> Figures:
    """Counts and rates of summed fields."""
    counts = {name: sums.get(name, 0) for name in ("impressions", "clicks", "sessions")}
    counts["conversions"] = sums.get("converted", 0)
    counts["value"] = sums.get("value_micros", 0) / MICROS
    counts["cost"] = sums.get("cost_micros", 0) / MICROS
    ratios = {
        "ctr": (counts["clicks"], counts["impressions"]),
        "bounce_rate": (_sum(sums, bounce.numerator), _sum(sums, bounce.denominator)),
        "conversion_rate": (counts["conversions"], counts["sessions"]),
    }
    return Figures(counts, ratios)


def split(
    view: View, launch: LaunchId, reading: Reading, to_ms: int, bounce: Fraction
) -> tuple[list[Split], list[Untagged]]:
    """The launch by each dimension, and what of it names none."""
    splits, untagged = [], []
    for dimension in CLICKS.dimensions[1:]:
        parts = _parts(view, launch, reading, to_ms, dimension)
        ranked = sorted(parts.items(), key=lambda item: (-_size(item[1]), item[0]))
        listed = [Part(label, figures_of(sums, bounce)) for label, sums in ranked[:PARTS_LISTED]]
        others = max(0, len(ranked) - PARTS_LISTED)
        splits.append(Split(dimension, listed, others, dimension in SESSIONS.dimensions))
        carry = [source for source in (CLICKS, SESSIONS) if dimension in source.dimensions]
        untagged += [_untagged(source, dimension, parts) for source in carry]
    return splits, untagged


def tagging(
    view: View,
    launch: LaunchId,
    about: Campaign,
    reading: Reading,
    to_ms: int,
    untagged: Sequence[Untagged],
) -> Tagging:
    """Shares without a value, of all traffic and of the campaign's; channels seen or expected."""
    everywhere = [_uncampaigned(view, source, launch.at_ms, to_ms) for source in (CLICKS, SESSIONS)]
    names = [*about.channels, *(c for c in sorted(reading.channels) if c not in about.channels)]
    channels = [
        _channel(name, name in about.channels, reading.channels.get(name)) for name in names
    ]
    return Tagging([*everywhere, *untagged], channels)


def _parts(
    view: View, launch: LaunchId, reading: Reading, to_ms: int, dimension: str
) -> dict[str, Sums]:
    if dimension not in KEPT_BY:
        return _clicks_by(view, launch, to_ms, dimension)
    parts: dict[str, dict[str, float]] = {}
    for labels, sums in reading.sums.items():
        into = parts.setdefault(labels[KEPT_BY.index(dimension)], {})
        for name, n in sums.items():
            into[name] = into.get(name, 0) + n
    return dict(parts)


def _clicks_by(view: View, launch: LaunchId, to_ms: int, dimension: str) -> dict[str, Sums]:
    """Impressions and clicks by a dimension that the book does not keep."""
    if launch.at_ms >= to_ms:
        return {}
    metric = METRICS["ctr"]
    query = Query(
        metric,
        metric.fraction,
        from_ms=launch.at_ms,
        to_ms=to_ms,
        by=(dimension,),
        filters={"campaign": frozenset((launch.campaign,))},
        limit=10_000,
    )
    return {
        row.labels[dimension]: {"impressions": row.denominator, "clicks": row.numerator}
        for row in view.query(query, to_ms).rows
    }


def _untagged(source: Source, dimension: str, parts: Mapping[str, Sums]) -> Untagged:
    counts = {label: _sum(sums, _EVENTS[source.topic]) for label, sums in parts.items()}
    return Untagged(source.topic, dimension, counts.get(NOT_SET, 0), sum(counts.values()))


def _uncampaigned(view: View, source: Source, from_ms: int, to_ms: int) -> Untagged:
    """Of all traffic since the launch, how much names no campaign."""
    fields = [source.index[name] for name in _EVENTS[source.topic]]
    missing, total = (
        sum(sums.get(i, 0) for i in fields)
        for sums in (
            sum_between(view, source, NOT_SET, from_ms, to_ms),
            sum_between(view, source, None, from_ms, to_ms),
        )
    )
    return Untagged(source.topic, "campaign", missing, total)


def _channel(name: str, expected: bool, seen: Sighting | None) -> ChannelSeen:
    if seen is None:
        return ChannelSeen(name, expected, None, None, None)
    return ChannelSeen(name, expected, seen.first_ms, seen.last_ms, seen.first_grain_ms)


def _size(sums: Sums) -> float:
    return _sum(sums, ("impressions", "clicks", "sessions"))


def _sum(sums: Sums, names: Sequence[str]) -> float:
    return sum(sums.get(name, 0) for name in names)
