"""The archivist: finds where launches begin and makes the records that keep their first week.

Reads the workers' pictures in Redis, and only while all of them are whole and caught up: an hour is
written once it has settled, and again when late clicks have changed it. All it makes is absolute,
so any worker may make it again. Who writes it to Kafka is not its business.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from stream.core.buckets import RETENTION_MS, Calendar, Size
from stream.core.catalogue import CLICKS, NOT_SET, OTHER, SESSIONS
from stream.core.durations import HOUR_MS, MINUTE_MS
from stream.core.launches import (
    HOURS,
    RUN_MINUTES,
    SOURCES,
    Head,
    Hour,
    HourMaker,
    LaunchId,
    encode_head,
    encode_hour,
    find_start,
    head_key,
    hour_key,
    is_poorer,
)
from stream.core.launches import RETENTION_MS as REMEMBERED_MS
from stream.live.axis import Labels
from stream.live.cell_reader import CellReader, Pictures
from stream.live.launch_book import LaunchBook
from stream.live.link import Client

HOURS_AT_ONCE = 6
LOOKED_AT_AGAIN = 2
SEARCHES_AT_ONCE = 200
_OVERLAP_MS = 20 * MINUTE_MS
"""Minutes that are looked through again: late impressions may complete a run."""
_MARGIN_MS = 5 * MINUTE_MS
_CAMPAIGN = CLICKS.dimensions.index("campaign")
_IMPRESSIONS = CLICKS.index["impressions"]

Record = tuple[bytes, bytes | None]
"""Key and value of a record to write; None removes."""


@dataclass(frozen=True, slots=True)
class _Bounds:
    """Minutes are kept from `kept_ms` on; all before `done_ms` has settled."""

    kept_ms: int
    done_ms: int
    newest_ms: int


class Archivist:
    """Looks again and again. Raises Redis' errors."""

    def __init__(self, client: Client, namespace: str, book: LaunchBook) -> None:
        self._cells = CellReader(client, namespace)
        self._book = book
        self._searched: dict[str, int] = {}
        self._turn = 0

    async def look(self) -> list[Record]:
        """What is to be written by now."""
        pictures = await self._cells.look(source.topic for source in SOURCES)
        if pictures is None or not pictures.caught_up:
            return []
        bounds = _bounds_of(pictures)
        if bounds is None:
            return []
        records = [*await self._find(pictures, bounds), *await self._keep(pictures, bounds)]
        records += self._forget(bounds)
        return records if await self._cells.still(pictures) else []

    # --- the first week ---

    async def _keep(self, pictures: Pictures, bounds: _Bounds) -> list[Record]:
        missing: list[tuple[LaunchId, int]] = []
        there: list[tuple[LaunchId, int]] = []
        for launch in self._book.all():
            known = self._book.hours(launch.id)
            for number in _within(launch.id, bounds):
                (there if number in known else missing).append((launch.id, number))
        chosen = missing[:HOURS_AT_ONCE]
        if there:
            self._turn += LOOKED_AT_AGAIN
            first = self._turn % len(there)
            chosen += [*there[first:], *there[:first]][:LOOKED_AT_AGAIN]
        records: list[Record] = []
        for launch_id, number in chosen:
            hour = await self._make(pictures, launch_id, number)
            if self._is_news(hour):
                records.append((hour_key(launch_id, number), encode_hour(hour)))
        return records

    async def _make(self, pictures: Pictures, launch: LaunchId, number: int) -> Hour:
        maker = HourMaker(launch, number)
        start_ms = launch.at_ms + number * HOUR_MS
        minutes = range(start_ms, start_ms + HOUR_MS, MINUTE_MS)
        wanted = _of(launch.campaign)
        for source in SOURCES:
            for cell in await self._cells.cells(pictures, source.topic, Size.M1, minutes, wanted):
                maker.add(source, cell.start_ms, cell.labels, cell.values)
        return maker.make()

    def _is_news(self, hour: Hour) -> bool:
        kept = self._book.hour(hour.launch, hour.number)
        return kept is None or (
            encode_hour(hour) != encode_hour(kept) and not is_poorer(hour, kept)
        )

    def _forget(self, bounds: _Bounds) -> Iterator[Record]:
        for launch in self._book.kept():
            if launch.at_ms < bounds.newest_ms - REMEMBERED_MS:
                if self._book.has_head(launch):
                    yield head_key(launch), None
                yield from ((hour_key(launch, number), None) for number in self._book.hours(launch))

    # --- beginnings ---

    async def _find(self, pictures: Pictures, bounds: _Bounds) -> list[Record]:
        labels = await self._cells.label_sets(pictures, CLICKS.topic)
        names = {values[_CAMPAIGN] for values in labels} - {NOT_SET, OTHER}
        unknown = sorted(name for name in names if not self._book.launches(name))
        self._searched = {name: at for name, at in self._searched.items() if name in set(unknown)}
        records: list[Record] = []
        for name in unknown[:SEARCHES_AT_ONCE]:
            head = await self._search(pictures, bounds, name)
            if head is not None:
                records.append((head_key(head.launch), encode_head(head)))
        return records

    async def _search(self, pictures: Pictures, bounds: _Bounds, name: str) -> Head | None:
        """Where a campaign began; first, before the minutes that are kept, by hours and days."""
        if name not in self._searched:
            head = await self._search_before(pictures, bounds, name)
            if head is not None:
                return head
            self._searched[name] = bounds.kept_ms
        from_ms = max(bounds.kept_ms, self._searched[name] - _OVERLAP_MS)
        minutes = range(from_ms, bounds.newest_ms + 1, MINUTE_MS)
        seen = await self._impressions(pictures, name, Size.M1, minutes)
        start_ms = find_start(sorted(seen))
        self._searched[name] = bounds.newest_ms - bounds.newest_ms % MINUTE_MS
        return None if start_ms is None else Head(LaunchId(name, start_ms), MINUTE_MS)

    async def _search_before(self, pictures: Pictures, bounds: _Bounds, name: str) -> Head | None:
        """The first hour, or day, with as many impressions as a run of minutes has at least."""
        calendar = Calendar(pictures.about.timezone)
        days = [
            start_ms
            for start_ms in await self._cells.starts(pictures, CLICKS.topic, Size.D1)
            if start_ms < bounds.kept_ms
        ]
        seen = await self._impressions(pictures, name, Size.D1, days)
        for day_ms in sorted(day for day, n in seen.items() if n >= RUN_MINUTES):
            end_ms = calendar.end(Size.D1, day_ms)
            if day_ms < bounds.newest_ms - RETENTION_MS[Size.H1]:
                return Head(LaunchId(name, day_ms), end_ms - day_ms)
            first_ms = day_ms - day_ms % HOUR_MS
            hours = range(first_ms, min(end_ms, bounds.kept_ms - HOUR_MS), HOUR_MS)
            busy = await self._impressions(pictures, name, Size.H1, hours)
            found = min((at for at, n in busy.items() if n >= RUN_MINUTES), default=None)
            if found is not None:
                return Head(LaunchId(name, found), HOUR_MS)
        return None

    async def _impressions(
        self, pictures: Pictures, name: str, size: Size, starts: Iterable[int]
    ) -> Counter[int]:
        """Impressions of a campaign by the start of the bucket; those without are not there."""
        found: Counter[int] = Counter()
        for cell in await self._cells.cells(pictures, CLICKS.topic, size, list(starts), _of(name)):
            found[cell.start_ms] += cell.values.get(_IMPRESSIONS, 0)
        return +found


