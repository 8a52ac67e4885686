"""Reading clicks in bulk: columns of numbers, without an object for each event.

Records of a known shape are read together; every other one goes through the decoder, and may teach
a shape. Owns what the fields of a click are worth as numbers; their contract is the decoder's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from operator import attrgetter

import msgspec
import numpy as np

from stream.core.catalogue import CLICKS
from stream.core.cube import Cube
from stream.core.events import Click, EventDecoder, Fault, is_name, micros
from stream.core.hashing import hash_texts, hash_words
from stream.core.instants import Instants
from stream.core.memo import MOST, UNKNOWN, Answers, Memo
from stream.core.names import Codes, Labels, Names
from stream.core.reading import BEFORE_ALL, Positions, Reading
from stream.core.shapes import BEHIND_NUMBER, QUOTE, Column, Hole, Page, Shape, shape_of, window
from stream.core.texts import Texts

KINDS = {"impression": CLICKS.index["impressions"], "click": CLICKS.index["clicks"]}
"""The field that an event of each type counts in."""
PAGE = 2_000
"""Records that are matched at once: few enough for the processor's caches."""
FEW = 256
"""Fewer are read one by one: it is as fast, and numpy's calls have a price of their own."""
MOST_SHAPES = 8
_LESSONS = 4
"""Records of a page that may teach a shape: a producer of ever new ones must not cost much."""
_MOST_BYTES = {"event_id": 64, "type": 64, "visitor_id": 128, "cost": 64} | dict.fromkeys(
    CLICKS.dimensions, 128
)
"""Of a text that is longer the decoder tells whether it is too long: it counts characters."""
_PLAIN = frozenset({"event_id", "visitor_id"})
"""The others have few distinct values, which are looked at one by one."""
_dimensions = attrgetter(*CLICKS.dimensions)
_decode_amount = msgspec.json.Decoder(Decimal).decode


@dataclass(frozen=True, slots=True)
class ClickRows:
    """Clicks as columns: the number of their names, the field they count in, micros of cost."""

    codes: Codes
    kinds: Answers
    costs: Answers
    names: Names

    def take(self, positions: Positions | slice) -> "ClickRows":
        """The rows at some positions."""
        return ClickRows(
            self.codes[positions], self.kinds[positions], self.costs[positions], self.names
        )

    def labels(self, cube: Cube, positions: Positions | slice) -> Labels:
        """Label ids of rows, admitted in their order."""
        return self.names.labels(self.codes[positions], cube)


class ClickReader:
    """Reads the values of `clicks`."""

    def __init__(self) -> None:
        self._decoder = EventDecoder(CLICKS.topic)
        self._names = Names()
        self._shapes: list[_ClickShape] = []

    def read(self, values: Sequence[bytes | None]) -> Reading[ClickRows]:
        """Read the values of a batch, in order."""
        if len(self._names) > MOST:
            self._names, self._shapes = Names(), []
        made = _blank(len(values), self._names)
        texts = Texts.of(values)
        for start in range(0, len(texts), PAGE):
            self._read_page(texts, start, min(start + PAGE, len(texts)), made)
        return made

    def _read_page(self, values: Texts, start: int, end: int, made: Reading[ClickRows]) -> None:
        left = np.arange(start, end)
        if len(left) >= FEW:
            page = Page(values[start:end])
            for shape in self._shapes:
                left = shape.read(page, left, start, made)
                if not len(left):
                    return
            self._shapes.sort(key=lambda shape: shape.hits, reverse=True)
        self._read_singly(values, left, made)

    def _read_singly(self, values: Texts, places: Positions, made: Reading[ClickRows]) -> None:
        found = self._decoder.decode_all([values[place] for place in places.tolist()])
        lessons = 0
        sound = list[tuple[int, Click]]()
        for place, event in zip(places.tolist(), found, strict=True):
            if isinstance(event, Fault):
                made.faults.append((place, event))
                continue
            assert isinstance(event, Click)
            sound.append((place, event))
            if lessons < _LESSONS:
                lessons += 1
                self._learn(values[place] or b"")
        if sound:
            self._store(sound, made)

    def _store(self, sound: Sequence[tuple[int, Click]], made: Reading[ClickRows]) -> None:
        places = [place for place, _ in sound]
        rows = made.rows
        made.times[places] = [event.timestamp for _, event in sound]
        made.hashes[places] = hash_texts([event.event_id for _, event in sound])
        rows.kinds[places] = [KINDS[event.type] for _, event in sound]
        rows.costs[places] = [micros(event.cost) for _, event in sound]
        rows.codes[places] = [self._names.code(_dimensions(event)) for _, event in sound]

    def _learn(self, value: bytes) -> None:
        """Take a shape from an event, or widen the holes of the one that it fits."""
        learnt = _ClickShape.of(value, self._names)
        if learnt is None:
            return
        for number, known in enumerate(self._shapes):
            if known.shape.form == learnt.shape.form:
                wider = known.shape.widened(learnt.shape)
                if wider.holes != known.shape.holes:
                    self._shapes[number] = _ClickShape(wider, known.instants, self._names)
                return
        self._shapes[MOST_SHAPES - 1 :] = [learnt]


