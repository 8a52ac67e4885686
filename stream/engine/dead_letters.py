"""Bad records, set aside byte for byte in a topic of their own.

Owns their form and their delivery, at least once: `send` takes them, `flushed` returns when the
broker has them. A worker waits for it before its ledger passes their offsets, and for `room` before
it takes more records: a flood must neither fill the memory nor make a flush without end. What is
bad, and why, the core says.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from stream.core.records import Drop, RecordBatch
from stream.engine.credentials import Credentials, client_options
from stream.engine.retry import is_transient, pauses_s

MAX_DETAIL: Final = 200
BATCH_BYTES: Final = 900_000  # below the limit of a topic that was made without settings
MAX_RECORD_BYTES: Final = 16 << 20
MOST_WAITING_BYTES: Final = 8 << 20
"""Of one source partition; what comes with the record that reaches it may go beyond."""

log = logging.getLogger(__name__)


class DeadLetterError(Exception):
    """Dead letters cannot be written, however often it is tried."""


class Letter(NamedTuple):
    """A bad record as it is written."""

    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]


@dataclass(slots=True)
class _Queue:
    """What waits of one source partition, oldest first."""

    letters: list[Letter] = field(default_factory=list)
    size: int = 0

    def extend(self, letters: Sequence[Letter]) -> None:
        self.letters.extend(letters)
        self.size += sum(map(_size, letters))

    def sent(self, count: int) -> None:
        self.size -= sum(map(_size, self.letters[:count]))
        del self.letters[:count]


class DeadLetters:
    """Writes to `topic`. `prefix` is what the cluster's topic names have before ours."""

    def __init__(
        self,
        bootstrap: str,
        topic: str,
        *,
        prefix: str = "",
        credentials: Credentials | None = None,
        timeout_s: float = 10.0,
    ) -> None:
        self._topic = topic
        self._prefix = prefix
        self._timeout_s = timeout_s
        self._bootstrap = bootstrap
        self._credentials = credentials
        self._waiting: dict[tuple[str, int], _Queue] = {}
        self._fewer = asyncio.Event()
        self._partitions = 0

    async def start(self) -> None:
        """Connect. The topic must exist. Raises KafkaError, OSError."""
        self._producer = AIOKafkaProducer(
            bootstrap_servers=self._bootstrap,
            acks="all",
            max_batch_size=BATCH_BYTES,
            max_request_size=MAX_RECORD_BYTES,
            request_timeout_ms=round(self._timeout_s * 1000),
            **client_options(self._credentials),
        )
        try:
            await self._producer.start()
            self._partitions = len(await self._producer.partitions_for(self._topic))
        except BaseException:
            await self._producer.stop()
            raise

    async def stop(self) -> None:
        """Disconnect; what was not flushed is forgotten."""
        self._waiting.clear()
        self._fewer.set()
        await self._producer.stop()

    def send(self, batch: RecordBatch, drops: Sequence[Drop]) -> None:
        """Take the dropped records of a batch; `flushed` delivers them."""
        if drops:
            waiting = self._waiting.setdefault((batch.topic, batch.partition), _Queue())
            waiting.extend(_letters(batch, drops, self._prefix))

    async def room(self, topic: str, partition: int) -> None:
        """Return when little of a source partition waits, or it is forgotten."""
        source = (topic, partition)
        while source in self._waiting and self._waiting[source].size >= MOST_WAITING_BYTES:
            self._fewer.clear()
            await self._fewer.wait()

    async def flushed(self, topic: str, partition: int) -> None:
        """Deliver what a source partition has waiting; return when the broker has it all.

        Tries again until it succeeds or the partition is forgotten. Raises DeadLetterError.
        """
        source = (topic, partition)
        waiting = self._waiting.get(source)
        if waiting is None:
            return
        due = len(waiting.letters)
        while due and self._waiting.get(source) is waiting:
            sent = await self._deliver(source, waiting.letters[:due])
            waiting.sent(sent)
            self._fewer.set()
            due -= sent
        if not waiting.letters and self._waiting.get(source) is waiting:
            del self._waiting[source]

    def forget(self, topic: str, partition: int) -> None:
        """Drop what a lost partition has waiting: its next owner meets the same records again."""
        self._waiting.pop((topic, partition), None)
        self._fewer.set()

    async def _deliver(self, source: tuple[str, int], letters: Sequence[Letter]) -> int:
        """Write the first of the letters, as many as fit a batch; return how many that were."""
        waiting = self._waiting[source]
        most = len(letters)
        for pause_s in pauses_s():
            try:
                return await self._attempt(source[1], letters[:most])
            except MessageSizeTooLargeError:
                if most == 1:
                    letters = [_hollow(letters[0])]
                most = 1
                continue
            except (KafkaError, OSError) as error:
                if not is_transient(error):
                    raise DeadLetterError(f"{self._topic}: {error!r}") from error
                log.warning("%s: write repeated: %r", self._topic, error)
            await asyncio.sleep(pause_s)
            if self._waiting.get(source) is not waiting:
                return 0
        raise AssertionError  # the pauses have no end

    async def _attempt(self, partition: int, letters: Sequence[Letter]) -> int:
        batch = self._producer.create_batch()
        count = 0
        for letter in letters:
            # A batch, since `send` refuses records that have neither key nor value.
            if batch.append(timestamp=None, **letter._asdict()) is None:
                break
            count += 1
        batch.close()
        async with asyncio.timeout(self._timeout_s):
            sent = await self._producer.send_batch(
                batch, self._topic, partition=partition % self._partitions
            )
        # Waited for, not cancelled: an answer that nobody hears would be logged as a fault.
        sent.add_done_callback(lambda late: late.cancelled() or late.exception())
        done, _ = await asyncio.wait([sent], timeout=self._timeout_s)
        if not done:
            raise TimeoutError
        sent.result()
        return count


def _size(letter: Letter) -> int:
    """About what it takes, its headers included."""
    return len(letter.key or b"") + len(letter.value or b"") + MAX_DETAIL


def _letters(batch: RecordBatch, drops: Sequence[Drop], prefix: str) -> list[Letter]:
    at = {offset: index for index, offset in enumerate(batch.offsets)}
    topic = (prefix + batch.topic).encode()
    partition = str(batch.partition).encode()
    letters = []
    for drop in drops:
        index = at[drop.offset]
        headers = [
            ("reason", drop.reason.value.encode()),
            ("detail", drop.detail[:MAX_DETAIL].encode(errors="replace")),
            ("topic", topic),
            ("partition", partition),
            ("offset", str(drop.offset).encode()),
        ]
        key = batch.keys[index] if batch.keys else None
        letters.append(Letter(key, batch.values[index], headers))
    return letters


def _hollow(letter: Letter) -> Letter:
    """A letter that no topic takes, without its contents: its headers still say where it lies."""
    log.error("a dead letter is too large to be written: %r", letter.headers)
    return Letter(None, None, letter.headers)
