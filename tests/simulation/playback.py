"""Plays made-up traffic into a real view, minute by minute, and reads what `/metrics` would show.

Cells go straight into the view, as a worker's steps would; from there on all is the product: kept
windows, history, comparisons, gauges, cap. Sessions are written with the outcomes that they will
have at each age, which windows at an age look at only when that time has come.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from stream.core.buckets import RETENTION_MS, WIDTH_MS, Size
from stream.core.catalogue import CLICKS, SESSIONS, TICKETS, Source
from stream.core.records import TopicPartition
from stream.live.picture import Pairs, Picture, Place
from stream.live.rows import PartitionInfo
from stream.live.view import View
from stream.serve.collection import Collection
from stream.serve.exposition import Sample
from stream.settings import Settings
from tests.simulation.traffic import (
    AGES,
    MINUTE_MS,
    MONDAY_MS,
    TEAMS,
    Campaign,
    Counts,
    Traffic,
)
from tests.support.read_model import about, info_of

REOPEN_WINDOW_MS = 259_200_000
SIZES = (Size.S10, Size.M1, Size.H1)
Samples = dict[str, list[Sample]]


@dataclass(frozen=True, slots=True)
class Column:
    """One field of a source, by minute and campaign."""

    index: int
    counts: Counts


def columns_of(traffic: Traffic) -> Mapping[Source, Sequence[Column]]:
    """The fields that are counted."""
    clicks = {"impressions": traffic.impressions, "clicks": traffic.clicks}
    sessions = {"sessions": traffic.sessions, "converted": traffic.converted[-1]}
    for age, converted, engaged in zip(AGES, traffic.converted, traffic.engaged, strict=True):
        sessions[f"converted_within_{age}"] = converted
        sessions[f"engaged_within_{age}"] = engaged
    tickets = {"resolved": traffic.resolved, "first_contact_111": traffic.first_contact}
    return {
        source: [Column(source.index[name], counts) for name, counts in fields.items()]
        for source, fields in ((CLICKS, clicks), (SESSIONS, sessions), (TICKETS, tickets))
    }


class Playback:
    """A view that has lived through the traffic up to a minute, and goes on from there."""

    def __init__(self, campaigns: Sequence[Campaign], traffic: Traffic, settings: Settings) -> None:
        self.view = View()
        self.now_ms = MONDAY_MS
        self._columns = columns_of(traffic)
        named = [(campaign.name, "email", "A") for campaign in campaigns]
        teams = [("email", team) for team in TEAMS]
        self._labels: Mapping[Source, Sequence[tuple[str, ...]]]
        self._labels = {CLICKS: named, SESSIONS: named, TICKETS: teams}
        self._collection = Collection(settings)

    async def start(self, minute: int) -> None:
        """Load all that happened before a minute, as a server finds it in Redis."""
        self._set_time(minute)
        self.view.take_redis_time(self.now_ms, self.now_ms)
        self.view.take_about(about(clicks=1, sessions=1, tickets=1))
        for source in self._columns:
            picture = Picture()
            picture.learn(self._label_pairs(source))
            for size in SIZES:
                width = WIDTH_MS[size] // MINUTE_MS or 1
                first = max(0, minute - RETENTION_MS[size] // MINUTE_MS)
                for at in range(first - first % width, minute, width):
                    pairs = self._cells(source, at, min(at + width, minute))
                    if pairs:
                        picture.put((size, self._start_ms(at)), pairs)
            place = TopicPartition(source.topic, 0)
            await self.view.take_picture(place, picture, self._info(source), self.now_ms)
        self.view.publish()

    def step(self, minute: int) -> None:
        """Live through one minute."""
        self._set_time(minute + 1)
        for source in self._columns:
            place = TopicPartition(source.topic, 0)
            buckets = list(self._buckets(source, minute))
            self.view.take_step(place, self._info(source), self.now_ms, (), buckets)
        self.view.publish()

    async def samples(self) -> Samples:
        """What the exporter would show now, by family."""
        families = await self._collection.collect(self.view, self.now_ms)
        return {family.name: list(family.samples) for family in families}

    def _set_time(self, minute: int) -> None:
        self.now_ms = self._start_ms(minute) - 1  # the last instant of the minute before

    def _start_ms(self, minute: int) -> int:
        return MONDAY_MS + minute * MINUTE_MS

    def _info(self, source: Source) -> PartitionInfo:
        settled = {"tickets": self.now_ms - REOPEN_WINDOW_MS}
        return info_of(
            source.topic,
            now_ms=self.now_ms,
            newest_event_ms=self.now_ms,
            settled_through_ms=settled,
        )

    def _label_pairs(self, source: Source) -> Pairs:
        labels = enumerate(self._labels[source])
        return [(_id(i), msgspec.msgpack.encode(values)) for i, values in labels]

    def _buckets(self, source: Source, minute: int) -> Iterator[tuple[Place, Pairs]]:
        """The cells that a minute writes, and those that leave with it."""
        for size in SIZES:
            width = WIDTH_MS[size] // MINUTE_MS or 1
            first = minute - minute % width
            yield (size, self._start_ms(first)), self._cells(source, first, minute + 1)
            old = minute - RETENTION_MS[size] // MINUTE_MS
            if old >= 0 and old % width == 0:
                gone = [(_id(i), b"") for i in range(len(self._labels[source]))]
                yield (size, self._start_ms(old)), gone

    def _cells(self, source: Source, first: int, end: int) -> Pairs:
        columns = self._columns[source]
        rows = np.array([column.counts[first:end].sum(axis=0) for column in columns]).T.tolist()
        indexes = [column.index for column in columns]
        more = [True] if source is TICKETS else []  # settled too, once windows get there
        encode = _encoder.encode
        return [
            (_id(i), encode([dict(zip(indexes, row, strict=True)), *more]))
            for i, row in enumerate(rows)
            if any(row)
        ]


_encoder = msgspec.msgpack.Encoder()


def _id(label: int) -> bytes:
    return label.to_bytes(4, "big")
