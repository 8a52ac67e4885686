"""Cells of one source as readers hold them: a sheet for each bucket of each partition.

Values from Redis are absolute, and so are sheets: a cell that changed takes the place of the one
that was there, at the next settling. Whoever follows (sliding windows) is told what went out of a
bucket and what came in. Knows nothing of Redis.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from operator import is_not
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stream.core.buckets import Size
from stream.core.catalogue import LIVE, SETTLED
from stream.core.cells import Values, decode_span
from stream.live.axis import Axis, Counts, Labels, Mask, Vector
from stream.live.picture import SPAN, Pairs, Picture, Place, decode_labels
from stream.live.sheet import EMPTY, Sheet, read_cell, sheet_of

Cell = tuple[Values, Values]
"""Live and settled."""

_SLICE = 1_000
_FIELDS_KEPT = 10_000


class Follower(Protocol):
    """Somebody who keeps sums of cells."""

    def change(self, place: Place, out: Sheet, into: Sheet) -> None:
        """Follow what goes out of a bucket and what comes in."""

    def forget(self) -> None:
        """Too much has changed to follow it: start again from the cells."""


@dataclass(slots=True)
class _Partition:
    """The rows of a partition's label ids, its sheets, and cells that wait for a settling."""

    rows: dict[bytes, int]
    sheets: dict[Place, Sheet]
    spans: dict[Place, bytes]
    waiting: dict[Place, dict[int, bytes]]


