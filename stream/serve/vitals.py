"""Samples about the view itself: how old it is, its partitions, its definition, its latency.

These are exported however old the view is.
"""

import platform
from bisect import bisect_left
from collections.abc import Iterator

import stream
from stream.core.catalogue import METRICS, SOURCES
from stream.core.durations import format_duration
from stream.live.query import Status
from stream.live.rows import About
from stream.live.view import View
from stream.serve.exposition import Family, Sample, label_text
from stream.settings import Settings

STATUSES = ("live", "recovering", "paused", "unowned")
LATENCY_BOUNDS_S = (0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


class LatencyHistogram:
    """From record timestamp to view, one observation per record."""

    def __init__(self) -> None:
        self._counts = [0] * (len(LATENCY_BOUNDS_S) + 1)
        self._sum_s = 0.0

    def drain(self, view: View) -> None:
        """Take up what has reached the view since."""
        for latency in view.drain_latencies():
            seconds = max(0, latency.seen_ms - latency.recorded_ms) / 1000
            self._counts[bisect_left(LATENCY_BOUNDS_S, seconds)] += latency.records
            self._sum_s += seconds * latency.records

    def family(self) -> Family:
        """The histogram."""
        samples: list[Sample] = []
        total = 0
        for bound, count in zip((*LATENCY_BOUNDS_S, float("inf")), self._counts, strict=True):
            total += count
            le = "+Inf" if bound == float("inf") else f"{bound!r}"
            samples.append(("_bucket", label_text([("le", le)]), total))
        samples += [("_sum", "", self._sum_s), ("_count", "", total)]
        return Family(
            "stream_event_to_view_seconds",
            "histogram",
            "Seconds from a record's timestamp until it was in the view.",
            samples,
        )


def vitals(view: View, settings: Settings, now_ms: int) -> Iterator[Family]:
    """The state of the view and what it was made by."""
    status = view.status(now_ms)
    age_s = float("inf") if status.view_age_s is None else status.view_age_s
    yield Family(
        "engagement_view_age_seconds",
        "gauge",
        "Seconds since the partition longest unheard of was heard; +Inf if one never was.",
        [("", "", age_s)],
    )
    yield _partitions(status)
    yield Family(
        "stream_build",
        "info",
        "The version that runs.",
        [("_info", label_text([("version", stream.__version__), ("python", _PYTHON)]), 1)],
    )
    if view.about is not None:
        labels = label_text(_definition(view.about, settings))
        yield Family(
            "stream_definition",
            "info",
            "The rules that shape the figures, and the definitions that gauges are read with.",
            [("_info", labels, 1)],
        )


def as_of(view: View) -> Family:
    """How far each topic has been counted."""
    times = {topic: view.as_of_ms(topic) for topic in SOURCES}
    samples: list[Sample] = [
        ("", label_text([("topic", topic)]), at_ms / 1000)
        for topic, at_ms in times.items()
        if at_ms is not None
    ]
    return Family(
        "engagement_as_of_timestamp_seconds",
        "gauge",
        "All that was recorded before this time is in.",
        samples,
    )


def settled_through(view: View) -> Family:
    """How far each metric has settled."""
    samples: list[Sample] = []
    for metric in METRICS.values():
        at_ms = view.settled_through_ms(metric)
        if at_ms is not None:
            samples.append(("", label_text([("metric", metric.name)]), at_ms / 1000))
    return Family(
        "engagement_settled_through_timestamp_seconds",
        "gauge",
        "All that started before this time is final.",
        samples,
    )


def _partitions(status: Status) -> Family:
    counts = {(topic, name): 0 for topic in SOURCES for name in STATUSES}
    for partition in status.partitions:
        counts[partition.topic, partition.status] += 1
    samples: list[Sample] = [
        ("", label_text([("topic", topic), ("status", name)]), n)
        for (topic, name), n in counts.items()
    ]
    return Family(
        "engagement_partitions", "gauge", "Partitions of each topic by their status.", samples
    )


def _definition(about: About, settings: Settings) -> Iterator[tuple[str, str]]:
    yield "definition_id", about.definition_id
    yield "bounce", settings.bounce
    yield "fcr", settings.fcr_conditions or "none"
    for name, value in sorted(about.rules.items()):
        if name.endswith("_ms"):
            yield name.removesuffix("_ms"), format_duration(int(value))
        else:
            yield name, str(value).lower() if isinstance(value, bool) else str(value)


_PYTHON = platform.python_version()
