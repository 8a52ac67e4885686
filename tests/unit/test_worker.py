"""What ends a worker's process, and what does not: a worker without Kafka or Redis."""

import asyncio
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from stream.core.records import TopicPartition
from stream.engine.ledger import Ledger
from stream.settings import load_settings
from stream.worker import Worker, WorkerError
from tests.support.memory_log import MemoryLog, MemoryPartition

PLACE = TopicPartition("clicks", 0)


class Flushing:
    """A worker that owns one partition and is about to flush it."""

    def __init__(self, id_key: Path) -> None:
        self.worker = Worker(load_settings({"id_key_file": id_key, "flush_interval": "10ms"}))
        self.records = MemoryPartition()
        self.log = MemoryLog({0: self.records})

    async def start(self) -> None:
        ledger = self.worker._ledgers["clicks"] = Ledger(self.log)
        await ledger.start()
        shard = self.worker._shards[PLACE] = await self.worker._recover(PLACE)
        worker = self.worker
        flush = worker._guarded(partial(worker._while_ours, shard, worker._flush_loop))
        self.task = asyncio.create_task(flush)
        self.worker._tasks[PLACE] = [self.task]


@pytest.fixture
async def flushing(tmp_path: Path) -> Flushing:
    made = Flushing(tmp_path / "id.key")
    await made.start()
    return made


async def test_a_flush_that_outlives_its_partitions_loss_ends_nothing(flushing: Flushing) -> None:
    under_way = asyncio.Event()

    async def lose_a_cancellation() -> None:
        under_way.set()
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()

    flushing.log.between.append(lose_a_cancellation)
    await asyncio.wait_for(under_way.wait(), 10)
    flushing.worker.revoke({TopicPartition(flushing.worker.topics["clicks"], 0)})
    await asyncio.wait_for(asyncio.wait({flushing.task}), 10)
    assert not flushing.worker._over.is_set()


async def test_a_flush_of_a_partition_that_another_took_ends_the_worker(flushing: Flushing) -> None:
    other = Ledger(MemoryLog({0: flushing.records}))
    await other.start()
    await other.claim(0)
    await asyncio.wait_for(flushing.worker._over.wait(), 10)
    with pytest.raises(WorkerError, match="claimed by another"):
        flushing.worker._raise()
