"""Reading events in bulk: columns of numbers, without an object for each event.

Records of a known shape are read together; every other one goes through the decoder, and may teach
a shape. Owns which record takes which way; the contract is the decoder's.
"""

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

import numpy as np

from stream.core.columns import Draft, Positions, column_of
from stream.core.event_shapes import EventShape, Piece
from stream.core.events import EventDecoder, Fault, micros
from stream.core.hashing import Hashes, hash_words
from stream.core.memo import MOST
from stream.core.names import Names
from stream.core.plans import EVENT_ID, PLANS, Plan
from stream.core.reading import BEFORE_ALL, Events, Reading
from stream.core.shapes import Page
from stream.core.texts import Texts

PAGE = 4_000
"""Records that are matched at once: few enough for the processor's caches."""
FEW = 256
"""Fewer are read one by one: it is as fast, and numpy's calls have a price of their own."""
MOST_SHAPES = 16
_LESSONS = 4
"""Records of a page that may teach a shape: a producer of ever new ones must not cost much."""


class EventReader:
    """Reads the values of one topic."""

    def __init__(self, topic: str) -> None:
        self._plan = PLANS[topic]
        self._decoder = EventDecoder(topic)
        self._names = Names()
        self._shapes: list[EventShape] = []
        self._dimensions = attrgetter(*self._plan.source.dimensions)

    def read(self, values: Sequence[bytes | None]) -> Reading:
        """Read the values of a batch, in order."""
        if len(self._names) > MOST:
            self._names, self._shapes = Names(), []
        texts = Texts.of(values)
        made = _Made(len(texts), self._plan)
        for start in range(0, len(texts), PAGE):
            self._read_page(texts, start, min(start + PAGE, len(texts)), made)
        return made.reading(self._names)

    def _read_page(self, values: Texts, start: int, end: int, made: "_Made") -> None:
        left, lessons = np.arange(end - start), 0
        if len(left) >= FEW:
            lessons = _LESSONS
            page = Page(values[start:end])
            for shape in self._shapes:
                left = _read_alike(shape, page, left, start, made)
                if not len(left):
                    return
            self._shapes.sort(key=lambda shape: shape.hits, reverse=True)
            pays = True  # what one of them teaches others may have, as when there is no shape yet
            while len(left) >= FEW and lessons and pays:
                lessons -= 1
                learnt = self._learn(values, self._read_singly(values, start + left[:1], made))
                left, before = left[1:], len(left) - 1
                if learnt is not None:
                    left = _read_alike(learnt, page, left, start, made)
                pays = len(left) < before
        sound = self._read_singly(values, start + left, made)
        for number in range(min(lessons, len(sound))):
            self._learn(values, sound[number:])

    def _read_singly(self, values: Texts, places: Positions, made: "_Made") -> list[int]:
        """Read records by the decoder; returns the places of those that are events."""
        found = self._decoder.decode_all([values[place] for place in places.tolist()])
        sound, events = list[int](), list[Any]()
        for place, event in zip(places.tolist(), found, strict=True):
            if isinstance(event, Fault):
                made.faults.append((place, event))
            else:
                sound.append(place)
                events.append(event)
        if sound:
            codes = list(map(self._names.code, map(self._dimensions, events)))
            made.put_events(sound, events, codes)
        return sound

    def _learn(self, values: Texts, places: list[int]) -> EventShape | None:
        """Take a shape from the first of some events, or widen the holes of the one that it fits.

        None where nothing is to be learnt.
        """
        value = values[places[0]] if places else None
        learnt = EventShape.of(value or b"", self._plan, self._names)
        if learnt is None:
            return None
        for number, known in enumerate(self._shapes):
            if known.shape.form == learnt.shape.form:
                wider = known.widened(learnt)
                if wider is not None:
                    self._shapes[number] = wider
                return wider
        self._shapes[MOST_SHAPES - 1 :] = [learnt]
        return learnt


class _Made:
    """A reading that is filled bit by bit."""

    def __init__(self, count: int, plan: Plan) -> None:
        self._plan = plan
        self._times = np.full(count, BEFORE_ALL, np.int64)
        self._hashes: Hashes = np.zeros(count, np.uint64)
        self._codes, self._kinds, self._micros = np.zeros((3, count), np.int64)
        self._instants_ms = np.full(count, BEFORE_ALL, np.int64)
        self._ids = {name: Draft(count) for name in plan.ids}
        self._kind = attrgetter(*plan.kind)
        self.faults: list[tuple[int, Fault]] = []

    def put(self, piece: Piece, start: int, *, is_whole: bool) -> None:
        """Take in records of a page that begins at `start`."""
        here: Positions | slice = start + piece.rows
        if is_whole:
            here = slice(start, start + len(piece.rows))
        self._times[here], self._hashes[here] = piece.times, piece.hashes
        self._kinds[here], self._codes[here] = piece.kinds, piece.codes
        if piece.micros is not None:
            self._micros[here] = piece.micros
        if piece.instants_ms is not None:
            self._instants_ms[here] = piece.instants_ms
        for name, column in piece.ids.items():
            self._ids[name].put(here, column)

    def put_events(self, places: list[int], events: list[Any], codes: list[int]) -> None:
        """Take in decoded events."""
        plan, here = self._plan, np.array(places, np.intp)
        self._times[here] = [event.timestamp for event in events]
        self._codes[here] = codes
        self._kinds[here] = list(map(plan.kinds.__getitem__, map(self._kind, events)))
        if plan.money is not None:
            self._micros[here] = [micros(event.money) for event in events]
        if plan.instant is not None:
            instants_ms = [getattr(event, plan.instant) for event in events]
            self._instants_ms[here] = [BEFORE_ALL if at is None else at for at in instants_ms]
        for name in {EVENT_ID, *plan.ids}:
            texts = column_of([getattr(event, name) or "" for event in events])
            if name == EVENT_ID:
                self._hashes[here] = hash_words(*texts)
            if name in self._ids:
                self._ids[name].put(here, texts)

    def reading(self, names: Names) -> Reading:
        """All that was read."""
        ids = {name: draft.column() for name, draft in self._ids.items()}
        events = Events(self._codes, self._kinds, self._micros, self._instants_ms, ids, names)
        return Reading(self._times, self._hashes, events, self.faults)


def _read_alike(
    shape: EventShape, page: Page, left: Positions, start: int, made: _Made
) -> Positions:
    """Read what is of a shape; returns the places that are left of the page."""
    piece = shape.read(page, left)
    if piece is None:
        return left
    made.put(piece, start, is_whole=len(piece.rows) == len(page))
    if len(piece.rows) == len(left):
        return left[:0]
    is_left = np.ones(len(page), np.bool_)
    is_left[piece.rows] = False
    return left[is_left[left]]
