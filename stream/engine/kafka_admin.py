"""Kafka's admin calls, typed: the one module that touches aiokafka's admin client.

Knows no topic of ours. Every call has a time-out and raises KafkaError, OSError or TimeoutError.
"""

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    GroupCoordinatorNotAvailableError,
    KafkaConnectionError,
    KafkaError,
    TopicAlreadyExistsError,
    for_code,
)

from stream.engine.credentials import Credentials, client_options


@dataclass(frozen=True, slots=True)
class TopicShape:
    """A topic as it is, or is to be: `configs` are the settings that it has or is to be given."""

    name: str
    partitions: int
    replication: int
    configs: Mapping[str, str] = field(default_factory=dict)


class KafkaAdmin:
    """A connection for administration."""

    def __init__(
        self,
        bootstrap: str,
        *,
        credentials: Credentials | None = None,
        timeout_s: float = 10.0,
    ) -> None:
        self._timeout_s = timeout_s
        self._client = AIOKafkaAdminClient(
            bootstrap_servers=bootstrap,
            request_timeout_ms=round(timeout_s * 1000),
            **client_options(credentials),
        )

    async def start(self) -> None:
        """Connect."""
        async with asyncio.timeout(self._timeout_s):
            await self._client.start()

    async def stop(self) -> None:
        """Disconnect."""
        await self._client.close()

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    async def brokers(self) -> int:
        """Return the number of brokers that are up."""
        async with asyncio.timeout(self._timeout_s):
            return len((await self._client.describe_cluster())["brokers"])

    async def topics(self) -> dict[str, TopicShape]:
        """Return all topics, without their settings.

        All, because asking for one by name makes a broker create it that is set up to do so.
        """
        async with asyncio.timeout(self._timeout_s):
            described = await self._client.describe_topics()
        return {each["topic"]: _shape(each) for each in described if not each["error_code"]}

    async def configs(self, topics: Collection[str]) -> dict[str, dict[str, str]]:
        """Return the settings in force of existing topics; a broker may know only some."""
        if not topics:
            return {}
        wanted = [ConfigResource(ConfigResourceType.TOPIC, name) for name in topics]
        async with asyncio.timeout(self._timeout_s):
            answers = await self._client.describe_configs(wanted)
        found: dict[str, dict[str, str]] = {}
        for answer in answers:
            for code, _, _, name, entries in answer.resources:
                _raise(code, name)
                found[name] = {entry[0]: entry[1] for entry in entries if entry[1] is not None}
        return found

    async def members(self, group: str) -> int:
        """Return how many members a consumer group has; 0 where there is no such group.

        A broker that cannot tell (the embedded one) is taken to know of none.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                answers = await self._client.describe_consumer_groups([group])
        except (GroupCoordinatorNotAvailableError, ValueError, KafkaConnectionError):
            return 0
        return sum(len(each[5]) for answer in answers for each in answer.groups)

    async def create(self, topic: TopicShape) -> bool:
        """Create a topic; False if it exists."""
        new = NewTopic(
            topic.name, topic.partitions, topic.replication, topic_configs=dict(topic.configs)
        )
        async with asyncio.timeout(self._timeout_s):
            answer = await self._client.create_topics([new])
        try:
            for name, code, *message in answer.topic_errors:
                _raise(code, next(filter(None, message), name))
        except TopicAlreadyExistsError:
            return False
        return True

    async def grow(self, topic: str, partitions: int) -> None:
        """Give a topic more partitions, up to so many in all."""
        async with asyncio.timeout(self._timeout_s):
            answer = await self._client.create_partitions({topic: NewPartitions(partitions)})
        for name, code, *message in answer.topic_errors:
            _raise(code, next(filter(None, message), name))

    async def delete_records(self, topic: str, partition: int, before: int) -> None:
        """Delete a partition's records before an offset."""
        async with asyncio.timeout(self._timeout_s):
            await self._client.delete_records(
                {TopicPartition(topic, partition): RecordsToDelete(before)}
            )


def _shape(described: Mapping[str, Any]) -> TopicShape:
    partitions = described["partitions"]
    replication = min((len(each["replicas"]) for each in partitions), default=0)
    return TopicShape(described["topic"], len(partitions), replication)


def _raise(code: int, what: str) -> None:
    if code:
        error: type[KafkaError] = for_code(code)
        raise error(what)
