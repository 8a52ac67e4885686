"""Slices: a batch cut into parts that are folded at once, so that others may run in between.

Pure: what a slice took is told. How a log is cut changes nothing of what it comes to.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from stream.core.records import RecordBatch

NEVER_MS = 1 << 62
SLICE_RECORDS = 4_000
FEWEST_RECORDS = 500
"""Numpy's calls have a price of their own: smaller slices would gain no time."""
SLICE_S = {"clicks": 0.01, "sessions": 0.02, "tickets": 0.01}
"""What waits for the event loop should not wait longer, as a rule, for a fold. Sessions may take
more: what a visitor did is cheaper the more of it comes together."""


class SliceSize:
    """How many records to fold at once: as many as were lately folded in `SLICE_S`, if that few."""

    def __init__(self, topic: str) -> None:
        self._slice_s = SLICE_S[topic]
        self.records = 2 * FEWEST_RECORDS

    def took(self, records: int, seconds: float) -> None:
        """Learn from a slice, more slowly for better than for worse; small ones say nothing."""
        if records >= FEWEST_RECORDS:
            fitting = min(int(records * self._slice_s / seconds), SLICE_RECORDS)
            self.records = max(min(fitting, (self.records + fitting) // 2), FEWEST_RECORDS)


def slices(
    batch: RecordBatch,
    size: Callable[[], int] = lambda: SLICE_RECORDS,
    pause_ms: int = NEVER_MS,
) -> Iterator[RecordBatch]:
    """Cut a batch into parts of at most so many records; `size` is asked for each.

    A record that is more than `pause_ms` younger than all before it begins a part.
    """
    at, total = 0, len(batch.values)
    cuts = iter(_pauses(batch, pause_ms))
    cut = next(cuts, total)
    if total <= min(size(), cut):
        yield batch
        return
    while at < total:
        to = min(at + size(), cut)
        if to == cut:
            cut = next(cuts, total)
        yield replace(
            batch,
            start=batch.start if at == 0 else batch.offsets[at],
            next=batch.next if to == total else batch.offsets[to],
            offsets=batch.offsets[at:to],
            values=batch.values[at:to],
            keys=batch.keys[at:to],
            timestamps=batch.timestamps[at:to],
        )
        at = to


def _pauses(batch: RecordBatch, pause_ms: int) -> list[int]:
    """Where records come after a pause."""
    stamps = np.asarray(batch.timestamps, np.int64)
    gaps = stamps[1:] - np.maximum.accumulate(stamps[:-1])
    return (np.flatnonzero(gaps > pause_ms) + 1).tolist()
