"""The letter box: reading the topic `dead-letters`. Writes nothing."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from stream.core.records import TopicPartition
from stream.engine.scanner import CutError, Scanner
from stream.errors import UserError
from stream.letters.letter import Letter, Mark, parse


@dataclass(slots=True)
class LetterBox:
    """The topic (its full name) as `scanner` reads it. `read_to` is how far, by partition."""

    scanner: Scanner
    topic: str
    partitions: int
    read_to: dict[int, int] = field(default_factory=dict)

    async def all(self, since_ms: int | None = None) -> AsyncIterator[Letter | Mark]:
        """Every letter and mark up to now, partition by partition; `since_ms` passes older ones.

        A letter that was written twice comes twice. Raises what the scanner raises.
        """
        bounds = await self.scanner.bounds(self.topic, range(self.partitions))
        starts: dict[int, int | None] = {number: begin for number, (begin, _) in bounds.items()}
        if since_ms is not None:
            wanted = dict.fromkeys(bounds, since_ms)
            starts = await self.scanner.offsets_at(self.topic, wanted)
        for number, (begin, end) in bounds.items():
            start = starts.get(number)
            start = end if start is None else max(begin, start)
            async for found in self.stretch(number, start, end):
                yield found
            self.read_to[number] = end

    async def stretch(self, number: int, start: int, end: int) -> AsyncIterator[Letter | Mark]:
        """What lies between two offsets of a partition."""
        try:
            async for records in self.scanner.read(self.topic, number, start, end):
                for record in records:
                    if (found := parse(record)) is not None:
                        yield found
        except CutError:
            return  # deleted by retention just now

    async def find(self, partition: int, offset: int) -> Letter:
        """One letter by its position. Raises UserError where there is none."""
        place = TopicPartition(self.topic, partition)
        if partition < self.partitions:
            begin, end = (await self.scanner.bounds(self.topic, [partition]))[partition]
            if begin <= offset < end:
                record = (await self.scanner.records_at({place: offset})).get(place)
                found = None if record is None else parse(record)
                if isinstance(found, Letter):
                    return found
        raise UserError(f"there is no dead letter at {partition}/{offset} of {self.topic}")
