"""The attacks. Each is a coroutine that does its harm and returns when the harm is over: from then
on the system has to come back by itself. `FAULTS` names them all.
"""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from random import Random

from tests.chaos.arena import Arena, Slot

STRIKE_WAIT_S = 12.0


class Attack:
    """What an attack works with. `healed_s` is when the harm was over (monotonic)."""

    def __init__(self, arena: Arena, rng: Random, outage_s: float) -> None:
        self.arena, self.rng, self.outage_s = arena, rng, outage_s
        self.healed_s = 0.0
        self.missed = ""
        self.remarks: list[str] = []

    @property
    def running(self) -> list[Slot]:
        return [slot for slot in self.arena.slots.values() if slot.wanted]

    def one(self) -> Slot:
        return self.rng.choice(self.running)

    def healed(self) -> None:
        self.healed_s = time.monotonic()

    async def outage(self) -> None:
        await self.arena.nap(self.rng.uniform(0.3, 1.0) * self.outage_s)


Fault = Callable[[Attack], Awaitable[None]]
FAULTS: dict[str, Fault] = {}


def fault(work: Fault) -> Fault:
    FAULTS[work.__name__] = work
    return work


# --- workers -------------------------------------------------------------------------------------


@fault
async def kill_worker(attack: Attack) -> None:
    attack.one().kill()
    attack.healed()


@fault
async def kill_worker_twice(attack: Attack) -> None:
    slot = attack.one()
    slot.kill()
    await attack.arena.nap(attack.rng.uniform(0.3, 4.0))
    slot.kill()
    attack.healed()


@fault
async def kill_all_workers(attack: Attack) -> None:
    for slot in attack.running:
        slot.kill()
    attack.healed()


def _aimed(point: str, *, most_skips: int = 3) -> Fault:
    async def aimed(attack: Attack) -> None:
        slot = attack.one()
        slot.arm(point, signal.SIGKILL, attack.rng.randrange(most_skips + 1))
        if not await slot.struck(STRIKE_WAIT_S):
            attack.missed = point
        attack.healed()

    aimed.__name__ = "kill_" + point.replace("-", "_")
    return aimed


POINTS = (
    "before-ledger",
    "in-send",
    "after-append",
    "after-ledger",
    "before-redis",
    "after-redis",
    "before-commit",
    "after-commit",
)
for _point in POINTS:
    fault(_aimed(_point))


def _aimed_at_recovery(point: str) -> Fault:
    async def aimed(attack: Attack) -> None:
        slot = attack.one()
        slot.kill()
        slot.arm(point, signal.SIGKILL, 0 if point == "before-seek" else attack.rng.randrange(2))
        deadline_s = time.monotonic() + STRIKE_WAIT_S
        while slot.aim.exists() and time.monotonic() < deadline_s:
            await attack.arena.nap(0.05)
        if not await slot.struck(0):
            attack.missed = point
        attack.healed()

    aimed.__name__ = "kill_" + point.replace("-", "_")
    return aimed


for _point in ("in-recovery", "in-recovery-read", "in-rewrite", "before-seek"):
    fault(_aimed_at_recovery(_point))


def _aimed_at_rebalance(point: str) -> Fault:
    async def aimed(attack: Attack) -> None:
        """Somebody joins; a worker dies while it gives its partitions up. Then he leaves."""
        slot = attack.one()
        slot.arm(point, signal.SIGKILL)
        await _join(attack, "w3")
        if not await slot.struck(STRIKE_WAIT_S):
            attack.missed = point
        await attack.arena.nap(attack.rng.uniform(0, 2))
        await _leave(attack, "w3")
        attack.healed()

    aimed.__name__ = "kill_" + point.replace("-", "_")
    return aimed


for _point in ("in-revoke", "after-revoke"):
    fault(_aimed_at_rebalance(_point))


def _stopped(point: str | None) -> Fault:
    async def zombie(attack: Attack) -> None:
        """Past the session time-out others own its partitions; then it goes on unawares."""
        slot = attack.one()
        if point is None:
            assert slot.process is not None
            slot.process.freeze()
        else:
            slot.arm(point, signal.SIGSTOP)
            if not await slot.struck(STRIKE_WAIT_S):
                attack.missed = point
        await attack.arena.nap(attack.arena.session_timeout_s + attack.rng.uniform(1, 4))
        assert slot.process is not None
        slot.process.thaw()
        attack.healed()

    zombie.__name__ = "zombie" if point is None else "zombie_" + point.replace("-", "_")
    return zombie


for _place in (None, "before-ledger", "in-send", "after-ledger", "before-redis", "before-commit"):
    fault(_stopped(_place))


@fault
async def freeze_shortly(attack: Attack) -> None:
    """A pause within the session time-out: nobody else takes over."""
    process = attack.one().process
    assert process is not None
    process.freeze()
    await attack.arena.nap(0.6 * attack.arena.session_timeout_s)
    process.thaw()
    attack.healed()


async def _join(attack: Attack, name: str) -> None:
    slot = attack.arena.slots[name]
    if not slot.wanted:
        slot.start()
    await attack.arena.nap(attack.rng.uniform(1.5, 4))


async def _leave(attack: Attack, name: str) -> None:
    slot = attack.arena.slots[name]
    if not slot.wanted or slot.process is None:
        return
    slot.wanted = False
    slot.process.terminate()
    deadline_s = time.monotonic() + 20
    while slot.process.running and time.monotonic() < deadline_s:
        await attack.arena.nap(0.05)
    if slot.process.running:
        attack.remarks.append(f"{name} did not end within 20 s of SIGTERM")
        slot.process.kill()
    elif slot.process.returncode not in (0, -signal.SIGTERM):  # the latter: it still started
        attack.remarks.append(f"{name} left with {slot.process.returncode}")


