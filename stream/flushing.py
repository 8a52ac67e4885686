"""When a partition is flushed: as soon as it has something to write, but not all the time.

Owns the pauses between flushes, and measures what flushing and folding do to one another.
"""

import asyncio
import time

from stream.meters import Meters
from stream.shard import Shard
from stream.signals import wait_at_most
from stream.turns import noting_turns

_GOLDEN = 0.618034


def phase_of(number: int) -> float:
    """A part of the interval; those of numbers in a row lie far apart, however many there are."""
    return number * _GOLDEN % 1.0


def next_due_s(began_s: float, ended_s: float, interval_s: float, phase: float) -> float:
    """When the next flush is due: about an interval later, in the shard's own phase.

    Flushes of many shards at a time would keep the folds waiting for all of them in a row. One that
    took long leaves as long for the folds.
    """
    number = round(began_s / interval_s + 1 - phase)
    return max((number + phase) * interval_s, ended_s + min(ended_s - began_s, interval_s))


async def flush_when_due(shard: Shard, interval_s: float, phase: float, meters: Meters) -> None:
    """Flush a shard for as long as it is ours. Raises what `Shard.flush` does.

    What comes after a quiet interval, or is the first after a takeover, is flushed at once. Without
    records a flush still comes, since time passes.
    """
    due_s = time.monotonic()
    while shard.is_alive:
        await asyncio.sleep(due_s - time.monotonic())
        await wait_at_most(shard.changed, interval_s)
        began_s = time.monotonic()
        if shard.changed.is_set():
            meters.note_delay(began_s - max(due_s, shard.changed_s))
        await noting_turns(shard.flush(), meters.turns("flush"))
        due_s = next_due_s(began_s, time.monotonic(), interval_s, phase)
