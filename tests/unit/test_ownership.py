"""Who owns what from one rebalance to the next, without a broker."""

import asyncio
from collections.abc import Iterable, Mapping

import pytest

from stream.core.records import TopicPartition
from stream.engine import ownership
from stream.engine.ownership import Ownership

ONE, TWO = TopicPartition("clicks", 0), TopicPartition("clicks", 1)


class Reader:
    def __init__(self) -> None:
        self.assigned = {ONE, TWO}
        self.positions: list[Mapping[TopicPartition, int]] = []
        self.faults: list[Exception] = []

    def assignment(self) -> set[TopicPartition]:
        return set(self.assigned)

    async def set_positions(self, offsets: Mapping[TopicPartition, int]) -> None:
        if self.faults:
            raise self.faults.pop()
        self.positions.append(offsets)

    async def beginning_offsets(
        self, partitions: Iterable[TopicPartition]
    ) -> Mapping[TopicPartition, int]:
        return dict.fromkeys(partitions, 3)


class Owner:
    def __init__(self) -> None:
        self.given: Mapping[TopicPartition, int] = {ONE: 10, TWO: 20}
        self.calls: list[tuple[str, set[TopicPartition]]] = []
        self.faults: list[Exception] = []
        self.asked, self.go = asyncio.Event(), asyncio.Event()
        self.cancelled = False
        self.go.set()

    def revoke(self, partitions: set[TopicPartition]) -> None:
        self.calls.append(("revoke", partitions))
        if self.faults:
            raise self.faults.pop()

    async def assign(self, partitions: set[TopicPartition]) -> Mapping[TopicPartition, int]:
        self.calls.append(("assign", partitions))
        self.asked.set()
        if self.faults:
            raise self.faults.pop()
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        return self.given


class Scene:
    def __init__(self) -> None:
        self.owner, self.reader = Owner(), Reader()
        self.failures: list[Exception] = []
        self.latest = True
        self.ownership = Ownership(self.owner, self.reader, self.failures.append)

    async def recover(self) -> bool:
        return await asyncio.wait_for(self.ownership.recover(lambda: self.latest), 5)


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.setattr(ownership, "RETRY_FIRST_S", 0.001)
    return Scene()


async def test_recovery_sets_the_owners_positions(scene: Scene) -> None:
    scene.ownership.agree()
    assert await scene.recover()
    assert scene.reader.positions == [{ONE: 10, TWO: 20}]
    assert scene.owner.calls == [("assign", {ONE, TWO})]


async def test_what_the_owner_leaves_out_is_read_from_the_beginning(scene: Scene) -> None:
    scene.owner.given = {TWO: 20, TopicPartition("other", 0): 1}
    scene.ownership.agree()
    assert await scene.recover()
    assert scene.reader.positions == [{ONE: 3, TWO: 20}]


async def test_an_empty_assignment_asks_nobody(scene: Scene) -> None:
    scene.reader.assigned = set()
    scene.ownership.agree()
    assert await scene.recover()
    scene.ownership.revoke(0)
    assert not scene.owner.calls


async def test_nothing_is_recovered_before_the_group_agrees(scene: Scene) -> None:
    assert not await scene.recover()
    scene.ownership.agree()
    scene.ownership.revoke(0)
    assert not await scene.recover()
    assert not scene.owner.calls


async def test_an_older_generation_is_not_recovered(scene: Scene) -> None:
    scene.ownership.agree()
    scene.latest = False
    assert not await scene.recover()
    assert not scene.owner.calls


async def test_faults_are_tried_again(scene: Scene) -> None:
    scene.owner.faults = [OSError("away"), TimeoutError()]
    scene.reader.faults = [TimeoutError()]
    scene.ownership.agree()
    assert await scene.recover()
    assert len(scene.owner.calls) == 4
    assert scene.reader.positions == [{ONE: 10, TWO: 20}]


async def test_a_revocation_ends_a_recovery_under_way(scene: Scene) -> None:
    scene.owner.go.clear()
    scene.ownership.agree()
    recovery = asyncio.create_task(scene.recover())
    await scene.owner.asked.wait()
    scene.ownership.revoke(0)
    assert not await recovery
    assert scene.owner.cancelled
    assert scene.owner.calls == [("assign", {ONE, TWO}), ("revoke", {ONE, TWO})]
    assert not scene.reader.positions


async def test_a_revocation_ends_the_wait_for_a_new_attempt(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ownership, "RETRY_FIRST_S", 60.0)
    scene.owner.faults = [OSError("away")]
    scene.ownership.agree()
    recovery = asyncio.create_task(scene.recover())
    await scene.owner.asked.wait()
    await asyncio.sleep(0)
    scene.ownership.revoke(0)
    assert not await recovery


async def test_what_was_assigned_is_revoked_once(scene: Scene) -> None:
    scene.ownership.agree()
    await scene.recover()
    scene.ownership.revoke(0)
    scene.ownership.revoke(0)
    assert scene.owner.calls[1:] == [("revoke", {ONE, TWO})]


async def test_a_revocation_that_raises_is_told(scene: Scene) -> None:
    scene.ownership.agree()
    await scene.recover()
    fault = ZeroDivisionError()
    scene.owner.faults = [fault]
    scene.ownership.revoke(0)
    assert scene.failures == [fault]


async def test_restlessness_is_warned_of_and_calm_is_not(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    for now_s in range(0, 100, 10):
        scene.ownership.revoke(now_s)
    assert not caplog.messages
    for now_s in range(100, 109):
        scene.ownership.revoke(now_s)
    assert len(caplog.messages) == 1
    assert "same name" in caplog.text
