"""A tally: many events counted at once, as columns, until somebody asks for the sums."""

from typing import NamedTuple

import numpy as np

from stream.core.sums import Amounts, Column, add_up, numbered


class Sums(NamedTuple):
    """What was counted, by slot of time and code; one may be there twice."""

    slots: Column
    codes: Column
    amounts: Amounts

    def added_up(self) -> "Sums":
        """Each code of a slot once, in order."""
        if not len(self.slots):
            return self
        return _added_up(*self)


class Tally:
    """Sums by slot of time and code: a number for whatever is counted."""

    def __init__(self) -> None:
        self._slots: list[Column] = []
        self._codes: list[Column] = []
        self._amounts: list[Amounts | None] = []

    def __bool__(self) -> bool:
        return bool(self._slots)

    def add(self, slots: Column, codes: Column, amounts: Amounts | None = None) -> None:
        """Add events, each with its amount or 1."""
        if len(slots):
            self._slots.append(slots)
            self._codes.append(codes)
            self._amounts.append(amounts)

    def take(self) -> Sums:
        """The sums of all that was added; it is forgotten then."""
        found = []
        for is_counted in (True, False):
            numbers = [i for i, a in enumerate(self._amounts) if (a is None) is is_counted]
            if numbers:
                slots, codes = (
                    np.concatenate([parts[i] for i in numbers])
                    for parts in (self._slots, self._codes)
                )
                amounts = [amounts for i in numbers if (amounts := self._amounts[i]) is not None]
                found.append(_added_up(slots, codes, np.concatenate(amounts) if amounts else None))
        self._slots, self._codes, self._amounts = [], [], []
        return joined(found)


def joined(parts: list[Sums]) -> Sums:
    """The parts one after the other."""
    parts = [part for part in parts if len(part.slots)]
    if len(parts) < 2:
        return parts[0] if parts else Sums(*np.zeros((3, 0), np.int64))
    return Sums(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _added_up(slots: Column, codes: Column, amounts: Amounts | None) -> Sums:
    slots, rows = numbered(slots)
    codes, places = numbered(codes)
    keys, sums = add_up(rows * len(codes) + places, amounts)
    rows, places = np.divmod(keys, len(codes))
    return Sums(slots[rows], codes[places], sums)
