"""The keeper: what one worker of a group does beside counting, for campaigns and their launches.

It carries the topics `campaigns` and `<group>-launches` on into Redis, where servers read them, and
writes to the latter what launches have come to. A lease chooses the worker; nothing is wrong if two
do it. No fault of it touches the counting: it is told, and tried again.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack

import structlog
from aiokafka.errors import KafkaError
from redis.exceptions import RedisError

from stream.clock import wall_clock_ms
from stream.engine.compacted import CompactedTopic
from stream.kafka_access import kafka_credentials
from stream.live.archivist import Archivist
from stream.live.book_reader import CAMPAIGNS, LAUNCHES, BookReader
from stream.live.launch_book import LaunchBook
from stream.live.lease import Lease
from stream.live.link import Link, stop_if_cancelled
from stream.live.mirror import (
    FORGETS_AFTER_MS,
    TOUCHED_EVERY_MS,
    Mirror,
    Standing,
)
from stream.settings import Settings
from stream.topic_plan import CAMPAIGNS as CAMPAIGNS_TOPIC
from stream.topic_plan import launches_topic

log = structlog.get_logger(__name__)

LOOK_S = 0.5
ARCHIVE_S = 5.0
LEASE_MS = 10_000
BACKOFF_S = 2.0


class Keeper:
    """One worker's keeper; `name` is the worker's."""

    def __init__(
        self,
        settings: Settings,
        link: Link,
        name: str,
        *,
        now_ms: Callable[[], int] = wall_clock_ms,
    ) -> None:
        group, credentials = settings.group, kafka_credentials(settings)
        self._now_ms = now_ms
        self._link = link
        self._lease = Lease(link, f"{group}:keeper", name, LEASE_MS)
        self._topics = {
            mirror: CompactedTopic(settings.kafka, topic, credentials=credentials)
            for mirror, topic in (
                (CAMPAIGNS, settings.topic(CAMPAIGNS_TOPIC)),
                (LAUNCHES, launches_topic(settings)),
            )
        }
        self._mirrors = {mirror: Mirror(link, group, mirror) for mirror in self._topics}
        book = LaunchBook()
        self._reader = BookReader(link, group, book)
        self._archivist = Archivist(link, group, book)
        self._archive_after_s = 0.0

    async def run(self) -> None:
        """Keep until cancelled."""
        async with AsyncExitStack() as ends:
            for topic in self._topics.values():
                ends.push_async_callback(topic.close)
            ends.push_async_callback(self._give_up_lease)
            while True:
                stop_if_cancelled()  # a cancellation may have been lost in a call to Redis
                try:
                    if await self._lease.renew():
                        await self._keep()
                    await asyncio.sleep(LOOK_S)
                except (KafkaError, RedisError, OSError) as error:  # TimeoutError is one
                    stop_if_cancelled()
                    log.warning("keeper_waits", error=repr(error)[:200])
                    await asyncio.sleep(BACKOFF_S)
                except Exception:
                    log.exception("keeper_failed")
                    await asyncio.sleep(BACKOFF_S)

    async def _keep(self) -> None:
        for name in self._topics:
            await self._carry(name)
        await self._reader.poll()
        if time.monotonic() >= self._archive_after_s:
            for key, value in await self._archivist.look():
                await self._topics[LAUNCHES].write(key, value)
            self._archive_after_s = time.monotonic() + ARCHIVE_S

    async def _carry(self, name: str) -> None:
        """Bring a mirror up to the end of its topic."""
        topic, mirror = self._topics[name], self._mirrors[name]
        ends = await topic.ends()
        if not ends:
            return
        stands = await mirror.look()
        if stands is None or self._is_of_no_use(stands, ends):
            stands = await mirror.begin(self._now_ms())
        while stands is not None and _lacks(stands, ends):
            entries, reached = await topic.read(stands.positions, ends)
            pairs = [(entry.key, entry.value) for entry in entries]
            whole = all(reached.get(number, 0) >= end for number, end in ends.items())
            whole = whole or stands.whole
            stands = await mirror.take(stands, reached, pairs, whole=whole, now_ms=self._now_ms())
            await self._lease.renew()
        if stands is not None and self._now_ms() - stands.touched_ms > TOUCHED_EVERY_MS:
            await mirror.take(stands, stands.positions, (), whole=True, now_ms=self._now_ms())

    def _is_of_no_use(self, stands: Standing, ends: dict[int, int]) -> bool:
        """It stood still for too long, or is that of a topic that is no more."""
        positions = stands.positions
        return (
            self._now_ms() - stands.touched_ms > FORGETS_AFTER_MS
            or not positions.keys() <= ends.keys()
            or any(offset > ends[number] for number, offset in positions.items())
        )

    async def _give_up_lease(self) -> None:
        try:
            await self._lease.release()
        except (RedisError, OSError):
            pass


def _lacks(stands: Standing, ends: dict[int, int]) -> bool:
    positions = stands.positions
    return not stands.whole or any(positions.get(number, 0) < end for number, end in ends.items())
