"""Sends the planned traffic and keeps the judge's own count of what Kafka acknowledged.

The producer is idempotent, so that what it had to repeat stands in the log once: each
acknowledgement is one record. Nothing is given up, however long Kafka is away.
"""

import asyncio
from collections import Counter
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, KafkaTimeoutError

from stream.clock import wall_clock_ms
from tests.chaos.plan import Shot, Traffic, Truth
from tests.support.namespaces import Namespace
from tests.support.patience import eventually

TICK_S = 0.02
UNDER_WAY_MOST = 20_000
Place = tuple[str, int]


class Feeder:
    """`await run()` sends until `stop` is called or `limit` records have been sent."""

    def __init__(self, bootstrap: str, namespace: Namespace, traffic: Traffic, limit: int) -> None:
        self.truth = Truth()
        self.sent: Counter[tuple[str, str]] = Counter()
        self.shots = 0
        self.acknowledged: dict[Place, int] = {}
        self.letters: dict[tuple[str, int, int], tuple[str, bytes | None]] = {}
        self.latest_ms = 0
        """How long after its event a part of a visit or ticket came into the log, at most."""
        self.fault: BaseException | None = None
        self._bootstrap, self._namespace = bootstrap, namespace
        self._traffic, self._limit = traffic, limit
        self._stopping = False
        self._room = asyncio.Semaphore(UNDER_WAY_MOST)
        self._under_way = 0

    @property
    def done(self) -> bool:
        """Whether as much has been sent as was wanted."""
        return self.shots >= self._limit

    def stop(self) -> None:
        self._stopping = True

    async def run(self) -> None:
        producer = AIOKafkaProducer(
            bootstrap_servers=self._bootstrap,
            acks="all",
            enable_idempotence=True,
            linger_ms=5,
            max_batch_size=262_144,
            request_timeout_ms=20_000,
            retry_backoff_ms=200,
        )
        await producer.start()
        try:
            while not (self._stopping or self.done or self.fault):
                for shot in self._traffic.due(wall_clock_ms()):
                    await self._send(producer, shot)
                await asyncio.sleep(TICK_S)
            await producer.flush()
            await eventually(lambda: self.fault or not self._under_way, 60, what="answers")
        finally:
            await producer.stop()
        if self.fault is not None:
            raise AssertionError(f"the judge lost count: {self.fault!r}")

    async def _send(self, producer: AIOKafkaProducer, shot: Shot) -> None:
        await self._room.acquire()
        self._under_way += 1
        topic = self._namespace.topic(shot.topic)
        self.shots += 1
        self.sent[shot.topic, shot.kind] += 1
        while True:
            try:
                future = await self._hand_over(producer, topic, shot)
                break
            except KafkaTimeoutError:  # its buffer is full: not taken
                continue
            except KafkaError as error:
                self.fault = error
                return
        future.add_done_callback(lambda told: self._told(shot, told))

    async def _hand_over(self, producer: AIOKafkaProducer, topic: str, shot: Shot) -> Any:
        if shot.value is None and shot.key is None:
            raise AssertionError("a record has a key or a value")
        return await producer.send(topic, shot.value, key=shot.key)

    def _told(self, shot: Shot, told: "asyncio.Future[Any]") -> None:
        self._room.release()
        self._under_way -= 1
        if told.cancelled() or told.exception() is not None:
            self.fault = self.fault or told.exception() or asyncio.CancelledError()
            return
        place = told.result()
        where = shot.topic, place.partition
        self.acknowledged[where] = max(self.acknowledged.get(where, 0), place.offset + 1)
        self.truth.add(shot)
        if shot.item is not None and not shot.dead:
            self.latest_ms = max(self.latest_ms, place.timestamp - shot.at_ms)
        if shot.dead:
            full = self._namespace.topic(shot.topic)
            self.letters[full, place.partition, place.offset] = shot.dead, shot.value
