"""Raw records as they come from a partition, and what becomes of those that cannot be counted.

Knows nothing of Kafka clients: whoever fetches builds these values.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class TopicPartition(NamedTuple):
    """A partition of a topic, by name and number; spelled `clicks/3`."""

    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}"


@dataclass(frozen=True, slots=True)
class RecordBatch:
    """One fetched run of raw records of one partition, in offset order.

    `values`, `timestamps` (milliseconds) and `offsets` are parallel; `keys` too, or empty for a
    topic whose keys nobody asks for. `Texts` and arrays are the fastest. `start` and `next` are the
    fetch positions before and after: `start <= offsets[0]` and `offsets[-1] < next`. Gaps
    (compaction, control records) are allowed.
    """

    topic: str
    partition: int
    start: int
    next: int
    offsets: Sequence[int]
    values: Sequence[bytes | None]
    keys: Sequence[bytes | None]
    timestamps: Sequence[int] | NDArray[np.int64]


class Outcome(StrEnum):
    """What became of a record (label `outcome` of `stream_events_total`)."""

    COUNTED = "counted"
    UNCHECKED = "unchecked"
    DUPLICATE = "duplicate"
    DEAD_LETTER = "dead_letter"


class Reason(StrEnum):
    """Why a record is a dead letter (header `reason`)."""

    MALFORMED = "malformed"
    INVALID = "invalid"
    UNKNOWN_TYPE = "unknown_type"
    OVERSIZE = "oversize"
    FUTURE = "future"
    TOO_LATE = "too_late"
    LATE = "late"


UNREADABLE = frozenset({Reason.MALFORMED, Reason.INVALID, Reason.UNKNOWN_TYPE})
"""Reasons that say the producer is broken; a partition full of them is paused."""


class Drop(NamedTuple):
    """A record that goes to the dead letters."""

    offset: int
    reason: Reason
    detail: str