class Store:
    """The partitions' cells of a source, on one axis."""

    def __init__(self) -> None:
        self.axis = Axis()
        self._partitions: dict[int, _Partition] = {}
        self._starts: dict[int, dict[int, set[int]]] = {}  # size, start, partitions
        self._revisions: dict[int, int] = {}
        self._fields: dict[tuple[Place, int], tuple[list[Sheet], dict[Labels, int]]] = {}
        self._changes = 0
        self._follower: Follower | None = None

    def attach(self, follower: Follower) -> None:
        """Tell somebody of all differences from now on."""
        self._follower = follower

    # --- reading ---

    def vector(self, places: Iterable[Place], state: str, mask: Mask | None = None) -> Vector:
        """The cells of some buckets as of the last settling; with a mask, of these rows only."""
        sheets = (sheet for place in places for sheet in self._sheets(place))
        vector = Vector.joined(sheet.state(state) for sheet in sheets)
        return vector if mask is None else vector.where(mask[self.axis.rows_of(vector.slots)])

    def vectors(
        self, places: Sequence[Place], mask: Mask | None = None
    ) -> tuple[Vector, NDArray[np.intp]]:
        """The live cells of some buckets, and of each digit the number of its bucket."""
        parts = [(n, sheet.live) for n, p in enumerate(places) for sheet in self._sheets(p)]
        numbers = np.repeat(
            np.array([n for n, _ in parts], np.intp), [len(live.slots) for _, live in parts]
        )
        vector = Vector.joined(live for _, live in parts)
        if mask is None:
            return vector, numbers
        kept = mask[self.axis.rows_of(vector.slots)]
        return vector.where(kept), numbers[kept]

    def counts(self, place: Place, state: str = LIVE) -> Counts:
        """The sums of one bucket, by label set."""
        counts = Counts(self.axis)
        for sheet in self._sheets(place):
            counts.add(sheet.state(state))
        return counts

    def field(self, place: Place, field: int) -> Mapping[Labels, int]:
        """One live field of one bucket, where it is not zero; kept until the bucket changes."""
        sheets, held = list(self._sheets(place)), self._fields.get((place, field))
        if held is None or len(held[0]) != len(sheets) or any(map(is_not, held[0], sheets)):
            found = self.counts(place).map(field) if sheets else {}
            if len(self._fields) >= _FIELDS_KEPT:
                self._fields.clear()
            held = self._fields[place, field] = sheets, found
        return held[1]

    def bucket(self, size: int, start_ms: int) -> Mapping[Labels, Cell]:
        """The cells of one bucket as maps of fields, made for the caller."""
        live = self.counts((size, start_ms)).maps()
        settled = self.counts((size, start_ms), SETTLED).maps()
        return {
            labels: (live.get(labels, {}), settled.get(labels, {}))
            for labels in live.keys() | settled.keys()
        }

    def seen(self, places: Iterable[Place], mask: Mask | None = None) -> list[Labels]:
        """The label sets that have cells in any of some buckets; with a mask, of these rows."""
        there = np.zeros(len(self.axis.labels), np.bool_)
        for place in places:
            for sheet in self._sheets(place):
                for vector in sheet:
                    there[self.axis.rows_of(vector.slots)] = True
        if mask is not None:
            there &= mask
        labels = self.axis.labels
        return [labels[row] for row in np.flatnonzero(there).tolist()]

    def spans(self, places: Iterable[Place]) -> dict[int, tuple[int, int]]:
        """First and last offset of the records of some buckets, by partition."""
        found: dict[int, tuple[int, int]] = {}
        wanted = list(places)
        for number, partition in self._partitions.items():
            spans = [decode_span(raw) for p in wanted if (raw := partition.spans.get(p))]
            if spans:
                found[number] = min(a for a, _ in spans), max(b for _, b in spans)
        return found

    def hour_revision(self, start_ms: int) -> int:
        """A number that grows with every change of an hour's bucket; 0 where there is none."""
        return self._revisions.get(start_ms, 0)

    def starts(self, size: int) -> Iterable[int]:
        """Starts of the buckets of a size that hold anything."""
        return self._starts.get(size, {}).keys()

    def _sheets(self, place: Place) -> Iterator[Sheet]:
        for number in self._starts.get(place[0], {}).get(place[1], ()):
            yield self._partitions[number].sheets[place]

    # --- writing ---

    def write(self, partition: int, labels: Pairs, buckets: Iterable[tuple[Place, Pairs]]) -> None:
        """Take one step of one partition; it shows at the next settling.

        Raises KeyError for a cell whose label set was never told, ValueError for bytes that are
        no cell; nothing is taken then.
        """
        mine = self._partitions[partition]
        for label, raw in labels:
            mine.rows[label] = self.axis.row(decode_labels(raw))
        taken = [(place, dict(pairs)) for place, pairs in buckets]
        spans = [(place, cells.pop(SPAN)) for place, cells in taken if SPAN in cells]
        rows = mine.rows
        read = [
            (place, {rows[label]: raw for label, raw in cells.items()}) for place, cells in taken
        ]
        for raw in {raw for _, cells in taken for raw in cells.values() if raw}:
            read_cell(raw)
        mine.spans.update(spans)
        for place, changed in read:
            mine.waiting.setdefault(place, {}).update(changed)

    def settle(self) -> None:
        """Show what has been written since the last time."""
        for number, partition in self._partitions.items():
            changed, partition.waiting = partition.waiting, {}
            for place, cells in changed.items():
                if cells:
                    self._change(number, place, cells)

    async def replace(self, partition: int, picture: Picture) -> None:
        """Put a picture, which is used up, in the place of the partition's last one.

        It is read in slices, between which others get their turn; nobody sees half of it.
        """
        rows = {label: self.axis.row(labels) for label, labels in picture.labels.items()}
        sheets: dict[Place, Sheet] = {}
        count = 0
        for place, pairs in picture.drain():
            many: list[Sheet] = []
            while run := dict(islice(pairs, _SLICE)):
                many.append(sheet_of(self.axis, {rows[label]: raw for label, raw in run.items()}))
                count += len(run)
                if count >= _SLICE:
                    await asyncio.sleep(0)
                    count = 0
            sheets[place] = Sheet.joined(many)
        self.drop(partition)
        self._partitions[partition] = _Partition(rows, sheets, picture.spans, {})
        for place in sheets:
            self._note(partition, place)

    def drop(self, partition: int) -> None:
        """Take a partition that is no more out of the sums."""
        old = self._partitions.pop(partition, None)
        for place in old.sheets if old else ():
            self._note_gone(partition, place)
        if self._follower is not None:
            self._follower.forget()

    # --- inside ---

    def _change(self, number: int, place: Place, cells: Mapping[int, bytes]) -> None:
        """Put cells in the place of those of the same rows."""
        sheets, into = self._partitions[number].sheets, sheet_of(self.axis, cells)
        changed = np.zeros(len(self.axis.labels), np.bool_)
        changed[list(cells)] = True
        out, kept = sheets.get(place, EMPTY).parts(lambda v: changed[self.axis.rows_of(v.slots)])
        if self._follower is not None:
            self._follower.change(place, out, into)
        sheet = Sheet.joined((kept, into))
        if sheet.empty:
            sheets.pop(place, None)
            self._note_gone(number, place)
        else:
            sheets[place] = sheet
            self._note(number, place)

    def _note(self, partition: int, place: Place) -> None:
        """A bucket of a partition holds something, or something else."""
        self._starts.setdefault(place[0], {}).setdefault(place[1], set()).add(partition)
        self._revise(place)

    def _note_gone(self, partition: int, place: Place) -> None:
        """A bucket of a partition holds nothing any more."""
        starts = self._starts.get(place[0], {})
        if partition in starts.get(place[1], ()):
            starts[place[1]].discard(partition)
            if not starts[place[1]]:
                del starts[place[1]]
        self._revise(place)

    def _revise(self, place: Place) -> None:
        if place[0] == Size.H1:
            self._changes += 1
            self._revisions[place[1]] = self._changes
            if place[1] not in self._starts.get(Size.H1, {}):
                del self._revisions[place[1]]
