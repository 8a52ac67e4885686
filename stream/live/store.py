"""Cells of one source as readers hold them: each partition's raw, and their sum when settled.

Values from Redis are absolute. Between two settlings only bytes are replaced and what changed is
noted; settling then adds up each changed cell once, however often and in however many partitions it
changed. The sum's difference goes to whoever follows (sliding windows). Knows nothing of Redis.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import msgspec

from stream.core.cells import Values, add, decode_cell

Labels = tuple[str, ...]
Cell = tuple[Values, Values]
"""Live and settled values; never changed in place, so both may be one map."""
Bucket = dict[Labels, Cell]
Place = tuple[int, int]
"""Size and start of a bucket."""
Pairs = Sequence[tuple[bytes, bytes]]
"""Label ids and values; of cells, an empty value removes one."""

_NOTHING: Cell = {}, {}
_NO_BUCKET: Mapping[Labels, Cell] = {}
_SLICE = 1_000
_MANY = 20_000
_decode_labels = msgspec.msgpack.Decoder(tuple[str, ...]).decode


class Follower(Protocol):
    """Somebody who keeps sums of cells."""

    def wants(self, size: int, start_ms: int) -> bool:
        """Whether a bucket's differences are of interest now."""

    def change(self, size: int, start_ms: int, labels: Labels, old: Cell, new: Cell) -> None:
        """Follow one cell from its old to its new values."""

    def forget(self) -> None:
        """Too much has changed to follow it: start again from the cells."""


class Picture:
    """One partition's labels and cells, as they stand in Redis. Label ids are its own."""

    __slots__ = ("cells", "ids", "labels")

    def __init__(self) -> None:
        self.labels: dict[bytes, Labels] = {}
        self.ids: dict[Labels, bytes] = {}
        self.cells: dict[Place, dict[bytes, bytes]] = {}

    def learn(self, pairs: Pairs) -> None:
        """Take up label sets."""
        for label, raw in pairs:
            values = _decode_labels(raw)
            self.labels[label] = values
            self.ids[values] = label

    def put(self, place: Place, pairs: Pairs) -> None:
        """Replace cells of one bucket."""
        held = self.cells.setdefault(place, {})
        for label, raw in pairs:
            if raw:
                held[label] = raw
            else:
                held.pop(label, None)
        if not held:
            del self.cells[place]

    def raw(self, place: Place, labels: Labels) -> bytes | None:
        """A cell's bytes."""
        held = self.cells.get(place)
        label = self.ids.get(labels)
        return None if held is None or label is None else held.get(label)


