"""A partition that is ours: its state, its ledger, its picture in Redis, and what is flushed when.

The order of a flush is dead letters, ledger, Redis; the first two must succeed, Redis may be away.
Knows nothing of Faust.
"""

import asyncio
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import structlog
from redis.exceptions import RedisError

from stream.anchor import KEY as ANCHOR
from stream.anchor import Anchor
from stream.broker_clock import BrokerClock
from stream.core.durations import MINUTE_MS
from stream.core.partition import Folded, Partition
from stream.core.records import RecordBatch, TopicPartition
from stream.engine.dead_letters import DeadLetters
from stream.engine.ledger import Ledger
from stream.live.link import explain_fault
from stream.live.projection import Projection, ProjectionFencedError
from stream.live.rows import PartitionInfo
from stream.meters import Meters
from stream.signals import wait_at_most
from stream.slices import SliceSize, slices

log = structlog.get_logger(__name__)

SETTLE_AT_ONCE, SETTLE_TURNS = 1_000, 4
"""Sessions or tickets that are settled at once where time passes without records, and how often in
a flush: others have their turn between."""
PIECE_S = 0.005
"""After so long others have their turn; each turn may cost a flush a fold or more."""
PAUSE_MS = MINUTE_MS
"""A pause in the log that is shorter makes so little final that it needs no turns of its own."""
SIGN_OF_LIFE_S = 1.0
CLOCK_MARGIN_MS = 2_000
"""How far the clocks of the brokers may be apart when time settles what no record does."""
MIN_ROUND = 50_000
"""Entries written before the beginning of the ledger's log is worth being cut off."""
SWEEP = 2_000
REDIS_PATIENCE_S = 0.25
_LATENCIES = 16


@dataclass(frozen=True, slots=True)
class End:
    """The end of the source partition's log, and what time it was before it was asked for.

    `asked_ms` is the wall clock's, `broker_ms` the brokers'.
    """

    offset: int
    asked_ms: int
    broker_ms: int


