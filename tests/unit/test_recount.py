"""The auditor's own count comes to what the workers came to, wherever and however they stopped."""

import json
from collections.abc import AsyncIterator, Sequence
from typing import Any, NamedTuple

import pytest

from stream.audit.recount import Recount
from stream.core.buckets import Calendar
from stream.core.partition import Partition
from stream.core.records import RecordBatch, TopicPartition
from stream.core.rules import Rules
from tests.support.play import PSEUDONYMS, cells

START_MS, MINUTE_MS = 1_760_000_000_000, 60_000
RULES = Rules(allowed_lateness_ms=10 * MINUTE_MS, session_timeout_ms=MINUTE_MS)
PLACE = TopicPartition("sessions", 0)


class Record(NamedTuple):
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None


def page_view(offset: int, at_ms: int) -> Record:
    event = {"event_id": f"e{offset}", "type": "page_view", "visitor_id": f"v{offset // 20}"}
    return Record(offset, at_ms, b"v", json.dumps(event | {"timestamp": at_ms}).encode())


class Log:
    """Stands for the scanner: hands out records of a list, a few at a time."""

    def __init__(self, records: Sequence[Record], run: int = 90) -> None:
        self._records, self._run = records, run

    async def read(self, _: str, __: int, start: int, end: int) -> AsyncIterator[Sequence[Any]]:
        wanted = [record for record in self._records if start <= record.offset < end]
        for at in range(0, len(wanted), self._run):
            yield wanted[at : at + self._run]


class Worker:
    """A partition as a worker counts it, with the ledger that it writes."""

    def __init__(self) -> None:
        self.core = Partition("sessions", RULES, Calendar(), PSEUDONYMS)
        self.entries: dict[bytes, bytes] = {}

    def fold(self, records: Sequence[Record]) -> None:
        self.core.fold(
            RecordBatch(
                "sessions", 0, self.core.position, records[-1].offset + 1,
                [r.offset for r in records], [r.value for r in records],
                [r.key for r in records], [r.timestamp for r in records],
            )
        )  # fmt: skip

    def flush(self) -> None:
        for key, value in self.core.drain(0).entries.items():
            if value is None:
                self.entries.pop(key, None)
            else:
                self.entries[key] = value


async def recounted(worker: Worker, log: Sequence[Record]) -> Partition:
    """What a recount comes to where the worker's ledger stands."""
    core = Partition("sessions", RULES, Calendar(), PSEUDONYMS)
    recount = Recount(PLACE, "sessions", core)
    source: Any = Log(log)
    assert await recount.follow(source, worker.entries, worker.core.position, 60)
    core.drain(0)
    return core


def log_of(count: int) -> list[Record]:
    return [page_view(n, START_MS + n * 1_000) for n in range(count)]


async def test_it_comes_to_the_same_over_pauses_and_skips() -> None:
    """Rubbish pauses the partition; it is resumed behind it, and later where it stands."""
    log = log_of(300)
    rubbish = [Record(n, START_MS + n * 1_000, None, b"?") for n in range(300, 1_900)]
    more = [page_view(n, START_MS + n * 1_000) for n in range(1_900, 2_400)]
    log += [*rubbish, *more]
    worker = Worker()
    worker.core.skip_to(20)
    worker.fold(log[20:])
    assert worker.core.is_paused
    worker.core.resume(1_500)
    worker.fold(log[1_500:])
    worker.flush()
    same = await recounted(worker, log)
    assert worker.core.position == same.position == 2_400
    assert cells(same, "sessions") == cells(worker.core, "sessions")
    assert same.tally == worker.core.tally


@pytest.mark.parametrize("passed_min", [0, 11, 13, 25, 600])
async def test_it_settles_as_far_as_silence_has(passed_min: int) -> None:
    log = log_of(500)
    worker = Worker()
    worker.fold(log)
    worker.core.pass_time(log[-1].timestamp + passed_min * MINUTE_MS)
    worker.flush()
    assert cells(await recounted(worker, log), "sessions") == cells(worker.core, "sessions")


async def test_time_that_passes_bit_by_bit_is_followed_at_every_bit() -> None:
    log = log_of(500)
    worker = Worker()
    worker.fold(log)
    done = False
    while not done:
        done = worker.core.pass_time(log[-1].timestamp + 13 * MINUTE_MS, 4)
        worker.flush()
        assert cells(await recounted(worker, log), "sessions") == cells(worker.core, "sessions")


async def test_offsets_that_are_no_records_are_passed() -> None:
    """As the marks of transactions, at the end too."""
    log = [record for record in log_of(500) if record.offset % 10 and record.offset < 490]
    worker = Worker()
    worker.fold(log)
    empty = RecordBatch("sessions", 0, worker.core.position, 500, [], [], [], [])
    worker.core.fold(empty)
    worker.flush()
    same = await recounted(worker, log)
    assert same.position == worker.core.position == 500
    assert cells(same, "sessions") == cells(worker.core, "sessions")
