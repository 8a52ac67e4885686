"""Look: some buckets of one partition's picture in Redis, all of one moment.

For those who compare: a reader that follows (`feed`) gets by with less.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from stream.core.records import TopicPartition
from stream.live.keys import PartitionKeys, bucket_name, parse_bucket_name
from stream.live.link import Client
from stream.live.rows import PartitionInfo
from stream.live.scripts import Script

Place = tuple[int, int]
"""Size and start of a bucket."""

_decode_info = msgspec.msgpack.Decoder(PartitionInfo).decode


@dataclass(frozen=True, slots=True)
class Look:
    """What Redis held. `info` is None where there is no whole picture.

    `ledger` names the ledger that it shows. `places` and `labels` (id to bytes) are all there are,
    if asked for; `cells` are those of the buckets that were named, by label id, in their order.
    """

    ledger: str
    info: PartitionInfo | None
    places: list[Place]
    labels: dict[bytes, bytes]
    cells: list[dict[bytes, bytes]]


class PictureGlance:
    """Looks at one partition's picture. Raises Redis' errors."""

    def __init__(self, client: Client, namespace: str, place: TopicPartition) -> None:
        self._client = client
        self._keys = PartitionKeys.of(namespace, place)
        self._script = Script.load("look.lua")

    async def take(self, places: Sequence[Place] = (), *, everything: bool = False) -> Look:
        """Look at the cells of some buckets; with `everything` also at all names and labels."""
        keys = self._keys
        buckets = [keys.bucket(bucket_name(*place)) for place in places]
        answer = await self._script.run(
            self._client, [keys.at, keys.labels, keys.buckets, *buckets], [int(everything)]
        )
        (state, ledger, meta), names, labels, cells = answer
        return Look(
            "" if ledger is None else str(ledger, "utf-8", "replace"),
            _info(meta) if state == b"whole" else None,
            [place for name in names if (place := _place(name)) is not None],
            _pairs(labels),
            [_pairs(flat) for flat in cells],
        )


def _info(meta: bytes | None) -> PartitionInfo | None:
    try:
        return None if meta is None else _decode_info(meta)
    except msgspec.MsgspecError:
        return None


def _place(name: bytes) -> Place | None:
    try:
        return parse_bucket_name(str(name, "utf-8"))
    except ValueError:
        return None


def _pairs(flat: Any) -> dict[bytes, bytes]:
    """A hash as a script answers it: a flat list, or a map where the protocol has one."""
    return dict(flat) if isinstance(flat, dict) else dict(zip(flat[::2], flat[1::2], strict=True))
