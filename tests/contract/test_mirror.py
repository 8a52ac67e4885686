"""Mirrors and the lease, over every kind of store: who may write, and what readers are told."""

from collections.abc import AsyncIterator

import pytest

from stream.live.lease import Lease
from stream.live.link import Link, reach
from stream.live.mirror import Mirror, MirrorKeys, MirrorReader, News
from tests.support.namespaces import Namespace
from tests.support.patience import eventually
from tests.support.services import Service

NAME = "campaigns"


@pytest.fixture
async def link(every_redis: Service) -> AsyncIterator[Link]:
    link = Link(every_redis.url)
    yield link
    await link.close()


@pytest.fixture
def mirror(link: Link, namespace: Namespace) -> Mirror:
    return Mirror(link, namespace.group, NAME)


@pytest.fixture
def reader(namespace: Namespace) -> MirrorReader:
    return MirrorReader(namespace.group, NAME)


async def filled(mirror: Mirror, **values: str) -> None:
    pairs = [(key.encode(), value.encode()) for key, value in values.items()]
    stands = await mirror.begin(1)
    assert await mirror.take(stands, {0: len(pairs)}, pairs, whole=True, now_ms=2)


async def carried(mirror: Mirror, to: int, *pairs: tuple[bytes, bytes | None]) -> bool:
    stands = await mirror.look()
    assert stands is not None
    return await mirror.take(stands, {0: to}, pairs, whole=True, now_ms=3) is not None


async def test_a_reader_is_told_all_and_then_what_changes(
    link: Link, mirror: Mirror, reader: MirrorReader
) -> None:
    assert await reader.poll(link) is None
    await filled(mirror, a="1", b="2")
    assert await reader.poll(link) == News(True, {b"a": b"1", b"b": b"2"})
    assert await reader.poll(link) is None
    assert await carried(mirror, 5, (b"a", b"3"), (b"b", None), (b"c", b"4"), (b"c", b"5"))
    assert await reader.poll(link) == News(False, {b"a": b"3", b"b": None, b"c": b"5"})
    assert await carried(mirror, 6)
    assert await reader.poll(link) is None


async def test_nobody_sees_a_mirror_that_is_being_filled(
    link: Link, mirror: Mirror, reader: MirrorReader
) -> None:
    stands = await mirror.begin(1)
    half = await mirror.take(stands, {0: 1}, [(b"a", b"1")], whole=False, now_ms=2)
    assert half is not None
    assert await reader.poll(link) is None
    assert await mirror.take(half, {0: 2}, [(b"b", b"2")], whole=True, now_ms=3)
    assert await reader.poll(link) == News(True, {b"a": b"1", b"b": b"2"})


async def test_who_stands_elsewhere_writes_nothing(
    link: Link, mirror: Mirror, reader: MirrorReader
) -> None:
    await filled(mirror, a="1")
    old = await mirror.look()
    assert old is not None
    assert await carried(mirror, 2, (b"a", b"2"))
    late = await mirror.take(old, {0: 2}, [(b"a", b"old")], whole=True, now_ms=9)
    assert late is None
    await filled(mirror, a="new")
    assert await mirror.take(old, {0: 9}, [(b"a", b"old")], whole=True, now_ms=9) is None
    assert await reader.poll(link) == News(True, {b"a": b"new"})


async def test_an_emptied_store_is_noticed_and_readers_keep_what_they_have(
    link: Link, mirror: Mirror, reader: MirrorReader, namespace: Namespace
) -> None:
    await filled(mirror, a="1")
    await reader.poll(link)
    keys = MirrorKeys.of(namespace.group, NAME)
    await (await reach(link)).delete(keys.at, keys.held, keys.order)
    assert await mirror.look() is None
    assert await reader.poll(link) is None
    await filled(mirror, a="1", b="2")
    assert await reader.poll(link) == News(True, {b"a": b"1", b"b": b"2"})


async def test_where_it_stands_survives(mirror: Mirror) -> None:
    stands = await mirror.begin(7)
    assert (stands.positions, stands.whole, stands.touched_ms) == ({}, False, 7)
    await mirror.take(stands, {0: 12, 3: 4}, (), whole=True, now_ms=8)
    found = await mirror.look()
    assert found is not None
    assert (found.positions, found.whole, found.touched_ms) == ({0: 12, 3: 4}, True, 8)


async def test_values_of_any_bytes_and_many_keys(
    link: Link, mirror: Mirror, reader: MirrorReader
) -> None:
    many = [(bytes([i % 256, i // 256]), bytes(range(256))) for i in range(1_500)]
    stands = await mirror.begin(1)
    assert await mirror.take(stands, {0: 1_500}, many, whole=True, now_ms=2)
    assert await reader.poll(link) == News(True, dict(many))


async def test_one_holds_the_lease_until_it_ends_or_is_given_up(
    link: Link, namespace: Namespace
) -> None:
    first, second = (Lease(link, f"{namespace.group}:keeper", n, 400) for n in ("a", "b"))
    assert await first.renew()
    assert not await second.renew()
    assert await first.renew()
    await eventually(second.renew, 5, what="the lease ends")
    await first.release()  # no longer its own
    assert not await first.renew()
    await second.release()
    assert await first.renew()
