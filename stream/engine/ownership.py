"""Which partitions are whose, from one rebalance to the next.

Owns the order of things: revoke at once, recover, set every position, only then read. Knows no
Kafka client: it is told of rebalances and asks a `Reader`. All calls are made on one event loop.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any, Protocol, TypeVar

from stream.core.records import TopicPartition
from stream.signals import wait_at_most

log = logging.getLogger(__name__)

T = TypeVar("T")

RETRY_FIRST_S, RETRY_MOST_S = 0.1, 5.0
RESTLESS_COUNT, RESTLESS_S = 10, 30.0
"""So many rebalances in so short a time are worth a warning."""


class Owner(Protocol):
    """Who keeps the state of the partitions this worker is assigned.

    `TopicPartition` bears Kafka's topic name, prefix included.
    """

    def revoke(self, partitions: set[TopicPartition]) -> None:
        """These are no longer ours. At once: drop what is pending, flush nothing."""

    async def assign(self, partitions: set[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Recover these, and say the next offset to read of each.

        One that is left out is read from the beginning of its log. An exception is logged and
        the call repeated. When a new rebalance begins, `revoke` is called and this is cancelled.
        """


class Reader(Protocol):
    """What recovery needs of the consumer."""

    def assignment(self) -> set[TopicPartition]:
        """The partitions that the group has given us."""

    async def set_positions(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Read on at these offsets."""

    async def beginning_offsets(
        self, partitions: Iterable[TopicPartition]
    ) -> Mapping[TopicPartition, int]:
        """The first offsets that the logs hold."""


class Ownership:
    """Calls the owner as rebalances come and go."""

    def __init__(self, owner: Owner, reader: Reader, fail: Callable[[Exception], None]) -> None:
        self._owner, self._reader, self._fail = owner, reader, fail
        self._owned: set[TopicPartition] = set()
        self._revocations = 0
        self._agreed = False
        self._revoked = asyncio.Event()
        self._latest: deque[float] = deque(maxlen=RESTLESS_COUNT)

    def revoke(self, now_s: float) -> None:
        """A rebalance begins, or the end: nothing is ours until the next recovery."""
        self._note(now_s)
        self._revocations += 1
        self._agreed = False
        self._revoked.set()
        lost, self._owned = self._owned, set()
        if not lost:
            return
        try:
            self._owner.revoke(lost)
        except Exception as error:  # noqa: BLE001 - whatever it is, the state is not to be trusted
            self._fail(error)

    def agree(self) -> None:
        """The group has agreed who gets what: a recovery may begin."""
        self._agreed = True
        self._revoked.clear()

    async def recover(self, is_latest: Callable[[], bool]) -> bool:
        """Have what is assigned recovered, and set the positions.

        False when that assignment is over, be it by `revoke` or `is_latest`; then nothing may be
        read. Must not be called again before it has returned.
        """
        revocations, delay_s = self._revocations, RETRY_FIRST_S

        def holds() -> bool:
            return self._agreed and self._revocations == revocations and is_latest()

        if not holds():
            return False
        self._owned = self._reader.assignment()
        while holds():
            try:
                if self._owned:
                    positions = await self._unless_revoked(self._recovered(set(self._owned)))
                    if not holds():
                        break
                    await self._reader.set_positions(positions)
                return holds()
            except _RevokedError:
                break
            except Exception as error:  # noqa: BLE001 - whatever it is, only a repetition helps
                log.warning("partitions not recovered, trying again: %r", error)
                await wait_at_most(self._revoked, delay_s)
                delay_s = min(2 * delay_s, RETRY_MOST_S)
        return False

    def _note(self, now_s: float) -> None:
        self._latest.append(now_s)
        if len(self._latest) == RESTLESS_COUNT and now_s - self._latest[0] < RESTLESS_S:
            log.warning(
                "%s rebalances in %.0f s: do two workers of the group bear the same name?",
                RESTLESS_COUNT,
                now_s - self._latest[0],
            )
            self._latest.clear()

    async def _recovered(self, partitions: set[TopicPartition]) -> dict[TopicPartition, int]:
        given = await self._owner.assign(set(partitions))
        positions = {partition: given[partition] for partition in partitions if partition in given}
        fresh = partitions - positions.keys()
        if fresh:
            positions |= await self._reader.beginning_offsets(fresh)
        return positions

    async def _unless_revoked(self, work: Coroutine[Any, Any, T]) -> T:
        task = asyncio.ensure_future(work)
        revoked = asyncio.ensure_future(self._revoked.wait())
        try:
            await asyncio.wait({task, revoked}, return_when=asyncio.FIRST_COMPLETED)
            if revoked.done():
                raise _RevokedError
            return task.result()
        finally:
            revoked.cancel()
            task.cancel()
            await asyncio.gather(task, revoked, return_exceptions=True)


class _RevokedError(Exception):
    """A newer rebalance has begun."""
