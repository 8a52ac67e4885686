"""Pseudonyms: keyed hashes that stand for visitor and ticket ids in all that is kept.

Owns the hash. Knows nothing of where the key comes from. Without the key nobody can tell whether a
known id is among the hashes; with another key the state of a ledger cannot be found again, so the
ledger keeps the key's fingerprint.
"""

from hashlib import blake2b

ID_BYTES = 12
"""Two of 10 million ids are mistaken for one another about once in 10^15 systems."""


class OtherKeyError(ValueError):
    """A ledger's ids were hashed under another key than ours."""


class Pseudonyms:
    """Hashes ids under one key (16 to 64 bytes; ValueError otherwise)."""

    def __init__(self, key: bytes) -> None:
        if not 16 <= len(key) <= 64:
            raise ValueError(f"a key for ids has 16 to 64 bytes, this one has {len(key)}")
        self._keyed = blake2b(key=key, digest_size=ID_BYTES, person=b"stream-id")
        self.fingerprint = blake2b(key=key, digest_size=6, person=b"stream-key").hexdigest()

    def of(self, name: str) -> bytes:
        """The pseudonym of an id, ID_BYTES long."""
        keyed = self._keyed.copy()  # the key is mixed in once
        keyed.update(name.encode())
        return keyed.digest()
