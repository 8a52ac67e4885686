"""From the view's cells and the book's hours to what a launch has come to.

A launch is read hour by hour, counted from its beginning: in minutes where all of the hour's are
still kept, else in the book's slots of ten minutes, else (a history that was replayed faster than
the book is written) in whatever hours and days of the calendar the view still has.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stream.core.buckets import EPOCH_MAX_MS, Size
from stream.core.catalogue import LIVE, SOURCES, Source
from stream.core.cells import Values
from stream.core.durations import HOUR_MS, MINUTE_MS
from stream.core.launches import HOURS, KEPT_BY, SLOT_MS, Hour, LaunchId
from stream.core.launches import SOURCES as LAUNCHED
from stream.launch.axis import WEEK
from stream.launch.profile import Profile
from stream.live.axis import Vector
from stream.live.cover import Piece, cover
from stream.live.launch_book import LaunchBook
from stream.live.view import View


@dataclass(slots=True)
class Sighting:
    """When a channel was first and last seen, to within the cells' widths."""

    first_ms: int
    last_ms: int
    first_grain_ms: int


@dataclass(slots=True)
class Reading:
    """What was read of a launch: its profile, and sums and sightings by channel and variant."""

    profile: Profile
    sums: dict[tuple[str, str], dict[str, float]] = field(default_factory=dict)
    channels: dict[str, Sighting] = field(default_factory=dict)


