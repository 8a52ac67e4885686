"""Witness: one partition under audit. It looks at source, ledger and Redis at one moment of theirs.

The truth is the source topic, counted again by us; the ledger is compared with it, and Redis with
the ledger. All are read at the same version of the ledger's state, so that what the workers are
about to write is no difference. Reads only.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from stream.audit.differences import LEDGER, REDIS, Cell, Difference, compare_cell, decode_labels
from stream.audit.followed import Followed
from stream.audit.recount import Recount
from stream.audit.sides import Side
from stream.core.cells import SPAN_LABEL
from stream.core.partition import NAME, skips
from stream.core.records import TopicPartition
from stream.cores import Cores
from stream.engine.scanner import CutError, Scanner
from stream.errors import UserError
from stream.live.look import Look, PictureGlance, Place

SLICE_CELLS, SLICE_BUCKETS = 2_000, 200
_SPAN = SPAN_LABEL.to_bytes(4, "big")


@dataclass(slots=True)
class Findings:
    """What came of a look. `unchecked` says what could not be compared, and why."""

    differences: list[Difference] = field(default_factory=list)
    cells: dict[str, int] = field(default_factory=lambda: {LEDGER: 0, REDIS: 0})
    unchecked: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Names:
    """What a partition is called where it is read: the full names of its topics."""

    place: TopicPartition
    source: str
    ledger: str

    def __str__(self) -> str:
        return str(self.place)


class Witness:
    """Audits one partition. Looks come one after another."""

    def __init__(self, names: Names, cores: Cores, glance: PictureGlance) -> None:
        self.names = names
        self.recount: Recount | None = None
        self._cores = cores
        self._glance = glance
        self._followed = Followed(names.place, names.ledger)
        self._ledger = Side(self._followed.get)
        self._own: Side | None = None
        self._suspects: set[Cell] = set()
        self._name: bytes | None = None

    @property
    def through(self) -> int:
        """The first source offset that the ledger's state does not include."""
        return self._followed.through or 0

    @property
    def lag(self) -> int:
        """Records that the ledger includes and we have not counted again yet."""
        return 0 if self.recount is None else max(0, self.through - self.recount.core.position)

    @property
    def coverage(self) -> float:
        """The share of the records behind the ledger's figures that we have counted ourselves."""
        first = skips(self._followed.entries).get(0, 0)
        if self.recount is None or self.through <= first:
            return 0.0 if self.through > first else 1.0
        counted = self.recount.core.position - max(first, self.recount.started_at)
        return max(0.0, counted / (self.through - first))

    async def look(self, log: Scanner, source: Scanner, budget_s: float) -> Findings:
        """Compare what can be compared now; counts again for about `budget_s` at most.

        Raises UserError for a ledger that cannot be used, and what scanners and Redis raise.
        """
        findings = Findings()
        try:
            if self.recount is None or self._is_another():
                await self._begin(log, source)
            await self._compare_redis(log, findings)
            await self._followed.advance(log, None)  # Redis may show an older state than there is
            await self._compare_ledger(source, findings, budget_s)
        except CutError as error:
            self.recount = None  # begin anew, with what the topic still holds
            findings.unchecked[LEDGER] = str(error)
        return findings

    def _is_another(self) -> bool:
        """Whether the ledger was voided or replaced since we began to count."""
        begun = self.recount is not None and self.recount.core.position > self.through
        return begun or self._name != self._followed.get(NAME)

    async def _begin(self, log: Scanner, source: Scanner) -> None:
        """Find a state to count on from: that before all records, or else the ledger's oldest."""
        place = self.names.place
        self._followed = Followed(place, self.names.ledger)
        self._ledger = Side(self._followed.get)
        self._suspects = set()
        (begin, _) = (await source.bounds(self.names.source, [place.partition]))[place.partition]
        core = self._cores.new(place.topic)
        while await self._followed.step(log):
            if self._followed.fault is None and self._followed.through is not None:
                if begin <= skips(self._followed.entries).get(0, 0):
                    break
                if begin <= self._followed.through:
                    core = self._cores.load(place, self._followed.entries)
                    break
        self._name = self._followed.get(NAME)
        self.recount = Recount(place, self.names.source, core)
        self._own = Side(core.table.get)
        self._own.learn(key for key, _ in core.table.items())

    async def _compare_redis(self, log: Scanner, findings: Findings) -> None:
        look = await self._glance.take(everything=True)
        if (why := await self._reach(log, look)) is not None:
            findings.unchecked[REDIS] = why
            return
        findings.differences += self._compare_labels(look)
        for places in self._slices(set(look.places) | self._followed.places):
            look = await self._glance.take(places)
            if (why := await self._reach(log, look)) is not None:
                findings.unchecked[REDIS] = why
                return
            for place, cells in zip(places, look.cells, strict=True):
                findings.differences += self._compare_bucket(place, cells)
                findings.cells[REDIS] += len(cells)

    async def _reach(self, log: Scanner, look: Look) -> str | None:
        """Bring the ledger to the version that Redis shows; why that cannot be, or None."""
        if look.info is None:
            return "there is no whole picture in Redis"
        there = await self._followed.advance(log, look.info.version)
        name = self._followed.get(NAME)
        if name is None or name.hex() != look.ledger:
            return "Redis shows another ledger"
        if not there:
            await self._followed.advance(log, None)
            return (
                f"Redis shows version {look.info.version}, the ledger has {self._followed.version}"
            )
        return None

    def _slices(self, places: set[Place]) -> Iterator[list[Place]]:
        """Buckets, a few thousand cells at a time."""
        part: list[Place] = []
        cells = 0
        for place in sorted(places):
            part.append(place)
            cells += len(self._followed.cells(*place))
            if cells >= SLICE_CELLS or len(part) >= SLICE_BUCKETS:
                yield part
                part, cells = [], 0
        if part:
            yield part

    def _compare_bucket(self, place: Place, found: dict[bytes, bytes]) -> Iterator[Difference]:
        expected = self._followed.cells(*place)
        if expected == found:
            return
        for label in expected.keys() | found.keys():
            raw = self._followed.get(b"l" + label)
            names = decode_labels(raw) if raw is not None else (f"(label {label.hex()})",)
            cell = Cell(*place, None if label == _SPAN else names)
            yield from compare_cell(
                REDIS, self.names.place, cell, expected.get(label), found.get(label)
            )

    def _compare_labels(self, look: Look) -> Iterator[Difference]:
        known = {key[1:]: raw for key, raw in self._followed.entries.items() if key[:1] == b"l"}
        for label in known.keys() | look.labels.keys():
            expected, found = known.get(label), look.labels.get(label)
            if expected != found:
                names = decode_labels(expected if expected is not None else found or b"")
                yield Difference(
                    REDIS, self.names.place, 0, 0, names, "", "label set",
                    int(expected is not None), int(expected is None),
                )  # fmt: skip

    async def _compare_ledger(self, source: Scanner, findings: Findings, budget_s: float) -> None:
        recount, own = self.recount, self._own
        assert recount is not None
        assert own is not None
        if self._followed.fault is not None:
            raise UserError(f"ledger {self.names.ledger} {self._followed.fault}")
        if self._is_another():
            findings.unchecked[LEDGER] = "the ledger was made anew"
            return
        entries = self._followed.entries
        if not await recount.follow(source, entries, self.through, budget_s):
            findings.unchecked[LEDGER] = f"{self.lag} records are still to be counted again"
            return
        cells = own.learn(recount.core.drain(0).entries)
        cells |= self._ledger.learn(self._followed.changed)
        self._followed.changed.clear()
        cells |= self._suspects
        self._suspects = set()
        findings.cells[LEDGER] += len(cells)
        for cell in cells:
            found = list(
                compare_cell(LEDGER, self.names.place, cell, own.raw(cell), self._ledger.raw(cell))
            )
            if found:
                self._suspects.add(cell)
                findings.differences += found
