"""Which Kafka faults pass by themselves, and how long to wait for them."""

import random
from collections.abc import Iterator
from typing import Final

from aiokafka.errors import KafkaError, KafkaTimeoutError

FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 2.0


def is_transient(error: Exception) -> bool:
    """Whether what failed with this error may succeed when it is done again."""
    if isinstance(error, KafkaError) and not isinstance(error, KafkaTimeoutError):
        return bool(error.retriable)
    return isinstance(error, OSError)  # TimeoutError is one


def pauses_s() -> Iterator[float]:
    """Yield, without end, the pauses between attempts: growing, and never in step with others'."""
    pause_s = FIRST_PAUSE_S
    while True:
        yield pause_s * random.uniform(0.5, 1)
        pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
