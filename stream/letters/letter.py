"""A dead letter and the marks that follow it, as records of the topic `dead-letters`.

A letter is the same letter however often it was written (the workers write at least once): its
source offset and its bytes identify it. Marks lie in the letter's own partition, behind it, so that
Kafka never deletes a mark before its letter. They bear the same headers, with `sending` or `sent`
as the reason.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, NamedTuple

SENDING, SENT = "sending", "sent"
MARKS = frozenset({SENDING, SENT})
SENT_BACK = "dead_letter"
"""Header of a record that was sent back: the identity of its letter."""
_DIGEST_BYTES = 8


class Identity(NamedTuple):
    """Which record was set aside; `topic` is its full name."""

    topic: str
    partition: int
    offset: int
    digest: str

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}/{self.digest}"


@dataclass(frozen=True, slots=True)
class Letter:
    """A record that was set aside, and where in `dead-letters` it lies."""

    partition: int
    offset: int
    at_ms: int
    reason: str
    detail: str
    source: Identity
    key: bytes | None
    value: bytes | None

    @property
    def position(self) -> str:
        """How a person names it."""
        return f"{self.partition}/{self.offset}"


@dataclass(frozen=True, slots=True)
class Mark:
    """Says of a letter that it is being, or was, sent back.

    `sender` tells one run from another. `target` is the partition of the source topic, `bound` its
    end before the record was written: it lies at that offset or behind.
    """

    kind: str
    source: Identity
    sender: str
    target: int
    bound: int

    def headers(self) -> list[tuple[str, bytes]]:
        """As they are written."""
        detail = f"{self.sender} {self.target} {self.bound}"
        named = {
            "reason": self.kind,
            "detail": detail,
            "topic": self.source.topic,
            "partition": str(self.source.partition),
            "offset": str(self.source.offset),
            "digest": self.source.digest,
        }
        return [(name, value.encode()) for name, value in named.items()]


def parse(record: Any) -> Letter | Mark | None:
    """A record of the topic; None where its headers are not those of a letter or a mark."""
    headers = {name: value.decode(errors="replace") for name, value in record.headers}
    try:
        topic, partition = headers["topic"], int(headers["partition"])
        offset, reason = int(headers["offset"]), headers["reason"]
        if reason in MARKS:
            return _mark(headers, Identity(topic, partition, offset, headers["digest"]))
    except (KeyError, ValueError):
        return None
    return Letter(
        record.partition,
        record.offset,
        record.timestamp,
        reason,
        headers.get("detail", ""),
        Identity(topic, partition, offset, digest(record.key, record.value)),
        record.key,
        record.value,
    )


def _mark(headers: Mapping[str, str], source: Identity) -> Mark:
    sender, target, bound = headers["detail"].split()
    return Mark(headers["reason"], source, sender, int(target), int(bound))


def digest(key: bytes | None, value: bytes | None) -> str:
    """What tells two records of one offset apart: a topic may have been made again."""
    made = blake2b(digest_size=_DIGEST_BYTES)
    for part in (key, value):
        made.update(b"-" if part is None else b"+%d:" % len(part) + part)
    return made.hexdigest()
