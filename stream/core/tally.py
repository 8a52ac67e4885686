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
        self._ones: list[tuple[Column, Column]] = []
        self._sums: list[Sums] = []

    def __bool__(self) -> bool:
        return bool(self._ones or self._sums)

    def add(self, slots: Column, codes: Column, amounts: Amounts | None = None) -> None:
        """Add events, each with its amount or 1."""
        if not len(slots):
            return
        if amounts is None:
            self._ones.append((slots, codes))
        else:
            self._sums.append(Sums(slots, codes, amounts))

    def take(self) -> Sums:
        """What was added, those of amount 1 added up; it is forgotten then."""
        if self._ones:
            slots, codes = map(np.concatenate, zip(*self._ones, strict=True))
            self._sums.append(_added_up(slots, codes, None))
        found = joined(self._sums)
        self._ones, self._sums = [], []
        return found


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
