"""Settled tickets: nothing of theirs is counted any more, only what may come is to find them.

Millions are kept, for months. An entry of the table for each would cost more than what it holds, so
about sixteen share one: a group, whose number is taken from the pseudonym (linear hashing). Groups
are added one by one as tickets come, and each time one older group is split, so there is no pause.
Those who were silent longer than the retention are no longer found; they are dropped when their
group is next written, and when that is changes nothing. Knows neither events nor counts.
"""

import struct
from collections.abc import Iterable
from typing import NamedTuple

from stream.core.pseudonyms import ID_BYTES
from stream.core.table import Table

PREFIX = b"t"
"""First byte of the entries: `t` alone holds the number of groups, `t` + number a group."""
GROUP_SIZE = 16
"""Tickets a group on average."""
_RECORD = struct.Struct(f">{ID_BYTES}sqqI")
_LAST_MS = struct.Struct(">q")
_KEY = struct.Struct(">cI")


class Settled(NamedTuple):
    """A ticket that is over and not open.

    `last_ms` is when its latest event happened, `opened_ms` when it was opened (or, incomplete, its
    first event), `label` its label set, `answerable` whether a first response may still come.
    """

    last_ms: int
    opened_ms: int
    label: int
    answerable: bool


class Archive:
    """The settled tickets of one partition, by pseudonym."""

    def __init__(self, table: Table, retention_ms: int) -> None:
        self._table = table
        self._retention_ms = retention_ms
        self._have(1)
        self._held = 0

    def __len__(self) -> int:
        """Tickets held, with those that are due to be dropped."""
        return self._held

    def load(self, items: Iterable[tuple[bytes, bytes]]) -> None:
        """Take up the entries of a recovered table."""
        for key, raw in items:
            if key == PREFIX:
                self._have(int.from_bytes(raw, "big"))
            else:
                self._held += len(raw) // _RECORD.size

    def get(self, pseudonym: bytes, watermark_ms: int) -> Settled | None:
        """A ticket, if it is known and not forgotten."""
        if not self._held:
            return None
        raw = self._table.get(self._key(pseudonym)) or b""
        place = _find(raw, pseudonym)
        if place < 0:
            return None
        _, last_ms, opened_ms, mark = _RECORD.unpack_from(raw, place)
        if last_ms + self._retention_ms < watermark_ms:
            return None
        return Settled(last_ms, opened_ms, mark >> 1, bool(mark & 1))

    def add(self, pseudonym: bytes, ticket: Settled, watermark_ms: int) -> None:
        """Put a ticket in; it must not be there."""
        last_ms, opened_ms, label, answerable = ticket
        record = _RECORD.pack(pseudonym, last_ms, opened_ms, label << 1 | answerable)
        key = self._key(pseudonym)
        raw = self._table.get(key) or b""
        kept = raw[self._forgotten(raw, watermark_ms) :]
        self._table.put(key, kept + record)
        self._held += 1 - (len(raw) - len(kept)) // _RECORD.size
        if self._held > self._groups * GROUP_SIZE:
            self._split(watermark_ms)

    def remove(self, pseudonym: bytes) -> None:
        """Take a ticket out, if it is there."""
        key = self._key(pseudonym)
        raw = self._table.get(key) or b""
        place = _find(raw, pseudonym)
        if place >= 0:
            self._put(key, raw[:place] + raw[place + _RECORD.size :])
            self._held -= 1

    def _split(self, watermark_ms: int) -> None:
        """Add a group, and move to it what belongs there out of the one that it splits."""
        old = self._groups - (self._mask + 1 >> 1)
        key = _KEY.pack(PREFIX, old)
        raw = self._table.get(key) or b""
        kept = raw[self._forgotten(raw, watermark_ms) :]
        self._held -= (len(raw) - len(kept)) // _RECORD.size
        self._have(self._groups + 1)
        self._table.put(PREFIX, self._groups.to_bytes(4, "big"))
        here: list[bytes] = []
        there: list[bytes] = []
        for place in range(0, len(kept), _RECORD.size):
            record = kept[place : place + _RECORD.size]
            (here if self._key(record) == key else there).append(record)
        self._put(key, b"".join(here))
        self._put(_KEY.pack(PREFIX, self._groups - 1), b"".join(there))

    def _put(self, key: bytes, raw: bytes) -> None:
        if raw:
            self._table.put(key, raw)
        else:
            self._table.delete(key)

    def _forgotten(self, raw: bytes, watermark_ms: int) -> int:
        """Bytes at the front that may go: tickets stand about in the order of their last event."""
        place, oldest_ms = 0, watermark_ms - self._retention_ms
        while place < len(raw) and _LAST_MS.unpack_from(raw, place + ID_BYTES)[0] < oldest_ms:
            place += _RECORD.size
        return place

    def _key(self, pseudonym: bytes) -> bytes:
        """The entry in which a pseudonym belongs; pseudonyms are hashes, so any bits of it do."""
        group = int.from_bytes(pseudonym[:4], "big") & self._mask
        return _KEY.pack(PREFIX, group if group < self._groups else group & self._mask >> 1)

    def _have(self, groups: int) -> None:
        """So many groups: as many bits of a pseudonym as all of them take, or one less, choose."""
        self._groups = groups
        self._mask = (1 << groups.bit_length()) - 1


def _find(raw: bytes, pseudonym: bytes) -> int:
    """Where a ticket's record begins, or -1; a match across two records is none."""
    place = raw.find(pseudonym)
    while place % _RECORD.size and place >= 0:
        place = raw.find(pseudonym, place + 1)
    return place
