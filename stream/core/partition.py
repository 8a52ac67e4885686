"""A partition: its state, and what a batch of records does to it.

State after a batch is a function of the log up to there and of nothing else: not of how the log was
cut into batches, not of the wall clock, not of who owned it before. The wall clock may only settle
what no record can change any more (`pass_time`), as the next record would.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np

from stream.core.buckets import RETENTION_MS, WIDTH_MS, Calendar, Size, expired
from stream.core.catalogue import SOURCES
from stream.core.cells import parse_label_key
from stream.core.clicks import Clicks
from stream.core.columns import Positions
from stream.core.cube import Cube
from stream.core.dedupe import DUPLICATE, FRESH, UNCHECKED, Dedupe
from stream.core.desk import Desk
from stream.core.event_reader import EventReader
from stream.core.guard import Guard
from stream.core.pseudonyms import OtherKeyError, Pseudonyms
from stream.core.reading import BEFORE_ALL, Reading, Times
from stream.core.records import UNREADABLE, Drop, Outcome, Reason, RecordBatch
from stream.core.rules import FUTURE_TOLERANCE_MS, Rules
from stream.core.run import LATE, TOO_LATE, Fold, Run
from stream.core.sessions import Frame
from stream.core.table import Drained, Items, Table
from stream.core.texts import Texts
from stream.core.visitors import Visitors

FORMAT = 2
"""Version of the state's encoding; another one is refused."""
META, NAME, SKIPPED = b"m", b"n", b"s"
_FATES = {UNCHECKED: "unchecked", DUPLICATE: "duplicates", LATE: "late"}
_SLOT_MS = WIDTH_MS[Size.S10]
_OWNERS = {"sessions": "visitor_id", "tickets": "ticket_id"}
"""What the key of a record has to be."""
_OUTCOMES = {DUPLICATE: Outcome.DUPLICATE, UNCHECKED: Outcome.UNCHECKED}


@dataclass(slots=True)
class Folded:
    """What became of a batch's records."""

    outcomes: Counter[Outcome] = field(default_factory=Counter)
    drops: list[Drop] = field(default_factory=list)
    miskeyed: int = 0


