"""A worker's own metrics, in the names of the contract. Knows nothing of where they are shown."""

from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from stream.core.partition import Folded
from stream.core.records import TopicPartition
from stream.core.rules import Rules
from stream.live.rows import PartitionInfo

_PLACE = ("topic", "partition")
_FLUSH_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_TURN_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1.0)


class Meters:
    """Counters and gauges in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._count_records()
        self._watch_partitions()
        self.flush = Histogram(
            "stream_flush_seconds",
            "Time to write a partition's changes to the ledger.",
            buckets=_FLUSH_BUCKETS,
            registry=self.registry,
        )
        self._watch_the_loop()
        self.redis_up = self._gauge("stream_redis_up", "Whether Redis took the last write.")
        self._horizon_set = self._gauge(
            "stream_dedupe_horizon_set_seconds",
            "How far back duplicates are to be known (STREAM_DEDUPE_HORIZON).",
        )
        self._limits = self._gauge(
            "stream_state_items_limit",
            "How many of a kind a partition holds at most; the others grow with the traffic.",
            "kind",
        )

    def _count_records(self) -> None:
        self.events = self._counter(
            "stream_events", "Records read, by outcome.", "topic", "outcome"
        )
        self.dead_letters = self._counter(
            "stream_dead_letters", "Dead letters, by reason.", "topic", "reason"
        )
        self.miskeyed = self._counter(
            "stream_miskeyed", "Counted records whose key is not their id.", "topic"
        )
        self.lost = self._counter(
            "stream_lost_records", "Records that Kafka deleted before they were read.", *_PLACE
        )

    def _watch_the_loop(self) -> None:
        self._turns = Histogram(
            "stream_loop_blocked_seconds",
            "How long one piece of work kept the event loop from all others.",
            ("work",),
            buckets=_TURN_BUCKETS,
            registry=self.registry,
        )
        self._longest_turn = self._gauge(
            "stream_loop_blocked_max_seconds", "The longest of them since the start.", "work"
        )
        self._delays = Histogram(
            "stream_flush_delay_seconds",
            "How long after it was due a flush began.",
            buckets=_TURN_BUCKETS,
            registry=self.registry,
        )
        self._longest_delay = self._gauge(
            "stream_flush_delay_max_seconds", "The longest of them since the start."
        )
        self.note_delay = _with_longest(self._delays.observe, self._longest_delay)
        self._noting = {work: self._note_turns(work) for work in ("fold", "flush", "project")}

    def _note_turns(self, work: str) -> Callable[[float], None]:
        observe = self._turns.labels(work).observe
        return _with_longest(observe, self._longest_turn.labels(work))

    def _watch_partitions(self) -> None:
        self._lag = self._gauge("stream_lag_records", "Records not yet counted.", *_PLACE)
        self._watermark = self._gauge(
            "stream_watermark_timestamp_seconds",
            "Clock of the partition less the lateness.",
            *_PLACE,
        )
        self._paused = self._gauge(
            "stream_partition_paused",
            "1 while too many unreadable records hold the partition.",
            *_PLACE,
        )
        self._horizon = self._gauge(
            "stream_dedupe_horizon_seconds", "How far back duplicates are known.", *_PLACE
        )
        self._state = self._gauge(
            "stream_state_items",
            "What a partition holds in memory: open sessions or tickets, settled tickets, "
            "event ids, label sets, ledger entries.",
            *(*_PLACE, "kind"),
        )

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry)

    def limit(self, rules: Rules) -> None:
        """Set how much of each kind of state the rules allow."""
        self._limits.labels("event_ids").set(rules.dedupe_max_ids)
        self._limits.labels("label_sets").set(rules.max_label_sets)
        self._horizon_set.set(rules.dedupe_horizon_ms / 1000)

    def count(self, topic: str, folded: Folded) -> None:
        """Add what became of a batch."""
        for outcome, n in folded.outcomes.items():
            self.events.labels(topic, outcome).inc(n)
        for drop in folded.drops:
            self.dead_letters.labels(topic, drop.reason).inc()
        if folded.miskeyed:
            self.miskeyed.labels(topic).inc(folded.miskeyed)

    def turns(self, work: str) -> Callable[[float], None]:
        """What to tell the seconds of a turn of the event loop: of `fold`, `flush` or `project`."""
        return self._noting[work]

    def show(self, info: PartitionInfo, state: Mapping[str, int]) -> None:
        """Set the gauges of a partition; `state` counts what it holds, by kind."""
        labels = info.topic, str(info.partition)
        if info.lag is not None:
            self._lag.labels(*labels).set(info.lag)
        if info.watermark_ms is not None:
            self._watermark.labels(*labels).set(info.watermark_ms / 1000)
        if info.dedupe_horizon_ms is not None:
            self._horizon.labels(*labels).set(info.dedupe_horizon_ms / 1000)
        self._paused.labels(*labels).set(info.status == "paused")
        for kind, n in state.items():
            self._state.labels(*labels, kind).set(n)

    def forget(self, place: TopicPartition) -> None:
        """Take the gauges of a lost partition away."""
        labels = {"topic": place.topic, "partition": str(place.partition)}
        for gauge in (self._lag, self._watermark, self._paused, self._horizon, self._state):
            gauge.remove_by_labels(labels)


def _with_longest(observe: Callable[[float], None], longest: Gauge) -> Callable[[float], None]:
    most_s = 0.0

    def note(seconds: float) -> None:
        nonlocal most_s
        observe(seconds)
        if seconds > most_s:
            most_s = seconds
            longest.set(most_s)

    return note
