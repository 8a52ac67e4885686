"""The ledger on real brokers: what it promises must hold whatever they do."""

import asyncio
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from stream.engine.kafka_admin import KafkaAdmin, TopicShape
from stream.engine.kafka_log import KafkaLog
from stream.engine.ledger import Fenced, Ledger, LedgerError, Recovered
from stream.engine.topics import LEDGER_CONFIGS
from stream.errors import UserError
from tests.support.namespaces import Namespace
from tests.support.patience import eventually
from tests.support.services import Service

PARTITIONS = 4
NewLedger = Callable[..., Awaitable[Ledger]]


@pytest.fixture
async def topic(every_kafka: Service, namespace: Namespace) -> str:
    name = namespace.topic("ledger")
    async with KafkaAdmin(every_kafka.bootstrap) as admin:
        await admin.create(TopicShape(name, PARTITIONS, 1, LEDGER_CONFIGS))

        async def is_there() -> bool:
            return name in await admin.topics()

        await eventually(is_there)
    return name


@pytest.fixture
async def new_ledger(every_kafka: Service, topic: str) -> AsyncIterator[NewLedger]:
    async with AsyncExitStack() as ledgers:

        async def new(timeout_s: float = 10.0) -> Ledger:
            ledger = Ledger(KafkaLog(every_kafka.bootstrap, topic, timeout_s=timeout_s))
            await ledger.start()
            ledgers.push_async_callback(ledger.stop)
            return ledger

        yield new


async def first_offset(kafka: Service, topic: str, partition: int) -> int:
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap)
    await consumer.start()
    try:
        which = TopicPartition(topic, partition)
        return int((await consumer.beginning_offsets([which]))[which])
    finally:
        await consumer.stop()


def entries(count: int, value: bytes = b"v" * 30) -> dict[bytes, bytes | None]:
    return {b"c\1" + struct.pack(">qI", at, at % 1000) + b"xyz": value for at in range(count)}


async def test_state_moves_from_owner_to_owner(new_ledger: NewLedger) -> None:
    one, two = await new_ledger(), await new_ledger()
    assert (await one.claim(0)).next is None
    await one.flush(0, {b"a": b"1", b"b": b"1"}, 3, 10)
    await one.flush(0, {b"a": None}, 10, 10)
    got = await two.claim(0)
    assert (got.entries, got.next) == ({b"b": b"1"}, 10)
    assert not await one.still_owner(0)
    with pytest.raises(Fenced):
        await one.flush(0, {b"a": b"2"}, 10, 11)
    await two.flush(0, {b"c": b"2"}, 10, 12)
    again = await one.claim(0)
    assert (again.entries, again.next) == ({b"b": b"1", b"c": b"2"}, 12)
    assert again.epoch > got.epoch


async def test_many_partitions_are_claimed_at_once(new_ledger: NewLedger) -> None:
    one, two = await new_ledger(), await new_ledger()
    await asyncio.gather(*map(one.claim, range(PARTITIONS)))
    await asyncio.gather(
        *(one.flush(p, entries(25_000, b"%d" % p), 0, p) for p in range(PARTITIONS))
    )
    for partition, got in enumerate(await asyncio.gather(*map(two.claim, range(PARTITIONS)))):
        assert got.next == partition
        assert got.entries == entries(25_000, b"%d" % partition)


async def test_large_values_pass(new_ledger: NewLedger) -> None:
    one, two = await new_ledger(), await new_ledger()
    await one.claim(1)
    large = {b"a": b"x" * (5 << 20), b"b": b"y" * (3 << 20), b"c": b"z"}
    await one.flush(1, large, 0, 1)
    assert (await two.claim(1)).entries == large


async def test_what_is_held_is_kept_unless_another_wrote(new_ledger: NewLedger) -> None:
    one, two = await new_ledger(), await new_ledger()
    await one.claim(0)
    await one.flush(0, {b"a": b"1"}, 0, 1)
    got = await one.claim(0, one.release(0))
    assert (got.kept, got.next) == (True, 1)
    await one.flush(0, {b"b": b"1"}, 1, 2)
    held = one.release(0)
    await two.claim(0)
    await two.flush(0, {b"a": b"2"}, 2, 2)
    got = await one.claim(0, held)
    assert (got.kept, got.entries) == (False, {b"a": b"2", b"b": b"1"})


async def test_a_log_is_cut_and_tells_the_same(
    new_ledger: NewLedger, every_kafka: Service, topic: str
) -> None:
    one, two = await new_ledger(), await new_ledger()
    await one.claim(2)
    await one.flush(2, {b"a": b"1", b"b": b"1"}, 0, 1, round_done=True)
    held = one.release(2)
    await two.claim(2)
    for step in range(1, 4):
        await two.flush(2, {b"a": b"%d" % step}, step, step + 1)
        await two.flush(2, {b"b": b"2"}, step + 1, step + 1, round_done=True)
    if every_kafka.kind != "embedded":  # which does not delete

        async def is_cut() -> bool:
            return await first_offset(every_kafka, topic, 2) == 7

        await eventually(is_cut)
    got = await one.claim(2, held)
    assert (got.kept, got.entries, got.next) == (False, {b"a": b"3", b"b": b"2"}, 4)
    await one.flush(2, {b"c": b"1"}, 4, 5)
    assert (await two.claim(2)).entries == {b"a": b"3", b"b": b"2", b"c": b"1"}