class Partition:
    """State of one partition of a source topic."""

    def __init__(
        self, topic: str, rules: Rules, calendar: Calendar, pseudonyms: Pseudonyms
    ) -> None:
        self.rules = rules
        self.position = 0
        self.clock_ms = BEFORE_ALL
        self.record_ms = BEFORE_ALL
        self.settled_ms = BEFORE_ALL
        self.table = Table()
        self.tally: Counter[str] = Counter()
        self._source = SOURCES[topic]
        self._calendar = calendar
        self._pseudonyms = pseudonyms
        self._reader = EventReader(topic)
        self._owner = _OWNERS.get(topic)
        self.guard = Guard()
        self.dedupe = Dedupe(rules.dedupe_horizon_ms, rules.dedupe_max_ids)
        self.cube = Cube(self._source, calendar, self.table, rules.max_label_sets)
        self._fold = self._make_fold(topic, calendar)
        self._moved = False

    def _make_fold(self, topic: str, calendar: Calendar) -> Fold:
        if topic == "clicks":
            return Clicks(self.cube)
        if topic == "sessions":
            return Visitors(Frame(self.rules, calendar), self.table, self.cube, self._pseudonyms)
        return Desk(self.rules, self.table, self.cube, self._pseudonyms)

    def name(self, proposal: bytes) -> bytes:
        """What tells this ledger from one that is made anew; a new ledger takes the proposal."""
        known = self.table.get(NAME)
        if known is None:
            self.table.put(NAME, proposal)
            self._moved = True
            return proposal
        return known

    @property
    def is_paused(self) -> bool:
        """Whether too many unreadable records came; `resume` goes on."""
        return self.guard.is_tripped

    @property
    def watermark_ms(self) -> int | None:
        """The clock less the allowed lateness; None before the first event."""
        return None if self.clock_ms == BEFORE_ALL else self._watermark(self.clock_ms)

    def sizes(self) -> dict[str, int]:
        """How much is held in memory, by kind: what its bounds are told of."""
        return {
            **self._fold.sizes(),
            "event_ids": len(self.dedupe),
            "label_sets": self.cube.labels,
            "ledger_entries": len(self.table),
        }

    def fold(self, batch: RecordBatch) -> Folded:
        """Count the records of a batch at or after the position, and move the position.

        Stops behind the record that pauses the partition; a paused partition takes nothing.
        """
        folded = Folded()
        if self.is_paused or batch.next <= self.position:
            return folded
        first = bisect_left(batch.offsets, self.position)
        reading = self._reader.read(batch.values[first:] if first else batch.values)
        count = len(reading.times)
        unreadable = [i for i, fault in reading.faults if fault.reason in UNREADABLE]
        taken = self.guard.admit(unreadable, count)
        folded.drops += [
            Drop(batch.offsets[first + i], *fault) for i, fault in reading.faults if i < taken
        ]
        if taken:
            self._count(_Records(batch, first, taken, reading), folded)
        whole = taken == count and not self.is_paused
        self.position = batch.next if whole else batch.offsets[first + taken - 1] + 1
        folded.drops.sort()
        if folded.drops:
            folded.outcomes[Outcome.DEAD_LETTER] += len(folded.drops)
        self.tally.update(folded.outcomes)
        self.tally.update(drop.reason for drop in folded.drops)
        self._moved = True
        return folded

    def pass_time(self, now_ms: int, at_once: int | None = None) -> bool:
        """Let a clock stand in for the next record's timestamp, or that be taken beforehand.

        The caller vouches that no record with an earlier timestamp comes next. With `at_once`, time
        passes only until about so many items have settled: False says that there is more to do. How
        it is cut makes no difference, for each piece is time that passed.
        """
        gap_ms = now_ms - self.record_ms
        if self.clock_ms == BEFORE_ALL or gap_ms <= self.rules.allowed_lateness_ms:
            return True
        whole = reached = self._watermark(self.clock_ms + gap_ms)
        if whole <= self.settled_ms:
            return True
        if at_once is not None:
            reached = self._fold.reach(whole, at_once)
        self._settle(reached)
        return reached == whole

    def settle_until(self, before_ms: int) -> None:
        """Settle as far as another count of the same log has, whose caller vouched for the time."""
        if self.clock_ms > BEFORE_ALL and before_ms > self.settled_ms:
            self._settle(before_ms)

    def resume(self, skip_to: int | None) -> None:
        """Go on after a pause, from an offset if one is given that lies ahead."""
        self.guard.reset()
        self.skip_to(skip_to or 0)
        self._moved = True

    def skip_to(self, offset: int) -> None:
        """Pass over the records before an offset; never goes back.

        It is written down, for the log alone does not say so: who counts it again asks `skips`.
        """
        if offset > self.position:
            key = SKIPPED + self.position.to_bytes(8, "big")
            self.table.put(key, msgspec.msgpack.encode(offset))
            self.position, self._moved = offset, True

    def count_up(self) -> Iterator[None]:
        """Count and roll up what was put off, in pieces: the next drain has less to do then.

        Between the pieces batches may be folded.
        """
        self._fold.drain()
        yield
        yield from self.cube.rolling(self.clock_ms)

    def drain(self, sweep: int) -> Drained:
        """The ledger entries that changed since the last drain, and up to `sweep` old ones."""
        if self.is_dirty:
            for _ in self.count_up():
                pass
            for key, value in self.dedupe.drain(self.clock_ms):
                self.table.delete(key) if value is None else self.table.put(key, value)
            self.table.put(META, self._meta())
            self._moved = False
        return self.table.drain(sweep if self.table.dirty else 0)

    def picture(self) -> Iterator[tuple[bytes, bytes]]:
        """The ledger entries that readers are shown: label sets and cells, which agree."""
        if self.cube.is_rolling:
            self.cube.roll(self.clock_ms)
        return self.table.of_kinds(b"lc")

    @property
    def is_dirty(self) -> bool:
        """Whether there is something to drain."""
        return self._moved or self.cube.pending or self.table.dirty

    def settled_through(self) -> Mapping[str, int]:
        """Instants before which all figures are final, by family of metrics."""
        if self.settled_ms == BEFORE_ALL:
            return {}
        return self._fold.settled_through(self.settled_ms)

    def _count(self, records: "_Records", folded: Folded) -> None:
        times, stamps = records.times, records.stamps
        future = times > stamps + FUTURE_TOLERANCE_MS
        for i in np.flatnonzero(future).tolist():
            ahead = f"{(times[i] - stamps[i]) // 1000} s ahead of its record"
            folded.drops.append(Drop(int(records.offsets[i]), Reason.FUTURE, ahead))
        usable = (times > BEFORE_ALL) & ~future
        moves = np.where(usable, np.minimum(times, stamps), BEFORE_ALL)
        clocks = np.maximum(np.maximum.accumulate(moves), self.clock_ms)
        for start, end in self._runs(stamps):
            at = start
            while at < end:  # the horizon held may shrink only between two runs
                stop = min(end, at + self.dedupe.room)
                chosen = at + np.flatnonzero(usable[at:stop])
                if len(chosen) == stop - at:
                    self._run(records, slice(at, stop), clocks, folded)
                elif len(chosen):
                    self._run(records, chosen, clocks, folded)
                at = stop
            self.clock_ms = int(clocks[end - 1])
            self.record_ms = max(self.record_ms, int(stamps[start:end].max()))
            if self.clock_ms > BEFORE_ALL:
                self._settle(self._watermark(self.clock_ms))

    def _runs(self, stamps: Times) -> Iterator[tuple[int, int]]:
        """Cut where record timestamps lie further apart than the lateness, and settle there."""
        before = np.maximum.accumulate(np.concatenate(([self.record_ms], stamps[:-1])))
        gaps = stamps - before
        cuts = np.flatnonzero(gaps > self.rules.allowed_lateness_ms).tolist()
        start = 0
        for cut in cuts:
            if cut > start:
                yield start, cut
                start = cut
            if self.clock_ms > BEFORE_ALL:
                self._settle(self._watermark(self.clock_ms + int(gaps[cut])))
        yield start, len(stamps)

    def _run(
        self,
        records: "_Records",
        chosen: Positions | slice,
        clocks: Times,
        folded: Folded,
    ) -> None:
        events = records.events.take(chosen)
        own_times, own_clocks = records.times[chosen], clocks[chosen]
        hashes = records.hashes[chosen]
        verdicts, repeats = self.dedupe.judge(hashes, own_times, own_clocks)
        for i in np.flatnonzero(
            (verdicts != DUPLICATE) & (own_times < own_clocks - RETENTION_MS[Size.D1])
        ).tolist():
            day_end_ms = self._calendar.day(int(own_times[i]))[1]
            if expired(day_end_ms, Size.D1, int(own_clocks[i])):
                verdicts[i] = TOO_LATE
        run = Run(
            events,
            own_times,
            own_clocks,
            self.rules.allowed_lateness_ms,
            verdicts,
            repeats,
            self.dedupe.oldest(own_clocks),
            lambda position: events.labels(self.cube, np.array([position])),
        )
        self._fold.fold(run)
        fresh = verdicts == FRESH
        self.dedupe.remember(hashes[fresh], own_times[fresh])
        self._tell(records, chosen, run, folded)
        self._trace(records.offsets[chosen], run)

    def _trace(self, offsets: Times, run: Run) -> None:
        """Keep what explains a figure: where its records lie, and what was left out of it."""
        verdicts, slots = run.verdicts, run.at_ms // _SLOT_MS
        counted = run.counts
        self.cube.spans(slots[counted], offsets[counted])
        for verdict, name in _FATES.items():
            left_out = np.flatnonzero(verdicts == verdict)
            if len(left_out):
                labels = run.events.labels(self.cube, left_out)
                self.cube.tally(slots[left_out], labels, self._source.index[name])

    def _tell(
        self, records: "_Records", chosen: Positions | slice, run: Run, folded: Folded
    ) -> None:
        verdicts = run.verdicts
        for code, n in enumerate(np.bincount(verdicts).tolist()):
            if n and code < TOO_LATE:
                folded.outcomes[_OUTCOMES.get(code, Outcome.COUNTED)] += n
        offsets = records.offsets[chosen]
        for i in np.flatnonzero(verdicts >= TOO_LATE).tolist():
            if verdicts[i] == LATE:
                detail = f"{(run.clocks[i] - run.times[i]) // 1000} s behind the clock"
                reason = Reason.LATE
            else:
                detail, reason = "older than the longest retention", Reason.TOO_LATE
            folded.drops.append(Drop(int(offsets[i]), reason, detail))
        if self._owner is not None and records.keys is not None:
            unlike = records.keys.take(chosen).differ(run.events.ids[self._owner])
            folded.miskeyed += int(np.count_nonzero(unlike & run.counts))

    def _settle(self, watermark_ms: int) -> None:
        self._fold.settle(watermark_ms, self._watermark(self.clock_ms))
        self.settled_ms = watermark_ms

    def _watermark(self, clock_ms: int) -> int:
        return clock_ms - self.rules.allowed_lateness_ms

    def _meta(self) -> bytes:
        return msgspec.msgpack.encode(
            [
                FORMAT,
                self.rules.definition_id,
                self._pseudonyms.fingerprint,
                self.position,
                self.clock_ms,
                self.record_ms,
                self.settled_ms,
                self.dedupe.state(),
                self.guard.state(),
                dict(self.tally),
            ]
        )

    def load(self, entries: Mapping[bytes, bytes]) -> None:
        """Take up the state that a ledger holds; ValueError if it is of another format or rules."""
        if not entries:
            return
        meta = entries.get(META)
        if meta is None:
            raise ValueError("the ledger has entries but does not say how far it goes")
        version, definition_id, *rest = msgspec.msgpack.decode(meta)
        if version != FORMAT:
            raise ValueError(f"the ledger has format {version}, this version reads {FORMAT}")
        if definition_id != self.rules.definition_id:
            raise ValueError(
                f"the ledger was made with other rules ({definition_id}, "
                f"now {self.rules.definition_id})"
            )
        fingerprint, self.position, self.clock_ms, self.record_ms, self.settled_ms, *parts = rest
        if fingerprint != self._pseudonyms.fingerprint:
            raise OtherKeyError(
                f"the ledger's ids were hashed with another key ({fingerprint}, "
                f"now {self._pseudonyms.fingerprint})"
            )
        dedupe, guard, tally = parts
        self.tally = Counter(tally)
        self.table.load(entries)
        self.guard.load(guard)
        kinds = _by_kind(entries)
        self.dedupe.load(dedupe, kinds[b"d"])
        labels = ((parse_label_key(key), value) for key, value in kinds[b"l"])
        self.cube.load(labels, kinds[b"c"].keys)
        self._fold.load(kinds[b"i"])


