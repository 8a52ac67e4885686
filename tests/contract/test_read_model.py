"""The read model between a worker and a server, over each kind of store.

Whatever happens to Redis, in the end it holds exactly the worker's table, and a view never shows
half a picture.
"""

import asyncio
import contextlib
import shutil
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
import redis as sync_redis
from redis.asyncio import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from stream.core.buckets import Size
from stream.core.catalogue import METRICS
from stream.core.records import TopicPartition
from stream.live.keys import PartitionKeys, bucket_name
from stream.live.link import Link, reach
from stream.live.projection import Projection, ProjectionFencedError, register, send_command
from stream.live.query import Query
from stream.live.reader import Reader
from stream.live.view import View
from tests.support.namespaces import Namespace
from tests.support.patience import eventually
from tests.support.ports import free_port
from tests.support.read_model import HOUR, NOW_MS, Table, about, info_of, table_of
from tests.support.services import Service

SPRING = ("spring", "mail", "a")
START_MS = NOW_MS // 10_000 * 10_000
PLACE = TopicPartition("clicks", 0)
CTR = METRICS["ctr"]


@pytest.fixture
async def link(every_redis: Service) -> AsyncIterator[Link]:
    link = Link(every_redis.url)
    yield link
    await link.close()


class Owner:
    """A worker's part: a table, and a projection that is pushed from it."""

    def __init__(self, client: Any, name: str, epoch: int = 1, **how: Any) -> None:
        self.partition = int(how.pop("partition", 0))
        self.table = table_of("clicks")
        self.through = 0
        self.epoch = epoch
        told = how.pop("about", about(clicks=1))
        self.projection = Projection(client, name, "clicks", self.partition, about=told, **how)

    def count(self, n: int, label: int = 0, place: tuple[int, int] = (Size.S10, START_MS)) -> None:
        """Add impressions to one cell."""
        self.table.add(place, (f"c{label}", "x", "y"), {0: n})

    async def push(self, records: int = 1, **info: Any) -> Any:
        """Push what has changed."""
        start, self.through = self.through, self.through + records
        changed = self.table.drain()
        shown = info_of("clicks", self.partition, through=self.through, **info)
        return await self.projection.push(
            self.epoch, start, self.through, changed, shown, self.table.everything
        )


async def held(client: Any, name: str, partition: int = 0) -> dict[bytes, bytes]:
    """Labels and cells in Redis, as ledger entries; checks that the set of buckets is exact."""
    keys = PartitionKeys.of(name, TopicPartition("clicks", partition))
    entries = {b"l" + label: raw for label, raw in (await client.hgetall(keys.labels)).items()}
    names = {str(name, "utf-8") for name in await client.smembers(keys.buckets)}
    found = {str(key, "utf-8") async for key in client.scan_iter(keys.prefix + "*:*")}
    assert found == {keys.bucket(name) for name in names}
    for bucket in names:
        size, start = map(int, bucket.split(":"))
        for label, raw in (await client.hgetall(keys.bucket(bucket))).items():
            entries[b"c" + bytes([size]) + start.to_bytes(8, "big", signed=True) + label] = raw
    return entries


def expected(table: Table) -> dict[bytes, bytes]:
    return {key: raw for key, raw in table.entries.items() if key[:1] in (b"l", b"c")}


def impressions(view: View) -> int:
    return view.query(Query(CTR, CTR.fraction, window_ms=HOUR), NOW_MS).rows[0].denominator


def clock_ms() -> int:
    return NOW_MS


# --- the worker's side ---------------------------------------------------------------------------


