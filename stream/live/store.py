"""Cells of one source as readers hold them: each partition's bytes, and their sum when settled.

Values from Redis are absolute. Between two settlings only bytes are replaced, and those that were
there before are kept; settling then takes each changed cell's difference once, however often it
changed. Whoever follows (sliding windows) is told each difference. Knows nothing of Redis.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Protocol

import msgspec

from stream.core.buckets import Size
from stream.core.cells import SPAN_LABEL, decode_span
from stream.live.vectors import Algebra, Cell, Labels, Vector, decode_vectors

Place = tuple[int, int]
"""Size and start of a bucket."""
Bucket = dict[Labels, Cell]
Pairs = Sequence[tuple[bytes, bytes]]
"""Label ids and values; of cells, an empty value removes one."""

_SPAN = SPAN_LABEL.to_bytes(4, "big")
_NO_BUCKET: Mapping[Labels, Cell] = {}
_SLICE = 1_000
_MANY = 20_000
_REMEMBERED = 50_000  # what becomes a cell now is what it was at the next change
_decode_labels = msgspec.msgpack.Decoder(tuple[str, ...]).decode


class Follower(Protocol):
    """Somebody who keeps sums of cells."""

    def wants(self, size: int, start_ms: int) -> bool:
        """Whether a bucket's differences are of interest; they follow at once."""

    def change(self, labels: Labels, live: Vector, settled: Vector) -> None:
        """Follow one cell's differences."""

    def forget(self) -> None:
        """Too much has changed to follow it: start again from the cells."""


class Picture:
    """One partition's labels and cells, as they stand in Redis. Label ids are its own."""

    __slots__ = ("cells", "labels", "spans")

    def __init__(self) -> None:
        self.labels: dict[bytes, Labels] = {}
        self.cells: dict[Place, dict[bytes, bytes]] = {}
        self.spans: dict[Place, bytes] = {}

    def learn(self, pairs: Pairs) -> None:
        """Take up label sets."""
        for label, raw in pairs:
            self.labels[label] = _decode_labels(raw)

    def take_bucket(self, place: Place, cells: dict[bytes, bytes]) -> None:
        """Take up one bucket as it was read; its label sets may be learnt later."""
        span = cells.pop(_SPAN, None)
        if span is not None:
            self.spans[place] = span
        if cells:
            self.cells[place] = cells

    def put(self, place: Place, pairs: Pairs) -> None:
        """Replace cells of one bucket. Raises KeyError for an unknown label id."""
        held = self.cells.setdefault(place, {})
        for label, raw in pairs:
            if label == _SPAN:
                self.spans[place] = raw
            elif raw:
                _ = self.labels[label]
                held[label] = raw
            else:
                held.pop(label, None)
        if not held:
            del self.cells[place]


