"""Sending records to Kafka: partitions by murmur2, in order, retried until the broker has them.

Owns batching, retries and the words a person hears while the broker is away. Knows nothing of what
the records mean, nor where they come from.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka import errors as kafka_errors

from stream.engine.credentials import Credentials, client_options
from stream.engine.diagnosis import NOBODY, diagnose
from stream.errors import UserError
from stream.partitioner import partition_of

BATCH_BYTES = 256 * 1024
RECORD_BYTES_MAX = 1_000_000
"""The largest value sent at all: Kafka's default limit, less room for key and framing."""
QUEUED_BATCHES = 2
ANSWER_PATIENCE_S = 5.0
BACKOFF_FIRST_S, BACKOFF_MOST_S = 0.25, 5.0
TOPIC_POLL_S, TOPIC_PATIENCE_S = 0.5, 10.0
KNOWN_KEYS_MAX = 200_000

Say = Callable[[str], None]
"""Tells a person one line."""
Pair = tuple[bytes | None, bytes | None]
"""Key and value."""


def silent(_line: str) -> None:
    """Tells nobody."""


@dataclass(slots=True)
class _Lane:
    """What waits for one partition; its task sends batch after batch, so order is kept."""

    topic: str
    partition: int
    waiting: asyncio.Queue[list[Pair]]
    task: asyncio.Task[None] | None = None
    records: list[Pair] = field(default_factory=list)
    size: int = 0


@dataclass(slots=True)
class _Topic:
    lanes: list[_Lane]
    known: dict[bytes, _Lane] = field(default_factory=dict)
    keyless: int = 0


