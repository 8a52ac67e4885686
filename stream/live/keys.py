"""Names of everything in Redis.

The keys of one topic partition share one hash tag, so that one script may touch them all on Redis
Cluster. Knows no values.
"""

from dataclasses import dataclass

from stream.core.records import TopicPartition


def about_key(namespace: str) -> str:
    """Hash that says which definition and how many partitions there are."""
    return f"{namespace}:about"


@dataclass(frozen=True, slots=True)
class PartitionKeys:
    """The keys of one partition; all begin with `prefix`."""

    prefix: str

    @classmethod
    def of(cls, namespace: str, place: TopicPartition) -> "PartitionKeys":
        """Keys of a partition in a namespace."""
        return cls(f"{{{namespace}/{place.topic}/{place.partition}}}:")

    @property
    def at(self) -> str:
        """Hash: where this picture stands."""
        return self.prefix + "at"

    @property
    def labels(self) -> str:
        """Hash: label id -> msgpack array of dimension values."""
        return self.prefix + "labels"

    @property
    def buckets(self) -> str:
        """Set: names of the bucket hashes, without the prefix."""
        return self.prefix + "buckets"

    @property
    def feed(self) -> str:
        """Stream: one entry per step."""
        return self.prefix + "feed"

    @property
    def command(self) -> str:
        """String: what somebody asks the owner of the partition to do."""
        return self.prefix + "command"

    @property
    def fixed(self) -> tuple[str, str, str, str, str]:
        """The keys that every script call names, in the script's order."""
        return self.at, self.labels, self.buckets, self.feed, self.command

    def bucket(self, name: str) -> str:
        """Hash of one bucket: label id -> cell."""
        return self.prefix + name


def bucket_name(size: int, start_ms: int) -> str:
    """A bucket's name within its partition."""
    return f"{size}:{start_ms}"


def parse_bucket_name(name: str) -> tuple[int, int]:
    """Size and start of a bucket's name."""
    size, _, start = name.partition(":")
    return int(size), int(start)