class Store:
    """The partitions' pictures of a source, and the cells that they add up to."""

    def __init__(self, algebra: Algebra) -> None:
        self.algebra = algebra
        self._decode = lru_cache(_REMEMBERED)(partial(decode_vectors, algebra))
        self._pictures: dict[int, Picture] = {}
        self._buckets: dict[int, dict[int, Bucket]] = {}
        self._before: dict[int, dict[Place, dict[bytes, bytes]]] = {}
        self._revisions: dict[int, int] = {}
        self._changes = 0
        self._replacing = asyncio.Lock()
        self._follower: Follower | None = None

    def attach(self, follower: Follower) -> None:
        """Tell somebody of all differences from now on."""
        self._follower = follower

    def bucket(self, size: int, start_ms: int) -> Mapping[Labels, Cell]:
        """The cells of one bucket as of the last settling; empty where there is none."""
        held = self._buckets.get(size)
        return _NO_BUCKET if held is None else held.get(start_ms, _NO_BUCKET)

    def spans(self, places: Iterable[Place]) -> dict[int, tuple[int, int]]:
        """First and last offset of the records of some buckets, by partition."""
        found: dict[int, tuple[int, int]] = {}
        wanted = list(places)
        for partition, picture in self._pictures.items():
            spans = [decode_span(raw) for p in wanted if (raw := picture.spans.get(p))]
            if spans:
                found[partition] = min(a for a, _ in spans), max(b for _, b in spans)
        return found

    def hour_revision(self, start_ms: int) -> int:
        """A number that grows with every change of an hour's bucket; 0 where there is none."""
        return self._revisions.get(start_ms, 0)

    def starts(self, size: int) -> Iterable[int]:
        """Starts of the buckets of a size that hold anything."""
        return self._buckets.get(size, {}).keys()

    def write(self, partition: int, labels: Pairs, buckets: Iterable[tuple[Place, Pairs]]) -> None:
        """Take one step of one partition; it shows at the next settling.

        Raises KeyError for a cell whose label set was never told.
        """
        picture = self._pictures[partition]
        picture.learn(labels)
        before = self._before.setdefault(partition, {})
        for place, pairs in buckets:
            held = picture.cells.get(place, {})
            olds = before.setdefault(place, {})
            for label, _ in pairs:
                if label != _SPAN and label not in olds:
                    olds[label] = held.get(label, b"")
            picture.put(place, pairs)

    def settle(self) -> None:
        """Add up what has changed since the last time."""
        changed, self._before = self._before, {}
        for partition, places in changed.items():
            picture = self._pictures[partition]
            for place, olds in places.items():
                held = picture.cells.get(place, {})
                changes = ((label, raw, held.get(label, b"")) for label, raw in olds.items())
                self._apply(place, self._deltas(picture.labels, changes))

    async def replace(self, partition: int, picture: Picture) -> None:
        """Put a picture in the place of the partition's last one; nobody sees half of it.

        Differences are made in slices, between which others get their turn, and added up at once.
        """
        async with self._replacing:
            self.settle()
            old = self._pictures.get(partition) or Picture()
            staged: dict[Place, list[tuple[Labels, Vector, Vector]]] = {}
            count = 0
            for labels, place, changes in _differences(old, picture):
                deltas = staged.setdefault(place, [])
                for delta in self._deltas(labels, changes):
                    deltas.append(delta)
                    count += 1
                    if count % _SLICE == 0:
                        await asyncio.sleep(0)
            if count > _MANY and self._follower is not None:
                self._follower.forget()
            for place, deltas in staged.items():
                self._apply(place, deltas)
            self._pictures[partition] = picture

    def drop(self, partition: int) -> None:
        """Take a partition that is no more out of the sums."""
        self.settle()
        old = self._pictures.pop(partition, Picture())
        for labels, place, changes in _differences(old, Picture()):
            self._apply(place, self._deltas(labels, changes))

    def _deltas(
        self, labels: Mapping[bytes, Labels], changes: Iterable[tuple[bytes, bytes, bytes]]
    ) -> Iterable[tuple[Labels, Vector, Vector]]:
        """Differences of cells, from (label id, old bytes, new bytes)."""
        algebra, decode = self.algebra, self._decode
        nothing, minus = (algebra.zero, algebra.zero), algebra.minus
        for label, was, becomes in changes:
            if was == becomes:
                continue
            live, settled = decode(becomes) if becomes else nothing
            if was:
                old_live, old_settled = decode(was)
                live, settled = minus(live, old_live), minus(settled, old_settled)
            yield labels[label], live, settled

    def _apply(self, place: Place, deltas: Iterable[tuple[Labels, Vector, Vector]]) -> None:
        size, start_ms = place
        starts = self._buckets.setdefault(size, {})
        bucket = starts.setdefault(start_ms, {})
        follower, plus = self._follower, self.algebra.plus
        told = follower is not None and follower.wants(size, start_ms)
        for labels, more_live, more_settled in deltas:
            if told and follower is not None:
                follower.change(labels, more_live, more_settled)
            held = bucket.get(labels)
            live, settled = more_live, more_settled
            if held is not None:
                live, settled = plus(held[0], live), plus(held[1], settled)
            if live or settled:
                bucket[labels] = live, live if settled == live else settled
            elif held is not None:
                del bucket[labels]
        if not bucket:
            del starts[start_ms]
        if size == Size.H1:
            self._changes += 1
            if bucket:
                self._revisions[start_ms] = self._changes
            else:
                self._revisions.pop(start_ms, None)


def _differences(
    old: Picture, new: Picture
) -> Iterable[tuple[dict[bytes, Labels], Place, Iterable[tuple[bytes, bytes, bytes]]]]:
    """Cells that differ between two pictures, by bucket, with the label sets that they go by."""
    if not old.labels.items() <= new.labels.items():  # another ledger: ids mean other label sets
        for place, cells in old.cells.items():
            yield old.labels, place, [(label, raw, b"") for label, raw in cells.items()]
        old = Picture()
    for place in old.cells.keys() | new.cells.keys():
        before, after = old.cells.get(place, {}), new.cells.get(place, {})
        if before != after:
            changes = [(label, before.get(label, b""), raw) for label, raw in after.items()]
            changes += [(label, raw, b"") for label, raw in before.items() if label not in after]
            yield new.labels, place, changes
