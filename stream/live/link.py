"""How to reach Redis: bounded waits, no hidden retries, one node or a cluster alike."""

import asyncio
from typing import Any

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff


class Link:
    """A client that is made at the first use, when it can be asked whether Redis is a cluster.

    So nothing has to wait for Redis in order to start. Nothing is retried behind the caller's back:
    who calls knows better what a retry means. `timeout_s` bounds every wait.
    """

    def __init__(self, url: str, *, timeout_s: float = 2.0) -> None:
        self._url = url
        self._waits: dict[str, Any] = {
            "socket_timeout": timeout_s,
            "socket_connect_timeout": timeout_s,
        }
        self._client: Redis | RedisCluster | None = None
        self._making = asyncio.Lock()

    async def client(self) -> Redis | RedisCluster:
        """The client. Raises Redis' errors while the server cannot be reached."""
        async with self._making:
            if self._client is None:
                self._client = await self._make()
            return self._client

    async def _make(self) -> Redis | RedisCluster:
        single: Any = Redis.from_url(self._url, retry=Retry(NoBackoff(), 0), **self._waits)
        try:
            clustered = (await single.info("cluster")).get("cluster_enabled")
        except BaseException:
            await single.aclose()
            raise
        if not clustered:
            return single  # type: ignore[no-any-return]
        await single.aclose()
        return RedisCluster.from_url(self._url, **self._waits)

    async def close(self) -> None:
        """Close the connections; a later use opens new ones."""
        client: Any = self._client
        self._client = None
        if client is not None:
            await client.aclose()


Client = Redis | RedisCluster | Link
"""What the read model's parts accept: a ready client, or one that is made when needed."""


async def reach(client: Client) -> Any:
    """The ready client behind a client; untyped, since redis-py's answers are."""
    return await client.client() if isinstance(client, Link) else client


def stop_if_cancelled() -> None:
    """Raise CancelledError in a task that is being cancelled.

    redis-py now and then loses a cancellation that meets an answer, so whoever calls Redis in a
    loop has to ask.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
