"""The ledger table of one partition: entries bytes -> bytes, with the changes since the last drain.

Two generations make a rolling snapshot without a pause: a changed entry moves to the young one, and
each drain moves a few unchanged entries too and hands them out to be written again. When the old
generation is empty, everything that was written before the round began is garbage.

Entries that seldom change can be packed, by groups of keys that begin alike: they take a fifth of
the memory then. Nobody need know: a group is unpacked when one of its keys is asked for.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from stream.core.cells import BUCKET_BYTES

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(dict[bytes, bytes]).decode


class Drained(NamedTuple):
    """What one flush writes. `round_done`: all entries have been written since the last round."""

    entries: dict[bytes, bytes | None]
    round_done: bool


@dataclass(frozen=True, slots=True)
class Items:
    """Entries side by side. They come by millions: pairs would have to be made, and collected."""

    keys: list[bytes]
    values: list[bytes]

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        return zip(self.keys, self.values, strict=True)


class _Generation:
    """Entries, some of them packed by the group of their key."""

    __slots__ = ("entries", "packed", "packs")

    def __init__(self, entries: dict[bytes, bytes]) -> None:
        self.entries = entries
        self.packs: dict[bytes, bytes] = {}
        self.packed = 0

    def __len__(self) -> int:
        return len(self.entries) + self.packed

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        yield from self.entries.items()
        for pack in self.packs.values():
            yield from _decode(pack).items()

    def of_kinds(self, kinds: bytes) -> Iterator[tuple[bytes, bytes]]:
        yield from [item for item in self.entries.items() if item[0][0] in kinds]
        for group, pack in self.packs.items():
            if group[0] in kinds:
                yield from _decode(pack).items()

    def pack(self, group: bytes, keys: Iterable[bytes]) -> None:
        """Pack entries of a group, as far as they are here."""
        found = {key: value for key in keys if (value := self.entries.pop(key, None)) is not None}
        if found:
            self.add_pack(group, found)

    def add_pack(self, group: bytes, entries: dict[bytes, bytes]) -> None:
        """Add packed entries of a group."""
        known = self.packs.get(group)
        self.packs[group] = _encode(entries if known is None else _decode(known) | entries)
        self.packed += len(entries)

    def unpack(self, group: bytes) -> bool:
        """Pack the entries of a group no longer; whether any were."""
        pack = self.packs.pop(group, None)
        if pack is None:
            return False
        found = _decode(pack)
        self.packed -= len(found)
        self.entries.update(found)
        return True

    def move(self, most: int, to: "_Generation") -> dict[bytes, bytes]:
        """Move about so many entries, as they are: a packed group goes whole. Returns them."""
        moved: dict[bytes, bytes] = {}
        for _ in range(min(most, len(self.entries))):
            key, value = self.entries.popitem()
            moved[key] = to.entries[key] = value
        while len(moved) < most and self.packs:
            group, pack = self.packs.popitem()
            found = _decode(pack)
            self.packed -= len(found)
            to.add_pack(group, found)
            moved |= found
        return moved


class Table:
    """A mapping that knows what changed."""

    def __init__(self) -> None:
        self._old, self._young = _Generation({}), _Generation({})
        self._changed: dict[bytes, bytes | None] = {}

    def load(self, entries: Mapping[bytes, bytes]) -> None:
        """Take up the entries that a ledger holds; they count as written, a round ago."""
        self._old, self._young = _Generation(dict(entries)), _Generation({})
        self._changed = {}

    def __len__(self) -> int:
        return len(self._old) + len(self._young)

    @property
    def packed(self) -> int:
        """How many of the entries are packed."""
        return self._old.packed + self._young.packed

    def get(self, key: bytes) -> bytes | None:
        """The entry of a key, or None."""
        value = self._young.entries.get(key)
        if value is None:
            value = self._old.entries.get(key)
            if value is None and self._unpack(key):
                return self.get(key)
        return value

    def get_all(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The entries of many keys, None where there is none."""
        young, old = self._young.entries.get, self._old.entries.get
        found = [old(key) if (value := young(key)) is None else value for key in keys]
        if self.packed:
            found = [
                self.get(key) if value is None else value
                for key, value in zip(keys, found, strict=True)
            ]
        return found

    def put(self, key: bytes, value: bytes) -> None:
        """Set an entry."""
        self._unpack(key)
        self._old.entries.pop(key, None)
        self._young.entries[key] = value
        self._changed[key] = value

    def put_all(self, entries: Mapping[bytes, bytes]) -> None:
        """Set many entries."""
        if self.packed:
            for group in {key[:BUCKET_BYTES] for key in entries}:
                self._unpack(group)
        old = self._old.entries
        if old:
            for key in old.keys() & entries.keys():
                del old[key]
        self._young.entries.update(entries)
        self._changed.update(entries)

    def delete(self, key: bytes) -> None:
        """Remove an entry, if it is there."""
        self._unpack(key)
        young, old = self._young.entries, self._old.entries
        if young.pop(key, None) is not None or old.pop(key, None) is not None:
            self._changed[key] = None

    def pack(self, group: bytes, keys: Iterable[bytes]) -> None:
        """Pack a group's entries until one is asked for; not those that are still to be written."""
        self._unpack(group)
        keys = [key for key in keys if key not in self._changed]
        for generation in (self._old, self._young):
            generation.pack(group, keys)

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """All entries; the table must not change meanwhile."""
        yield from self._old.items()
        yield from self._young.items()

    def of_kinds(self, kinds: bytes) -> Iterator[tuple[bytes, bytes]]:
        """The entries whose keys begin with one of these bytes; they may be few among many."""
        yield from self._old.of_kinds(kinds)
        yield from self._young.of_kinds(kinds)

    @property
    def dirty(self) -> bool:
        """Whether anything changed since the last drain."""
        return bool(self._changed)

    def drain(self, sweep: int) -> Drained:
        """The changes since the last drain and about `sweep` old entries, to be written.

        A round can only end while it sweeps.
        """
        entries, self._changed = self._changed, {}
        entries |= self._old.move(sweep, self._young)
        if len(self._old) or not sweep:
            return Drained(entries, False)
        self._old, self._young = self._young, _Generation({})
        return Drained(entries, True)

    def _unpack(self, key: bytes) -> bool:
        """Unpack the group of a key; whether anything of it was packed."""
        old, young = self._old, self._young
        if not old.packs and not young.packs:
            return False
        group = key[:BUCKET_BYTES]
        return old.unpack(group) | young.unpack(group)
