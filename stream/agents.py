"""The Faust agents: one per topic, each batch to the shard of its partition."""

import asyncio
from collections.abc import AsyncIterator
from typing import Protocol

from stream.core.records import RecordBatch, TopicPartition
from stream.engine.faust import FaustApp
from stream.shard import Shard


class Shards(Protocol):
    """Who knows the shards that are ours."""

    def find(self, place: TopicPartition) -> Shard | None:
        """The shard of a partition, if it is ours now."""

    async def paused(self, shard: Shard) -> None:
        """A shard took in a record that paused it."""

    async def read_from(self, shard: Shard) -> None:
        """Fetch a shard's records again from its position."""


def add_agents(app: FaustApp, topics: dict[str, str], shards: Shards) -> None:
    """Add an agent for each topic; `topics` maps names without prefix to Kafka's."""
    for topic in topics.values():

        @app.agent(topic)
        async def consume(batches: AsyncIterator[RecordBatch]) -> None:
            async for batch in batches:
                await take(batch, shards)


async def take(batch: RecordBatch, shards: Shards) -> None:
    """Fold a batch if it continues its partition, judged by offsets alone."""
    shard = shards.find(TopicPartition(batch.topic, batch.partition))
    if shard is None or not shard.takes_more or batch.next <= shard.core.position:
        return  # lost meanwhile, standing still, or fetched twice around a rebalance
    if batch.start > shard.core.position:
        await shards.read_from(shard)  # a fetch that straddled a rebalance took records with it
        return
    for _ in shard.fold(batch):
        await asyncio.sleep(0)
        await shard.room()
    if shard.core.is_paused and shards.find(shard.place) is shard:
        await shards.paused(shard)
