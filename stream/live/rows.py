"""What stands in Redis beside the cells: a partition's state, a feed entry, what all agree on.

Shapes only. Fields may be added (with a default) without breaking an older reader.
"""

from typing import Any

import msgspec


class PartitionInfo(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A partition as its worker sees it. Milliseconds since the epoch; None is "not yet known".

    `status` is live, recovering or paused. `through` is the first source offset not included, `lag`
    counts records. All recorded before `as_of_ms` is in. `settled_through_ms` is keyed by family:
    sessions, tickets (first resolutions), first_response, resolution. `tally` counts all records
    since the ledger began, by outcome and dead-letter reason. `version` names the ledger's state
    that Redis shows.
    """

    topic: str
    partition: int
    status: str
    through: int = 0
    lag: int | None = None
    clock_ms: int | None = None
    newest_event_ms: int | None = None
    watermark_ms: int | None = None
    settled_through_ms: dict[str, int] = {}
    as_of_ms: int | None = None
    caught_up: bool = False
    worker: str = ""
    definition_id: str = ""
    dedupe_horizon_ms: int | None = None
    tally: dict[str, int] = {}
    version: int = 0


class FeedEntry(msgspec.Struct, frozen=True, array_like=True):
    """The head of one step; its cells follow in a parcel of their own (see `live.parcel`).

    `fill` names the picture that the step continues and `step` counts its steps: an entry fits only
    onto the same fill's step before it. `written` and `removed` name the buckets (size, start) of
    the parcel's groups. `latencies` are pairs of record timestamp and number of records.
    """

    fill: str
    step: int
    epoch: int
    from_through: int
    through: int
    info: PartitionInfo
    written: list[tuple[int, int]] = []
    removed: list[tuple[int, int]] = []
    latencies: list[tuple[int, int]] = []


class About(msgspec.Struct, frozen=True):
    """What all workers of a namespace agree on: the rules, and the partitions of each topic."""

    definition_id: str
    rules: dict[str, Any]
    partitions: dict[str, int]

    @property
    def timezone(self) -> str:
        """Time zone of days."""
        return str(self.rules.get("timezone", "UTC"))
