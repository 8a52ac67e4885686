"""The cost of folding beside the cost of a fixed loop, measured in one process in one run.

The ratio says whether a change made folding slower; a time would say how busy the machine was.
`python -m tests.bench.guard` writes the ratios of this tree to recorded.json.
"""

import gc
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from stream.core.buckets import Calendar
from stream.core.catalogue import SOURCES
from stream.core.partition import Partition
from stream.core.pseudonyms import Pseudonyms
from stream.core.records import RecordBatch
from stream.core.rules import Rules
from stream.core.texts import Texts
from stream.slices import slices
from tests.bench.loops.hand_written import count
from tests.bench.traffic import Workload

RECORDED = Path(__file__).with_name("recorded.json")
WORSE_MAX = 1.2
"""A ratio that has grown by more than a fifth is a regression."""
EVENTS, TURNS = {"clicks": 120_000, "sessions": 20_000, "tickets": 20_000}, 7
"""Clicks are folded so fast that fewer would measure how a partition is made."""
END_MS = 1_760_000_000_000


class Cost(NamedTuple):
    """CPU nanoseconds per event: the least of all turns."""

    ours: float
    reference: float

    @property
    def ratio(self) -> float:
        """How many reference loops a fold costs."""
        return self.ours / self.reference


def measure(topic: str, turns: int = TURNS) -> Cost:
    """Fold and drain new partitions and run the reference loop in turn, over the same events."""
    events = EVENTS[topic]
    records = list(Workload(topic, events, END_MS).records())
    keys, values = ([record[place] for record in records] for place in (0, 1))
    stamps = [END_MS] * events
    batch = RecordBatch(
        topic, 0, 0, events, range(events), Texts.of(values), Texts.of(keys), stamps
    )
    ours, reference = [], []
    for _ in range(turns):
        reference.append(_cpu_ns(lambda: count(values, {})))
        ours.append(_cpu_ns(lambda: fold(topic, batch)))
    return Cost(min(ours) / events, min(reference) / events)


def fold(topic: str, batch: RecordBatch) -> None:
    """What a worker does with a batch between the broker and the ledger."""
    partition = Partition(topic, Rules(), Calendar(), Pseudonyms(bytes(32)))
    for part in slices(batch):
        assert not partition.fold(part).drops
    partition.drain(0)


def _cpu_ns(work: Callable[[], None]) -> int:
    gc.collect()
    gc.disable()  # a worker collects rarely, and in another process there is other garbage
    try:
        began = time.thread_time_ns()
        work()
        return time.thread_time_ns() - began
    finally:
        gc.enable()


def main() -> None:
    """Record the ratios of this tree."""
    found = {topic: measure(topic, 3 * TURNS) for topic in SOURCES}
    for topic, cost in found.items():
        print(
            f"{topic:9} {cost.ours:7.0f} ns  reference {cost.reference:6.0f} ns  {cost.ratio:.2f}"
        )
    ratios = {topic: round(cost.ratio, 2) for topic, cost in found.items()}
    RECORDED.write_text(json.dumps(ratios, indent=2) + "\n")


if __name__ == "__main__":
    main()
