"""Passwords, kept as scrypt hashes in one line of text: `$scrypt$ln=15,r=8,p=3$SALT$HASH`.

Owns the form and the cost. Knows nothing of who has a password, nor of files.
"""

import binascii
import hashlib
import hmac
import re
import secrets
from base64 import b64decode, b64encode
from dataclasses import dataclass

LOG_N, BLOCK, LANES = 15, 8, 3
"""32 MiB and about a third of a second for each guess."""
SALT_BYTES, HASH_BYTES = 16, 32
MEMORY_MAX = 256 << 20
LANES_MAX = 16
_FORM = re.compile(
    r"\$scrypt\$ln=(\d{1,2}),r=(\d{1,3}),p=(\d{1,3})\$([\w+/]+)\$([\w+/]+)", re.ASCII
)


@dataclass(frozen=True, slots=True)
class PasswordHash:
    """What is kept of a password."""

    log_n: int
    block: int
    lanes: int
    salt: bytes
    digest: bytes

    @classmethod
    def make(cls, password: str) -> "PasswordHash":
        """A new hash of a password, with a salt of its own."""
        salt = secrets.token_bytes(SALT_BYTES)
        digest = _derive(password, LOG_N, BLOCK, LANES, salt, HASH_BYTES)
        return cls(LOG_N, BLOCK, LANES, salt, digest)

    @classmethod
    def parse(cls, text: str) -> "PasswordHash":
        """Read `str` of a hash. Raises ValueError without the text in it."""
        found = _FORM.fullmatch(text)
        if found is None:
            raise ValueError("is no password hash; `stream password` makes one")
        log_n, block, lanes = (int(found[i]) for i in (1, 2, 3))
        if not (1 <= lanes <= LANES_MAX and block >= 1 and 10 <= log_n <= 24):
            raise ValueError("has a cost that is out of bounds; `stream password` makes a good one")
        if _memory(log_n, block, lanes) > MEMORY_MAX:
            raise ValueError("takes too much memory; `stream password` makes a good one")
        try:
            salt, digest = _decode(found[4]), _decode(found[5])
        except binascii.Error:
            raise ValueError("is damaged; `stream password` makes a new one") from None
        if len(salt) < SALT_BYTES or len(digest) < HASH_BYTES:
            raise ValueError("is cut short; `stream password` makes a new one")
        return cls(log_n, block, lanes, salt, digest)

    def fits(self, password: str) -> bool:
        """Whether this is the password. Takes its time, without holding the interpreter's lock."""
        found = _derive(password, self.log_n, self.block, self.lanes, self.salt, len(self.digest))
        return hmac.compare_digest(found, self.digest)

    def __str__(self) -> str:
        cost = f"ln={self.log_n},r={self.block},p={self.lanes}"
        return f"$scrypt${cost}${_encode(self.salt)}${_encode(self.digest)}"


def _derive(password: str, log_n: int, block: int, lanes: int, salt: bytes, size: int) -> bytes:
    return hashlib.scrypt(
        password.encode("utf-8", "surrogatepass"),
        salt=salt,
        n=1 << log_n,
        r=block,
        p=lanes,
        maxmem=_memory(log_n, block, lanes) + (1 << 20),
        dklen=size,
    )


def _memory(log_n: int, block: int, lanes: int) -> int:
    return 128 * block * ((1 << log_n) + lanes + 2)


def _encode(raw: bytes) -> str:
    return b64encode(raw).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return b64decode(text + "=" * (-len(text) % 4), validate=True)