class Reader:
    """Reads one launch as of `moment_ms`; today is `now_ms`, which is later or the same.

    A minute that the moment lies in is read whole: that is how finely there is anything to read.
    """

    def __init__(
        self, view: View, book: LaunchBook, launch: LaunchId, moment_ms: int, now_ms: int
    ) -> None:
        self._view, self._book, self._launch = view, book, launch
        self._to_ms = end_of(launch, moment_ms)
        known = min(WEEK, max(0.0, (moment_ms - launch.at_ms) / MINUTE_MS))
        self._reading = Reading(Profile(known, max(known, (now_ms - launch.at_ms) / MINUTE_MS)))
        self._gaps: list[tuple[int, int]] = []

    def read(self) -> Reading:
        """Read all of it."""
        for number in range(HOURS):
            start_ms = self._launch.at_ms + number * HOUR_MS
            if start_ms >= self._to_ms:
                break
            self._read_hour(number, start_ms, min(start_ms + HOUR_MS, self._to_ms))
        for source in LAUNCHED:
            for from_ms, to_ms in _joined(self._gaps):
                self._read_coarse(source, from_ms, to_ms)
        return self._reading

    def _read_hour(self, number: int, start_ms: int, end_ms: int) -> None:
        if all(self._has_minutes(source, start_ms) for source in LAUNCHED):
            for source in LAUNCHED:
                self._read_minutes(source, start_ms, end_ms)
            return
        hour = self._book.hour(self._launch, number)
        if hour is not None:
            self._read_slots(hour, end_ms)
        else:
            self._gaps.append((start_ms, end_ms))

    def _has_minutes(self, source: Source, start_ms: int) -> bool:
        return self._view.shelf(source.topic).kept(Size.M1, start_ms + MINUTE_MS)

    def _read_minutes(self, source: Source, from_ms: int, to_ms: int) -> None:
        part = _Part(self._view, source, self._launch.campaign)
        pieces: list[Piece] = [(Size.M1, at_ms) for at_ms in range(from_ms, to_ms, MINUTE_MS)]
        vector, minutes = part.vectors(pieces)
        if not len(vector.slots):
            return
        for labels, values in part.by(vector).items():
            self._sum(values, labels)
        for (_, start_ms), values in zip(
            pieces, part.each(vector, minutes, len(pieces)), strict=True
        ):
            self._reading.profile.add(self._minute(start_ms), 1, values)
        for channel, minute in part.channels(vector, minutes):
            self._see_channel(channel, pieces[minute][1], MINUTE_MS)

    def _read_slots(self, hour: Hour, end_ms: int) -> None:
        for source in LAUNCHED:
            for number, slot in enumerate(hour.slots.get(source.topic, ())):
                start_ms = hour.start_ms + number * SLOT_MS
                share = min(1.0, max(0, end_ms - start_ms) / SLOT_MS)
                for labels, values in slot.items():
                    part = {name: n * share for name, n in values.items()}
                    self._sum(part, labels)
                    if share:
                        self._reading.profile.add(
                            self._minute(start_ms), SLOT_MS // MINUTE_MS, values
                        )
                        self._see_channel(labels[0], start_ms, SLOT_MS)

    def _read_coarse(self, source: Source, from_ms: int, to_ms: int) -> None:
        """Hours and days of the calendar over a gap, by their share in it."""
        part, calendar = _Part(self._view, source, self._launch.campaign), self._view.calendar
        shelf = self._view.shelf(source.topic)
        at_ms = from_ms
        while at_ms < to_ms:
            hour_ms = calendar.start(Size.H1, at_ms)
            size = Size.H1 if shelf.kept(Size.H1, hour_ms + HOUR_MS) else Size.D1
            start_ms = calendar.start(size, at_ms)
            end_ms = calendar.end(size, start_ms)
            until_ms = min(end_ms, to_ms)
            share = (until_ms - at_ms) / (end_ms - start_ms)
            for labels, values in part.by(part.vector([(size, start_ms)])).items():
                shared = {name: n * share for name, n in values.items()}
                self._sum(shared, labels)
                self._spread(shared, at_ms, until_ms, (end_ms - start_ms) // MINUTE_MS)
                self._see_channel(labels[0], at_ms, end_ms - start_ms)
            at_ms = until_ms

    def _spread(self, part: Mapping[str, float], from_ms: int, to_ms: int, grain: int) -> None:
        profile, first = self._reading.profile, self._minute(from_ms)
        width = (to_ms - from_ms) // MINUTE_MS
        profile.add(first, width, part)
        profile.grain[first : first + width] = grain

    def _sum(self, values: Mapping[str, float], labels: tuple[str, str]) -> None:
        sums = self._reading.sums.setdefault(labels, {})
        for name, n in values.items():
            sums[name] = sums.get(name, 0.0) + n

    def _see_channel(self, channel: str, at_ms: int, grain_ms: int) -> None:
        seen = self._reading.channels.get(channel)
        if seen is None:
            self._reading.channels[channel] = Sighting(at_ms, at_ms, grain_ms)
            return
        if at_ms < seen.first_ms:
            seen.first_ms, seen.first_grain_ms = at_ms, grain_ms
        seen.last_ms = max(seen.last_ms, at_ms)

    def _minute(self, at_ms: int) -> int:
        return (at_ms - self._launch.at_ms) // MINUTE_MS


def end_of(launch: LaunchId, moment_ms: int) -> int:
    """Where the minutes end that are read of a launch as of a moment."""
    end_ms = -(-moment_ms // MINUTE_MS) * MINUTE_MS
    return max(launch.at_ms, min(end_ms, launch.at_ms + WEEK * MINUTE_MS))


class _Part:
    """The live cells of one campaign (None: of all), and their sums by field name."""

    def __init__(self, view: View, source: Source, campaign: str | None) -> None:
        place = source.dimensions.index
        self._source, self._store = source, view.store(source.topic)
        axis, filters = self._store.axis, {}
        if campaign is not None:
            filters[place("campaign")] = frozenset((campaign,))
        self._mask = axis.where(filters)
        self._all, self._kept = axis.fold(()), axis.fold(tuple(map(place, KEPT_BY)))

    def vector(self, pieces: Iterable[Piece]) -> Vector:
        """The cells of some buckets."""
        return self._store.vector(pieces, LIVE, self._mask)

    def vectors(self, pieces: Sequence[Piece]) -> tuple[Vector, NDArray[np.intp]]:
        """The same, and of each part of it the number of its bucket."""
        return self._store.vectors(pieces, self._mask)

    def each(
        self, vector: Vector, numbers: NDArray[np.intp], most: int
    ) -> Iterator[dict[str, float]]:
        """The sums of each bucket."""
        for counts in self._all.sums(vector, numbers, most):
            yield _named(self._source, counts.maps().get((), {}))

    def channels(self, vector: Vector, numbers: NDArray[np.intp]) -> Iterator[tuple[str, int]]:
        """The channels that occur in each bucket, in the order of buckets."""
        rows = self._kept.rows[self._store.axis.rows_of(vector.slots)]
        labels = self._kept.axis.labels
        for number, row in np.unique(np.stack((numbers, rows), 1), axis=0).tolist():
            yield labels[row][0], number

    def by(self, vector: Vector) -> dict[tuple[str, str], dict[str, float]]:
        """Their sums by channel and variant."""
        sums = self._kept.sum(vector).maps()
        return {(a, b): _named(self._source, values) for (a, b), values in sums.items()}


def sum_between(
    view: View, source: Source, campaign: str | None, from_ms: int, to_ms: int
) -> Values:
    """The fields of a campaign (None: of all) between two instants, in whatever is still kept."""
    span = cover(view.shelf(source.topic), from_ms, to_ms, limit_ms=EPOCH_MAX_MS)
    axis, part = view.store(source.topic).axis, _Part(view, source, campaign)
    return axis.fold(()).sum(part.vector(span.pieces)).maps().get((), {})


def campaigns_of(view: View) -> set[str]:
    """Every campaign that has been counted."""
    found: set[str] = set()
    for source in SOURCES.values():
        if source.dimensions[0] == "campaign":
            store = view.store(source.topic)
            days = [(Size.D1, start_ms) for start_ms in store.starts(Size.D1)]
            found.update(labels[0] for labels in store.seen(days))
    return found


def _named(source: Source, values: Values) -> dict[str, float]:
    names = source.fields
    return {names[i]: n for i, n in values.items() if i < len(names)}


def _joined(gaps: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Neighbouring gaps as one, so that days are not cut at hours."""
    held: tuple[int, int] | None = None
    for from_ms, to_ms in gaps:
        if held is not None and held[1] == from_ms:
            held = held[0], to_ms
            continue
        if held is not None:
            yield held
        held = from_ms, to_ms
    if held is not None:
        yield held
