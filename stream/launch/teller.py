"""The teller: from a question about a launch to its answer, over a view and a book."""

from collections.abc import Sequence
from statistics import median

import numpy as np

from stream.core.campaigns import LONGEST_MS, Campaign, Target
from stream.core.catalogue import BOUNCE_RULES, CLICKS, SESSIONS, Fraction
from stream.core.durations import DAY_MS, MINUTE_MS
from stream.launch.answer import (
    Answer,
    Ask,
    Before,
    Lines,
    Pace,
    Story,
    UnknownCampaignError,
)
from stream.launch.axis import DAY, SPANS, Span, span_at
from stream.launch.band import LEAST, band
from stream.launch.cells import Reader, campaigns_of, end_of, sum_between
from stream.launch.comparison import Comparison
from stream.launch.measures import MEASURES
from stream.launch.measures import Reader as MeasureReader
from stream.launch.pace import Past, course
from stream.launch.profile import Profile
from stream.launch.splits import figures_of, split, tagging
from stream.launch.way import STATIONS, Way, way
from stream.live.launch_book import Launch, LaunchBook
from stream.live.view import View

BEFORE_MS = 30 * DAY_MS
WINGS = 2
"""Minute by minute, earlier launches are drawn as means of five."""
_USUAL = ("conversions", None, DAY)
"""What is told of a launch without targets."""

Aim = tuple[str, Target | None, int]
"""A measure, its target, and the minutes it is for."""


