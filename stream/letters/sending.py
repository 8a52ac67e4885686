"""Sending dead letters back to where they came from, each of them once.

Before a letter is sent, a mark says so, and where; afterwards another says that it was. Whoever
finds the first without the second looks in the source topic whether the record is there. So a run
that was cut off at any point may be repeated. What is sure to come back is not sent.
"""

import asyncio
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from stream.clock import wall_clock_ms
from stream.core.catalogue import SOURCES
from stream.core.events import EventDecoder, Fault
from stream.core.records import Reason
from stream.core.rules import FUTURE_TOLERANCE_MS
from stream.engine.scanner import CutError, Scanner
from stream.errors import UserError
from stream.letters.box import LetterBox
from stream.letters.choice import Choice
from stream.letters.letter import SENDING, SENT, SENT_BACK, Identity, Letter, Mark
from stream.partitioner import partition_of

CHUNK = 200
"""Letters between two waits for the broker."""
EXAMPLES_MAX = 20
LATE = frozenset({Reason.LATE, Reason.TOO_LATE})

Edit = Callable[[bytes], Awaitable[bytes]]
"""What becomes of a record on the way; nothing leaves it out. Raises UserError to stop."""
Headers = list[tuple[str, bytes]]
Send = Callable[[str, int, bytes | None, bytes | None, Headers], Awaitable[Awaitable[Any]]]
"""Hands over a record: topic, partition, key, value, headers. What it returns ends when the broker
has the record, and has its `offset`."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """A letter, what is sent of it, and the partition that it goes to."""

    letter: Letter
    value: bytes
    target: int


@dataclass(slots=True)
class Report:
    """What came of it. `left_out` counts by cause; `examples` tell of the first of each.

    `parcels` are the first ones that were sent, or in a dry run would have been.
    """

    sent: int = 0
    before: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    parcels: list[Parcel] = field(default_factory=list)

    def leave_out(self, letter: Letter, cause: str, detail: str = "") -> None:
        """Count a letter that is not sent."""
        self.left_out[cause] += 1
        self.examples.setdefault(cause, f"{letter.position}{': ' if detail else ''}{detail}")


class Sender:
    """One run. `topics` maps full names of source topics to their names and partition counts."""

    def __init__(
        self,
        box: LetterBox,
        source: Scanner,
        topics: dict[str, tuple[str, int]],
        send: Send,
        *,
        again: bool = False,
        dry_run: bool = False,
        now_ms: Callable[[], int] = wall_clock_ms,
    ) -> None:
        self.report = Report()
        self._box, self._source, self._topics = box, source, topics
        self._send, self._again, self._dry_run = send, again, dry_run
        self._now_ms = now_ms
        self._name = secrets.token_hex(4)
        self._marks: dict[Identity, Mark] = {}
        self._decoders = {name: EventDecoder(name) for name in SOURCES}

    async def run(self, choice: Choice, edit: Edit | None) -> Report:
        """Send what is chosen. Raises UserError, and Kafka's errors; a new run goes on then."""
        async for found in self._box.all():
            if isinstance(found, Mark):
                if found.kind == SENT:
                    self._marks[found.source] = found
                else:
                    self._marks.setdefault(found.source, found)  # the first knows where to look
        chunk: list[Parcel] = []
        async for letter in self._chosen(choice):
            if (parcel := await self._prepare(letter, edit)) is None:
                continue
            chunk.append(parcel)
            if len(chunk) == CHUNK:
                await self._deliver(chunk)
                chunk = []
        await self._deliver(chunk)
        return self.report

    async def _chosen(self, choice: Choice) -> AsyncIterator[Letter]:
        """The letters to be sent, each once."""
        seen: set[Identity] = set()
        async for letter in self._box.all(choice.since_ms):
            if isinstance(letter, Mark) or letter.source in seen or not choice.takes(letter):
                continue
            seen.add(letter.source)
            if not self._again and await self._was_sent(letter):
                self.report.before += 1
            else:
                yield letter

    async def _was_sent(self, letter: Letter) -> bool:
        """Whether a letter lies in its source topic again, as its marks say or the topic shows."""
        mark = self._marks.get(letter.source)
        if mark is None or mark.kind == SENT or letter.source.topic not in self._topics:
            return mark is not None and mark.kind == SENT
        topic = letter.source.topic
        begin, end = (await self._source.bounds(topic, [mark.target]))[mark.target]
        try:
            if begin > mark.bound:
                raise CutError
            async for records in self._source.read(topic, mark.target, mark.bound, end):
                if any(_is_back(record, letter.source) for record in records):
                    await self._write_marks([(letter, replace(mark, kind=SENT))])
                    return True
        except CutError:
            self.report.leave_out(letter, "it is not known whether they were sent; see --again")
            return True
        return False

    async def _prepare(self, letter: Letter, edit: Edit | None) -> Parcel | None:
        """What is to be sent of a letter, if anything."""
        topic, partitions = self._topics.get(letter.source.topic, ("", 0))
        if not topic:
            self.report.leave_out(letter, "of topics that are none of ours", letter.source.topic)
            return None
        value = letter.value
        if edit is not None:
            try:
                value = await edit(value or b"")
            except UserError as error:
                raise UserError(
                    f"stopped at {letter.position}: {error} ({self.report.sent} were sent)"
                ) from None
        why = self._why_not(letter, topic, value, edited=edit is not None)
        if why is not None or value is None:
            self.report.leave_out(letter, *(why or ("without a value", "")))
            return None
        key = letter.key
        target = letter.source.partition if key is None else partition_of(key, partitions)
        return Parcel(letter, value, target % partitions)

    def _why_not(
        self, letter: Letter, topic: str, value: bytes | None, *, edited: bool
    ) -> tuple[str, str] | None:
        """Why a record is not to be sent, with details; it would be set aside again, above all."""
        if not value:
            return ("left out by the edit" if edited else "without a value"), ""
        if letter.reason in LATE and not edited:
            return f"{letter.reason}: unedited, they would come back", ""
        event = self._decoders[topic].decode(value)
        if isinstance(event, Fault):
            return f"{event.reason}: they would come back", event.detail
        assert isinstance(event.timestamp, int)
        ahead_ms = event.timestamp - self._now_ms()
        if ahead_ms > FUTURE_TOLERANCE_MS:
            return f"{Reason.FUTURE}: they would come back", f"{ahead_ms // 1000} s ahead"
        return None

    async def _deliver(self, parcels: Sequence[Parcel]) -> None:
        if not self._dry_run and parcels:
            marks = [
                (p.letter, Mark(SENDING, p.letter.source, self._name, p.target, bound))
                for p, bound in zip(parcels, await self._bounds(parcels), strict=True)
            ]
            offsets = await self._write_marks(marks)
            await self._check_alone(parcels, offsets)
            sending = [
                await self._send(
                    parcel.letter.source.topic,
                    parcel.target,
                    parcel.letter.key,
                    parcel.value,
                    [(SENT_BACK, str(parcel.letter.source).encode())],
                )
                for parcel in parcels
            ]
            await asyncio.gather(*sending)
            await self._write_marks([(letter, replace(m, kind=SENT)) for letter, m in marks])
        self.report.parcels += parcels[: EXAMPLES_MAX - len(self.report.parcels)]
        self.report.sent += len(parcels)

    async def _bounds(self, parcels: Sequence[Parcel]) -> list[int]:
        """The ends of the partitions that the parcels go to."""
        places = {(parcel.letter.source.topic, parcel.target) for parcel in parcels}
        ends: dict[tuple[str, int], int] = {}
        for topic in {topic for topic, _ in places}:
            found = await self._source.bounds(topic, [p for t, p in places if t == topic])
            ends |= {(topic, number): bounds.end for number, bounds in found.items()}
        return [ends[parcel.letter.source.topic, parcel.target] for parcel in parcels]

    async def _write_marks(self, marks: Sequence[tuple[Letter, Mark]]) -> list[int]:
        """Write marks behind their letters; the offsets that they got."""
        if self._dry_run:
            return []
        topic = self._box.topic
        writing = [
            await self._send(
                topic, letter.partition, str(mark.source).encode(), None, mark.headers()
            )
            for letter, mark in marks
        ]
        return [int(written.offset) for written in await asyncio.gather(*writing)]

    async def _check_alone(self, parcels: Sequence[Parcel], offsets: Sequence[int]) -> None:
        """See that nobody else began to send these letters since we looked."""
        mine = {parcel.letter.source for parcel in parcels}
        ends: dict[int, int] = {}
        for parcel, offset in zip(parcels, offsets, strict=True):
            number = parcel.letter.partition
            ends[number] = max(offset + 1, ends.get(number, 0))
        for number, end in ends.items():
            async for found in self._box.stretch(number, self._box.read_to[number], end):
                if isinstance(found, Mark) and found.source in mine and found.sender != self._name:
                    raise UserError("somebody else is sending dead letters now; try again later")
            self._box.read_to[number] = end


def _is_back(record: Any, source: Identity) -> bool:
    return (SENT_BACK, str(source).encode()) in record.headers
