"""How to reach Redis: bounded waits, no hidden retries, one node or a cluster alike."""

import asyncio
import ssl
from collections.abc import Mapping
from typing import Any, NamedTuple

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, AuthorizationError, NoPermissionError

from stream.errors import causes


class Link:
    """A client that is made at the first use, when it can be asked whether Redis is a cluster.

    So nothing has to wait for Redis in order to start. Nothing is retried behind the caller's back:
    who calls knows better what a retry means. `timeout_s` bounds every wait; `options` are
    redis-py's, for what the URL does not say (files for TLS, a password).
    """

    def __init__(
        self, url: str, *, options: Mapping[str, Any] | None = None, timeout_s: float = 2.0
    ) -> None:
        self._url = url
        self._options: dict[str, Any] = {
            **(options or {}),
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
        single: Any = Redis.from_url(self._url, retry=Retry(NoBackoff(), 0), **self._options)
        try:
            clustered = (await single.info("cluster")).get("cluster_enabled")
        except BaseException:
            await single.aclose()
            raise
        if not clustered:
            return single  # type: ignore[no-any-return]
        await single.aclose()
        return RedisCluster.from_url(self._url, **self._options)

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


class RedisFault(NamedTuple):
    """Why Redis cannot be used, and whether it refused us, which does not pass by itself."""

    text: str
    refused: bool


def explain_fault(error: BaseException) -> RedisFault:
    """Put a client's fault into words; redis-py hides what TLS said behind an error of its own."""
    for seen in causes(error):
        if isinstance(seen, ssl.SSLCertVerificationError):
            text = f"its certificate is not trusted: {seen.verify_message} (STREAM_REDIS_CA)"
            return RedisFault(text, refused=True)
        if isinstance(seen, AuthenticationError | AuthorizationError):
            text = "it refuses name or password (STREAM_REDIS_URL, STREAM_REDIS_PASSWORD_FILE)"
            return RedisFault(text, refused=True)
    text = str(error) or type(error).__name__
    return RedisFault(text, refused=isinstance(error, NoPermissionError))


def stop_if_cancelled() -> None:
    """Raise CancelledError in a task that is being cancelled.

    redis-py now and then loses a cancellation that meets an answer, so whoever calls Redis in a
    loop has to ask.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