async def test_a_log_that_was_cut_by_somebody_else_is_refused(
    new_ledger: NewLedger, every_kafka: Service, topic: str
) -> None:
    if every_kafka.kind == "embedded":
        return  # it does not delete
    one = await new_ledger()
    await one.claim(0)
    await one.flush(0, {b"a": b"1"}, 0, 1)
    await one.flush(0, {b"b": b"1"}, 1, 2)
    async with KafkaAdmin(every_kafka.bootstrap) as admin:
        await admin.delete_records(topic, 0, 2)
    with pytest.raises(UserError, match=f"{topic}/0 was cut .*stream rebuild"):
        await one.claim(0)
    await one.reset(0)
    assert (await one.claim(0)).entries == {}


async def test_a_topic_of_something_else_is_refused_until_it_is_reset(
    new_ledger: NewLedger, every_kafka: Service, topic: str
) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=every_kafka.bootstrap)
    await producer.start()
    await producer.send_and_wait(topic, b'{"event_id": "1"}', partition=3)
    await producer.stop()
    one = await new_ledger()
    with pytest.raises(UserError, match=f"{topic}/3 .*stream rebuild"):
        await one.claim(3)
    await one.reset(3)
    got = await one.claim(3)
    assert (got.entries, got.next) == ({}, None)
    await one.flush(3, {b"a": b"1"}, 0, 1)


async def test_flushes_go_on_over_a_broker_that_stands_still(
    new_ledger: NewLedger, every_kafka: Service
) -> None:
    """Attempts time out and are repeated: the copies that land later change nothing."""
    one, two = await new_ledger(timeout_s=1.0), await new_ledger()
    await one.claim(0)
    stop = asyncio.Event()
    done = 0

    async def flush() -> None:
        nonlocal done
        while not stop.is_set():
            await one.flush(0, {b"n": b"%d" % (done + 1), b"%d" % (done % 7): b"x"}, done, done + 1)
            done += 1

    async def flushed_up_to(goal: int) -> None:
        await eventually(lambda: done >= goal, timeout_s=20)

    flushing = asyncio.create_task(flush())
    await asyncio.sleep(0.2)
    for _ in range(2):
        before = done
        every_kafka.freeze()
        await asyncio.sleep(2.5)
        every_kafka.thaw()
        await flushed_up_to(before + 5)
    stop.set()
    await flushing
    got = await two.claim(0)
    assert (got.next, got.entries[b"n"]) == (done, b"%d" % done)


@pytest.mark.slow
async def test_flushes_go_on_over_a_broker_that_is_killed(
    new_ledger: NewLedger, every_kafka: Service
) -> None:
    if every_kafka.kind == "embedded":
        return  # it keeps nothing
    one, two = await new_ledger(timeout_s=2.0), await new_ledger()
    await one.claim(0)
    await one.flush(0, {b"a": b"1"}, 0, 1)
    await asyncio.to_thread(every_kafka.kill)
    flushing = asyncio.create_task(one.flush(0, {b"b": b"1"}, 1, 2))
    await asyncio.sleep(0.5)
    await asyncio.to_thread(every_kafka.start)
    async with asyncio.timeout(60):
        await flushing
    assert (await two.claim(0)).entries == {b"a": b"1", b"b": b"1"}


async def test_a_release_ends_a_flush_that_cannot_get_through(
    new_ledger: NewLedger, every_kafka: Service
) -> None:
    one = await new_ledger(timeout_s=0.5)
    await one.claim(0)
    every_kafka.freeze()
    try:
        flushing = asyncio.create_task(one.flush(0, {b"a": b"1"}, 0, 1))
        await asyncio.sleep(1.2)
        assert one.release(0) is None
        started = time.monotonic()
        with pytest.raises(LedgerError):
            await flushing
        assert time.monotonic() - started < 3
    finally:
        every_kafka.thaw()


async def test_an_owner_does_not_mistake_silence_for_a_loss(
    new_ledger: NewLedger, every_kafka: Service
) -> None:
    one = await new_ledger(timeout_s=0.5)
    await one.claim(0)
    every_kafka.freeze()
    try:
        assert await one.still_owner(0)
    finally:
        every_kafka.thaw()


async def test_reading_a_large_log_leaves_the_event_loop_to_others(new_ledger: NewLedger) -> None:
    one, two = await new_ledger(), await new_ledger()
    await asyncio.gather(*map(one.claim, range(PARTITIONS)))
    await asyncio.gather(*(one.flush(p, entries(100_000), 0, 1) for p in range(PARTITIONS)))
    longest, last = 0.0, time.perf_counter()
    reading = asyncio.gather(*map(two.claim, range(PARTITIONS)))
    while not reading.done():
        await asyncio.sleep(0)
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    got: list[Recovered] = await reading
    assert sum(len(each.entries) for each in got) == 400_000
    assert longest < 0.2  # about 0.02 s on an idle machine