def skips(entries: Mapping[bytes, bytes]) -> dict[int, int]:
    """Where a ledger's state passed over records: from an offset, to one."""
    return {
        int.from_bytes(key[1:], "big"): msgspec.msgpack.decode(value, type=int)
        for key, value in entries.items()
        if key[:1] == SKIPPED
    }


def settled_ms(entries: Mapping[bytes, bytes]) -> int:
    """Up to when a ledger's state has settled; the wall clock has a part in it (`pass_time`)."""
    return int(msgspec.msgpack.decode(entries[META])[6])


def _by_kind(entries: Mapping[bytes, bytes]) -> dict[bytes, Items]:
    """Entries by the first byte of their keys; `t` is with `i`."""
    kinds = [Items([], []) for _ in range(256)]
    kinds[ord("t")] = kinds[ord("i")]
    columns = [(items.keys, items.values) for items in kinds]
    for key, value in entries.items():
        keys, values = columns[key[0]]
        keys.append(key)
        values.append(value)
    return {bytes([kind]): kinds[kind] for kind in b"dlci"}


class _Records:
    """The records of a batch that are taken, as columns."""

    def __init__(self, batch: RecordBatch, first: int, count: int, reading: Reading) -> None:
        end = first + count
        self.times, self.hashes = reading.times[:count], reading.hashes[:count]
        self.events = reading.events
        self.stamps = np.asarray(batch.timestamps[first:end], np.int64)
        self.offsets = _column(batch.offsets[first:end])
        self.keys = Texts.of(batch.keys[first:end]) if batch.keys else None


def _column(numbers: Sequence[int]) -> Times:
    if isinstance(numbers, range):  # a range is slow to go through
        return np.arange(numbers.start, numbers.stop, numbers.step)
    return np.asarray(numbers, np.int64)
