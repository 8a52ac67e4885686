"""When a partition is flushed: as soon as it has something to write, but not all the time.

Owns the pauses between flushes, and measures what flushing and folding do to one another.
"""

import asyncio
import time

from stream.meters import Meters
from stream.shard import Shard
from stream.signals import wait_at_most
from stream.turns import noting_turns


async def flush_when_due(shard: Shard, interval_s: float, meters: Meters) -> None:
    """Flush a shard for as long as it is ours. Raises what `Shard.flush` does.

    What comes after a quiet interval, or is the first after a takeover, is flushed at once; then
    an interval passes until the next flush. Without records it still comes, since time passes.
    """
    due_s = time.monotonic()
    while shard.is_alive:
        await asyncio.sleep(due_s - time.monotonic())
        await wait_at_most(shard.changed, interval_s)
        began_s = time.monotonic()
        if shard.changed.is_set():
            meters.note_delay(began_s - max(due_s, shard.changed_s))
        await noting_turns(shard.flush(), meters.turns("flush"))
        ended_s = time.monotonic()
        took_s = ended_s - began_s
        due_s = ended_s + max(interval_s - took_s, min(took_s, interval_s))  # as long for the folds
