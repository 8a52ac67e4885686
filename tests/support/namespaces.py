"""Names that keep tests apart which share a broker and a store."""

import uuid
from dataclasses import dataclass, field

from tests.support.services import Service


@dataclass(frozen=True)
class Namespace:
    """A topic prefix and a group that no other test has."""

    name: str = field(default_factory=lambda: "t" + uuid.uuid4().hex[:10])

    @property
    def prefix(self) -> str:
        """To be put before topic names."""
        return f"{self.name}-"

    @property
    def group(self) -> str:
        """Consumer group; also names the ledger and the keys in Redis."""
        return self.name

    def topic(self, name: str) -> str:
        """Full name of a topic."""
        return self.prefix + name

    def env(self, kafka: Service, store: Service, **more: str) -> dict[str, str]:
        """`STREAM_*` variables for a process of this test; `more` are further ones."""
        return {
            "STREAM_KAFKA": kafka.bootstrap,
            "STREAM_REDIS_URL": store.url,
            "STREAM_GROUP": self.group,
            "STREAM_TOPIC_PREFIX": self.prefix,
            **more,
        }
