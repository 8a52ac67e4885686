"""What the project relies on from any Redis-compatible store."""

import asyncio

import pytest
import redis
import redis.asyncio

from tests.support.services import Service

_COMPARE_AND_SET = """
if redis.call('HGET', KEYS[1], 'through') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'through', ARGV[2])
return 1
"""


@pytest.fixture
async def store(every_redis: Service):
    async with redis.asyncio.Redis.from_url(every_redis.url) as client:
        await client.flushall()
        yield client


async def test_a_script_compares_and_sets(store) -> None:
    await store.hset("{t}:at", "through", 5)
    step = store.register_script(_COMPARE_AND_SET)
    assert await step(keys=["{t}:at"], args=[5, 9]) == 1
    assert await step(keys=["{t}:at"], args=[5, 9]) == 0
    assert await store.hget("{t}:at", "through") == b"9"
    await store.script_flush()
    assert await step(keys=["{t}:at"], args=[9, 12]) == 1


async def test_values_are_bytes(store) -> None:
    field, value = b"\x00\x00\x00\x07", bytes(range(256))
    await store.hset(b"{t}:1:\xff", field, value)
    assert await store.hgetall(b"{t}:1:\xff") == {field: value}


async def test_a_stream_can_be_cut_and_waited_for(store) -> None:
    for i in range(20):
        await store.xadd("{t}:feed", {"d": str(i)}, maxlen=5, approximate=False)
    assert await store.xlen("{t}:feed") == 5
    last = (await store.xrevrange("{t}:feed", count=1))[0][0]
    waiting = asyncio.create_task(store.xread({"{t}:feed": last}, block=5_000))
    async with redis.asyncio.Redis.from_url(
        "redis://{host}:{port}/0".format(**store.connection_pool.connection_kwargs)
    ) as other:
        await asyncio.sleep(0.05)
        await other.xadd("{t}:feed", {"d": "new"})
    [[_, [[entry_id, fields]]]] = await waiting
    assert fields == {b"d": b"new"}
    assert int(entry_id.split(b"-")[0]) > 1_600_000_000_000  # the store's own clock, in ms


async def test_it_never_evicts(store) -> None:
    assert (await store.config_get("maxmemory-policy"))["maxmemory-policy"] == "noeviction"


async def test_a_restart_empties_it_on_the_same_address(every_redis: Service, store) -> None:
    await store.set("a", 1)
    every_redis.restart()
    async with redis.asyncio.Redis.from_url(every_redis.url) as client:
        assert await client.get("a") is None


def test_after_a_kill_nobody_answers_until_it_is_started(every_redis: Service) -> None:
    every_redis.kill()
    with pytest.raises(redis.ConnectionError), redis.Redis.from_url(every_redis.url) as client:
        client.ping()
    every_redis.start()
    with redis.Redis.from_url(every_redis.url) as client:
        assert client.ping()
