"""The ledger: the state of each partition of one source topic, kept in a Kafka log of ours.

Owns who may write (claims and fencing), how a flush reaches the log, how the state is read back and
what of the log may be deleted. What the records mean is `ledger_records`'; what the entries mean,
and when to flush, is the caller's.

Plain records suffice, no transactions: one that is sent twice or lands late changes nothing.
"""

import asyncio
import logging
import os
import time
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from stream.engine.ledger_chain import Chain
from stream.engine.ledger_records import Mark, claimant, encode_claim, encode_flush, writer
from stream.engine.log import Log, LogError, Sink
from stream.errors import UserError

logger = logging.getLogger(__name__)

NEW_LEADER_S = 1.0


class LedgerError(Exception):
    """The partition's place in the ledger is unknown now: give it up, or claim it again."""


class Fenced(LedgerError):  # noqa: N818 - a state, not a fault
    """Somebody else owns the partition, or it was released."""


@dataclass(frozen=True, slots=True)
class Held:
    """What the owner of a released partition still holds; opaque to it."""

    next: int | None
    position: int
    nonce: bytes
    version: int
    round_start: int | None


@dataclass(frozen=True, slots=True)
class Recovered:
    """The state of a claimed partition.

    `next` is the source offset to read on from, None when nothing was ever flushed; `voided` says
    that somebody wanted it so. `version` names the state. `epoch` is greater than that of every
    claim before. With `kept`, the caller's own state still stands and `entries` is empty.
    """

    entries: dict[bytes, bytes]
    next: int | None
    epoch: int
    kept: bool = False
    version: int = 0
    voided: bool = False


@dataclass(slots=True)
class _Lease:
    """A partition of ours, from the claim to the release."""

    partition: int
    nonce: bytes = field(default_factory=lambda: os.urandom(12))
    position: int = 0  # log offset after our last record
    next: int | None = None
    version: int = 0
    round_start: int | None = None  # where in the log the flush lies that began the round
    flushing: bool = False
    lost: str | None = None  # why the lease no longer holds
    stamp: tuple[int, float] | None = None  # the log's clock (ms), and ours (s) after its answer


