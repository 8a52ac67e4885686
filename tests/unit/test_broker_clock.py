"""Whatever this machine's wall clock does, nothing settles too early, and no count changes."""

import json

import pytest

from stream.broker_clock import BrokerClock
from stream.core.buckets import Calendar
from stream.core.partition import Partition
from stream.core.records import RecordBatch, TopicPartition
from stream.core.rules import Rules
from stream.engine.dead_letters import DeadLetters
from stream.engine.ledger import Ledger
from stream.live.link import Link
from stream.live.projection import Projection
from stream.meters import Meters
from stream.shard import End, Shard
from tests.support.memory_log import MemoryLog, MemoryPartition
from tests.support.play import PSEUDONYMS, cells

HOUR_MS, MINUTE_MS = 3_600_000, 60_000
START_MS = 1_760_000_000_000
RULES = Rules(allowed_lateness_ms=MINUTE_MS)


class Machine:
    """A machine with a wall clock that steps and a steady one that does not; brokers beside it."""

    def __init__(self) -> None:
        self.passed_ms = 0
        self.step_ms = 0

    @property
    def true_ms(self) -> int:
        """What time it is at the brokers."""
        return START_MS + self.passed_ms

    def wall_ms(self) -> int:
        return self.true_ms + self.step_ms

    def steady_s(self) -> float:
        return 1_000 + self.passed_ms / 1000

    def clock(self) -> BrokerClock:
        return BrokerClock(wall_ms=self.wall_ms, steady_s=self.steady_s)


async def test_it_is_never_ahead_of_the_brokers_and_keeps_up_with_them() -> None:
    machine = Machine()
    clock = machine.clock()
    for step_ms in (0, 5 * HOUR_MS, -7 * HOUR_MS):
        machine.step_ms = step_ms
        machine.passed_ms += HOUR_MS
        assert machine.true_ms - 3_000 < clock.now_ms() <= machine.true_ms


async def test_a_brokers_word_is_taken() -> None:
    machine = Machine()
    clock = machine.clock()
    clock.hear(None)
    assert clock.now_ms() == START_MS
    clock.hear((START_MS + HOUR_MS, machine.steady_s()))
    machine.passed_ms += 1_000
    assert clock.now_ms() == START_MS + HOUR_MS + 1_000


class Owned:
    """A shard of `sessions` without Kafka or Redis, fed by hand."""

    def __init__(self, machine: Machine) -> None:
        self.machine, self.offset = machine, 0
        self.core = Partition("sessions", RULES, Calendar(), PSEUDONYMS)
        self.ledger = Ledger(MemoryLog({0: MemoryPartition()}))
        self.shard = Shard(
            TopicPartition("sessions", 0),
            self.core,
            self.ledger,
            DeadLetters("", "dead-letters"),
            Projection(Link("redis://127.0.0.1:1"), "g", "sessions", 0),
            Meters(),
            "w1",
            0,
            clock=machine.clock(),
        )

    async def start(self) -> "Owned":
        await self.ledger.start()
        await self.ledger.claim(0)
        return self

    async def view_page(self) -> None:
        """A record of just now."""
        event = {"event_id": f"e{self.offset}", "type": "page_view", "visitor_id": "v"}
        value = json.dumps(event | {"timestamp": self.machine.true_ms}).encode()
        now, stamps = self.offset, [self.machine.true_ms]
        batch = RecordBatch("sessions", 0, now, now + 1, [now], [value], [b"v"], stamps)
        self.offset += 1
        for _ in self.shard.fold(batch):
            pass
        await self.idle()

    async def idle(self) -> None:
        """What the worker does every second."""
        wall_ms = self.machine.wall_ms()
        self.shard.end = End(self.offset, wall_ms, self.shard.clock.now_ms())
        await self.shard.flush()


async def watched(steps_ms: list[int]) -> Owned:
    """A visitor who looks at a page every ten minutes, while the wall clock steps."""
    machine = Machine()
    owned = await Owned(machine).start()
    for step_ms in steps_ms:
        await owned.view_page()
        machine.step_ms = step_ms
        await owned.idle()
        machine.passed_ms += 10 * MINUTE_MS
        await owned.idle()
    return owned


@pytest.mark.parametrize("step_ms", [5 * HOUR_MS, -5 * HOUR_MS, 400 * 24 * HOUR_MS])
async def test_a_step_of_the_wall_clock_changes_no_count(step_ms: int) -> None:
    plain, stepped = await watched([0] * 4), await watched([0, step_ms, 0, step_ms])
    assert cells(stepped.core, "sessions") == cells(plain.core, "sessions")
    assert stepped.core.tally == plain.core.tally == {"counted": 4}
    ((_, sessions),) = [
        (where, fields) for where, fields in cells(stepped.core, "sessions")[0].items()
        if where[0] == 4
    ]  # fmt: skip
    assert (sessions["sessions"], sessions["page_views"]) == (1, 4)


async def test_time_that_really_passes_settles_without_a_record() -> None:
    owned = await watched([0])
    assert cells(owned.core, "sessions")[1] == {}
    owned.machine.passed_ms += HOUR_MS
    await owned.idle()
    assert cells(owned.core, "sessions")[1]
