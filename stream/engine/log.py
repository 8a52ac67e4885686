"""What the ledger asks of a log: append, read back, delete the beginning. Knows no broker."""

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import NamedTuple, Protocol

Sink = Callable[[int, bytes | None], None]


class LogError(Exception):
    """The log cannot be reached, or refuses; tells which and why."""


class Appended(NamedTuple):
    """Where a record was written and, where the log stamps its records itself, when (ms)."""

    offset: int
    at_ms: int | None = None


class Log(Protocol):
    """Partitions of records, each at an offset that grows by one from record to record."""

    @property
    def name(self) -> str:
        """What to call it before people."""

    async def start(self) -> AbstractSet[int]:
        """Connect; return the partitions."""

    async def stop(self) -> None:
        """Disconnect; may be called at any time, more than once."""

    async def append(self, partition: int, record: bytes, check: Callable[[], None]) -> Appended:
        """Append a record; on return it is durable. Repeated while it may succeed.

        `check` is called before each attempt and ends them by raising. An attempt whose outcome is
        unknown may have reached the log, or reach it later. Raises LogError.
        """

    async def read(self, partition: int, start: int, end: int, sink: Sink) -> None:
        """Hand the records from `start` up to, not including, `end` to `sink`, with their offsets.

        `end` is an offset that the log has reached. Where the log no longer holds `start`, reading
        goes on at its first record: `sink` sees the jump. Raises LogError, and what `sink` raises.
        """

    async def end(self, partition: int) -> int:
        """Return the offset that the next record will get. Raises LogError."""

    async def delete_before(self, partition: int, offset: int) -> None:
        """Delete the records before an offset. Raises LogError, also where it is not offered."""
