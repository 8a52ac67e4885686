"""Shapes of events: what the texts between the pieces of a record are worth as numbers.

Owns how the fields of a plan are read out of columns. What a single record says is the decoder's;
one that cannot be read here with certainty is left to it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property

import msgspec
import numpy as np

from stream.core.columns import WORD, Column, Positions
from stream.core.events import is_name, micros
from stream.core.hashing import Hashes, hash_words
from stream.core.instants import Instants
from stream.core.memo import FEWER, UNKNOWN, Answers, Memo
from stream.core.names import Names
from stream.core.plans import EVENT_ID, TIMESTAMP, Plan
from stream.core.reading import BEFORE_ALL
from stream.core.shapes import BEHIND_NUMBER, QUOTE, Hole, Page, Shape, shape_of, window

Columns = dict[str, Column]
_decode_amount = msgspec.json.Decoder(Decimal).decode


@dataclass(frozen=True, slots=True)
class Piece:
    """Records of one shape: their rows in a page, and what they say. None: none says it."""

    rows: Positions
    times: Answers
    hashes: Hashes
    kinds: Answers
    codes: Answers
    micros: Answers | None
    instants_ms: Answers | None
    ids: Columns

    def take(self, good: Positions) -> "Piece":
        """Some of the records."""
        return Piece(
            self.rows[good],
            self.times[good],
            self.hashes[good],
            self.kinds[good],
            self.codes[good],
            None if self.micros is None else self.micros[good],
            None if self.instants_ms is None else self.instants_ms[good],
            {name: column.take(good) for name, column in self.ids.items()},
        )


class EventShape:
    """A shape of a topic's events, and what the texts in its holes are worth."""

    def __init__(
        self, shape: Shape, instants: dict[str, Instants], plan: Plan, names: Names
    ) -> None:
        self.shape = shape
        self.hits = 0
        self._instants, self._plan, self._names = instants, plan, names
        widths = {hole.name: hole.width for hole in shape.holes}
        self._kinds = _Together(plan.kind, widths, self._kind)
        self._codes = _Together(plan.source.dimensions, widths, self._code)
        money = [hole for hole in shape.holes if hole.name == plan.money]
        self._micros = _Together([hole.name for hole in money], widths, self._amount, FEWER)
        self._is_quoted = all(hole.ends == QUOTE for hole in money)

    @classmethod
    def of(cls, value: bytes, plan: Plan, names: Names) -> "EventShape | None":
        """The shape of an event, if it has one."""
        instants: dict[str, Instants] = {}

        def find(name: str, text: bytes, quoted: bool) -> Sequence[tuple[int, Hole]] | None:
            if name in (TIMESTAMP, plan.instant) and text != b"null":
                instants[name] = Instants(name, text, quoted=quoted)
                return instants[name].holes or None
            return _holes(plan, name, text, quoted=quoted)

        shape = shape_of(value, find)
        return None if shape is None else cls(shape, instants, plan, names)

    def widened(self, other: "EventShape") -> "EventShape | None":
        """One whose holes are wide enough for another of the same form; None: they are."""
        wider = self.shape.widened(other.shape)
        if wider is self.shape:
            return None
        return EventShape(wider, self._instants, self._plan, self._names)

    def read(self, page: Page, rows: Positions) -> Piece | None:
        """What those of some records of a page say that are of this shape; None: none is."""
        rows, columns = self.shape.match(page, rows)
        self.hits = len(rows)
        if not len(rows):
            return None
        instant = self._instants.get(self._plan.instant or "")
        piece = Piece(
            rows,
            self._instants[TIMESTAMP].read(columns),
            hash_words(*columns[EVENT_ID]),
            self._kinds.of(columns, len(rows)),
            self._codes.of(columns, len(rows)),
            self._micros.of(columns, len(rows)) if self._micros.names else None,
            None if instant is None else instant.read(columns),
            {name: columns[name] for name in self._plan.ids if name in columns},
        )
        good = (piece.kinds > UNKNOWN) & (piece.codes > UNKNOWN)
        if piece.micros is not None:
            good &= piece.micros > UNKNOWN
        for times in (piece.times, piece.instants_ms):
            if times is not None:  # a fraction may have been added to what is unknown
                good &= times > BEFORE_ALL
        return piece if good.all() else piece.take(np.flatnonzero(good))

    def _kind(self, found: Sequence[bytes | None]) -> int:
        texts = tuple(map(_text, found))
        return self._plan.kinds.get(texts if len(texts) > 1 else texts[0], UNKNOWN)

    def _code(self, found: Sequence[bytes | None]) -> int:
        texts = tuple(map(_text, found))
        if not all(text is None or is_name(text) for text in texts):
            return UNKNOWN
        return self._names.code(texts)

    def _amount(self, found: Sequence[bytes | None]) -> int:
        """What an amount of money says, as it is written."""
        amount = found[0] or b""
        try:
            return micros(_decode_amount(b'"%b"' % amount if self._is_quoted else amount))
        except ValueError:
            return UNKNOWN


class _Together:
    """A number for what several fields of a record say, some of which it may not have."""

    def __init__(
        self,
        names: Sequence[str],
        widths: dict[str, int],
        ask: Callable[[Sequence[bytes | None]], int],
        most: int | None = None,
    ) -> None:
        self.names = [name for name in names if name in widths]
        self._spans = list[slice | None]()
        at = 0
        for name in names:
            width = widths.get(name, 0)
            self._spans.append(slice(at, at + width) if width else None)
            at += width
        self._ask, self._most = ask, most
        self._width = at // WORD
        self._nothing = ask([None] * len(names)) if names and not self.names else None

    @cached_property
    def _memo(self) -> Memo:
        return Memo(self._width, self._answer, self._most)

    def of(self, columns: Columns, count: int) -> Answers:
        """The number for each record."""
        if self._nothing is not None:
            return np.full(count, self._nothing)
        words = [columns[name].words for name in self.names]
        return self._memo.of(words[0] if len(words) == 1 else np.concatenate(words, axis=1))

    def _answer(self, row: bytes) -> int:
        return self._ask([span and row[span].rstrip(b"\0") for span in self._spans])


def _holes(
    plan: Plan, name: str, text: bytes, *, quoted: bool
) -> Sequence[tuple[int, Hole]] | None:
    most, width = plan.most.get(name), window(len(text))
    if not quoted:
        if name != plan.money or text == b"null" or most is None:
            return ()
        return [(0, Hole(name, width, BEHIND_NUMBER, most=most))]
    if most is not None:
        # the others have few distinct values, which are looked at one by one
        plain = name in (EVENT_ID, *plan.ids, *plan.checked)
        return [(0, Hole(name, width, most=most, plain=plain, wanted=name not in plan.checked))]
    if name in plan.event.__struct_fields__ and name not in plan.free:
        return None  # the contract says something of it that is not looked at here
    return [(0, Hole(name, width, least=0, plain=True, wanted=False))]


def _text(text: bytes | None) -> str | None:
    """A text; one that is no name if it is no UTF-8, or has an escape."""
    try:
        return None if text is None else "" if b"\\" in text else text.decode()
    except UnicodeDecodeError:
        return ""
