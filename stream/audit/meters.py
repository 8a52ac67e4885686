"""The auditor's own metrics. Knows nothing of where they are shown."""

import time

from prometheus_client import CollectorRegistry, Counter, Gauge

from stream.core.records import TopicPartition


class AuditMeters:
    """Counters and gauges in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._since_s: dict[TopicPartition, float] = {}
        self._began_s = time.monotonic()
        self.difference = Gauge(
            "engagement_audit_difference",
            "Figures that are not what they should be: of the ledger against the source topics, "
            "of Redis against the ledger.",
            ["topic", "partition", "where"],
            registry=self.registry,
        )
        self.checked = Counter(
            "engagement_audit_checked",
            "Cells that were compared.",
            ["where"],
            registry=self.registry,
        )
        self.recounted = Counter(
            "engagement_audit_recounted_records",
            "Records of the source topics that were counted again.",
            ["topic"],
            registry=self.registry,
        )
        self.lag = self._partition_gauge(
            "stream_audit_lag_records", "Records that are still to be counted again."
        )
        self.coverage = self._partition_gauge(
            "stream_audit_coverage_ratio",
            "Share of the records behind the ledger's figures that were counted again.",
        )
        Gauge(
            "engagement_audit_age_seconds",
            "Since every partition under audit was last compared as a whole.",
            registry=self.registry,
        ).set_function(self._age_s)

    def took_up(self, place: TopicPartition) -> None:
        """A partition is under audit from now on."""
        self._since_s[place] = time.monotonic()

    def compared(self, place: TopicPartition) -> None:
        """A partition was compared as a whole."""
        self._since_s[place] = time.monotonic()

    def gave_up(self, place: TopicPartition) -> None:
        """A partition is no longer under audit; what was found of it stays."""
        self._since_s.pop(place, None)
        labels = {"topic": place.topic, "partition": str(place.partition)}
        for gauge in (self.lag, self.coverage):
            gauge.remove_by_labels(labels)

    def _age_s(self) -> float:
        return time.monotonic() - min(self._since_s.values(), default=self._began_s)

    def _partition_gauge(self, name: str, text: str) -> Gauge:
        return Gauge(name, text, ["topic", "partition"], registry=self.registry)