def _of(campaign: str) -> Callable[[Labels], bool]:
    return lambda labels: labels[_CAMPAIGN] == campaign


def _within(launch: LaunchId, bounds: _Bounds) -> range:
    """The hours of a launch whose minutes are all kept and have all settled."""
    first = max(0, -(-(bounds.kept_ms - launch.at_ms) // HOUR_MS))
    last = min(HOURS, (bounds.done_ms - launch.at_ms) // HOUR_MS)
    return range(first, last)


def _bounds_of(pictures: Pictures) -> _Bounds | None:
    """What can be told of the minutes; None: there are none, or none that settled."""
    seen = [
        at_ms
        for info in pictures.infos.values()
        for at_ms in (info.clock_ms, info.newest_event_ms)
        if at_ms is not None
    ]
    watermarks = [i.watermark_ms for i in pictures.of(CLICKS.topic) if i.watermark_ms is not None]
    settled = [
        info.settled_through_ms.get(SESSIONS.topic)
        for info in pictures.of(SESSIONS.topic)
        if info.clock_ms is not None
    ]
    if not seen or not watermarks:
        return None
    known = [at_ms for at_ms in settled if at_ms is not None]
    if len(known) < len(settled):
        return None
    newest_ms = max(seen)
    kept_ms = newest_ms - RETENTION_MS[Size.M1] + _MARGIN_MS
    return _Bounds(
        kept_ms=kept_ms - kept_ms % MINUTE_MS,
        done_ms=min([max(watermarks), *known]),
        newest_ms=newest_ms,
    )
