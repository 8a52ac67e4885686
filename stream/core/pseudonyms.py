"""Pseudonyms: keyed hashes that stand for visitor, session and ticket ids in all that is kept.

Owns the hash, and the seal of those ids that must be read again, to be put in order. Knows nothing
of where the key comes from. Without the key nobody can tell whether a known id is among the hashes;
with another key the state of a ledger cannot be found again, so the ledger keeps the key's
fingerprint.
"""

from collections.abc import Iterable
from hashlib import blake2b

ID_BYTES = 12
"""Two of 10 million ids are mistaken for one another about once in 10^15 systems."""
MASK_BYTES = 64


class OtherKeyError(ValueError):
    """A ledger's ids were hashed under another key than ours."""


class Pseudonyms:
    """Hashes ids under one key (16 to 64 bytes; ValueError otherwise)."""

    def __init__(self, key: bytes) -> None:
        if not 16 <= len(key) <= 64:
            raise ValueError(f"a key for ids has 16 to 64 bytes, this one has {len(key)}")
        self._keyed = blake2b(key=key, digest_size=ID_BYTES, person=b"stream-id")
        self._masks = blake2b(key=key, digest_size=MASK_BYTES, person=b"stream-mask")
        self.fingerprint = blake2b(key=key, digest_size=6, person=b"stream-key").hexdigest()

    def of(self, name: bytes) -> bytes:
        """The pseudonym of an id, given as UTF-8: ID_BYTES long."""
        keyed = self._keyed.copy()  # the key is mixed in once
        keyed.update(name)
        return keyed.digest()

    def of_all(self, names: Iterable[bytes]) -> list[bytes]:
        """The pseudonyms of many ids."""
        return list(map(self.of, names))

    def masks(self, places: Iterable[bytes], size: int) -> bytes:
        """As many bytes (at most MASK_BYTES) for each place, which nobody can tell without the key.

        They seal texts, see `seal`.
        """
        masks = []
        for place in places:
            keyed = self._masks.copy()
            keyed.update(place)
            masks.append(keyed.digest()[:size])
        return b"".join(masks)

    def seal(self, text: bytes, place: bytes) -> bytes:
        """A text that nobody can read without the key; sealing it again opens it.

        Texts of one place are sealed alike: what they differ in shows.
        """
        size = len(text)
        blocks = (bytes((block,)) for block in range(1, -(-size // MASK_BYTES)))
        mask = self.masks((place, *(place + block for block in blocks)), MASK_BYTES)
        sealed = int.from_bytes(text, "big") ^ int.from_bytes(mask[:size], "big")
        return sealed.to_bytes(size, "big")
