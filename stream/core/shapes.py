"""Shapes: reading many records at once that differ only in what stands between the same pieces.

A producer writes its records in one form: the same fields in the same order. A shape is taken from
one record that the decoder has accepted: fixed pieces of text with holes between them. A record of
which all is matched, piece by hole by piece, differs from that one only in its holes, and those
hold plain text; so it is read as that one was, and nothing of it was left unseen. A record that is
not matched is none of a shape's business: the decoder says what it is.

Owns the matching of bytes. Knows no topic, and nothing of what the texts in the holes mean.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from stream.core.columns import WORD, Column, Sizes
from stream.core.texts import Bytes, Flags, Texts, windows

LONGEST = 2_000
"""A record that is longer has no shape."""
_SPACE, _BACKSLASH, _DELETE = 0x20, 0x5C, 0x7F
_ENOUGH = 0.9
"""Of the records at hand; when fewer may still be of a shape, the others are let go."""
QUOTE, BEHIND_NUMBER = b'"', b",} "


class Page:
    """Records side by side in one text."""

    def __init__(self, values: Texts) -> None:
        self.starts, self.ends = values.starts, values.starts + values.sizes
        self.text = values.buffer

    def __len__(self) -> int:
        return len(self.starts)

    def take(self, at: Sizes, width: int) -> NDArray[np.void]:
        """So many bytes of each record, from its place on; any bytes beyond the end of the text."""
        return windows(self.text, at, width)


@dataclass(frozen=True)
class Hole:
    """A place for a field's value.

    It is a text that ends before the first byte of `ends`, in a window of `width` bytes; `least` to
    `most` bytes are taken, none of them below a space. What is `plain` is ASCII without a
    backslash; who reads another one must look whether it is UTF-8. What is not `wanted` gets no
    column.

    Or it has one `size`: then whoever reads it must look at every byte.
    """

    name: str
    width: int
    ends: bytes = QUOTE
    size: int | None = None
    least: int = 1
    most: int = LONGEST
    plain: bool = False
    wanted: bool = True


class Shape:
    """A form of records: as many holes as pieces, less one."""

    def __init__(self, pieces: Sequence[bytes], holes: Sequence[Hole]) -> None:
        self.pieces, self.holes = tuple(pieces), tuple(holes)
        self.reach = sum(map(len, pieces)) + sum(hole.width for hole in holes)
        self._usual = [0] * len(holes)

    @property
    def form(self) -> tuple[object, ...]:
        """What two shapes have in common that differ at most in how wide their holes are."""
        return self.pieces, tuple((hole.name, hole.size) for hole in self.holes)

    @cached_property
    def _keep(self) -> list[NDArray[np.void]]:
        return [_keep(hole.width) for hole in self.holes]

    def widened(self, other: "Shape") -> "Shape":
        """A shape whose holes are as wide as the wider of two of the same form."""
        pairs = list(zip(self.holes, other.holes, strict=True))
        if all(a.width >= b.width for a, b in pairs):
            return self
        return Shape(self.pieces, [replace(a, width=max(a.width, b.width)) for a, b in pairs])

    def match(self, page: Page, rows: Sizes) -> tuple[Sizes, dict[str, Column]]:
        """Which of these records of a page are of this shape, and what their holes hold."""
        at = page.starts[rows]
        good: Flags = at + self.reach <= len(page.text)
        found: dict[str, Column] = {}
        if not good.any():
            return rows[:0], found
        for number, hole in enumerate(self.holes):
            good &= self._fits(number, page, at)
            if np.count_nonzero(good) < _ENOUGH * len(good):
                if not good.any():
                    return rows[:0], {}
                rows, at, found = rows[good], at[good], _taken(found, good)
                good = np.ones(len(rows), np.bool_)
            at = at + len(self.pieces[number])
            column = self._fill(number, page, at, good)
            if hole.wanted:
                found[hole.name] = column
            at = at + column.sizes
        good &= self._fits(-1, page, at)
        good &= at + len(self.pieces[-1]) == page.ends[rows]
        if good.all():
            return rows, found
        return rows[good], _taken(found, good)

    def _fits(self, number: int, page: Page, at: Sizes) -> Flags | bool:
        piece = self.pieces[number]
        found = page.take(at, len(piece))
        if found.tobytes() == piece * len(at):
            return True
        same: Flags = found == np.void(piece)
        return same

    def _fill(self, number: int, page: Page, at: Sizes, good: Flags) -> Column:
        hole = self.holes[number]
        found = page.take(at, hole.width).view(np.uint8).reshape(len(at), hole.width)
        if hole.size is not None:
            sizes = np.full(len(at), hole.size, np.int64)
            keep = self._keep[number][hole.size : hole.size + 1].view(np.uint8)
            return Column((found & keep).view("<u8"), sizes)
        sizes = self._sizes(number, found)
        keep = self._keep[number][sizes].view(np.uint8).reshape(found.shape)
        good &= (sizes >= hole.least) & (sizes <= hole.most)
        unfit: Flags = found < _SPACE
        if hole.plain:
            unfit |= (found >= _DELETE) | (found == _BACKSLASH)
        unfit &= keep > 0
        if unfit.any():
            good &= ~unfit.any(axis=1)
        return Column((found & keep).view("<u8"), sizes)

    def _sizes(self, number: int, found: Bytes) -> Sizes:
        """Sizes of the texts in a window; where no end is in sight 0, and no piece fits there."""
        ends = _ends_in(found, self.holes[number].ends)
        usual = self._usual[number]  # texts are often all of one size
        if ends[:, usual].all() and not ends[:, :usual].any():
            return np.full(len(found), usual, np.int64)
        sizes: Sizes = ends.argmax(axis=1)
        self._usual[number] = int(sizes[0])
        return sizes


def _taken(found: dict[str, Column], good: Flags) -> dict[str, Column]:
    places = np.flatnonzero(good)
    return {name: column.take(places) for name, column in found.items()}


def _ends_in(found: Bytes, ends: bytes) -> Flags:
    flags: Flags = found == ends[0]
    for code in ends[1:]:
        flags |= found == code
    return flags


def _keep(width: int) -> NDArray[np.void]:
    """Masks that keep the first 0, 1, … bytes of a window."""
    flags = np.arange(width) < np.arange(width + 1)[:, None]
    return np.where(flags, 255, 0).astype(np.uint8).view(f"V{width}").ravel()


def window(size: int) -> int:
    """Width of a hole in which a text of this size is seen together with its end."""
    return (size // WORD + 1) * WORD


_OPEN = re.compile(rb" *\{")
_MEMBER = re.compile(rb' *"([^"]*)" *: *(?:"([^"]*)"|([^"{}\[\], ]+)) *([,}])')
_REST = re.compile(rb" *")
Find = Callable[[str, bytes, bool], Sequence[tuple[int, Hole]] | None]
"""Where the holes are in a value, given its key, its bytes, and whether it is quoted.

None: a record with such a value has no shape.
"""


def shape_of(value: bytes, find: Find) -> Shape | None:
    """The shape of a record that the decoder has accepted; None if it has none.

    It has to be one flat JSON object without escapes, every key of which is there once.
    """
    opened = _OPEN.match(value)
    if opened is None or len(value) > LONGEST or b"\\" in value or min(value) < _SPACE:
        return None
    pieces, holes, keys = list[bytes](), list[Hole](), set[bytes]()
    at, behind, more = opened.end(), 0, b","
    while more == b",":
        member = _MEMBER.match(value, at)
        if member is None or member[1] in keys:
            return None
        keys.add(member[1])
        quoted = member[2] is not None
        start, end = member.span(2 if quoted else 3)
        found = find(member[1].decode(), value[start:end], quoted)
        if found is None:
            return None
        for offset, hole in found:
            pieces.append(value[behind : start + offset])
            holes.append(hole)
            behind = end if hole.size is None else start + offset + hole.size
        at, more = member.end(), member[4]
    if _REST.fullmatch(value, at) is None:
        return None
    return Shape([*pieces, value[behind:]], holes)