class Ledger:
    """The ledger in `log`, which has as many partitions as its source topic.

    Used by one event loop. Partitions are independent of each other; one partition is flushed by
    one task at a time.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._partitions: AbstractSet[int] = frozenset()
        self._leases: dict[int, _Lease] = {}
        self._cuts: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Connect. Raises what the log's `start` does."""
        self._partitions = await self._log.start()

    @property
    def partitions(self) -> AbstractSet[int]:
        """The partitions of its topic, known once it is started."""
        return self._partitions

    async def stop(self) -> None:
        """Release all partitions and disconnect. May be called at any time, more than once."""
        for partition in list(self._leases):
            self.release(partition)
        for cut in self._cuts:
            cut.cancel()
        await asyncio.gather(*self._cuts, return_exceptions=True)
        await self._log.stop()

    async def claim(self, partition: int, held: Held | None = None) -> Recovered:
        """Take a partition over and read its state. Any number may be claimed concurrently.

        `held` is what `release` returned: when nobody wrote since, the state is not read again.
        Raises Fenced when the partition is released or claimed again meanwhile, LedgerError when
        the log cannot be read, UserError when its state cannot be used.
        """
        lease = self._take(partition)
        try:
            end = await self._append(lease, encode_claim(lease.nonce))
            kept = held is not None and await self._still_stands(lease, held, end)
            chain = Chain()
            if held is not None and kept:
                chain.owner = lease.nonce
                lease.next, lease.version = held.next, held.version
                lease.round_start = held.round_start
            else:
                await self._read(lease, 0, end + 1, chain.apply)
                self._refuse(partition, chain)
                lease.next, lease.version = chain.next, chain.version
            lease.position = end + 1
            self._check(lease)
            if chain.owner != lease.nonce:
                raise LedgerError(f"{self._log.name}/{partition}: our claim cannot be read back")
        except BaseException:
            self._drop(lease, "its claim failed")
            raise
        if chain.foreign:
            logger.error(
                "%s/%d: %d record(s) are no ledger's, or damaged, and are passed over",
                self._log.name,
                partition,
                chain.foreign,
            )
        return Recovered(chain.entries, lease.next, end, kept, lease.version, voided=chain.voided)

    async def flush(
        self,
        partition: int,
        entries: Mapping[bytes, bytes | None],
        from_: int,
        next_: int,
        *,
        round_done: bool = False,
    ) -> int:
        """Write changed entries (None: deleted) and move the state from `from_` to `next_`.

        On return the flush is durable and counts; returns the version of the state that it made.
        `round_done` says that with it every entry has been written since the round began (at the
        claim, or after the last such flush): what lies before in the log is deleted in the
        background. `from_` may equal `next_`.

        Raises Fenced when the partition is no longer ours, LedgerError when the outcome is unknown:
        throw the partition's state away and claim it again.
        """
        lease = self._leases.get(partition)
        if lease is None:
            raise Fenced(f"{self._log.name}/{partition}: not claimed")
        self._check(lease)
        if lease.flushing:
            raise LedgerError(f"{self._log.name}/{partition}: another flush is under way")
        if lease.next not in (None, from_) or next_ < from_:
            raise ValueError(f"a flush from {from_} to {next_} does not continue at {lease.next}")
        mark = Mark.ROUND_BEGINS if lease.round_start is None else Mark.NONE
        if round_done:
            mark |= Mark.ROUND_ENDS
        version = lease.version + 1
        records = encode_flush(lease.nonce, version, from_, next_, entries, mark)
        lease.flushing = True
        try:
            offsets = [await self._place(lease, record) for record in records]
        except BaseException:
            self._drop(lease, "a flush did not end")  # nobody knows what of it is in the log
            raise
        lease.flushing = False
        lease.next, lease.version = next_, version
        if lease.round_start is None:
            lease.round_start = offsets[0]
        if round_done:
            self._cut(partition, lease.round_start)
            lease.round_start = None
        return version

    def release(self, partition: int) -> Held | None:
        """Give a partition up; writes under way end with Fenced.

        Returns what to hand to the next claim together with the state, None if that state has to be
        thrown away: it was lost, or a flush was under way.
        """
        lease = self._leases.get(partition)
        if lease is None:
            return None
        usable = lease.lost is None and not lease.flushing and lease.position > 0
        self._drop(lease, "was released")
        if not usable:
            return None
        return Held(lease.next, lease.position, lease.nonce, lease.version, lease.round_start)

    async def still_owner(self, partition: int) -> bool:
        """Whether the partition is ours as far as can be told: an owner that does not flush asks.

        One small request. A log that cannot be reached is no proof of a loss.
        """
        lease = self._leases.get(partition)
        if lease is None or lease.lost is not None:
            return False
        position = lease.position
        try:
            end = await self._log.end(partition)
            if end < position:  # a broker that has just taken over may not know better yet
                await asyncio.sleep(NEW_LEADER_S)
                end = await self._log.end(partition)
            if end > position == lease.position and not lease.flushing:
                await self._inspect(lease, position, end)
            elif end < position:
                self._drop(lease, "lost the end of its log")
        except Fenced:
            return False
        except (LogError, LedgerError) as error:
            logger.info("owner unknown: %s", error)
        return lease.lost is None

    def stamp(self, partition: int) -> tuple[int, float] | None:
        """The log's clock (ms) at its latest answer, and this machine's steady one (s) after it.

        None where the log does not stamp its records.
        """
        lease = self._leases.get(partition)
        return None if lease is None else lease.stamp

    async def reset(self, partition: int) -> None:
        """Void the state of a partition, of whatever format, and fence its owner."""
        lease = self._take(partition)
        try:
            start = await self._append(lease, encode_claim(lease.nonce, fresh=True))
        finally:
            self._drop(lease, "was reset")
        await self._delete_before(partition, start)

    async def replace(self, partition: int, entries: Mapping[bytes, bytes], next_: int) -> None:
        """Put a state in the place of a partition's, of whatever format, and fence its owner.

        It counts as a whole or not at all. Raises what `flush` does.
        """
        lease = self._take(partition)
        try:
            claimed = await self._append(lease, encode_claim(lease.nonce))
            lease.position = claimed + 1
            mark = Mark.ROUND_BEGINS | Mark.ROUND_ENDS | Mark.REPLACES
            version = claimed + 1  # later than all others: no version exceeds its records' number
            records = encode_flush(lease.nonce, version, next_, next_, entries, mark)
            offsets = [await self._place(lease, record) for record in records]
        finally:
            self._drop(lease, "was replaced")
        await self._delete_before(partition, offsets[0])

    def _take(self, partition: int) -> _Lease:
        if partition not in self._partitions:
            raise LedgerError(f"{self._log.name}/{partition}: there is no such partition")
        before = self._leases.get(partition)
        if before is not None:
            self._drop(before, "was claimed again")
        lease = self._leases[partition] = _Lease(partition)
        return lease

    def _drop(self, lease: _Lease, why: str) -> None:
        if lease.lost is None:
            lease.lost = why
        if self._leases.get(lease.partition) is lease:
            del self._leases[lease.partition]

    def _check(self, lease: _Lease) -> None:
        if lease.lost is not None:
            raise Fenced(f"{self._log.name}/{lease.partition}: {lease.lost}")

    def _refuse(self, partition: int, chain: Chain) -> None:
        if chain.fault is not None:
            raise UserError(
                f"ledger {self._log.name}/{partition} {chain.fault}: "
                "run `stream rebuild` to count its source topic again"
            )

    async def _place(self, lease: _Lease, record: bytes) -> int:
        """Append the next record of a flush, seeing to it that nobody claimed before it."""
        offset = await self._append(lease, record)
        self._check(lease)
        if offset < lease.position:
            self._drop(lease, "lost the end of its log")
            raise LedgerError(f"{self._log.name}/{lease.partition}: {lease.lost}")
        if offset > lease.position:
            await self._inspect(lease, lease.position, offset)
        lease.position = offset + 1
        return offset

    async def _append(self, lease: _Lease, record: bytes) -> int:
        try:
            written = await self._log.append(lease.partition, record, lambda: self._check(lease))
        except LogError as error:
            raise LedgerError(str(error)) from error
        if written.at_ms is not None:
            lease.stamp = written.at_ms, time.monotonic()
        return written.offset

    async def _inspect(self, lease: _Lease, start: int, end: int) -> None:
        """Look at records that others wrote behind ours; raise Fenced if there is a claim."""
        position = start

        def look(offset: int, record: bytes | None) -> None:
            nonlocal position
            if offset != position or claimant(record) not in (None, lease.nonce):
                self._drop(lease, "was claimed by another worker")
                self._check(lease)
            position = offset + 1

        await self._read(lease, start, end, look)

    async def _still_stands(self, lease: _Lease, held: Held, end: int) -> bool:
        """Whether the log says up to our claim at `end` that the state held is the latest."""
        if end < held.position:
            return False
        chain = Chain.resumed(held.position, held.nonce, held.version, held.next)

        def look(offset: int, record: bytes | None) -> None:
            if offset == held.position - 1 and writer(record) == held.nonce:
                return
            if offset != chain.position:
                raise _Moved
            chain.apply(offset, record)

        try:
            await self._read(lease, held.position - 1, end + 1, look)
        except _Moved:
            return False
        return chain.fault is None and chain.version == held.version

    async def _read(self, lease: _Lease, start: int, end: int, sink: Sink) -> None:
        def sink_while_ours(offset: int, record: bytes | None) -> None:
            self._check(lease)
            sink(offset, record)

        try:
            await self._log.read(lease.partition, start, end, sink_while_ours)
        except LogError as error:
            raise LedgerError(str(error)) from error

    def _cut(self, partition: int, before: int) -> None:
        task = asyncio.create_task(self._delete_before(partition, before))
        self._cuts.add(task)
        task.add_done_callback(self._cuts.discard)

    async def _delete_before(self, partition: int, before: int) -> None:
        """Delete what lies before an offset: housekeeping, so a refusal is only noted."""
        try:
            await self._log.delete_before(partition, before)
        except LogError as error:
            logger.debug("not cut at %d: %s", before, error)


class _Moved(Exception):  # noqa: N818 - ends a read early
    """The log does not go on where the state that is held stands."""
