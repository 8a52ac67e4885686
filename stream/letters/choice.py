"""Which dead letters somebody means. Pure."""

from dataclasses import dataclass

from stream.letters.letter import Letter


@dataclass(frozen=True, slots=True)
class Choice:
    """Which letters are meant; what is empty or None chooses all.

    `topics` are full names. `positions` are partition and offset in `dead-letters`. Times are those
    at which letters were written: `since_ms` up to, not including, `until_ms`.
    """

    reasons: frozenset[str] = frozenset()
    topics: frozenset[str] = frozenset()
    positions: frozenset[tuple[int, int]] = frozenset()
    since_ms: int | None = None
    until_ms: int | None = None

    def takes(self, letter: Letter) -> bool:
        """Whether a letter is meant."""
        return (
            (not self.reasons or letter.reason in self.reasons)
            and (not self.topics or letter.source.topic in self.topics)
            and (not self.positions or (letter.partition, letter.offset) in self.positions)
            and (self.since_ms is None or letter.at_ms >= self.since_ms)
            and (self.until_ms is None or letter.at_ms < self.until_ms)
        )
