"""Faults of Kafka and Redis as one line for the person at the command line."""

from collections.abc import Awaitable
from typing import TypeVar

from aiokafka.errors import KafkaError
from redis.exceptions import RedisError

from stream.engine.diagnosis import diagnose
from stream.errors import UserError
from stream.kafka_access import kafka_credentials
from stream.live.link import explain_fault
from stream.settings import Settings

T = TypeVar("T")


async def in_words(settings: Settings, work: Awaitable[T]) -> T:
    """What `work` comes to; that Kafka or Redis does not answer becomes a UserError."""
    try:
        return await work
    except RedisError as error:
        raise redis_unusable(error) from None
    except (KafkaError, OSError) as error:  # TimeoutError is one
        why = await diagnose(error, settings.kafka, kafka_credentials(settings))
        raise UserError(f"Kafka at {settings.kafka}: {why.text}; see `stream doctor`") from None


def redis_unusable(error: Exception) -> UserError:
    """What a fault of Redis comes to for who cannot go on without it."""
    return UserError(f"Redis cannot be used: {explain_fault(error).text}; see `stream doctor`")
