"""The state that a partition's ledger log stands for.

Pure: records in, state out. Knows nothing of Kafka, clocks or event loops.

A flush counts only if it continues the chain: its nonce is the latest claim's, it makes the next
version of the state from where the state stands, and all of its parts follow in order. So half a
flush, one sent twice, and one of an owner that lost the partition change nothing, whenever they
land in the log. Nor does a record that is none of ours, or a damaged one: what follows a damaged
flush no longer continues the chain, and is counted again from the source by the next owner.

A flush that replaces is the whole state: it asks for no more than the latest claim, a version that
is later than all before, and all of its parts.

The owner writes every entry again in **rounds**. What lies before the flush that began a round may
be deleted once the round is complete, so a log may start at such a flush, and nowhere else.
"""

from typing import Final, Self

from stream.engine.ledger_records import (
    FORMAT,
    FlushPart,
    Head,
    Kind,
    Mark,
    decode_claim,
    decode_head,
    decode_part,
)

NO_LEDGER: Final = "holds records that are not a ledger's"
CUT_ANYWHERE: Final = "was cut at a record that begins no snapshot"
CUT_INSIDE: Final = "was cut inside its snapshot"


class Chain:
    """The state of a partition, built by applying its log's records in order.

    `entries` and `next` are the state (`next` is None while nothing was ever flushed), and
    `version` names it: no two states of a log share one. `voided` says that a claim has made the
    state void. `owner` is the nonce of the latest claim, `position` the log offset after the last
    record applied, `ignored` the number of records that changed nothing, `foreign` of those that
    are no ledger's, or damaged.
    """

    def __init__(self) -> None:
        self.position = 0
        self._void(version=0)

    @classmethod
    def resumed(cls, position: int, owner: bytes, version: int, next_: int | None) -> Self:
        """Return a chain that goes on at `position` without entries, to see whether it moves."""
        chain = cls()
        chain.position, chain.owner = position, owner
        chain.version, chain.next = version, next_
        return chain

    @property
    def fault(self) -> str | None:
        """Why the state must not be used, now that the whole log was applied; None if it may be.

        The second half of a sentence whose first names the log.
        """
        if self._fault is not None:
            return self._fault
        if self._unproven:
            return CUT_INSIDE
        is_new = self.next is None and not self.voided
        return NO_LEDGER if is_new and self.foreign else None

    def apply(self, offset: int, record: bytes | None) -> None:
        """Apply the record at a log offset. A jump in the offsets means that the log was cut."""
        opening = offset != self.position
        if opening:
            self._void(version=0)
        self.position = offset + 1
        head = decode_head(record)
        if head is None or record is None:
            self._pass_over(opening)
        elif head.kind == Kind.CLAIM:
            self._claim(head, record, opening)
        elif head.nonce != self.owner and not opening:
            self.ignored += 1
        elif head.format != FORMAT or head.kind != Kind.FLUSH:
            self._fail(_foreign(head.format))
        else:
            self._flush(record, opening)

    def _pass_over(self, opening: bool) -> None:
        self.foreign += 1
        if opening:
            self._fail(CUT_ANYWHERE)

    def _void(self, version: int) -> None:
        self.entries: dict[bytes, bytes] = {}
        self.next: int | None = None
        self.version = version
        self.owner: bytes | None = None
        self.voided = False
        self.ignored = self.foreign = 0
        self._parts: list[FlushPart] = []
        self._fault: str | None = None
        self._unproven = False  # the log starts with a round whose end was not met yet

    def _claim(self, head: Head, record: bytes, opening: bool) -> None:
        if head.nonce == self.owner and not opening:
            self.ignored += 1  # sent twice; the owner may be in the middle of a flush
            return
        # A claim of another format may be by a program that then refused this log: it takes the
        # partition, but says nothing about the state.
        claim = decode_claim(record) if head.format == FORMAT else None
        if claim is not None and claim.fresh:
            self._void(version=self.position)  # greater than any version before it
            self.voided = True
        elif opening:
            self._fail(CUT_ANYWHERE)
        self.owner, self._parts = head.nonce, []

    def _flush(self, record: bytes, opening: bool) -> None:
        part = decode_part(record)
        if part is None:
            self._pass_over(opening)
            return
        if opening:
            self._open(part)
        if part.index != len(self._parts) or not self._continues(part):
            self.ignored += 1
            return
        self._parts.append(part)
        if len(self._parts) == part.count:
            self._accept(part)

    def _continues(self, part: FlushPart) -> bool:
        if part.mark & Mark.REPLACES:
            return part.version > self.version
        return (
            self._fault is None
            and part.version == self.version + 1
            and self.next in (None, part.from_)
            and part.next >= part.from_
        )

    def _open(self, part: FlushPart) -> None:
        """Begin with the first record of a cut log: that of an accepted flush, opening a round."""
        if part.index or not part.mark & Mark.ROUND_BEGINS:
            self._fail(CUT_ANYWHERE)
            return
        self.owner, self.version, self.next = part.nonce, part.version - 1, part.from_
        self._unproven = True
        self._first = part.version

    def _accept(self, last: FlushPart) -> None:
        if self._unproven and last.mark & Mark.ROUND_BEGINS and last.version != self._first:
            self._fail(CUT_INSIDE)
            return
        parts = self._parts
        if last.mark & Mark.REPLACES:
            owner = self.owner
            self._void(last.version)
            self.owner = owner
        for part in parts:
            self.entries.update(part.puts)
            for key in part.deletes:
                self.entries.pop(key, None)
        self.next, self.version, self._parts = last.next, last.version, []
        if last.mark & Mark.ROUND_ENDS:
            self._unproven = False

    def _fail(self, fault: str) -> None:
        self._fault = self._fault or fault


def _foreign(format_: int) -> str:
    age = "an older" if format_ < FORMAT else "a newer"
    return f"was written by {age} version (format {format_}, this one reads {FORMAT})"
