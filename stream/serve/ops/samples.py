"""Samples: what was active or waiting at each of the last minutes, as this server saw it.

A session counts as active where its latest interaction lies and moves on with the next one, and a
ticket waits until it does not: how many there were an hour ago cannot be read from what is kept
now. So the server takes a sample a minute and keeps an hour of them, by label set. A server that
has just started has none.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from stream.core.catalogue import SESSIONS, TICKETS, Source
from stream.core.durations import MINUTE_MS
from stream.live.axis import Labels
from stream.live.view import View
from stream.serve.ops.slices import Slice
from stream.serve.ops.sparks import POINTS

KEPT = POINTS + 2
"""An hour back, and the minute that has just begun."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Counts by label set at the start of a minute."""

    at_ms: int
    counts: Mapping[str, Mapping[Labels, int]]  # of sessions and of tickets, by topic


class Samples:
    """The last hour. `clock` gives the wall clock in milliseconds."""

    def __init__(self, view: View, clock: Callable[[], int]) -> None:
        self._view = view
        self._clock = clock
        self._taken: deque[Sample] = deque(maxlen=KEPT)

    async def run(self) -> None:
        """Take a sample at the start of every minute, until cancelled."""
        while True:
            now_ms = self._clock()
            self.take(now_ms)
            await asyncio.sleep((MINUTE_MS - now_ms % MINUTE_MS) / 1000)

    def take(self, now_ms: int) -> None:
        """Count as of now, unless the view is too old to tell or this minute has its sample."""
        at_ms = now_ms - now_ms % MINUTE_MS
        if self._view.fresh(now_ms) and (not self._taken or self._taken[-1].at_ms < at_ms):
            active = dict(self._view.active_sessions(now_ms))
            waiting = {
                tuple(row.labels.values()): row.open - row.awaiting
                for row in self._view.backlog(now_ms, TICKETS.dimensions)
            }
            self._taken.append(Sample(at_ms, {SESSIONS.topic: active, TICKETS.topic: waiting}))

    def counts(self, source: Source, part: Slice) -> dict[int, int]:
        """Active sessions, or waiting tickets, of a slice by the start of the minute."""
        group_of = part.grouping(source, ())
        return {
            sample.at_ms: sum(
                n
                for labels, n in sample.counts[source.topic].items()
                if group_of(labels) is not None
            )
            for sample in self._taken
        }
