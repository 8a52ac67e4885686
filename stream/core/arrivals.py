"""The events of a run: each by itself as a mark, or all of them as columns of numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from stream.core.events import SessionEvent, micros
from stream.core.marks import CONVERSION, KINDS, SHORT_BYTES, Mark, Seal, pack, pack_plain
from stream.core.pseudonyms import Pseudonyms

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
        events: Sequence[SessionEvent],
        at_ms: Column,
        watermark_ms: Column,
        label: Column,
        pseudonyms: Pseudonyms,
    ) -> None:
        self.at_ms = at_ms
        self.watermark_ms = watermark_ms
        self.label = label
        self._events = events
        self._pseudonyms = pseudonyms

    def key(self, place: int) -> bytes:
        """The key of an event's visitor in the table: `i` and the pseudonym."""
        return _ITEM + self._pseudonyms.of(self._events[place].visitor_id)

    def mark(self, place: int) -> Mark:
        """An event by itself."""
        event = self._events[place]
        return Mark(
            int(self.at_ms[place]),
            KINDS[event.type],
            event.event_id,
            self._session(event.session_id),
            int(self.label[place]),
            micros(event.value) if event.type == "conversion" else 0,
        )

    @cached_property
    def kind(self) -> Column:
        """What happened."""
        return np.array([KINDS[event.type] for event in self._events], np.int64)

    @cached_property
    def keys(self) -> list[bytes]:
        """The keys of all visitors, by their number."""
        return [_ITEM + self._pseudonyms.of(visitor_id) for visitor_id in self._numbers]

    @cached_property
    def who(self) -> Positions:
        """Number of each event's visitor."""
        numbers = self._numbers
        return np.array([numbers[visitor_id] for visitor_id in self._visitor_ids], np.intp)

    @cached_property
    def columns(self) -> Columns:
        """All events as numbers."""
        session_ids = [event.session_id for event in self._events]
        numbers = {session_id: self._session(session_id) for session_id in set(session_ids)}
        session = [numbers[session_id] for session_id in session_ids]
        value_micros = np.zeros(len(self._events), np.int64)
        for place in np.flatnonzero(self.kind == CONVERSION).tolist():
            value_micros[place] = micros(self._events[place].value)
        return Columns(self.at_ms, self.kind, np.array(session, np.int64), self.label, value_micros)

    @cached_property
    def records(self) -> tuple[list[bytes], Flags]:
        """See `pack_plain`."""
        event_ids = [event.event_id for event in self._events]
        return pack_plain(event_ids, self.at_ms, self.kind, self._masks)

    def record(self, place: int, label: int, session: int) -> bytes:
        """The record of an event by itself, for a visitor who has this label and session."""
        seal = sealing(self._pseudonyms, self.keys[self.who[place]])
        return pack([self.mark(place)], label, session, seal)

    @cached_property
    def _numbers(self) -> dict[str, int]:
        distinct = dict.fromkeys(self._visitor_ids)
        return {visitor_id: number for number, visitor_id in enumerate(distinct)}

    @cached_property
    def _visitor_ids(self) -> list[str]:
        return [event.visitor_id for event in self._events]

    def _masks(self) -> bytes:
        """What seals the event ids that are short."""
        keys, times = self.keys, self.at_ms.astype(">i8").tobytes()
        places = [keys[who] + times[n * 8 : n * 8 + 8] for n, who in enumerate(self.who.tolist())]
        return self._pseudonyms.masks(places, SHORT_BYTES)

    def _session(self, session_id: str | None) -> int:
        """What stands for a session id; 0 for none."""
        if session_id is None:
            return 0
        pseudonym = self._pseudonyms.of(session_id)
        return int.from_bytes(pseudonym[:_SESSION_BYTES], "little", signed=True) or 1


def sealing(pseudonyms: Pseudonyms, key: bytes) -> Seal:
    """Seals the event ids of a visitor, or opens them."""
    return lambda text, at_ms: pseudonyms.seal(text, _place(key, at_ms))


def _place(key: bytes, at_ms: int) -> bytes:
    return key + at_ms.to_bytes(8, "big", signed=True)
