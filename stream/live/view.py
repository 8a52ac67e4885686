"""View: the merged read model in memory, and what may be asked of it.

A reader fills it (`take_…`, `lose`, `hear`, `publish`), servers ask it, on one event loop; every
question sees whole steps only. Knows nothing of Redis; times are passed in.
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from stream.core.buckets import EPOCH_MAX_MS, Calendar, Size
from stream.core.catalogue import LIVE, SESSIONS, SETTLED, SOURCES, Metric, Source
from stream.core.cells import Values
from stream.core.records import TopicPartition
from stream.live import evaluate
from stream.live.axis import Labels
from stream.live.backlog import Backlog, backlog
from stream.live.cover import Shelf
from stream.live.picture import Pairs, Picture, Place
from stream.live.query import Answer, Explanation, PartitionStatus, Query, Status
from stream.live.rows import About, PartitionInfo
from stream.live.store import Store
from stream.live.windows import Window, Windows, window_bounds

STALE_AFTER_S = 30.0
"""An older view is no longer complete, and nothing of it is exported."""
_ACTIVE_WINDOW_MS = 300_000
_LATENCIES_KEPT = 10_000
_FAMILIES = {"first_response_time": "first_response", "resolution_time": "resolution"}


@dataclass(frozen=True, slots=True)
class Latency:
    """So many records, recorded then, first seen in the view then (milliseconds)."""

    recorded_ms: int
    seen_ms: int
    records: int


@dataclass(slots=True)
class _Partition:
    info: PartitionInfo | None = None
    heard_ms: int | None = None  # by Redis' clock
    whole: bool = False
    next_info: PartitionInfo | None = None  # taken up, and shown once its cells are


class View:
    """All that servers show. A partition silent for `silent_after_ms` has no owner."""

    def __init__(self, *, silent_after_ms: int = 10_000) -> None:
        self.version = 0
        self.about: About | None = None
        self.calendar = Calendar()
        self._silent_after_ms = silent_after_ms
        self._redis_ahead_ms = 0
        self._partitions: dict[TopicPartition, _Partition] = {}
        self._stores: dict[str, Store] = {}
        self._windows: dict[str, Windows] = {}
        for topic in SOURCES:
            self._stores[topic] = Store()
            self._windows[topic] = Windows(self._stores[topic])
        self._latencies: deque[Latency] = deque(maxlen=_LATENCIES_KEPT)
        self._published = asyncio.Event()

    # --- asking ---

    async def changed(self, after: int) -> int:
        """Wait for a version later than `after`; the version by then."""
        while self.version <= after:
            await self._published.wait()
        return self.version

    def query(self, query: Query, now_ms: int) -> Answer:
        """Answer a question about a window or range."""
        return evaluate.answer(self, query, now_ms)

    def series(self, query: Query, step: Size, now_ms: int) -> Answer:
        """Answer it step by step. Raises TooManyRowsError."""
        return evaluate.series(self, query, step, now_ms)

    def explain(self, query: Query, now_ms: int) -> Explanation:
        """Say what stands behind a figure."""
        return evaluate.explain(self, query, now_ms)

    def tally(self, place: PartitionStatus) -> Mapping[str, int]:
        """All records of a partition since its ledger began, by outcome and reason."""
        info = self._partitions[TopicPartition(place.topic, place.partition)].info
        return info.tally if info else {}

    def status(self, now_ms: int) -> Status:
        """Every partition as of now."""
        partitions = [self._status(place, now_ms) for place in sorted(self._partitions)]
        ready = bool(partitions) and all(p.status in ("live", "paused") for p in partitions)
        about = self.about
        return Status(ready, self.age_s(now_ms), about.definition_id if about else None, partitions)

    def age_s(self, now_ms: int) -> float | None:
        """Seconds since the partition longest unheard of was heard; None if one never was."""
        heard = [p.heard_ms for p in self._partitions.values()]
        if not heard:
            return None
        oldest = 0
        for at in heard:
            if at is None:
                return None
            oldest = max(oldest, now_ms + self._redis_ahead_ms - at)
        return oldest / 1000

    def fresh(self, now_ms: int) -> bool:
        """Whether the view is young enough to be shown as now."""
        age_s = self.age_s(now_ms)
        return age_s is not None and age_s <= STALE_AFTER_S

    def complete(self, now_ms: int) -> bool:
        """Whether every partition is live and the view fresh."""
        return self.fresh(now_ms) and all(
            self._status(place, now_ms).status == "live" for place in self._partitions
        )

    def as_of_ms(self, topic: str) -> int | None:
        """All records of a topic that were recorded before this moment are in."""
        return _least(p.info.as_of_ms if p.info else None for p in self._of(topic))

    def settled_through_ms(self, metric: Metric) -> int | None:
        """All of a metric that started before this moment is final; None: nothing known, or live.

        A partition that never held a record bounds nothing once it is caught up.
        """
        if not metric.settles:
            return None
        family = settling_family(metric)
        return _least(
            p.info.settled_through_ms.get(family) if p.info else None
            for p in self._of(metric.source.topic)
            if not (p.info and p.info.clock_ms is None and p.info.caught_up)
        )

    def window(self, metric: Metric, window_ms: int, state: str, now_ms: int) -> Window | None:
        """Sums of a standard window by label set; None: settled, and nothing has settled yet."""
        if state == LIVE:
            return self._window(metric.source.topic, window_ms, LIVE, "", now_ms, EPOCH_MAX_MS)
        limit_ms = self.settled_through_ms(metric)
        if limit_ms is None:
            return None
        family = settling_family(metric)
        return self._window(metric.source.topic, window_ms, SETTLED, family, now_ms, limit_ms)

    def window_until(
        self, metric: Metric, window_ms: int, state: str, limit_ms: int, name: str, now_ms: int
    ) -> Window:
        """A window that ends at a limit at the latest; `name` tells it from those with others."""
        return self._window(metric.source.topic, window_ms, state, name, now_ms, limit_ms)

    def totals(self, source: Source) -> Mapping[Labels, Values]:
        """The sums of all time, by label set: counters that are never taken back."""
        return self._stores[source.topic].counts((Size.ALL, 0)).maps()

    def active_sessions(self, now_ms: int) -> Mapping[Labels, int]:
        """Open sessions with an interaction in the last five minutes, by label set."""
        window = self._window(SESSIONS.topic, _ACTIVE_WINDOW_MS, LIVE, "", now_ms, EPOCH_MAX_MS)
        return window.field(SESSIONS.index["active"])

    def backlog(
        self,
        now_ms: int,
        by: tuple[str, ...] = (),
        filters: Mapping[str, frozenset[str]] = MappingProxyType({}),
    ) -> list[Backlog]:
        """Open tickets by any of channel and team, most first; without `by` exactly one row."""
        return backlog(self, now_ms, by, filters)

    def drain_latencies(self) -> list[Latency]:
        """What reached the view since the last drain; a bounded number is kept."""
        drained = list(self._latencies)
        self._latencies.clear()
        return drained

    def store(self, topic: str) -> Store:
        """The merged cells of a topic."""
        return self._stores[topic]

    def shelf(self, topic: str) -> Shelf:
        """What is still kept of a topic."""
        newest: int | None = None
        for partition in self._of(topic):
            info = partition.info
            for at in (info.clock_ms, info.newest_event_ms) if info else ():
                newest = at if newest is None or (at is not None and at > newest) else newest
        return Shelf(self.calendar, newest)

    # --- filling ---

    def take_about(self, about: About | None) -> None:
        """Take up what the workers agree on; None: Redis does not know (any more)."""
        if about is None:
            for partition in self._partitions.values():
                partition.whole = False
            return
        if self.about is None or about.timezone != self.about.timezone:
            self.calendar = Calendar(about.timezone)
        self.about = about
        places = {
            TopicPartition(topic, number)
            for topic, count in about.partitions.items()
            if topic in SOURCES
            for number in range(count)
        }
        for place in self._partitions.keys() - places:
            del self._partitions[place]
            self._stores[place.topic].drop(place.partition)
        for place in places - self._partitions.keys():
            self._partitions[place] = _Partition()

    @property
    def places(self) -> list[TopicPartition]:
        """Every partition that there is."""
        return sorted(self._partitions)

    async def take_picture(
        self, place: TopicPartition, picture: Picture, info: PartitionInfo, heard_ms: int
    ) -> None:
        """Put a whole picture in the place of what was held of a partition."""
        partition = self._partitions[place]
        await self._stores[place.topic].replace(place.partition, picture)
        partition.info, partition.next_info, partition.whole = info, None, True
        partition.heard_ms = heard_ms

    def take_step(
        self,
        place: TopicPartition,
        info: PartitionInfo,
        heard_ms: int,
        labels: Pairs = (),
        buckets: Iterable[tuple[Place, Pairs]] = (),
    ) -> None:
        """Go on from a whole picture by one step. Raises KeyError for an unknown label id."""
        partition = self._partitions[place]
        self._stores[place.topic].write(place.partition, labels, buckets)
        partition.next_info, partition.heard_ms = info, heard_ms

    def take_latencies(self, pairs: Iterable[tuple[int, int]], seen_ms: int) -> None:
        """Note when records became visible."""
        self._latencies.extend(Latency(at, seen_ms, records) for at, records in pairs)

    def lose(self, place: TopicPartition) -> None:
        """A partition's picture is no longer known to be whole; the last one is kept meanwhile."""
        if place in self._partitions:
            self._partitions[place].whole = False

    def hear(self, place: TopicPartition, heard_ms: int) -> None:
        """A sign of life from a partition whose picture is not whole."""
        self._partitions[place].heard_ms = heard_ms

    def take_redis_time(self, redis_ms: int, now_ms: int) -> None:
        """Compare clocks, so that ages can be told while Redis is away."""
        self._redis_ahead_ms = redis_ms - now_ms

    def publish(self) -> None:
        """Show what was taken up, all at once, and wake those who wait."""
        for store in self._stores.values():
            store.settle()
        for partition in self._partitions.values():
            if partition.next_info is not None:
                partition.info, partition.next_info = partition.next_info, None
        self.version += 1
        published, self._published = self._published, asyncio.Event()
        published.set()

    # --- inside ---

    def _of(self, topic: str) -> Iterable[_Partition]:
        return (p for place, p in self._partitions.items() if place.topic == topic)

    def _window(
        self, topic: str, window_ms: int, state: str, family: str, now_ms: int, limit_ms: int
    ) -> Window:
        bounds = window_bounds(self.shelf(topic), window_ms, now_ms, limit_ms)
        return self._windows[topic].at((window_ms, state, family), bounds)

    def _status(self, place: TopicPartition, now_ms: int) -> PartitionStatus:
        partition = self._partitions[place]
        info, heard_ms = partition.info, partition.heard_ms
        silent_ms = None if heard_ms is None else now_ms + self._redis_ahead_ms - heard_ms
        if silent_ms is None or silent_ms > self._silent_after_ms:
            status = "unowned"
        elif info is None or not partition.whole:
            status = "recovering"
        else:
            status = info.status
        if info is None:
            return PartitionStatus(place.topic, place.partition, status, 0, None, None, None)
        return PartitionStatus(
            place.topic,
            place.partition,
            status,
            info.through,
            info.lag,
            info.watermark_ms,
            info.worker or None,
        )


def settling_family(metric: Metric) -> str:
    """Under which key the partitions say how far a metric has settled."""
    return _FAMILIES.get(metric.name, metric.source.topic)


def _least(values: Iterable[int | None]) -> int | None:
    """The least value; None where there is none, or one is unknown."""
    least: int | None = None
    for value in values:
        if value is None:
            return None
        least = value if least is None or value < least else least
    return least
