"""A Kafka topic as a log.

Owns the producer and how a record is repeated until it is known to be written; reading is
`log_reader`'s. Knows no record formats.

The producer is not idempotent: such a one retries without end, is refused for good by a broker that
forgot its sequence numbers, and spares nothing here, where a record written twice does no harm.
"""

import asyncio
import logging
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from contextlib import AsyncExitStack
from typing import Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from stream.engine.credentials import Credentials, client_options
from stream.engine.kafka_admin import KafkaAdmin
from stream.engine.log import Appended, LogError, Sink
from stream.engine.log_reader import LogReader
from stream.engine.retry import is_transient, pauses_s

MAX_RECORD_BYTES: Final = 16 << 20
LOG_APPEND_TIME: Final = 1

logger = logging.getLogger(__name__)


class KafkaLog:
    """The topic `name`, which must exist. `timeout_s` bounds each request, not an operation."""

    def __init__(
        self,
        bootstrap: str,
        name: str,
        *,
        credentials: Credentials | None = None,
        timeout_s: float = 10.0,
    ) -> None:
        self.name = name
        self._bootstrap = bootstrap
        self._credentials = credentials
        self._timeout_s = timeout_s
        self._clients = AsyncExitStack()

    async def start(self) -> AbstractSet[int]:
        """Connect; return the partitions. Raises KafkaError, OSError."""
        clients = self._clients
        try:
            self._producer = AIOKafkaProducer(
                bootstrap_servers=self._bootstrap,
                acks="all",
                max_request_size=MAX_RECORD_BYTES,
                request_timeout_ms=round(self._timeout_s * 1000),
                **client_options(self._credentials),
            )
            clients.push_async_callback(self._producer.stop)
            await self._producer.start()
            partitions = frozenset(await self._producer.partitions_for(self.name))
            self._reader = LogReader(
                self._bootstrap,
                self.name,
                credentials=self._credentials,
                timeout_s=self._timeout_s,
            )
            clients.push_async_callback(self._reader.stop)
            await self._reader.start(partitions)
            self._admin = KafkaAdmin(
                self._bootstrap, credentials=self._credentials, timeout_s=self._timeout_s
            )
            clients.push_async_callback(self._admin.stop)
            await self._admin.start()
        except BaseException:
            await self.stop()
            raise
        return partitions

    async def stop(self) -> None:
        """Disconnect; may be called at any time, more than once."""
        await self._clients.aclose()

    async def append(self, partition: int, record: bytes, check: Callable[[], None]) -> Appended:
        """Append a record; see `Log`."""
        for pause_s in pauses_s():
            check()
            try:
                async with asyncio.timeout(self._timeout_s):
                    sent = await self._producer.send(self.name, record, partition=partition)
                    written = await sent
                stamped = written.timestamp_type == LOG_APPEND_TIME
                return Appended(int(written.offset), written.timestamp if stamped else None)
            except (KafkaError, OSError) as error:
                if not is_transient(error):
                    raise self._told(partition, error) from error
                logger.warning("%s/%d: write repeated: %r", self.name, partition, error)
            await asyncio.sleep(pause_s)
        raise AssertionError  # the pauses have no end

    async def read(self, partition: int, start: int, end: int, sink: Sink) -> None:
        """Read a stretch of a partition; see `Log`."""
        try:
            await self._reader.read(partition, start, end, sink)
        except (KafkaError, OSError) as error:
            raise self._told(partition, error) from error

    async def end(self, partition: int) -> int:
        """Return the offset that the next record will get."""
        try:
            return await self._reader.end(partition)
        except (KafkaError, OSError) as error:
            raise self._told(partition, error) from error

    async def delete_before(self, partition: int, offset: int) -> None:
        """Delete the records before an offset; the embedded broker does not offer it."""
        try:
            await self._admin.delete_records(self.name, partition, offset)
        except (KafkaError, OSError) as error:
            raise self._told(partition, error) from error

    def _told(self, partition: int, error: Exception) -> LogError:
        return LogError(f"{self.name}/{partition}: {error!r}")