class Shard:
    """One owned partition, from its claim to its loss. `place` names the topic without prefix."""

    def __init__(
        self,
        place: TopicPartition,
        core: Partition,
        ledger: Ledger,
        letters: DeadLetters,
        projection: Projection,
        meters: Meters,
        worker: str,
        epoch: int,
        version: int = 0,
        clock: BrokerClock | None = None,
    ) -> None:
        self.place = place
        self.clock = clock or BrokerClock()
        self.core = core
        self.is_alive = True
        self.is_fresh = False
        self.is_passing = False
        """Whether it settles what a pause in the log made final; the position waits for that."""
        self.flushed = core.position
        self.flushed_record_ms = core.record_ms
        self.end: End | None = None
        self._ledger = ledger
        self._letters = letters
        self._projection = projection
        self._meters = meters
        self._worker = worker
        self._epoch = epoch
        self._version = version
        self._anchor: Anchor | None = None
        self._flushing = False
        self._redis_away = False
        self._written = len(core.table)
        self._unsent_letters = False
        self._pushed = core.position
        self._changed: dict[bytes, bytes | None] = {}
        self._latencies: Counter[int] = Counter()
        self._work = asyncio.Event()
        self._slice = SliceSize(place.topic)
        self.changed = asyncio.Event()
        self.changed_s = 0.0
        """The first change that no flush holds yet: the time (monotonic) goes with the event."""

    def fold(self, batch: RecordBatch) -> Iterator[None]:
        """Count a batch, a slice at a time; stops when the partition is lost or paused."""
        pause_ms = max(self.core.rules.allowed_lateness_ms, PAUSE_MS)
        for part in slices(batch, lambda: self._slice.records, pause_ms):
            if self._follows(part):
                yield from self._pass_to(part, pause_ms)
            if not self._follows(part):
                return
            began_s = time.perf_counter()
            folded = self.core.fold(part)
            self._anchor = Anchor.of(part, self.core.position) or self._anchor
            self._letters.send(part, folded.drops)
            self._unsent_letters |= bool(folded.drops)
            self._note(part, folded)
            self._note_change()
            took_s = time.perf_counter() - began_s
            self._slice.took(len(part.values), took_s)
            self._meters.turns("fold")(took_s)
            yield

    def _follows(self, batch: RecordBatch) -> bool:
        """Whether a batch goes on where we are; the position may have been moved meanwhile."""
        return self.takes_more and batch.start <= self.core.position

    def _pass_to(self, batch: RecordBatch, pause_ms: int) -> Iterator[None]:
        """Settle what a pause before a batch makes final: it may be much, if the pause was long."""
        first = bisect_left(batch.offsets, self.core.position)
        if first == len(batch.offsets):
            return
        record_ms = int(batch.timestamps[first])
        if record_ms - self.core.record_ms <= pause_ms:
            return
        self.is_passing = True
        try:
            began_s = time.perf_counter()
            while self._follows(batch) and not self.core.pass_time(record_ms, SETTLE_AT_ONCE):
                took_s = time.perf_counter() - began_s
                if took_s > PIECE_S:
                    self._note_change()
                    self._meters.turns("fold")(took_s)
                    yield
                    began_s = time.perf_counter()
        finally:
            self.is_passing = False

    async def room(self) -> None:
        """Wait while so many dead letters are to be written that no more records should come."""
        await self._letters.room(*self.place)

    async def flush(self) -> None:
        """Write what changed to the ledger. Raises Fenced, LedgerError, DeadLetterError."""
        await self._let_time_pass()
        if not self.core.is_dirty:
            self.changed.clear()
            return
        began = time.perf_counter()
        await self._count_up()
        self._flushing = True
        self.changed.clear()
        through, record_ms = self.core.position, self.core.record_ms
        if self._anchor is not None:
            self.core.table.put(ANCHOR, self._anchor.encode())
            self._anchor = None
        is_long = self._written > max(MIN_ROUND, 2 * len(self.core.table))
        drained = self.core.drain(SWEEP if is_long else 0)
        self._unsent_letters = False
        await asyncio.sleep(0)
        await self._letters.flushed(*self.place)
        self._version = await self._ledger.flush(
            self.place.partition,
            drained.entries,
            self.flushed,
            through,
            round_done=drained.round_done,
        )
        self.clock.hear(self._ledger.stamp(self.place.partition))
        self.flushed, self.flushed_record_ms = through, record_ms
        self._written = 0 if drained.round_done else self._written + len(drained.entries)
        self._changed.update(drained.entries)
        self._flushing = False
        self._work.set()
        self._meters.flush.observe(time.perf_counter() - began)

    async def project(self) -> str | None:
        """Bring Redis to where the ledger is; return a pending command for this partition.

        Raises ProjectionFencedError. Without Redis it waits a little and comes back.
        """
        await wait_at_most(self._work, SIGN_OF_LIFE_S)
        self._work.clear()
        changed, self._changed = self._changed, {}
        through = self.flushed
        try:
            result = await self._projection.push(
                self._epoch,
                self._pushed,
                through,
                changed,
                self.info(),
                self.core.picture,
                self._take_latencies(),
            )
        except ProjectionFencedError:
            raise
        except (RedisError, OSError, TimeoutError) as error:
            self._meters.redis_up.set(0)
            if not self._redis_away:  # once is news
                why = explain_fault(error).text[:200]
                log.warning("redis_away", partition=str(self.place), error=why)
            self._redis_away = True
            await asyncio.sleep(REDIS_PATIENCE_S)
            self._work.set()  # what this push held is still to be shown
            return None
        self._meters.redis_up.set(1)
        self._redis_away = False
        self._pushed = through
        return result.command

    async def clear_command(self, command: str) -> None:
        """Tell Redis that a command was obeyed."""
        await self._projection.clear_command(command)

    @property
    def takes_more(self) -> bool:
        """Whether it goes on counting: it is ours and not paused."""
        return self.is_alive and not self.core.is_paused

    @property
    def anchor(self) -> Anchor | None:
        """The last record that the state includes, as of the last flush."""
        raw = self.core.table.get(ANCHOR)
        return None if raw is None else Anchor.decode(raw)

    @property
    def flush_under_way(self) -> int | None:
        """What names the flush that is being written; None: none is."""
        return self._version + 1 if self._flushing else None

    @property
    def is_reusable(self) -> bool:
        """Whether the state may be kept over a rebalance: nothing is half written."""
        return not self._flushing and not self._unsent_letters

    @property
    def lag(self) -> int | None:
        """Records between the position and the end of the log, as last asked."""
        return None if self.end is None else max(0, self.end.offset - self.core.position)

    def info(self) -> PartitionInfo:
        """What readers are told of the partition."""
        core, end = self.core, self.end
        caught_up = end is not None and self.flushed >= end.offset
        as_of_ms = self.flushed_record_ms if self.flushed_record_ms > 0 else None
        if caught_up and end is not None:
            as_of_ms = max(end.asked_ms, as_of_ms or 0)
        known = core.watermark_ms is not None
        return PartitionInfo(
            topic=self.place.topic,
            partition=self.place.partition,
            status="paused" if core.is_paused else "live",
            through=self.flushed,
            lag=self.lag,
            clock_ms=core.clock_ms if known else None,
            newest_event_ms=core.clock_ms if known else None,
            watermark_ms=core.watermark_ms,
            settled_through_ms=dict(core.settled_through()),
            as_of_ms=as_of_ms,
            caught_up=caught_up,
            worker=self._worker,
            definition_id=core.rules.definition_id,
            dedupe_horizon_ms=core.dedupe.held_ms(core.clock_ms) if known else None,
            tally=dict(core.tally),
            version=self._version,
        )

    async def _count_up(self) -> None:
        """Count what was put off; folds have their turn between."""
        began_s = time.perf_counter()
        for _ in self.core.count_up():
            if time.perf_counter() - began_s > PIECE_S:
                await asyncio.sleep(0)
                began_s = time.perf_counter()

    async def _let_time_pass(self) -> None:
        """Settle what is over although no record comes: all up to the end of the log is in."""
        for _ in range(SETTLE_TURNS):
            end = self.end
            if end is None or self.core.position < end.offset or self.core.is_paused:
                return
            if self.core.pass_time(end.broker_ms - CLOCK_MARGIN_MS, SETTLE_AT_ONCE):
                return
            await asyncio.sleep(0)

    def _note_change(self) -> None:
        if not self.changed.is_set():
            self.changed_s = time.monotonic()
            self.changed.set()

    def _note(self, batch: RecordBatch, folded: Folded) -> None:
        self._meters.count(self.place.topic, folded)
        stamps = batch.timestamps
        step = max(1, len(stamps) // 8)  # a few of many tell enough
        for record_ms in stamps if len(stamps) < 64 else stamps[::step]:
            self._latencies[int(record_ms)] += 1 if len(stamps) < 64 else step

    def _take_latencies(self) -> list[tuple[int, int]]:
        """Record timestamps and how many records, put together until there are few."""
        found, step_ms = self._latencies, 1
        self._latencies = Counter()
        while len(found) > _LATENCIES:
            step_ms *= 4
            coarser: Counter[int] = Counter()
            for record_ms, n in found.items():
                coarser[record_ms - record_ms % step_ms] += n
            found = coarser
        return sorted(found.items())
