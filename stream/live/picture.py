"""Picture: one partition's labels and cells as they were read from Redis.

Plain bytes under the partition's own label ids; what they mean is for the store to say.
"""

from collections.abc import Iterator, Sequence

import msgspec

from stream.core.cells import SPAN_LABEL
from stream.live.axis import Labels

Place = tuple[int, int]
"""Size and start of a bucket."""
Pairs = Sequence[tuple[bytes, bytes]]
"""Label ids and values; of cells, an empty value removes one."""

_ID_BYTES = 4
SPAN = SPAN_LABEL.to_bytes(_ID_BYTES, "big")
"""Under this label id stand the offsets of a bucket's records."""
decode_labels = msgspec.msgpack.Decoder(tuple[str, ...]).decode


class Picture:
    """One partition's labels and cells, as they stand in Redis. Label ids are its own.

    Buckets that were read whole are packed: millions of small strings, most of them equal, would
    leave memory in shreds.
    """

    __slots__ = ("_alike", "_packed", "cells", "labels", "spans")

    def __init__(self) -> None:
        self.labels: dict[bytes, Labels] = {}
        self.cells: dict[Place, dict[bytes, bytes]] = {}
        self.spans: dict[Place, bytes] = {}
        self._packed: dict[Place, tuple[bytes, list[bytes]]] = {}
        self._alike: dict[bytes, bytes] = {}

    def learn(self, pairs: Pairs) -> None:
        """Take up label sets."""
        for label, raw in pairs:
            self.labels[label] = decode_labels(raw)

    def take_bucket(self, place: Place, cells: dict[bytes, bytes]) -> None:
        """Take up one bucket as it was read; its label sets may be learnt later."""
        span = cells.pop(SPAN, None)
        if span is not None:
            self.spans[place] = span
        if set(map(len, cells)) == {_ID_BYTES}:
            one_of = self._alike.setdefault
            self._packed[place] = b"".join(cells), [one_of(raw, raw) for raw in cells.values()]
        elif cells:
            self.cells[place] = cells

    def put(self, place: Place, pairs: Pairs) -> None:
        """Replace cells of one bucket. Raises KeyError for an unknown label id."""
        packed = self._packed.pop(place, None)
        held = self.cells.setdefault(place, dict(_unpacked(packed)) if packed else {})
        for label, raw in pairs:
            if label == SPAN:
                self.spans[place] = raw
            elif raw:
                _ = self.labels[label]
                held[label] = raw
            else:
                held.pop(label, None)
        if not held:
            del self.cells[place]

    def drain(self) -> Iterator[tuple[Place, Iterator[tuple[bytes, bytes]]]]:
        """Every bucket and its cells, which are let go one by one."""
        while self.cells:
            place, cells = self.cells.popitem()
            yield place, iter(cells.items())
        while self._packed:
            place, packed = self._packed.popitem()
            yield place, _unpacked(packed)


def _unpacked(packed: tuple[bytes, list[bytes]]) -> Iterator[tuple[bytes, bytes]]:
    ids, raws = packed
    places = range(0, len(ids), _ID_BYTES)
    return ((ids[at : at + _ID_BYTES], raw) for at, raw in zip(places, raws, strict=True))
