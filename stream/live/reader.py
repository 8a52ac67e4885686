"""Reader: keeps a view up to date with what the workers write to Redis.

One blocking read follows the feeds of all partitions (on Redis Cluster one for each); a partition
whose feed does not join up is read whole, while the view keeps its last picture. Redis may be away,
empty or emptied at any time: the view ages and says so, and all goes on when it is back.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from redis.asyncio import RedisCluster
from redis.exceptions import RedisError

from stream.clock import wall_clock_ms
from stream.core.records import TopicPartition
from stream.live.feed import (
    Cursor,
    GapError,
    Loaded,
    PictureReader,
    Step,
    parse_steps,
    read_about,
    read_position,
    redis_ms,
)
from stream.live.keys import PartitionKeys
from stream.live.link import Client, explain_fault, reach, stop_if_cancelled
from stream.live.view import View

_BLOCK_MS = 250
_ENTRIES_AT_ONCE = 64
_GATHER_S = 0.02  # steps of many partitions come close together: one wake-up for them
_LONGEST_WAIT_S = 0.5
_LOADS_AT_ONCE = 2
_RETRY_LOAD_S = 0.25
_SUSPECT_AFTER_MS = 3_000
_BACKOFF_S = (0.1, 0.5)

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Place:
    """What is known of one partition: following with a cursor, or to be read whole.

    `shown` is what the view has: the ledger, the claim on it (epoch) and the source offset.
    """

    keys: PartitionKeys
    cursor: Cursor | None = None
    shown: tuple[bytes, int, int] = (b"", -1, -1)
    loading: bool = False
    load_after_s: float = 0.0


class Reader:
    """Fills one view from one namespace."""

    def __init__(
        self,
        client: Client,
        namespace: str,
        view: View,
        *,
        clock_ms: Callable[[], int] = wall_clock_ms,
        tick_s: float = 1.0,
    ) -> None:
        self._client, self._namespace, self._view = client, namespace, view
        self._clock_ms, self._tick_s = clock_ms, tick_s
        self._places: dict[TopicPartition, _Place] = {}
        self._tailed: set[TopicPartition] = set()
        self._pictures = PictureReader(namespace)
        self._loads = asyncio.Semaphore(_LOADS_AT_ONCE)
        self._news = asyncio.Event()
        self._latencies: list[tuple[int, int]] = []

    async def run(self) -> None:
        """Follow until cancelled, whatever becomes of Redis."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._tick())
            tasks.create_task(self._publish())
            tasks.create_task(self._keep_following())

    async def _tick(self) -> None:
        """Publish at least so often: ages and owners change while nothing is heard."""
        while True:
            version = self._view.version
            await asyncio.sleep(self._tick_s)
            if self._view.version == version:
                self._view.publish()

    async def _publish(self) -> None:
        """Publish soon after news, but spend no more than a quarter of the time on adding up."""
        while True:
            await self._news.wait()
            self._news.clear()
            began_s = time.monotonic()
            latencies, self._latencies = self._latencies, []
            self._view.publish()
            self._view.take_latencies(latencies, self._clock_ms())
            took_s = time.monotonic() - began_s
            await asyncio.sleep(min(max(_GATHER_S, 3 * took_s), _LONGEST_WAIT_S))

    async def _keep_following(self) -> None:
        wait_s = _BACKOFF_S[0]
        while True:
            began_s = time.monotonic()
            try:
                await self._follow()
            except* (TimeoutError, RedisError, OSError) as group:
                stop_if_cancelled()  # a time-out may hide that it is over
                _log.warning("redis is away: %s", explain_fault(group.exceptions[0]).text)
            if time.monotonic() - began_s > 2 * _BACKOFF_S[1]:
                wait_s = _BACKOFF_S[0]
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, _BACKOFF_S[1])

    async def _follow(self) -> None:
        redis = await reach(self._client)
        self._tailed.clear()
        for known in self._places.values():
            known.loading = False
        async with asyncio.TaskGroup() as tasks:
            if not isinstance(redis, RedisCluster):
                tasks.create_task(self._tail(redis, tasks, self._places))
            while True:
                await self._look_around(redis)
                stop_if_cancelled()
                if isinstance(redis, RedisCluster):
                    for place in sorted(self._places.keys() - self._tailed):
                        self._tailed.add(place)
                        tasks.create_task(self._tail(redis, tasks, [place]))
                await asyncio.sleep(self._tick_s)

    # --- what there is ---

    async def _look_around(self, redis: Any) -> None:
        """Clock and partitions; and whoever is silent may have been wiped or rolled back."""
        seconds, micros = await redis.time()
        self._view.take_redis_time(seconds * 1000 + micros // 1000, self._clock_ms())
        about = await read_about(redis, self._namespace)
        self._view.take_about(about)
        if about is None:
            for known in self._places.values():
                known.cursor = None
            return
        for gone in self._places.keys() - set(self._view.places):
            del self._places[gone]
        for found in self._view.places:
            if found not in self._places:
                self._places[found] = _Place(PartitionKeys.of(self._namespace, found))
        now_ms = seconds * 1000 + micros // 1000
        for place, known in list(self._places.items()):
            await self._check_silent(redis, place, known, now_ms)

    async def _check_silent(
        self, redis: Any, place: TopicPartition, known: _Place, now_ms: int
    ) -> None:
        cursor = known.cursor
        if cursor is None or now_ms - (redis_ms(cursor.id) or 0) < _SUSPECT_AFTER_MS:
            return
        position = await read_position(redis, known.keys)
        joined = position is not None and position[0] == cursor.fill and position[1] >= cursor.step
        if known.cursor is cursor and not joined:
            self._lose(place)

    def _lose(self, place: TopicPartition) -> None:
        self._places[place].cursor = None
        self._view.lose(place)

    # --- following ---

    async def _tail(
        self, redis: Any, tasks: asyncio.TaskGroup, mine: Iterable[TopicPartition]
    ) -> None:
        while True:
            for place in list(mine):
                self._start_load(redis, tasks, place)
            cursors = {
                known.keys.feed.encode(): (place, known.cursor)
                for place in mine
                if (known := self._places.get(place)) and known.cursor
            }
            if not cursors:
                await asyncio.sleep(_GATHER_S)
                continue
            streams = {feed: cursor.id for feed, (_, cursor) in cursors.items()}
            answer = await redis.xread(streams, count=_ENTRIES_AT_ONCE, block=_BLOCK_MS)
            stop_if_cancelled()
            for feed, entries in _by_feed(answer):
                self._take(*cursors[feed], entries)
            if answer:
                self._news.set()
                await asyncio.sleep(_GATHER_S)

    def _take(self, place: TopicPartition, cursor: Cursor, entries: Any) -> None:
        known = self._places.get(place)
        if known is None or known.cursor is not cursor:
            return
        try:
            for step in parse_steps(entries):
                known.cursor = cursor = cursor.follow(step)
                self._take_step(place, step)
        except (GapError, LookupError, ValueError) as error:
            _log.info("%s/%s is read anew %r", place.topic, place.partition, error)
            self._lose(place)

    def _take_step(self, place: TopicPartition, step: Step) -> None:
        entry = step.entry
        if entry is not None:
            heard_ms = redis_ms(step.id) or 0
            known = self._places[place]
            known.shown = known.shown[0], entry.epoch, entry.through
            self._view.take_step(place, entry.info, heard_ms, step.labels, step.buckets)
            self._latencies += entry.latencies

    # --- reading whole pictures ---

    def _start_load(self, redis: Any, tasks: asyncio.TaskGroup, place: TopicPartition) -> None:
        known = self._places.get(place)
        if known is None or known.cursor is not None or known.loading:
            return
        if time.monotonic() >= known.load_after_s:
            known.loading = True
            tasks.create_task(self._load(redis, place, known))

    async def _load(self, redis: Any, place: TopicPartition, known: _Place) -> None:
        try:
            async with self._loads:
                loaded, heard_ms = await self._pictures.load(redis, place)
                if self._places.get(place) is not known:
                    return
                if loaded is not None and _lies_behind(loaded, known):
                    return  # its owner will write a better one
                if loaded is not None:
                    known.shown = loaded.ledger, loaded.epoch, loaded.info.through
                    await self._view.take_picture(place, loaded.picture, loaded.info, heard_ms or 0)
                    known.cursor = loaded.cursor
                elif heard_ms is not None:
                    self._view.hear(place, heard_ms)
            self._news.set()
        except GapError:
            pass  # replaced or lost while it was read: the next look finds out
        except (RedisError, OSError):  # TimeoutError is one: all partitions are concerned
            raise
        except Exception as error:  # noqa: BLE001 - bytes of any kind must not end the server
            _log.warning("%s/%s cannot be read: %r", place.topic, place.partition, error)
        finally:
            known.loading = False
            known.load_after_s = time.monotonic() + _RETRY_LOAD_S


def _lies_behind(loaded: Loaded, known: _Place) -> bool:
    """Whether a picture is older than the one shown: rolled back, or a zombie wrote it."""
    ledger, epoch, through = known.shown
    return loaded.ledger == ledger and (loaded.epoch, loaded.info.through) < (epoch, through)


def _by_feed(answer: Any) -> Iterable[tuple[bytes, Any]]:
    """Streams and their entries; redis-py answers with a list or a map, as the protocol has it."""
    if not answer:
        return ()
    if isinstance(answer, dict):
        return [(feed, entries[0]) for feed, entries in answer.items()]
    return [(feed, entries) for feed, entries in answer]
