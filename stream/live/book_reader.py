"""Fills a book of launches from the mirrors in Redis, and goes on while Redis is away."""

import asyncio
import logging

from redis.exceptions import RedisError

from stream.live.launch_book import LaunchBook
from stream.live.link import Client, stop_if_cancelled
from stream.live.mirror import MirrorReader

CAMPAIGNS, LAUNCHES = "campaigns", "launches"
"""Names of the mirrors."""
_LOOK_S = 0.5

_log = logging.getLogger(__name__)


class BookReader:
    """Keeps one book up to date; what it holds stays as it is while there is no whole mirror."""

    def __init__(self, client: Client, namespace: str, book: LaunchBook) -> None:
        self._client = client
        self._takers = (
            (MirrorReader(namespace, CAMPAIGNS), book.take_campaigns),
            (MirrorReader(namespace, LAUNCHES), book.take_launches),
        )

    async def poll(self) -> None:
        """Take up what has changed. Raises Redis' errors."""
        for reader, take in self._takers:
            news = await reader.poll(self._client)
            if news is not None:
                take(news)

    async def run(self) -> None:
        """Poll until cancelled."""
        away = False
        while True:
            try:
                await self.poll()
                away = False
            except (RedisError, OSError) as error:  # TimeoutError is one
                stop_if_cancelled()
                if not away:
                    _log.warning("launches wait for redis: %r", error)
                away = True
            stop_if_cancelled()
            await asyncio.sleep(_LOOK_S)
