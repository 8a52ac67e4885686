"""Several workers share one partition of the ledger, and everything goes wrong that can.

Whatever is interleaved (claims, flushes cut short, zombies, records sent twice or landing late,
deletions at any later time), the state read from the log is the one that the author of its last
flush believed in; a flush that returned is never lost; and the log that was cut tells the same.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from stream.engine import ledger_records
from stream.engine.ledger import Held, Ledger, LedgerError
from stream.engine.ledger_chain import Chain
from tests.support.memory_log import Fault, MemoryLog, MemoryPartition

WORKERS = 3
State = tuple[dict[bytes, bytes], int | None]

workers = st.integers(0, WORKERS - 1)
keys = st.sampled_from([b"a", b"b", b"c", b"d", b"e"])
changes = st.dictionaries(keys, st.none() | st.binary(min_size=1, max_size=2), max_size=5)
# Mostly nothing goes wrong, or the chain would hardly ever grow.
faults = st.lists(st.just(Fault.NONE) | st.sampled_from(Fault), max_size=4)


@dataclass
class Worker:
    """An owner of the partition, or one that believes to be."""

    ledger: Ledger
    log: MemoryLog
    table: dict[bytes, bytes] = field(default_factory=dict)
    next: int | None = None
    version: int = 0  # as the worker counts, to name what it believes
    owns: bool = False
    busy: bool = False
    unswept: set[bytes] = field(default_factory=set)  # not written in this round yet

    def take(self, entries: dict[bytes, bytes], next_: int | None, version: int) -> None:
        self.table, self.next, self.version = dict(entries), next_, version
        self.unswept, self.owns = set(entries), True


class LedgerMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(ledger_records, "MAX_PART_ENTRIES", 2)
        self.loop = asyncio.new_event_loop()
        self.partition = MemoryPartition()
        self.workers = []
        for _ in range(WORKERS):
            log = MemoryLog({0: self.partition})
            self.workers.append(Worker(Ledger(log), log))
            self.run(self.workers[-1].ledger.start())
        self.epochs = [-1]
        self.believed: dict[int, list[State]] = {0: [({}, None)]}
        self.confirmed: dict[int, State] = {0: ({}, None)}

    def run(self, work: Awaitable[None]) -> None:
        async def and_settle() -> None:
            await work
            await asyncio.sleep(0)  # for deletions in the background
            await asyncio.sleep(0)

        self.loop.run_until_complete(and_settle())

    def teardown(self) -> None:
        for worker in self.workers:
            self.run(worker.ledger.stop())
        self.loop.close()
        self.patch.undo()

    def whole(self) -> Chain:
        return self.read(0)

    def read(self, start: int) -> Chain:
        chain = Chain()
        for offset in range(start, len(self.partition.records)):
            chain.apply(offset, self.partition.records[offset])
        return chain

    # --- what workers do -----------------------------------------------------------------------

    @rule(which=workers, faults=faults)
    def claim(self, which: int, faults: list[Fault]) -> None:
        self.workers[which].log.faults.extend(faults)
        self.run(self.do_claim(self.workers[which], None))

    @rule(which=workers, others=st.lists(workers, max_size=1), late=st.booleans())
    def release_and_claim(self, which: int, others: list[int], late: bool) -> None:
        worker = self.workers[which]
        held = worker.ledger.release(0)
        assert held is None or worker.owns
        worker.owns = False
        for other in others:
            self.run(self.do_claim(self.workers[other], None))
        if late:
            self.partition.land(0)
        self.run(self.do_claim(worker, held))

    async def do_claim(self, worker: Worker, held: Held | None) -> None:
        if worker.busy:
            return
        try:
            got = await worker.ledger.claim(0, held)
        except LedgerError:
            worker.owns = False
            return
        finally:
            worker.log.faults.clear()
        assert got.epoch > max(self.epochs)
        self.epochs.append(got.epoch)
        chain = self.whole()
        entries = worker.table if got.kept else got.entries
        assert (entries, got.next) == (chain.entries, chain.next)
        if got.kept:
            assert (worker.next, worker.version) == (chain.next, chain.version)
            worker.owns = True
        else:
            worker.take(entries, got.next, chain.version)

    @rule(
        which=workers,
        change=changes,
        step=st.integers(0, 3),
        sweep=st.integers(0, 5),
        faults=faults,
        at=st.integers(0, 3),
        meanwhile=st.none() | st.tuples(workers, st.sampled_from(["claim", "flush", "land"])),
    )
    def flush(
        self,
        which: int,
        change: dict[bytes, bytes | None],
        step: int,
        sweep: int,
        faults: list[Fault],
        at: int,
        meanwhile: tuple[int, str] | None,
    ) -> None:
        worker = self.workers[which]
        worker.log.faults.extend(faults)
        worker.log.between.extend([None] * at)
        if meanwhile is not None:
            worker.log.between.append(self.meanwhile(*meanwhile))
        self.run(self.do_flush(worker, change, step, sweep))

    def meanwhile(self, which: int, what: str) -> Callable[[], Awaitable[None]]:
        other = self.workers[which]

        async def act() -> None:
            if what == "claim":
                await self.do_claim(other, None)
            elif what == "flush":
                await self.do_flush(other, {b"a": b"m"}, 1, 5)
            else:
                self.partition.land(which)

        return act

    async def do_flush(
        self, worker: Worker, change: dict[bytes, bytes | None], step: int, sweep: int
    ) -> None:
        if not worker.owns or worker.busy:
            worker.log.faults.clear()
            worker.log.between.clear()
            return
        worker.busy = True
        from_ = worker.next or 0
        again = sorted(worker.unswept - change.keys())[:sweep]
        table = {k: v for k, v in (worker.table | change).items() if v is not None}
        entries = {key: worker.table[key] for key in again} | change
        unswept = worker.unswept - entries.keys()
        state, version = (table, from_ + step), worker.version + 1
        self.believed.setdefault(version, []).append(state)
        try:
            await worker.ledger.flush(0, entries, from_, from_ + step, round_done=not unswept)
        except LedgerError:
            worker.owns = False
        else:
            assert version not in self.confirmed
            self.confirmed[version] = state
            worker.table, worker.next, worker.version = table, from_ + step, version
            worker.unswept = unswept or set(table)
        finally:
            worker.busy = False
            worker.log.faults.clear()
            worker.log.between.clear()

    @rule(which=workers)
    def ask(self, which: int) -> None:
        worker = self.workers[which]
        asked: list[bool] = []

        async def still_owner() -> None:
            asked.append(await worker.ledger.still_owner(0))

        self.run(still_owner())
        last = [ledger_records.claimant(record) for record in self.partition.records]
        claims = [nonce for nonce in last if nonce is not None]
        if asked[0]:
            lease = worker.ledger._leases[0]
            assert claims[-1] == lease.nonce
        worker.owns = worker.owns and asked[0]

    @rule(which=workers, step=st.integers(0, 3), faults=faults)
    def replace(self, which: int, step: int, faults: list[Fault]) -> None:
        """Somebody puts another state in its place, again and again until it succeeds."""
        self.workers[which].log.faults.extend(faults)
        self.workers[which].owns = False
        self.run(self.do_replace(self.workers[which], ({b"a": b"r", b"b": b"r", b"c": b"r"}, step)))

    async def do_replace(self, worker: Worker, state: State) -> None:
        while True:
            try:
                await worker.ledger.replace(0, *state)  # type: ignore[arg-type]
            except LedgerError:
                continue
            worker.log.faults.clear()
            version = self.whole().version
            self.confirmed[version] = state
            self.believed[version] = [state]
            return

    @rule(which=workers)
    def reset(self, which: int) -> None:
        self.run(self.workers[which].ledger.reset(0))
        self.workers[which].owns = False
        version = self.whole().version
        self.confirmed[version] = ({}, None)
        self.believed[version] = [({}, None)]

    # --- what time does ------------------------------------------------------------------------

    @precondition(lambda self: self.partition.late)
    @rule(index=st.integers(0, 9))
    def a_late_copy_lands(self, index: int) -> None:
        self.partition.land(index)

    @rule(index=st.integers(0, 999))
    def any_old_record_lands_again(self, index: int) -> None:
        records = self.partition.records
        if records:
            record = records[index % len(records)]
            claim = ledger_records.decode_claim(record)
            if ledger_records.claimant(record) is None or (claim and not claim.fresh):
                records.append(record)

    @precondition(lambda self: self.whole().next is not None)
    @rule(record=st.sampled_from([b"", b"?", b"\x93\x01\x02\xc4"]))
    def a_foreign_record_lands(self, record: bytes) -> None:
        self.partition.put(record)

    @precondition(lambda self: self.partition.cuts)
    @rule(index=st.integers(0, 9))
    def a_deletion_takes_place(self, index: int) -> None:
        self.partition.cut(index)

    # --- what must hold ------------------------------------------------------------------------

    @invariant()
    def the_state_is_what_its_author_believed(self) -> None:
        chain = self.whole()
        assert chain.fault is None
        assert chain.version >= max(self.confirmed)
        state = (chain.entries, chain.next)
        if chain.version in self.confirmed:
            assert state == self.confirmed[chain.version]
        else:
            assert state in self.believed[chain.version]

    @invariant()
    def a_cut_log_tells_the_same(self) -> None:
        whole, cut = self.whole(), self.read(self.partition.start)
        assert cut.fault is None
        for name in ("entries", "next", "version", "owner", "position"):
            assert getattr(cut, name) == getattr(whole, name)


LedgerMachine.TestCase.settings = settings(max_examples=300, stateful_step_count=30, deadline=None)
TestLedgerUnderChaos = LedgerMachine.TestCase