async def test_pushes_leave_the_table_in_redis(link: Link, namespace: Namespace) -> None:
    client, owner = await reach(link), Owner(link, namespace.name)
    owner.count(3)
    assert (await owner.push()).rewrote is True
    owner.count(4, label=1)
    owner.count(5, place=(Size.M1, START_MS // 60_000 * 60_000))
    assert (await owner.push()).rewrote is False
    assert await held(client, namespace.name) == expected(owner.table)
    keys = PartitionKeys.of(namespace.name, PLACE)
    at = await client.hgetall(keys.at)
    assert (at[b"state"], at[b"through"], at[b"epoch"]) == (b"whole", b"2", b"1")
    assert int(await client.hget(f"{namespace.name}:about", "clicks")) == 1
    everything = {str(key, "utf-8") async for key in client.scan_iter(f"*{namespace.name}*")}
    assert {key for key in everything if not key.startswith(keys.prefix)} == {
        f"{namespace.name}:about"
    }


async def test_an_emptied_bucket_vanishes(link: Link, namespace: Namespace) -> None:
    client, owner = await reach(link), Owner(link, namespace.name)
    owner.count(1)
    owner.count(1, label=1)
    await owner.push()
    keys = PartitionKeys.of(namespace.name, PLACE)
    for label, left in ((0, 1), (1, 0)):
        owner.table.cell((Size.S10, START_MS), (f"c{label}", "x", "y"), {}, {})
        assert (await owner.push()).rewrote is False
        assert await client.scard(keys.buckets) == left
        assert await client.hlen(keys.bucket(bucket_name(1, START_MS))) == left
    assert await held(client, namespace.name) == expected(owner.table)


async def test_a_step_of_many_thousand_cells(link: Link, namespace: Namespace) -> None:
    client, owner = await reach(link), Owner(link, namespace.name)
    await owner.push()
    for n in range(9_001):
        owner.count(n + 1, label=n)
        owner.count(1, place=(Size.S10, START_MS - 10_000 * n))
    assert (await owner.push()).rewrote is False
    assert await held(client, namespace.name) == expected(owner.table)
    again = Owner(link, namespace.name, epoch=2)
    again.table = owner.table
    assert (await again.push()).rewrote is True
    assert await held(client, namespace.name) == expected(owner.table)
    for n in range(9_001):
        owner.table.cell((Size.S10, START_MS), (f"c{n}", "x", "y"), {}, {})
    again.table.changed |= owner.table.changed
    assert (await again.push()).rewrote is False
    assert await held(client, namespace.name) == expected(owner.table)


async def test_a_sign_of_life_is_a_step_without_changes(link: Link, namespace: Namespace) -> None:
    client, owner = await reach(link), Owner(link, namespace.name)
    await owner.push()
    feed = PartitionKeys.of(namespace.name, PLACE).feed
    before = await client.xlen(feed)
    for _ in range(3):
        assert (await owner.push(records=0)).rewrote is False
    assert await client.xlen(feed) == before + 3
    (_, last), *_ = await client.xrevrange(feed, count=1)
    assert set(last) == {b"d"}
    assert len(last[b"d"]) < 400


async def test_the_feed_is_bounded(link: Link, namespace: Namespace) -> None:
    client, owner = await reach(link), Owner(link, namespace.name, feed_length=5)
    for _ in range(300):
        await owner.push()
    assert await client.xlen(PartitionKeys.of(namespace.name, PLACE).feed) <= 110


@pytest.mark.parametrize("what", ["all", "at", "step", "older"])
async def test_whatever_else_stands_in_redis_is_written_anew(
    what: str, link: Link, namespace: Namespace
) -> None:
    client, owner = await reach(link), Owner(link, namespace.name)
    owner.count(1)
    await owner.push()
    keys = PartitionKeys.of(namespace.name, PLACE)
    names = [str(key, "utf-8") async for key in client.scan_iter(keys.prefix + "*")]
    old = {name: await client.dump(name) for name in names}
    owner.count(1, label=1)
    await owner.push()
    if what == "all":
        await client.flushall()
    elif what == "at":
        await client.delete(keys.at)
    elif what == "step":
        await client.hincrby(keys.at, "step", -1)
    else:  # a replica that had not seen the last step takes over
        await client.flushall()
        for name, raw in old.items():
            await client.restore(name, 0, raw)
    owner.count(1)
    assert (await owner.push()).rewrote is True
    assert await held(client, namespace.name) == expected(owner.table)
    assert await client.exists(f"{namespace.name}:about")
    assert (await owner.push()).rewrote is False


async def test_changes_that_do_not_move_the_offset_are_not_lost(
    link: Link, namespace: Namespace
) -> None:
    client, owner = await reach(link), Owner(link, namespace.name)
    await owner.push()
    owner.count(1)
    broken = Cutter(client)
    owner.projection._client = broken  # type: ignore[assignment]
    broken.before(1, _fail)
    with pytest.raises(sync_redis.ConnectionError):
        await owner.push(records=0)
    assert (await owner.push(records=0)).rewrote is True
    assert await held(client, namespace.name) == expected(owner.table)


async def test_a_lost_answer_costs_nothing_but_a_rewrite(link: Link, namespace: Namespace) -> None:
    client, owner = await reach(link), Owner(link, namespace.name)
    await owner.push()
    cutter = Cutter(client)
    owner.projection._client = cutter  # type: ignore[assignment]
    cutter.after(1, _fail)
    owner.count(1)
    with pytest.raises(sync_redis.ConnectionError):
        await owner.push()
    owner.count(1)
    await owner.push()
    assert await held(client, namespace.name) == expected(owner.table)


async def test_the_same_call_twice_counts_once(link: Link, namespace: Namespace) -> None:
    client, owner = await reach(link), Owner(link, namespace.name)
    cutter = Cutter(client)
    owner.projection._client = cutter  # type: ignore[assignment]
    cutter.twice = True  # as a client does that sends again when an answer is overdue
    for n in range(7_000):
        owner.count(1, label=n)
    assert (await owner.push()).rewrote is True
    feed = PartitionKeys.of(namespace.name, PLACE).feed
    before = await client.xlen(feed)
    owner.count(1)
    await send_command(link, namespace.name, PLACE, "7")
    result = await owner.push()
    assert (result.rewrote, result.command) == (False, "7")
    assert await client.xlen(feed) == before + 1
    assert await held(client, namespace.name) == expected(owner.table)


async def test_a_zombie_writes_nothing(link: Link, namespace: Namespace) -> None:
    client = await reach(link)
    zombie, owner = Owner(link, namespace.name, epoch=4), Owner(link, namespace.name, epoch=5)
    zombie.count(1)
    await zombie.push()
    owner.count(2)
    await owner.push()
    before = await held(client, namespace.name)
    zombie.count(100)
    for _ in range(2):
        with pytest.raises(ProjectionFencedError, match="epoch 5"):
            await zombie.push()
    assert await held(client, namespace.name) == before == expected(owner.table)
    owner.count(1)
    assert (await owner.push()).rewrote is False


async def test_a_zombie_in_the_middle_of_a_rewrite_is_fenced(
    link: Link, namespace: Namespace
) -> None:
    client = await reach(link)
    owner = Owner(link, namespace.name, epoch=5)
    owner.count(2)
    for number in range(1, 5):
        zombie, cutter = Owner(link, namespace.name, epoch=4), Cutter(client)
        for n in range(6_000):
            zombie.count(1, label=n)
        zombie.projection._client = cutter  # type: ignore[assignment]
        await client.flushall()

        async def take_over() -> None:
            await owner.push()

        cutter.before(number, take_over)
        with pytest.raises(ProjectionFencedError):
            await zombie.push()
        assert await held(client, namespace.name) == expected(owner.table)


async def test_another_ledgers_picture_is_replaced(link: Link, namespace: Namespace) -> None:
    client = await reach(link)
    old = Owner(link, namespace.name, epoch=900, ledger="a")
    old.count(1, label=7)
    await old.push()
    new = Owner(link, namespace.name, epoch=1, ledger="b")
    new.count(5)
    assert (await new.push()).rewrote is True
    assert await held(client, namespace.name) == expected(new.table)


@pytest.mark.parametrize("number", range(1, 9))
async def test_redis_wiped_between_any_two_calls_of_a_rewrite(
    number: int, link: Link, namespace: Namespace
) -> None:
    client, owner = await reach(link), Owner(link, namespace.name)
    for n in range(12_000):
        owner.count(1, label=n)
    cutter = Cutter(client)
    owner.projection._client = cutter  # type: ignore[assignment]

    async def wipe() -> None:
        await client.flushall()

    cutter.before(number, wipe)
    await owner.push()
    await owner.push()  # the next sign of life finds what was lost after the last call
    assert await held(client, namespace.name) == expected(owner.table)


async def test_redis_wiped_before_every_call(link: Link, namespace: Namespace) -> None:
    client, owner = await reach(link), Owner(link, namespace.name)
    owner.count(1)
    cutter = Cutter(client)
    owner.projection._client = cutter  # type: ignore[assignment]
    cutter.always = client.flushall
    result = await owner.push()
    assert (result.whole, result.rewrote, result.command) == (False, False, None)
    cutter.always = None
    assert (await owner.push()).rewrote is True
    assert await held(client, namespace.name) == expected(owner.table)


async def test_full_memory_is_a_fault_that_passes(link: Link, namespace: Namespace) -> None:
    client, owner = await reach(link), Owner(link, namespace.name)
    owner.count(1)
    await owner.push()
    used = (await client.info("memory"))["used_memory"]
    await client.config_set("maxmemory-policy", "noeviction")
    await client.config_set("maxmemory", used)
    try:
        owner.count(1, label=1)
        for n in range(5_000):
            owner.count(1, label=n)
        before = await held(client, namespace.name)
        with pytest.raises(RedisError):
            await owner.push()
        assert await held(client, namespace.name) == before
    finally:
        await client.config_set("maxmemory", 0)
    assert (await owner.push()).rewrote is True
    assert await held(client, namespace.name) == expected(owner.table)


async def test_commands_reach_the_owner_until_they_are_cleared(
    link: Link, namespace: Namespace
) -> None:
    owner = Owner(link, namespace.name)
    assert (await owner.push()).command is None
    for command in ("", "4711"):
        await send_command(link, namespace.name, PLACE, command)
        assert (await owner.push(records=0)).command == command
        assert (await owner.push()).command == command
        await owner.projection.clear_command("another")
        assert (await owner.push()).command == command
        await owner.projection.clear_command(command)
        assert (await owner.push()).command is None
    await send_command(link, namespace.name, PLACE, "x")
    successor = Owner(link, namespace.name, epoch=2)
    assert (await successor.push()).command == "x"


async def test_clear_takes_everything_away(link: Link, namespace: Namespace) -> None:
    client, owner = await reach(link), Owner(link, namespace.name, epoch=9)
    for n in range(1_200):
        owner.count(1, place=(Size.S10, START_MS - 10_000 * n))
    await owner.push()
    await owner.projection.clear()
    prefix = PartitionKeys.of(namespace.name, PLACE).prefix
    assert [key async for key in client.scan_iter(prefix + "*")] == []
    assert (await Owner(link, namespace.name, epoch=1).push()).rewrote is True


# --- the server's side ---------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def following(client: Any, name: str, **how: Any) -> AsyncIterator[View]:
    """A view that a reader keeps up to date, on a clock that stands still."""
    view = View(**how)
    task = asyncio.create_task(Reader(client, name, view, clock_ms=clock_ms, tick_s=0.1).run())
    try:
        yield view
        assert not task.done(), task.exception()
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_a_view_follows(link: Link, namespace: Namespace) -> None:
    owners = [Owner(link, namespace.name, partition=n, about=about(clicks=2)) for n in range(2)]
    async with following(link, namespace.name) as view:
        await asyncio.sleep(0.2)
        assert (view.status(NOW_MS).ready, view.version > 0) == (False, True)
        owners[0].count(1)
        await owners[0].push()
        await eventually(lambda: impressions(view) == 1)
        assert view.status(NOW_MS).ready is False  # the other was never heard of
        assert view.status(NOW_MS).view_age_s is None
        await owners[1].push()
        await eventually(lambda: view.status(NOW_MS).ready)
        for n in range(50):
            owners[n % 2].count(1, label=n % 7)
            await owners[n % 2].push()
        await eventually(lambda: impressions(view) == 51)
        owners[0].table.cell((Size.S10, START_MS), ("c0", "x", "y"), {}, {})
        gone = 51 - sum(1 for n in range(50) if n % 7 == 0 and n % 2 == 1)
        await owners[0].push()
        await eventually(lambda: impressions(view) < gone)
        assert view.complete(NOW_MS)
        assert [p.through for p in view.status(NOW_MS).partitions] == [o.through for o in owners]


async def test_latencies_reach_the_view(link: Link, namespace: Namespace) -> None:
    owner = Owner(link, namespace.name)
    await owner.push()
    async with following(link, namespace.name) as view:
        await eventually(lambda: view.status(NOW_MS).ready)
        info = info_of("clicks", through=2)
        await owner.projection.push(1, 1, 2, {}, info, owner.table.everything, [(NOW_MS - 70, 3)])
        drained = await eventually(view.drain_latencies)
        assert [(one.seen_ms - one.recorded_ms, one.records) for one in drained] == [(70, 3)]


async def test_a_silent_partition_has_no_owner_until_it_speaks(
    link: Link, namespace: Namespace
) -> None:
    owner = Owner(link, namespace.name)
    await owner.push()
    async with following(link, namespace.name, silent_after_ms=600) as view:
        await eventually(lambda: view.status(NOW_MS).ready)
        await eventually(lambda: view.status(NOW_MS).partitions[0].status == "unowned")
        assert view.complete(NOW_MS) is False
        await owner.push()
        await eventually(lambda: view.status(NOW_MS).ready)


async def test_half_a_picture_is_never_shown(link: Link, namespace: Namespace) -> None:
    client, old = await reach(link), Owner(link, namespace.name)
    for n in range(20_000):
        old.count(1, label=n)
    await old.push()
    async with following(link, namespace.name) as view:
        await eventually(lambda: view.status(NOW_MS).ready)
        assert impressions(view) == 20_000
        new, cutter, seen = Owner(link, namespace.name, epoch=2), Cutter(client), set[Any]()
        new.table = old.table
        new.projection._client = cutter  # type: ignore[assignment]
        new.count(5)

        async def look() -> None:
            await asyncio.sleep(0.15)
            seen.add((impressions(view), view.complete(NOW_MS)))

        cutter.always = look
        await new.push()
        assert (20_000, False) in seen
        assert seen <= {(20_000, False), (20_000, True)}
        await eventually(lambda: view.complete(NOW_MS))
        assert impressions(view) == 20_005


async def test_a_wiped_redis_is_noticed_and_made_good(link: Link, namespace: Namespace) -> None:
    client, owner = await reach(link), Owner(link, namespace.name)
    owner.count(3)
    await owner.push()
    async with following(link, namespace.name) as view:
        await eventually(lambda: view.complete(NOW_MS))
        await client.flushall()
        await eventually(lambda: not view.complete(NOW_MS))
        assert impressions(view) == 3
        owner.count(1)
        await owner.push()
        await eventually(lambda: view.complete(NOW_MS))
        assert impressions(view) == 4


async def test_a_partition_that_is_rolled_back_is_read_anew(
    link: Link, namespace: Namespace
) -> None:
    client, owner = await reach(link), Owner(link, namespace.name)
    owner.count(3)
    await owner.push()
    async with following(link, namespace.name) as view:
        await eventually(lambda: view.complete(NOW_MS))
        keys = PartitionKeys.of(namespace.name, PLACE)
        await client.unlink(keys.at, keys.feed)  # nobody is left to say so in the feed
        await eventually(lambda: not view.complete(NOW_MS), timeout_s=8)
        await owner.push()
        await eventually(lambda: view.complete(NOW_MS))


async def test_a_reader_that_fell_behind_the_feed_reads_the_picture(
    link: Link, namespace: Namespace
) -> None:
    client, owner = await reach(link), Owner(link, namespace.name)
    await owner.push()
    async with following(link, namespace.name) as view:
        await eventually(lambda: view.status(NOW_MS).ready)
        keys = PartitionKeys.of(namespace.name, PLACE)
        pipeline = client.pipeline(transaction=True)
        owner.count(7)
        recorder = Recorder(pipeline)
        owner.projection._client = recorder  # type: ignore[assignment]
        with contextlib.suppress(RecordedError):
            await owner.push()
        pipeline.xtrim(keys.feed, maxlen=0, approximate=False)
        await pipeline.execute()
        owner.projection._client = link
        assert (await owner.push()).rewrote is True
        await eventually(lambda: impressions(view) == 7 and view.complete(NOW_MS))


async def test_a_picture_that_is_written_while_it_is_read(link: Link, namespace: Namespace) -> None:
    client, owner = await reach(link), Owner(link, namespace.name)
    for n in range(600):
        owner.count(1, place=(Size.S10, START_MS - 10_000 * (n % 300)), label=n)
    await owner.push()
    wrote, turn = 0, asyncio.Lock()

    async def write() -> None:
        nonlocal wrote, owner
        async with turn:
            if wrote == 2:
                table, owner = owner.table, Owner(link, namespace.name, epoch=2)
                owner.table = table
            if wrote < 8:
                wrote += 1
                owner.count(1, label=wrote)
                await owner.push()

    slow = Cutter(client)
    slow.pipelines = write
    slow.after(1, write)
    async with following(slow, namespace.name) as view:
        await eventually(lambda: view.complete(NOW_MS) and impressions(view) == 600 + wrote)
    assert wrote > 3


async def test_redis_may_come_late_and_go_away(every_redis: Service, namespace: Namespace) -> None:
    link = Link(every_redis.url, timeout_s=0.5)
    every_redis.kill()
    try:
        async with following(link, namespace.name, silent_after_ms=60_000) as view:
            await asyncio.sleep(0.3)
            assert view.status(NOW_MS).ready is False
            every_redis.start()
            owner = Owner(link, namespace.name)
            owner.count(1)

            async def push() -> bool:
                with contextlib.suppress(RedisError, OSError):
                    await owner.push()
                return impressions(view) == 1 and view.complete(NOW_MS)

            await eventually(push)
            every_redis.kill()
            with pytest.raises((RedisError, OSError)):
                await owner.push()
            assert impressions(view) == 1
            every_redis.start()
            owner.count(1)

            async def pushed() -> bool:
                with contextlib.suppress(RedisError, OSError):
                    await owner.push()
                return impressions(view) == 2 and view.complete(NOW_MS)

            await eventually(pushed)
    finally:
        await link.close()


async def test_a_plain_client_will_do(every_redis: Service, namespace: Namespace) -> None:
    client = Redis.from_url(every_redis.url)
    owner = Owner(client, namespace.name, about=None)
    owner.count(2)
    await owner.push()
    async with following(client, namespace.name) as view:
        await asyncio.sleep(0.3)
        assert view.status(NOW_MS).partitions == []
        await register(client, namespace.name, about(clicks=1))
        await eventually(lambda: impressions(view) == 2)
    await client.aclose()


# --- Redis Cluster -------------------------------------------------------------------------------


@pytest.fixture
def cluster_url(tmp_path: Any) -> Iterator[str]:
    """A cluster of one node: it refuses whatever touches two hash slots at once."""
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed")
    port = free_port()
    process = subprocess.Popen(
        [
            *("redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", ""),
            *("--cluster-enabled", "yes", "--cluster-port", str(free_port())),
            *("--dir", str(tmp_path), "--loglevel", "warning"),
        ],
        stdout=subprocess.DEVNULL,
    )
    client = sync_redis.Redis(port=port, retry=Retry(NoBackoff(), 0))
    try:
        for _ in range(100):
            with contextlib.suppress(sync_redis.ConnectionError):
                client.ping()
                break
            asyncio.run(asyncio.sleep(0.05))
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16_383)
        while b"cluster_state:ok" not in client.execute_command("CLUSTER", "INFO"):
            asyncio.run(asyncio.sleep(0.05))
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        client.close()
        process.kill()
        process.wait()


async def test_redis_cluster(cluster_url: str, namespace: Namespace) -> None:
    link = Link(cluster_url)
    owners = [Owner(link, namespace.name, partition=n, about=about(clicks=3)) for n in range(3)]
    async with following(link, namespace.name) as view:
        for owner in owners:
            owner.count(1, label=owner.partition)
            assert (await owner.push()).rewrote is True
        await eventually(lambda: view.complete(NOW_MS))
        for owner in owners:
            owner.count(1, label=5)
            assert (await owner.push()).rewrote is False
        await eventually(lambda: impressions(view) == 6)
        await send_command(link, namespace.name, PLACE, "")
        assert (await owners[0].push()).command == ""
        await owners[0].projection.clear_command("")
        await owners[0].projection.clear()
        await eventually(lambda: not view.complete(NOW_MS), timeout_s=8)
    await link.close()


# --- clients that do something in between --------------------------------------------------------

Action = Callable[[], Awaitable[Any]]


async def _fail() -> None:
    raise sync_redis.ConnectionError("gone")


class Cutter:
    """A client with something happening before or after its n-th script call (from 1)."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._calls = 0
        self._before: dict[int, Action] = {}
        self._after: dict[int, Action] = {}
        self.always: Action | None = None
        self.pipelines: Action | None = None
        self.twice = False

    def before(self, number: int, action: Action) -> None:
        self._before[number] = action

    def after(self, number: int, action: Action) -> None:
        self._after[number] = action

    async def evalsha(self, *arguments: Any) -> Any:
        self._calls += 1
        if self.always is not None:
            await self.always()
        if action := self._before.pop(self._calls, None):
            await action()
        try:
            answer = await self._client.evalsha(*arguments)
            if self.twice:
                answer = await self._client.evalsha(*arguments)
        except sync_redis.exceptions.NoScriptError:
            answer = None
            raise
        finally:
            if action := self._after.pop(self._calls, None):
                await action()
        return answer

    def pipeline(self, **how: Any) -> Any:
        pipeline = self._client.pipeline(**how)
        execute = pipeline.execute

        async def slowly() -> Any:
            answer = await execute()
            if self.pipelines is not None:
                await self.pipelines()
            return answer

        pipeline.execute = slowly
        return pipeline

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)


class RecordedError(Exception):
    """The call was put into a pipeline."""


class Recorder:
    """Puts script calls into a pipeline instead of sending them."""

    def __init__(self, pipeline: Any) -> None:
        self._pipeline = pipeline

    async def evalsha(self, *arguments: Any) -> Any:
        self._pipeline.evalsha(*arguments)
        raise RecordedError