class Producer:
    """An at-least-once producer: `add` records, `submit` what was added, `flush` to be sure.

    Idempotent where the broker supports it; where it does not, a batch sent again after a lost
    answer may be there twice (`resent` counts its records), and consumers drop it by `event_id`.
    """

    def __init__(
        self,
        bootstrap: str,
        *,
        credentials: Credentials | None = None,
        compression: str | None = None,
        say: Say = silent,
    ) -> None:
        self._bootstrap = bootstrap
        self._credentials = credentials
        self._compression = compression
        self._say = say
        self._client: Any = None
        self._topics: dict[str, _Topic] = {}
        self._full: list[tuple[_Lane, list[Pair]]] = []
        self._failure: UserError | None = None
        self._away = False
        self._why = ""
        self.idempotent = False
        self.acked = 0
        self.resent = 0

    async def start(self, timeout_s: float | None = None) -> None:
        """Connect, trying again while the broker is away.

        UserError after `timeout_s`, and at once where the broker refuses us.
        """
        backoff_s = BACKOFF_FIRST_S
        loop = asyncio.get_running_loop()
        deadline = None if timeout_s is None else loop.time() + timeout_s
        while not await self._connect():
            if deadline is not None and loop.time() + backoff_s > deadline:
                raise UserError(f"Kafka cannot be reached at {self._bootstrap}{self._why}")
            self._is_away()
            await asyncio.sleep(backoff_s)
            backoff_s = min(backoff_s * 2, BACKOFF_MOST_S)
        self._is_back()

    async def open(self, topic: str, timeout_s: float | None = None) -> int:
        """Wait until a topic exists and return its partition count.

        UserError after `timeout_s` (default: 10 s).
        """
        timeout_s = TOPIC_PATIENCE_S if timeout_s is None else timeout_s
        if topic in self._topics:
            return len(self._topics[topic].lanes)
        loop = asyncio.get_running_loop()
        start, said = loop.time(), False
        while not (count := await self._partitions(topic)):
            if loop.time() - start > timeout_s:
                raise UserError(f"topic '{topic}' does not exist; `stream worker` creates it")
            if not said:
                self._say(f"waiting for topic '{topic}' (a worker creates it)")
                said = True
            await asyncio.sleep(TOPIC_POLL_S)
        lanes = [_Lane(topic, i, asyncio.Queue(QUEUED_BATCHES)) for i in range(count)]
        for lane in lanes:
            lane.task = asyncio.create_task(self._run(lane))
        self._topics[topic] = _Topic(lanes)
        return count

    def add(self, topic: str, key: bytes | None, value: bytes | None) -> None:
        """Put a record into its partition's batch; nothing is sent before `submit`."""
        lane = self._lane(self._topics[topic], key)
        lane.records.append((key, value))
        lane.size += len(key or b"") + len(value or b"") + 24
        if lane.size >= BATCH_BYTES:
            self._cut(lane)

    async def submit(self) -> None:
        """Hand over all that was added; waits while too much is under way."""
        for topic in self._topics.values():
            for lane in topic.lanes:
                if lane.records:
                    self._cut(lane)
        await self.submit_full()

    async def submit_full(self) -> None:
        """Hand over the batches that are full; waits while too much is under way."""
        full, self._full = self._full, []
        for lane, records in full:
            self._check()
            await lane.waiting.put(records)
        self._check()

    async def flush(self) -> None:
        """Wait until the broker has acknowledged everything; UserError where it refused."""
        await self.submit()
        for topic in self._topics.values():
            for lane in topic.lanes:
                await lane.waiting.join()
        self._check()

    async def stop(self, timeout_s: float = 2.0) -> None:
        """Close; what is not acknowledged by then (see `flush`) is given up after `timeout_s`."""
        tasks = [lane.task for topic in self._topics.values() for lane in topic.lanes if lane.task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._client is not None:
            await _close(self._client, timeout_s)
            self._client = None

    def _lane(self, topic: _Topic, key: bytes | None) -> _Lane:
        if key is None:
            topic.keyless += 1
            return topic.lanes[topic.keyless % len(topic.lanes)]
        lane = topic.known.get(key)
        if lane is None:
            if len(topic.known) >= KNOWN_KEYS_MAX:
                topic.known.clear()
            lane = topic.known[key] = topic.lanes[partition_of(key, len(topic.lanes))]
        return lane

    def _cut(self, lane: _Lane) -> None:
        self._full.append((lane, lane.records))
        lane.records, lane.size = [], 0

    async def _run(self, lane: _Lane) -> None:
        while True:
            records = await lane.waiting.get()
            try:
                if self._failure is None:
                    await self._deliver(lane, records)
                    self.acked += len(records)
            except UserError as fault:
                self._failure = fault
            finally:
                lane.waiting.task_done()

    async def _deliver(self, lane: _Lane, records: list[Pair]) -> None:
        backoff_s = BACKOFF_FIRST_S
        while True:
            try:
                return await self._send(lane, records)
            except kafka_errors.KafkaError as fault:
                if not (fault.retriable or isinstance(fault, kafka_errors.KafkaConnectionError)):
                    place = f"{lane.topic}/{lane.partition}"
                    raise UserError(f"Kafka refused a batch of {place}: {_words(fault)}") from fault
            self._is_away()
            self.resent += len(records)
            await asyncio.sleep(backoff_s)
            backoff_s = min(backoff_s * 2, BACKOFF_MOST_S)

    async def _send(self, lane: _Lane, records: list[Pair]) -> None:
        batch = self._client.create_batch()
        append = batch.append
        for key, value in records:
            if append(timestamp=None, key=key, value=value) is None:
                raise UserError(f"a batch of {lane.topic}/{lane.partition} grew too large to send")
        impatient = asyncio.get_running_loop().call_later(ANSWER_PATIENCE_S, self._is_away)
        try:
            await (await self._client.send_batch(batch, lane.topic, partition=lane.partition))
        finally:
            impatient.cancel()
        self._is_back()

    async def _connect(self) -> bool:
        """One attempt: with idempotence, or else (the embedded broker) without."""
        for idempotent in (True, False):
            client = AIOKafkaProducer(
                bootstrap_servers=self._bootstrap,
                client_id="stream-producer",
                acks="all",
                enable_idempotence=idempotent,
                compression_type=self._compression,
                max_batch_size=BATCH_BYTES + 2 * RECORD_BYTES_MAX,
                request_timeout_ms=30_000,
                **client_options(self._credentials),
            )
            try:
                await client.start()
            except kafka_errors.KafkaConnectionError as fault:
                await _close(client, 1.0)
                why = await diagnose(fault, self._bootstrap, self._credentials)
                if why.refused:
                    raise UserError(f"Kafka at {self._bootstrap}: {why.text}") from fault
                self._why = "" if why is NOBODY else f" ({why.text})"
                return False
            except kafka_errors.KafkaError as fault:
                await _close(client, 1.0)
                if not idempotent:
                    raise UserError(f"Kafka at {self._bootstrap}: {_words(fault)}") from fault
            except BaseException:
                await _close(client, 1.0)
                raise
            else:
                self._client, self.idempotent = client, idempotent
                return True
        return False

    async def _partitions(self, topic: str) -> int:
        """0 while there is no such topic. Asks for all topics: to ask for one may create it."""
        try:
            cluster = await self._client.client.fetch_all_metadata()
        except kafka_errors.KafkaError:
            self._is_away()
            return 0
        self._is_back()
        return len(cluster.partitions_for_topic(topic) or ())

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _is_away(self) -> None:
        if not self._away:
            self._say(f"Kafka at {self._bootstrap} does not answer{self._why}; trying again")
        self._away = True

    def _is_back(self) -> None:
        self._why = ""
        if self._away:
            self._say(f"Kafka at {self._bootstrap} answers again")
        self._away = False


def quiet_client_log() -> None:
    """Silence the client library's own log, for programs that tell of faults in their own words."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


def _words(fault: Exception) -> str:
    name = type(fault).__name__.removesuffix("Error")
    said = str(fault) or getattr(fault, "description", "")
    return f"{name}: {said}" if said else name


async def _close(client: Any, timeout_s: float) -> None:
    """Stop a client that may be unable to flush: what hangs longer than `timeout_s` is dropped."""
    try:
        await asyncio.wait_for(client.stop(), timeout_s)
    except (TimeoutError, kafka_errors.KafkaError):
        pass