@fault
async def scale_1_3_1(attack: Attack) -> None:
    """Workers leave until one is left, three work, one is left; then as it was."""
    await _leave(attack, "w2")
    await attack.arena.nap(attack.rng.uniform(0, 3))
    await _join(attack, "w2")
    await _join(attack, "w3")
    await attack.arena.nap(attack.rng.uniform(0, 3))
    await _leave(attack, "w3")
    await _leave(attack, "w2")
    await attack.arena.nap(attack.rng.uniform(0, 3))
    attack.arena.slots["w2"].start()
    attack.healed()


@fault
async def rolling_restart(attack: Attack) -> None:
    for slot in list(attack.running):
        await _leave(attack, slot.name)
        slot.start()
        await attack.arena.nap(attack.rng.uniform(1, 3))
    attack.healed()


# --- Kafka ---------------------------------------------------------------------------------------


@fault
async def kafka_killed(attack: Attack) -> None:
    await asyncio.to_thread(attack.arena.kafka.kill)
    await asyncio.to_thread(attack.arena.kafka.start)
    attack.healed()


@fault
async def kafka_away(attack: Attack) -> None:
    await asyncio.to_thread(attack.arena.kafka.kill)
    await attack.outage()
    await asyncio.to_thread(attack.arena.kafka.start)
    attack.healed()


@fault
async def kafka_frozen(attack: Attack) -> None:
    attack.arena.kafka.freeze()
    await attack.outage()
    attack.arena.kafka.thaw()
    attack.healed()


# --- Redis ---------------------------------------------------------------------------------------


@fault
async def redis_killed(attack: Attack) -> None:
    await asyncio.to_thread(attack.arena.redis.restart)
    attack.healed()


@fault
async def redis_away(attack: Attack) -> None:
    await asyncio.to_thread(attack.arena.redis.kill)
    await attack.outage()
    _say_what_is_wrong(attack)
    await asyncio.to_thread(attack.arena.redis.start)
    attack.healed()


def _say_what_is_wrong(attack: Attack) -> None:
    slot = attack.running[0]
    up = slot.metric("stream_redis_up")
    if up != 0:
        attack.remarks.append(f"{slot.name}: stream_redis_up is {up} while Redis is away")


@fault
async def redis_frozen(attack: Attack) -> None:
    attack.arena.redis.freeze()
    await attack.outage()
    attack.arena.redis.thaw()
    attack.healed()


@fault
async def redis_flushed(attack: Attack) -> None:
    client = attack.arena.client()
    client.flushall()
    client.close()
    attack.healed()


@fault
async def redis_rolled_back(attack: Attack) -> None:
    """As after a failover to a copy that lags."""
    await asyncio.to_thread(attack.arena.save_snapshot)
    await attack.arena.nap(attack.rng.uniform(1, 6))
    await asyncio.to_thread(attack.arena.roll_back)
    attack.healed()


# --- the server ----------------------------------------------------------------------------------


@fault
async def server_killed(attack: Attack) -> None:
    assert attack.arena.server is not None
    attack.arena.server.kill()
    attack.arena.start_server()
    attack.healed()


# --- several at once -----------------------------------------------------------------------------


@fault
async def mix_redis_away_and_worker_killed(attack: Attack) -> None:
    await asyncio.to_thread(attack.arena.redis.kill)
    await attack.arena.nap(1)
    attack.one().kill()
    await attack.outage()
    await asyncio.to_thread(attack.arena.redis.start)
    attack.healed()


@fault
async def mix_rolled_back_and_worker_killed(attack: Attack) -> None:
    """The worker that comes next finds a picture older than its ledger."""
    await asyncio.to_thread(attack.arena.save_snapshot)
    await attack.arena.nap(attack.rng.uniform(1, 4))
    attack.one().kill()
    await asyncio.to_thread(attack.arena.roll_back)
    attack.healed()


@fault
async def mix_zombie_and_flushed(attack: Attack) -> None:
    """The zombie wakes up to an empty Redis, which it must not fill with what it knows."""
    slot = attack.one()
    assert slot.process is not None
    slot.process.freeze()
    await attack.arena.nap(attack.arena.session_timeout_s + 2)
    client = attack.arena.client()
    client.flushall()
    client.close()
    slot.process.thaw()
    attack.healed()


@fault
async def mix_kafka_killed_and_worker_killed(attack: Attack) -> None:
    await asyncio.to_thread(attack.arena.kafka.kill)
    attack.one().kill()
    await attack.arena.nap(1)
    await asyncio.to_thread(attack.arena.kafka.start)
    attack.healed()


@fault
async def mix_kafka_killed_while_joining(attack: Attack) -> None:
    attack.arena.slots["w3"].start()
    await attack.arena.nap(attack.rng.uniform(0.5, 2.5))
    await asyncio.to_thread(attack.arena.kafka.kill)
    await asyncio.to_thread(attack.arena.kafka.start)
    await attack.arena.nap(attack.rng.uniform(0, 3))
    await _leave(attack, "w3")
    attack.healed()


@fault
async def mix_server_and_redis_killed(attack: Attack) -> None:
    assert attack.arena.server is not None
    attack.arena.server.kill()
    await asyncio.to_thread(attack.arena.redis.kill)
    attack.arena.start_server()
    await attack.outage()
    await asyncio.to_thread(attack.arena.redis.start)
    attack.healed()
