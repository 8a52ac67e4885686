"""How many bytes a partition holds for each open session and for each ticket in its three states.

Run it with `python -m tests.bench.memory`. For each kind it is measured by how much a process that
holds many grows beyond one that holds few: the dictionaries, keys and timers around the encoded
state are in the figures, what a partition costs anyway is not.
"""

import gc
import json
import resource
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from stream.core.buckets import Calendar
from stream.core.partition import Partition
from stream.core.pseudonyms import Pseudonyms
from stream.core.records import RecordBatch
from stream.core.rules import Rules

FEW, MANY = 100_000, 400_000
RULES = Rules(dedupe_max_ids=16_000, session_timeout_ms=86_400_000)
"""Few event ids, so that these are not in the figures; nothing is over while it is measured."""
START_MS = 1_700_000_000_000
HOUR_MS = 3_600_000


def main() -> None:
    """Print one line per kind of state."""
    for row in (
        ("open session (3 events)", "sessions", visits, None),
        ("open session, lateness over", "sessions", long_visits, None),
        ("open ticket (4 events)", "tickets", open_tickets, 15 * 60_000),
        ("resolved ticket (4 events)", "tickets", resolved_tickets, 15 * 60_000),
        ("settled ticket", "tickets", settled_tickets, 80 * HOUR_MS),
    ):
        few, many = (in_a_process(FEW, *row), in_a_process(MANY, *row))
        encoded, grown = ((y - x) / (MANY - FEW) for x, y in zip(few, many, strict=True))
        print(f"{row[0]:32} {encoded:6.0f} B encoded, {grown:6.0f} B each", flush=True)


def in_a_process(items: int, *row: Any) -> tuple[int, int]:
    """What `measure` finds in a process of its own."""
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, (items, *row))


def measure(
    items: int,
    _: str,
    topic: str,
    events: Callable[[int], Iterator[dict[str, object]]],
    later_ms: int | None,
) -> tuple[int, int]:
    """Fold the events and let time pass; bytes of the encoded items, and growth of the process."""
    partition = Partition(topic, RULES, Calendar(), Pseudonyms(bytes(32)))
    before = resident()
    offset = 0
    batch: list[bytes] = []
    for event in events(items):
        batch.append(json.dumps(event).encode())
        if len(batch) == 2_000:
            offset = fold(partition, topic, batch, offset)
            batch = []
    offset = fold(partition, topic, batch, offset)
    if later_ms is not None:
        later_ms += partition.record_ms + 600_001
        partition.pass_time(later_ms)
        if topic == "tickets":  # only an event moves the clock that archives
            last = json.dumps(ticket("opened", "another", later_ms)).encode()
            fold(partition, topic, [last], offset)
    partition.drain(0)
    gc.collect()
    encoded = sum(len(v) for k, v in partition.table.items() if k[:1] in (b"i", b"t"))
    return encoded, resident() - before


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


def visits(items: int) -> Iterator[dict[str, object]]:
    """Visitors with three page views each, within five minutes."""
    for step in range(3):
        for number in range(items):
            at_ms = START_MS + step * 100_000 + number // 10
            yield page_view(f"visitor-{number:012d}", at_ms) | {"campaign": f"c{number % 50}"}


def open_tickets(items: int) -> Iterator[dict[str, object]]:
    """Tickets that are opened, answered, moved and answered again within ten minutes."""
    return tickets(items, "opened", "contact", "reassigned", "contact")


def resolved_tickets(items: int) -> Iterator[dict[str, object]]:
    """Tickets that are opened, answered, resolved and closed within ten minutes."""
    return tickets(items, "opened", "contact", "resolved", "closed")


def settled_tickets(items: int) -> Iterator[dict[str, object]]:
    """The same, one every 20 s: few are unsettled at one time, and many share a cell."""
    for number in range(items):
        for step, kind in enumerate(("opened", "contact", "resolved", "closed")):
            at_ms = START_MS + number * 20_000 + step * 1_000
            yield ticket(kind, f"ticket-{number:012d}", at_ms, team="team-0")


def tickets(items: int, *kinds: str) -> Iterator[dict[str, object]]:
    """Tickets that all come to the same."""
    for step, kind in enumerate(kinds):
        for number in range(items):
            at_ms = START_MS + step * 100_000 + number // 10
            yield ticket(kind, f"ticket-{number:012d}", at_ms, team=f"team-{number % 20}")


def long_visits(items: int) -> Iterator[dict[str, object]]:
    """The same spread over two hours: few are within the allowed lateness at one time.

    Without campaigns, and not over a day: the cells would be in the figures.
    """
    views = ((number, view) for number in range(items + 1_000) for view in range(3))
    for number, view in views:
        if (visitor := number - 500 * view) in range(items):
            yield page_view(f"visitor-{visitor:012d}", START_MS + number * 18 + view)


def page_view(visitor: str, at_ms: int) -> dict[str, object]:
    """One event of a visitor; its id is a UUID, as most producers write them."""
    return {
        "event_id": str(uuid5(NAMESPACE_URL, f"{visitor}-{at_ms}")),
        "type": "page_view",
        "visitor_id": visitor,
        "timestamp": at_ms,
    }


def ticket(kind: str, name: str, at_ms: int, **names: str) -> dict[str, object]:
    """One event of a ticket."""
    return {
        "event_id": f"{kind}-{at_ms}-{name}",
        "type": kind,
        "ticket_id": name,
        "timestamp": at_ms,
        "by": "agent",
        **names,
    }


def resident() -> int:
    """Resident bytes of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


if __name__ == "__main__":
    main()