class Store:
    """The partitions' pictures of a source, and the cells that they add up to."""

    def __init__(self) -> None:
        self.pictures: dict[int, Picture] = {}
        self._buckets: dict[int, dict[int, Bucket]] = {}
        self._dirty: dict[Place, set[Labels]] = {}
        self._redo: dict[Place, set[Labels]] | None = None
        self._replacing = asyncio.Lock()
        self._follower: Follower | None = None

    def attach(self, follower: Follower) -> None:
        """Tell somebody of all differences from now on."""
        self._follower = follower

    def bucket(self, size: int, start_ms: int) -> Mapping[Labels, Cell]:
        """The cells of one bucket as of the last settling; empty where there is none."""
        held = self._buckets.get(size)
        return _NO_BUCKET if held is None else held.get(start_ms, _NO_BUCKET)

    def starts(self, size: int) -> Iterable[int]:
        """Starts of the buckets of a size that hold anything."""
        return self._buckets.get(size, {}).keys()

    def write(self, partition: int, labels: Pairs, buckets: Iterable[tuple[Place, Pairs]]) -> None:
        """Take one step of one partition; it shows at the next settling.

        Raises KeyError for a cell whose label set was never told.
        """
        picture = self.pictures[partition]
        picture.learn(labels)
        names = picture.labels
        for place, pairs in buckets:
            changed = {names[label] for label, _ in pairs}
            picture.put(place, pairs)
            held = self._dirty.get(place)
            if held is None:
                self._dirty[place] = changed
            else:
                held |= changed

    def settle(self) -> None:
        """Add up what has changed since the last time."""
        dirty, self._dirty = self._dirty, {}
        pictures = list(self.pictures.values())
        for place, many in dirty.items():
            held = [(p.ids, cells) for p in pictures if (cells := p.cells.get(place))]
            self._set(place, ((labels, _total(held, labels)) for labels in many))
        if self._redo is not None:
            for place, many in dirty.items():
                self._redo.setdefault(place, set()).update(many)

    async def replace(self, partition: int, picture: Picture) -> None:
        """Put a picture in the place of the partition's last one; nobody sees half of it.

        What differs is added up beside the cells in slices, then taken over at once.
        """
        async with self._replacing:
            old = self.pictures.get(partition) or Picture()
            self.settle()
            self._redo = {}
            staged: dict[Place, list[tuple[Labels, Cell]]] = {}
            count = 0
            for place in old.cells.keys() | picture.cells.keys():
                cells = staged[place] = []
                for labels, was, becomes in _differences(place, old, picture):
                    cells.append((labels, self._moved(place, labels, was, becomes)))
                    count += 1
                    if count % _SLICE == 0:
                        await asyncio.sleep(0)
            if count > _MANY and self._follower is not None:
                self._follower.forget()
            for place, cells in staged.items():
                self._set(place, cells)
            self.pictures[partition] = picture
            for place, many in self._redo.items():
                self._dirty.setdefault(place, set()).update(many)
            self._redo = None
            self.settle()

    def _moved(
        self, place: Place, labels: Labels, was: bytes | None, becomes: bytes | None
    ) -> Cell:
        """A sum with one partition's cell replaced."""
        held = self.bucket(*place).get(labels)
        if becomes is not None and was is None and held is None:
            return _shared(*decode_cell(becomes))
        live, settled = (dict(values) for values in held or _NOTHING)
        for raw, sign in ((was, -1), (becomes, 1)):
            if raw is not None:
                delta = decode_cell(raw)
                add(live, delta[0], sign)
                add(settled, delta[1], sign)
        return _shared(live, settled)

    def _set(self, place: Place, cells: Iterable[tuple[Labels, Cell]]) -> None:
        size, start_ms = place
        starts = self._buckets.setdefault(size, {})
        bucket = starts.setdefault(start_ms, {})
        follower = self._follower
        told = follower is not None and follower.wants(size, start_ms)
        for labels, new in cells:
            if told and follower is not None:
                follower.change(size, start_ms, labels, bucket.get(labels, _NOTHING), new)
            if new[0] or new[1]:
                bucket[labels] = new
            else:
                bucket.pop(labels, None)
        if not bucket:
            del starts[start_ms]


def _total(held: list[tuple[dict[Labels, bytes], dict[bytes, bytes]]], labels: Labels) -> Cell:
    """The sum of one cell over the partitions that hold its bucket."""
    live: Values | None = None
    settled: Values = {}
    for ids, cells in held:
        label = ids.get(labels)
        raw = None if label is None else cells.get(label)
        if raw is None:
            continue
        more, more_settled = decode_cell(raw)
        if live is None:
            live, settled = more, more_settled
            continue
        for index, n in more.items():
            live[index] = live.get(index, 0) + n
        for index, n in more_settled.items():
            settled[index] = settled.get(index, 0) + n
    return _NOTHING if live is None else _shared(live, settled)


def _shared(live: Values, settled: Values) -> Cell:
    """A cell whose states are one map when they are equal, as most of the past's are."""
    return (live, live) if settled and settled == live else (live, settled)


def _differences(
    place: Place, old: Picture, new: Picture
) -> Iterable[tuple[Labels, bytes | None, bytes | None]]:
    """Label sets whose cell differs between two pictures of a partition, with both values."""
    before, after = old.cells.get(place, {}), new.cells.get(place, {})
    if before == after and old.labels == new.labels:
        return
    for label, raw in after.items():
        labels = new.labels[label]
        was = old.raw(place, labels)
        if was != raw:
            yield labels, was, raw
    for label, raw in before.items():
        labels = old.labels[label]
        if new.raw(place, labels) is None:
            yield labels, raw, None
