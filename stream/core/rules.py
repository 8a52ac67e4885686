"""The rules that shape state: time-outs, lateness, split, cap, windows, dedupe, time zone.

They are fixed for a ledger. What may be chosen when a figure is read (bounce rule, FCR conditions,
age, window) is not here.
"""

import hashlib
from dataclasses import asdict, dataclass

import msgspec

from stream.core.durations import MINUTE_MS

FUTURE_TOLERANCE_MS = MINUTE_MS
"""How far an event may lie ahead of its record's timestamp."""


@dataclass(frozen=True, slots=True)
class Rules:
    """All durations in milliseconds; the defaults are those of the settings."""

    allowed_lateness_ms: int = 600_000
    session_timeout_ms: int = 1_800_000
    session_id_timeout_ms: int = 1_800_000
    session_max_ms: int = 43_200_000
    session_max_interactions: int = 2_500
    split_at_midnight: bool = False
    timezone: str = "UTC"
    fcr_reopen_window_ms: int = 259_200_000
    ticket_retention_ms: int = 34_560_000_000
    dedupe_horizon_ms: int = 600_000
    dedupe_max_ids: int = 2_000_000
    max_label_sets: int = 100_000

    @property
    def definition_id(self) -> str:
        """Twelve hex digits that differ when any rule differs."""
        text = msgspec.json.encode(sorted(asdict(self).items()))
        return hashlib.blake2b(text, digest_size=6).hexdigest()
