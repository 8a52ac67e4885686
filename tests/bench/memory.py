"""How many bytes a partition holds for each open session, settled ticket and remembered id.

Run it with `python -m tests.bench.memory`. Growth of the process is measured, so the dictionaries,
keys and timers around the encoded state are in the figures.
"""

import gc
import json
import resource
from collections.abc import Iterator
from pathlib import Path

from stream.core.buckets import Calendar
from stream.core.partition import Partition
from stream.core.pseudonyms import Pseudonyms
from stream.core.records import RecordBatch
from stream.core.rules import Rules

ITEMS = 200_000
START_MS = 1_700_000_000_000
HOUR_MS = 3_600_000


def main() -> None:
    """Print one line per kind of state."""
    for name, topic, events, later_ms in (
        ("open session (3 events)", "sessions", visits(), None),
        ("open session, settled lateness", "sessions", visits(), 15 * 60_000),
        ("open ticket (4 events)", "tickets", tickets(), None),
        ("settled ticket", "tickets", tickets(), 80 * HOUR_MS),
    ):
        measure(name, topic, events, later_ms)


def measure(
    name: str, topic: str, events: Iterator[dict[str, object]], later_ms: int | None
) -> None:
    """Fold the events, let time pass, and print the growth per item."""
    partition = Partition(topic, Rules(dedupe_max_ids=16), Calendar(), Pseudonyms(bytes(32)))
    before = resident()
    offset = 0
    batch: list[bytes] = []
    for event in events:
        batch.append(json.dumps(event).encode())
        if len(batch) == 2_000:
            offset = fold(partition, topic, batch, offset)
            batch = []
    offset = fold(partition, topic, batch, offset)
    if later_ms is not None:
        partition.pass_time(partition.record_ms + later_ms + 600_001)
    partition.drain(0)
    gc.collect()
    encoded = sum(len(v) for k, v in partition.table.items() if k[:1] == b"i")
    held = sum(1 for k, _ in partition.table.items() if k[:1] == b"i")
    grown = (resident() - before) / ITEMS
    print(f"{name:32} {held:>8} held, {encoded / max(1, held):6.0f} B encoded, {grown:6.0f} B each")


def fold(partition: Partition, topic: str, values: list[bytes], offset: int) -> int:
    """Fold values as records that were written when they happened."""
    if not values:
        return offset
    times = [json.loads(value)["timestamp"] for value in values]
    newest = max(times)
    end = offset + len(values)
    partition.fold(
        RecordBatch(
            topic, 0, offset, end, range(offset, end), list(values), [], [newest] * len(values)
        )
    )
    partition.drain(0)
    return end


def visits() -> Iterator[dict[str, object]]:
    """Visitors with three page views each, within five minutes."""
    for view in range(3):
        for number in range(ITEMS):
            yield {
                "event_id": f"{view}-{number:036d}",
                "type": "page_view",
                "visitor_id": f"visitor-{number:012d}",
                "timestamp": START_MS + view * 100_000 + number // 10,
                "campaign": f"c{number % 50}",
            }


def tickets() -> Iterator[dict[str, object]]:
    """Tickets that are opened, answered, resolved and closed within ten minutes."""
    for step, kind in enumerate(("opened", "contact", "resolved", "closed")):
        for number in range(ITEMS):
            yield {
                "event_id": f"{step}-{number:036d}",
                "type": kind,
                "ticket_id": f"ticket-{number:012d}",
                "timestamp": START_MS + step * 100_000 + number // 10,
                "team": f"team-{number % 20}",
                "by": "agent",
            }


def resident() -> int:
    """Resident bytes of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


if __name__ == "__main__":
    main()
