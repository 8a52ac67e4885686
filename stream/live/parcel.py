"""Parcel: the labels and cells of one step in one string that both ends read cheaply.

It is a msgpack array of groups; a group is a flat array of label id (4 bytes) and value, each as a
msgpack string of a fixed form. Redis' script unpacks it with `cmsgpack` (which knows strings, not
the binary type) straight into HSET arguments, and the feed carries the same bytes on to readers:
packing 2 arguments per cell one by one cost four times as much.
"""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

_ARRAY = struct.Struct(">BI")
_HEAD = struct.Struct(">B4sBI")
_PAIR = struct.Struct(">x4sxI")
_COUNT = struct.Struct(">xI")
_PLACE = struct.Struct(">Bq")
_ARRAY32, _STRING4, _STRING32 = 0xDD, 0xA4, 0xDB
_LABEL, _CELL = ord("l"), ord("c")

Group = list[bytes]
"""Pieces of a group: head, value, head, value, …"""
Place = tuple[int, int]
"""Size and start of a bucket."""


@dataclass(slots=True)
class Parcel:
    """Changed labels and cells, sorted by bucket. A removed cell has an empty value."""

    labels: Group = field(default_factory=list)
    written: dict[bytes, Group] = field(default_factory=dict)
    removed: dict[bytes, Group] = field(default_factory=dict)

    def written_places(self) -> list[Place]:
        """Buckets of the groups that are written, in order."""
        return [_PLACE.unpack(place) for place in self.written]

    def removed_places(self) -> list[Place]:
        """Buckets of the groups that are removed, in order."""
        return [_PLACE.unpack(place) for place in self.removed]

    def pack(self) -> bytes:
        """The bytes: labels first, then what is written, then what is removed."""
        groups = (self.labels, *self.written.values(), *self.removed.values())
        pieces = [_ARRAY.pack(_ARRAY32, len(groups))]
        for group in groups:
            pieces.append(_ARRAY.pack(_ARRAY32, len(group)))
            pieces += group
        return b"".join(pieces)


def sort_changes(changed: Iterable[tuple[bytes, bytes | None]]) -> Parcel:
    """The labels and cells among changed ledger entries; all else is none of Redis' business."""
    parcel = Parcel()
    written, removed, head = parcel.written, parcel.removed, _HEAD.pack
    for key, value in changed:
        kind = key[0]
        if kind == _CELL:
            place = key[1:10]
            if value is None:
                removed.setdefault(place, []).extend((head(_STRING4, key[10:], _STRING32, 0), b""))
                continue
            group = written.get(place)
            if group is None:
                group = written[place] = []
            group += (head(_STRING4, key[10:], _STRING32, len(value)), value)
        elif kind == _LABEL and value is not None:
            parcel.labels += (head(_STRING4, key[1:], _STRING32, len(value)), value)
    return parcel


def split(parcel: Parcel, pieces: int) -> Iterator[Parcel]:
    """The same in parcels of at most about so many cells; only for parcels that remove nothing."""
    part, left = Parcel(), 2 * pieces
    for place, group in _groups(parcel):
        for at in range(0, len(group), 2 * pieces):
            run = group[at : at + 2 * pieces]
            if place is None:
                part.labels += run
            else:
                part.written[place] = run
            left -= len(run)
            if left <= 0:
                yield part
                part, left = Parcel(), 2 * pieces
    if part.labels or part.written:
        yield part


def _groups(parcel: Parcel) -> Iterator[tuple[bytes | None, Group]]:
    yield None, parcel.labels
    yield from parcel.written.items()


def unpack(raw: bytes) -> Iterator[list[tuple[bytes, bytes]]]:
    """The groups of a parcel: pairs of label id and value."""
    (groups,) = _COUNT.unpack_from(raw)
    at = _COUNT.size
    for _ in range(groups):
        (count,) = _COUNT.unpack_from(raw, at)
        at += _COUNT.size
        pairs = []
        for _ in range(count // 2):
            label, length = _PAIR.unpack_from(raw, at)
            start = at + _PAIR.size
            at = start + length
            pairs.append((label, raw[start:at]))
        yield pairs
