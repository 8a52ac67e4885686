"""Starting while something is away, and starting anew: the worker finds its way by itself."""

import asyncio
import signal

import pytest

from stream.engine.kafka_log import KafkaLog
from stream.engine.ledger import Ledger
from stream.settings import load_settings
from stream.topic_plan import ledger_topic
from tests.chaos.arena import Arena
from tests.chaos.feeder import Feeder
from tests.chaos.plan import Traffic
from tests.chaos.witness import Witness
from tests.support.patience import eventually
from tests.support.services import MissingError

pytestmark = [pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture
async def arena():
    try:
        made = Arena({}, session_timeout_s=4)
    except MissingError as error:
        pytest.skip(str(error))
    yield made
    for slot in made.slots.values():
        print(f"--- {slot.name}\n{slot.text[-6000:]}")
    await made.close()


def ledger_name(arena: Arena) -> str:
    names = {"topic_prefix": arena.namespace.prefix, "group": arena.namespace.group}
    return ledger_topic(load_settings(names), "clicks")


async def feed(arena: Arena, records: int) -> tuple[Feeder, Witness]:
    """Send so many and return when Kafka has them."""
    feeder, witness = arena.attach(Traffic(1, 2_000), records)
    await feeder.run()
    return feeder, witness


async def all_in(arena: Arena, feeder: Feeder, timeout_s: float) -> None:
    def look() -> bool:
        found = arena.partitions()
        return all(
            found[f"{topic}/{number}"]["through"] == n
            and found[f"{topic}/{number}"]["status"] == "live"
            for (topic, number), n in feeder.acknowledged.items()
        )

    def heard() -> bool:
        try:
            return look()
        except KeyError:
            return False

    await eventually(heard, timeout_s, what="all in")


async def test_a_worker_waits_for_kafka_and_only_the_view_waits_for_redis(arena):
    """It says what is away, counts while Redis is, and fills it as soon as it is there."""
    slot = arena.slots["w1"]
    slot.start()
    arena.start_server()
    await eventually(lambda: "kafka_away" in slot.text, 30, what="a word about Kafka")
    assert slot.process is not None
    pid = slot.process.pid
    assert arena.code("/healthz", slot.port) == 200
    assert arena.code("/readyz", slot.port) == 503
    await asyncio.to_thread(arena.kafka.start)
    await eventually(lambda: arena.code("/readyz", slot.port) == 200, 40, what="the worker")
    feeder, _ = await feed(arena, 3_000)
    await eventually(lambda: slot.metric("stream_redis_up") == 0, 10, what="redis_up 0")
    assert arena.code("/readyz") == 503
    assert arena.code("/healthz") == 200
    await asyncio.to_thread(arena.redis.start)
    await all_in(arena, feeder, 3.0)
    assert arena.code("/readyz") == 200
    await eventually(lambda: slot.metric("stream_redis_up") == 1, 5, what="redis_up 1")
    assert (slot.process.pid, slot.process.running) == (pid, True)


async def test_a_worker_in_doubt_starts_anew_under_its_own_name(arena):
    """Somebody else claims one of its partitions; then its consumer dies."""
    await arena.open(1)
    slot = arena.slots["w1"]
    feeder, _ = await feed(arena, 2_000)
    await all_in(arena, feeder, 60)
    assert slot.process is not None
    pid = slot.process.pid
    stranger = Ledger(KafkaLog(arena.kafka.bootstrap, ledger_name(arena)))
    await stranger.start()
    await stranger.claim(0)
    await stranger.stop()
    again, _ = await feed(arena, 2_000)
    await eventually(lambda: arena.anew() == 1, 20, what="a new start")
    await all_in(arena, again, 30)
    slot.arm("in-fetch", 0)
    await eventually(lambda: arena.anew() == 2, 20, what="a new start")
    once_more, _ = await feed(arena, 2_000)
    await all_in(arena, once_more, 30)
    assert {p["worker"] for p in arena.partitions().values()} == {"w1"}
    assert (slot.process.pid, slot.process.running) == (pid, True)
    slot.process.signal(signal.SIGTERM)
    assert await slot.process.ended(20) == 0
