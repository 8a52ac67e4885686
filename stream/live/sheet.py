"""Sheet: the cells of one bucket of one partition as arrays, and how they are read from bytes.

Knows cells and the axis; neither buckets nor partitions.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from stream.core.catalogue import LIVE
from stream.core.cells import decode_cell
from stream.live.axis import NOTHING, Axis, Digits, Mask, Vector, digits_of

_REMEMBERED, _SMALL_BYTES = 50_000, 64  # most cells are small and like others: one impression, …


class Sheet(NamedTuple):
    """The cells of one bucket of one partition. States that are equal are one object."""

    live: Vector
    settled: Vector

    @classmethod
    def of(cls, live: Vector, settled: Vector) -> "Sheet":
        """A sheet of two states, which may be found to be equal."""
        return cls(live, live if settled.equals(live) else settled)

    @classmethod
    def joined(cls, many: Sequence["Sheet"]) -> "Sheet":
        """Sheets of different cells as one."""
        live, settled = (Vector.joined(state) for state in zip(*many, strict=True))
        return cls.of(live, settled)

    @property
    def empty(self) -> bool:
        """Whether there is no cell."""
        return not (len(self.live.slots) or len(self.settled.slots))

    def state(self, state: str) -> Vector:
        """The vector of a state."""
        return self.live if state == LIVE else self.settled

    def parts(self, mask_of: Callable[[Vector], Mask]) -> tuple["Sheet", "Sheet"]:
        """What a mask keeps, and the rest."""
        live = self.live.parts(mask_of(self.live))
        settled = live if self.settled is self.live else self.settled.parts(mask_of(self.settled))
        return Sheet.of(live[0], settled[0]), Sheet.of(live[1], settled[1])


EMPTY = Sheet(NOTHING, NOTHING)


def sheet_of(axis: Axis, cells: Mapping[int, bytes]) -> Sheet:
    """The sheet of cells by row; an empty value is an empty cell."""
    alike: dict[bytes, list[int]] = {}
    for row, raw in cells.items():
        alike.setdefault(raw, []).append(row)
    many = [(rows, *read_cell(raw)) for raw, rows in alike.items() if raw]
    live = axis.vector((rows, live) for rows, live, _ in many)
    if all(settled is live for _, live, settled in many):
        return Sheet(live, live)
    return Sheet.of(live, axis.vector((rows, settled) for rows, _, settled in many))


def read_cell(raw: bytes) -> tuple[Digits, Digits]:
    """Live and settled digits of a cell's bytes; if they are equal, as most are, one object.

    Raises ValueError for bytes that are no cell.
    """
    return _remember(raw) if len(raw) <= _SMALL_BYTES else _read(raw)


def _read(raw: bytes) -> tuple[Digits, Digits]:
    live, settled = decode_cell(raw)
    digits = digits_of(live)
    if not settled:
        return digits, ()
    return digits, digits if settled == live else digits_of(settled)


_remember = lru_cache(_REMEMBERED)(_read)