class Teller:
    """Answers over one view and one book; `bounce` is the rule when a query names none."""

    def __init__(
        self, view: View, book: LaunchBook, bounce: Fraction = BOUNCE_RULES["single"]
    ) -> None:
        self._view, self._book, self._bounce = view, book, bounce
        self._measures = MeasureReader(bounce)
        self._comparison = Comparison(view, book)

    def tell(self, ask: Ask, now_ms: int) -> Answer:
        """The answer. Raises UnknownCampaignError, UnknownLaunchError."""
        launch = self._book.current(ask.campaign)
        if launch is None and not self._is_known(ask.campaign):
            raise UnknownCampaignError(f"there is no campaign '{ask.campaign}'")
        moment_ms = now_ms if ask.at_ms is None else ask.at_ms
        return Answer(
            campaign=ask.campaign,
            about=self._book.describe(ask.campaign),
            now_ms=moment_ms,
            frozen=ask.at_ms is not None,
            as_of_ms=self._as_of_ms(),
            complete=self._view.complete(now_ms),
            stepwise=ask.stepwise,
            story=None if launch is None else self._tell(ask, launch, moment_ms, now_ms),
        )

    def _is_known(self, campaign: str) -> bool:
        return campaign in self._book.campaigns or campaign in campaigns_of(self._view)

    def _as_of_ms(self) -> int | None:
        clicks, sessions = (self._view.as_of_ms(source.topic) for source in (CLICKS, SESSIONS))
        return None if clicks is None or sessions is None else min(clicks, sessions)

    def _tell(self, ask: Ask, launch: Launch, moment_ms: int, now_ms: int) -> Story:
        about = self._book.describe(ask.campaign)
        elapsed = (moment_ms - launch.id.at_ms) / MINUTE_MS
        span = SPANS[ask.span] if ask.span else span_at(elapsed)
        aims = _aims(about)
        first = aims[0][2]
        earlier = self._comparison.choose(ask, launch, moment_ms, now_ms, first)
        past = [
            self._comparison.profile(each.launch.id, moment_ms, now_ms)
            for each in earlier
            if each.chosen
        ]
        reading = Reader(self._view, self._book, launch.id, moment_ms, now_ms).read()
        mine, to_ms = reading.profile, end_of(launch.id, moment_ms)
        splits, untagged = split(self._view, launch.id, reading, to_ms, self._bounce)
        return Story(
            launch=launch,
            from_ms=launch.id.at_ms,
            to_ms=to_ms,
            elapsed=elapsed,
            span=span,
            grid=span.grid(),
            coarsest=mine.coarsest,
            before=self._before(launch),
            lines=self._lines(ask, mine, past, span, min(span.length, first)),
            usual=self._usual(mine, past),
            age=self._measures.age(span.step),
            totals=figures_of({name: mine.total(name) for name in mine.sums}, self._bounce),
            splits=splits,
            pace=[self._pace(mine, past, elapsed, aim) for aim in aims],
            way=self._way(mine, past),
            tagging=tagging(self._view, launch.id, about, reading, to_ms, untagged),
            earlier=earlier,
            coarsest_earlier=max((each.coarsest for each in past), default=1),
        )

    def _lines(
        self, ask: Ask, mine: Profile, past: Sequence[Profile], span: Span, needed: int
    ) -> list[Lines]:
        """Every measure over the grid; the band is that of launches which go as far as `needed`."""
        grid, reader = span.grid(), self._measures
        at, wings = grid.astype(float), WINGS if span.step == 1 else 0
        firm = [i for i, each in enumerate(past) if each.known >= needed]
        if len(firm) < LEAST:
            firm = [i for i, each in enumerate(past) if each.known >= mine.known]
        end = min((past[i].known for i in firm), default=0.0)
        found = []
        for measure in MEASURES.values():
            name = measure.name
            if ask.stepwise:
                line = reader.stepwise(mine, name, grid)
                others = [reader.stepwise(each, name, grid, wings) for each in past]
            else:
                line = reader.stood(mine, name, at)
                others = [reader.stood(each, name, at) for each in past]
            held = [np.where(at <= end, others[i], np.nan) for i in firm]
            found.append(Lines(name, measure.unit, line, others, band(held, len(grid))))
        return found

    def _usual(self, mine: Profile, past: Sequence[Profile]) -> dict[str, float]:
        """The median of each measure at this age; none where fewer than three have a value."""
        at, found = np.array([mine.known]), {}
        for name in MEASURES:
            told = [float(self._measures.stood(each, name, at)[0]) for each in past]
            known = [value for value in told if not np.isnan(value)]
            if len(known) >= LEAST:
                found[name] = median(known)
        return found

    def _before(self, launch: Launch) -> Before:
        """What came in the month before, but after the week of an earlier launch."""
        campaign, at_ms = launch.id
        ends = [each.id.at_ms + LONGEST_MS for each in self._book.launches(campaign)]
        from_ms = max([at_ms - BEFORE_MS, *(end for end in ends if end <= at_ms)])
        clicks, sessions = (
            sum_between(self._view, source, campaign, from_ms, at_ms)
            for source in (CLICKS, SESSIONS)
        )
        return Before(
            from_ms,
            clicks.get(CLICKS.index["impressions"], 0),
            clicks.get(CLICKS.index["clicks"], 0),
            sessions.get(SESSIONS.index["sessions"], 0),
        )

    def _pace(self, mine: Profile, past: Sequence[Profile], elapsed: float, aim: Aim) -> Pace:
        measure, target, within = aim
        moment = min(max(0.0, elapsed), within, mine.known)
        value = self._at(mine, measure, moment)
        told = [
            Past(self._at(each, measure, moment), self._at(each, measure, within))
            for each in past
            if each.known >= within
        ]
        found = course(value, told, begun=elapsed > 0, over=elapsed >= within)
        return Pace(measure, target, within, value, found)

    def _way(self, mine: Profile, past: Sequence[Profile]) -> Way:
        def counts(profile: Profile) -> dict[str, float]:
            return {name: self._at(profile, name, mine.known) for name in STATIONS}

        return way(counts(mine), [counts(each) for each in past if each.known >= mine.known])

    def _at(self, profile: Profile, measure: str, minute: float) -> float:
        return float(self._measures.stood(profile, measure, np.array([float(minute)]))[0])


def _aims(about: Campaign) -> list[Aim]:
    """What is told of: the targets, or else the conversions of the first day."""
    aims = [(t.measure, t, t.within_ms // MINUTE_MS) for t in about.targets]
    return sorted(aims, key=lambda aim: aim[2]) or [_USUAL]