class _ClickShape:
    """A shape of clicks, and what the texts in its holes are worth."""

    def __init__(self, shape: Shape, instants: Instants, names: Names) -> None:
        self.shape, self.instants = shape, instants
        self.hits = 0
        self._names = names
        widths = {hole.name: hole.width for hole in shape.holes}
        self._dimensions = {name: widths[name] for name in CLICKS.dimensions if name in widths}
        self._nameless = names.code((None,) * len(CLICKS.dimensions))
        self._codes = Memo(sum(self._dimensions.values()) // 8, self._code)
        self._kinds = Memo(widths["type"] // 8, self._kind)
        self._costs = Memo(widths["cost"] // 8, self._micros) if "cost" in widths else None
        self._is_quoted = all(hole.ends == QUOTE for hole in shape.holes)

    @classmethod
    def of(cls, value: bytes, names: Names) -> "_ClickShape | None":
        """The shape of an event, if it has one."""
        instants = list[Instants]()

        def find(name: str, text: bytes, quoted: bool) -> Sequence[tuple[int, Hole]] | None:
            if name != "timestamp":
                return _holes(name, text, quoted=quoted)
            instants.append(Instants(text, quoted=quoted))
            return instants[0].holes or None

        shape = shape_of(value, find)
        return None if shape is None else cls(shape, instants[0], names)

    def read(
        self, page: Page, places: Positions, start: int, made: Reading[ClickRows]
    ) -> Positions:
        """Read what is of this shape; return the places of what is not."""
        rows, columns = self.shape.match(page, places - start)
        self.hits = len(rows)
        if not len(rows):
            return places
        times = self.instants.read(columns)
        kinds = self._kinds.of(columns["type"].words)
        codes = self._codes_of(columns, len(rows))
        costs = self._costs.of(columns["cost"].words) if self._costs else np.zeros_like(times)
        hashes = hash_words(*columns["event_id"])
        good = (times > BEFORE_ALL) & (kinds > UNKNOWN) & (codes > UNKNOWN) & (costs > UNKNOWN)
        here: Positions | slice = start + rows
        if not good.all():
            rows = rows[good]
            here = start + rows
            times, kinds, codes, costs = times[good], kinds[good], codes[good], costs[good]
            hashes = hashes[good]
        elif len(rows) == len(page):
            here = slice(start, start + len(rows))
        made.times[here], made.hashes[here] = times, hashes
        made.rows.kinds[here], made.rows.codes[here], made.rows.costs[here] = kinds, codes, costs
        is_left = np.ones(len(page), np.bool_)
        is_left[rows] = False
        return places[is_left[places - start]]

    def _codes_of(self, columns: dict[str, Column], count: int) -> Codes:
        if not self._dimensions:
            return np.full(count, self._nameless)
        words = [columns[name].words for name in self._dimensions]
        return self._codes.of(np.concatenate(words, axis=1))

    def _kind(self, row: bytes) -> int:
        return KINDS.get(_text(row), UNKNOWN)

    def _micros(self, row: bytes) -> int:
        """What an amount of money says, as it is written."""
        amount = row.rstrip(b"\0")
        try:
            return micros(_decode_amount(b'"%b"' % amount if self._is_quoted else amount))
        except ValueError:
            return UNKNOWN

    def _code(self, row: bytes) -> int:
        found = dict[str, str]()
        at = 0
        for name, width in self._dimensions.items():
            found[name] = _text(row[at : at + width])
            at += width
        if not all(map(is_name, found.values())):
            return UNKNOWN
        return self._names.code(tuple(found.get(name) for name in CLICKS.dimensions))


def _holes(name: str, text: bytes, *, quoted: bool) -> Sequence[tuple[int, Hole]] | None:
    if not quoted:
        if name != "cost" or text == b"null":
            return ()
        return [(0, Hole(name, window(len(text)), BEHIND_NUMBER, most=_MOST_BYTES[name]))]
    most = _MOST_BYTES.get(name)
    if most is None and name in Click.__struct_fields__:
        return None  # the contract says something of it that is not looked at here
    if most is None:  # a field that nobody asks for may hold anything
        return [(0, Hole(name, window(len(text)), least=0, plain=True, wanted=False))]
    plain = name in _PLAIN
    wanted = name != "visitor_id"
    return [(0, Hole(name, window(len(text)), most=most, plain=plain, wanted=wanted))]


def _text(row: bytes) -> str:
    """The text in a row; one that is no name if it is no UTF-8, or has an escape."""
    text = row.rstrip(b"\0")
    try:
        return "" if b"\\" in text else text.decode()
    except UnicodeDecodeError:
        return ""


def _blank(count: int, names: Names) -> Reading[ClickRows]:
    """A reading that nothing was read into yet."""
    codes, kinds, costs = np.zeros((3, count), np.int64)
    rows = ClickRows(codes, kinds, costs, names)
    return Reading(np.full(count, BEFORE_ALL, np.int64), np.zeros(count, np.uint64), rows, [])
