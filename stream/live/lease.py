"""A lease in Redis: of several workers one does what needs doing once.

It saves work and nothing else: what is done under it must be right when two do it.
"""

from stream.live.link import Client, reach
from stream.live.scripts import Script

_RENEW = """
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""
_RELEASE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""


class Lease:
    """Held by `holder` for `for_ms` from each renewal on. Raises Redis' errors."""

    def __init__(self, client: Client, key: str, holder: str, for_ms: int) -> None:
        self._client, self._key, self._holder, self._for_ms = client, key, holder, for_ms
        self._renewing, self._releasing = Script(_RENEW), Script(_RELEASE)

    async def renew(self) -> bool:
        """Take it or keep it; False: another holds it."""
        return bool(
            await self._renewing.run(self._client, [self._key], [self._holder, self._for_ms])
        )

    async def release(self) -> None:
        """Give it up, so that nobody has to wait for its end."""
        await reach(self._client)
        await self._releasing.run(self._client, [self._key], [self._holder])
