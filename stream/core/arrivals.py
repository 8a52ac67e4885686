"""The events of a run: each by itself as a mark, or all of them as columns of numbers."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from stream.core.distinct import Distinct, distinct
from stream.core.marks import CONVERSION, SHORT_BYTES, Mark, Seal, pack, pack_plain
from stream.core.pseudonyms import Pseudonyms
from stream.core.reading import Events

Column = NDArray[np.int64]
Flags = NDArray[np.bool_]
Positions = NDArray[np.intp]
_ITEM = b"i"
_SESSION_BYTES = 8
"""Of a session id's pseudonym: it has to differ from the other ones of its visitor only."""


@dataclass(frozen=True, slots=True)
class Columns:
    """What a row has to know of events; see `Mark`."""

    at_ms: Column
    kind: Column
    session: Column
    label: Column
    value_micros: Column

    def take(self, places: Positions) -> "Columns":
        """The events at some places."""
        return Columns(
            self.at_ms[places],
            self.kind[places],
            self.session[places],
            self.label[places],
            self.value_micros[places],
        )


class Arrivals:
    """Events in log order, by their place. What is asked for is made once, when it is."""

    def __init__(
        self,
        events: Events,
        at_ms: Column,
        watermark_ms: Column,
        label: Column,
        pseudonyms: Pseudonyms,
    ) -> None:
        self.at_ms = at_ms
        self.watermark_ms = watermark_ms
        self.label = label
        self.kind: Column = events.kinds
        self._micros = events.micros
        self._event_ids = events.ids["event_id"]
        self._visitor_ids, self._session_ids = events.ids["visitor_id"], events.ids["session_id"]
        self._pseudonyms = pseudonyms

    def key(self, place: int) -> bytes:
        """The key of an event's visitor in the table: `i` and the pseudonym."""
        return self._keys([self._visitor_ids.text(place)])[0]

    def mark(self, place: int) -> Mark:
        """An event by itself."""
        kind = int(self.kind[place])
        return Mark(
            int(self.at_ms[place]),
            kind,
            self._event_ids.text(place).decode(),
            self._sessions([self._session_ids.text(place)])[0],
            int(self.label[place]),
            int(self._micros[place]) if kind == CONVERSION else 0,
        )

    @cached_property
    def keys(self) -> list[bytes]:
        """The keys of all visitors, by their number."""
        return self._keys(self._visitor_ids.take(self._visitors.firsts).texts())

    @cached_property
    def who(self) -> Positions:
        """Number of each event's visitor."""
        return self._visitors.numbers

    @cached_property
    def columns(self) -> Columns:
        """All events as numbers."""
        session = np.zeros(len(self.kind), np.int64)
        named = np.flatnonzero(self._session_ids.sizes)
        if len(named):
            session_ids = self._session_ids.take(named)
            firsts, numbers = distinct(session_ids.words)
            held = np.array(self._sessions(session_ids.take(firsts).texts()), np.int64)
            session[named] = held[numbers]
        value_micros = np.where(self.kind == CONVERSION, self._micros, 0)
        return Columns(self.at_ms, self.kind, session, self.label, value_micros)

    @cached_property
    def records(self) -> tuple[list[bytes], Flags]:
        """See `pack_plain`."""
        return pack_plain(self._event_ids, self.at_ms, self.kind, self._masks)

    def record(self, place: int, label: int, session: int) -> bytes:
        """The record of an event by itself, for a visitor who has this label and session."""
        seal = sealing(self._pseudonyms, self.keys[self.who[place]])
        return pack([self.mark(place)], label, session, seal)

    @cached_property
    def _visitors(self) -> Distinct:
        return distinct(self._visitor_ids.words)

    def _masks(self) -> bytes:
        """What seals the event ids that are short."""
        places = np.empty(len(self.who), [("key", f"V{len(self.keys[0])}"), ("at_ms", ">i8")])
        places["key"] = np.frombuffer(b"".join(self.keys), places.dtype["key"])[self.who]
        places["at_ms"] = self.at_ms
        return self._pseudonyms.masks(places.view(f"V{places.itemsize}").tolist(), SHORT_BYTES)

    def _keys(self, visitor_ids: list[bytes]) -> list[bytes]:
        return [_ITEM + pseudonym for pseudonym in self._pseudonyms.of_all(visitor_ids)]

    def _sessions(self, session_ids: list[bytes]) -> list[int]:
        """What stands for session ids; 0 for none."""
        pseudonyms = self._pseudonyms.of_all(session_ids)
        return [
            (int.from_bytes(pseudonym[:_SESSION_BYTES], "little", signed=True) or 1)
            if session_id
            else 0
            for session_id, pseudonym in zip(session_ids, pseudonyms, strict=True)
        ]


def sealing(pseudonyms: Pseudonyms, key: bytes) -> Seal:
    """Seals the event ids of a visitor, or opens them."""
    return lambda text, at_ms: pseudonyms.seal(text, _place(key, at_ms))


def _place(key: bytes, at_ms: int) -> bytes:
    return key + at_ms.to_bytes(8, "big", signed=True)
