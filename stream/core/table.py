"""The ledger table of one partition: entries bytes -> bytes, with the changes since the last drain.

Two generations make a rolling snapshot without a pause: a changed entry moves to the young one, and
each drain moves a few unchanged entries too and hands them out to be written again. When the old
generation is empty, everything that was written before the round began is garbage.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple


class Drained(NamedTuple):
    """What one flush writes. `round_done`: all entries have been written since the last round."""

    entries: dict[bytes, bytes | None]
    round_done: bool


class Table:
    """A mapping that knows what changed."""

    def __init__(self) -> None:
        self._old: dict[bytes, bytes] = {}
        self._young: dict[bytes, bytes] = {}
        self._changed: set[bytes] = set()

    def load(self, entries: Mapping[bytes, bytes]) -> None:
        """Take up the entries that a ledger holds; they count as written, a round ago."""
        self._old, self._young, self._changed = dict(entries), {}, set()

    def __len__(self) -> int:
        return len(self._old) + len(self._young)

    def get(self, key: bytes) -> bytes | None:
        """The entry of a key, or None."""
        value = self._young.get(key)
        return self._old.get(key) if value is None else value

    def put(self, key: bytes, value: bytes) -> None:
        """Set an entry."""
        self._old.pop(key, None)
        self._young[key] = value
        self._changed.add(key)

    def put_all(self, entries: Mapping[bytes, bytes]) -> None:
        """Set many entries."""
        if self._old:
            for key in self._old.keys() & entries.keys():
                del self._old[key]
        self._young.update(entries)
        self._changed.update(entries)

    def delete(self, key: bytes) -> None:
        """Remove an entry, if it is there."""
        if self._young.pop(key, None) is not None or self._old.pop(key, None) is not None:
            self._changed.add(key)

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """All entries; the table must not change meanwhile."""
        yield from self._old.items()
        yield from self._young.items()

    @property
    def dirty(self) -> bool:
        """Whether anything changed since the last drain."""
        return bool(self._changed)

    def drain(self, sweep: int) -> Drained:
        """The changes since the last drain and up to `sweep` old entries, to be written.

        A round can only end while it sweeps.
        """
        entries: dict[bytes, bytes | None] = {key: self._young.get(key) for key in self._changed}
        self._changed = set()
        for _ in range(min(sweep, len(self._old))):
            key, value = self._old.popitem()
            entries[key] = self._young[key] = value
        if self._old or not sweep:
            return Drained(entries, False)
        self._old, self._young = self._young, {}
        return Drained(entries, True)
