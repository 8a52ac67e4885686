"""From the teller's answers to the JSON bodies: pure translation."""

from collections.abc import Iterable

import numpy as np

from stream.core.campaigns import Campaign, format_instant
from stream.core.durations import HOUR_MS, MINUTE_MS, spell_span
from stream.core.launches import LaunchId
from stream.core.ratios import wilson
from stream.launch.answer import (
    Answer,
    Earlier,
    Figures,
    Lines,
    Pace,
    Part,
    Split,
    Story,
    Tagging,
    Untagged,
)
from stream.launch.axis import HOUR, Floats
from stream.launch.pace import LEVEL
from stream.launch.way import Way
from stream.live.launch_book import Launch, LaunchBook
from stream.serve.answers import time_or_null
from stream.serve.bodies import Number
from stream.serve.launch import bodies
from stream.serve.launch.sentences import tell_pace
from stream.serve.times import format_time

_RATIO_DIGITS = 6


def launch_id(launch: LaunchId) -> str:
    """How a launch is named in `compare`."""
    return f"{launch.campaign}@{format_instant(launch.at_ms)}"


def launch_body(answer: Answer) -> bodies.LaunchAnswer:
    """The body of `/api/v1/launch/{campaign}`."""
    about, story = answer.about, answer.story
    launch_ms = story.from_ms if story else None
    body = bodies.LaunchAnswer(
        campaign=answer.campaign,
        name=about.name,
        owner=about.owner,
        launch_at=time_or_null(launch_ms),
        known=known_name(story.launch) if story else None,
        targets=target_bodies(about),
        annotations=[
            bodies.NoteBody(format_time(note.at_ms), _minutes(note.at_ms, launch_ms), note.text)
            for note in about.notes
        ],
        expected_channels=list(about.channels),
        at=format_time(answer.now_ms),
        frozen=answer.frozen,
        as_of=time_or_null(answer.as_of_ms),
        complete=answer.complete,
        curve="per_minute" if answer.stepwise else "cumulative",
    )
    if story is not None:
        _tell(body, story)
    return body


def _tell(body: bodies.LaunchAnswer, story: Story) -> None:
    before, span = story.before, story.span
    body.from_, body.to = format_time(story.from_ms), format_time(story.to_ms)
    body.elapsed_s = round(story.elapsed * 60, 3)
    body.resolution = resolution(story.coarsest)
    body.resolution_earlier = resolution(story.coarsest_earlier)
    body.before = bodies.BeforeBody(
        format_time(before.from_ms), before.impressions, before.clicks, before.sessions
    )
    body.outcome_age = story.age
    body.axis = bodies.AxisBody(span.name, span.unit, span.step * 60, story.grid.tolist())
    body.lines = [_line(each) for each in story.lines]
    body.totals = _figures(story.totals)
    body.usual = {name: _number(round(n, _RATIO_DIGITS)) for name, n in story.usual.items()}
    body.splits = [_split(each) for each in story.splits]
    body.pace = [_pace(each, story.elapsed) for each in story.pace]
    body.way = _way(story.way)
    body.tagging = _tagging(story.tagging)
    body.launches = [_launch(each) for each in story.earlier]


def campaigns_body(
    book: LaunchBook, names: Iterable[str], complete: bool
) -> bodies.CampaignsAnswer:
    """The body of `/api/v1/campaigns`."""
    return bodies.CampaignsAnswer([_campaign(book, name) for name in sorted(names)], complete)


def _campaign(book: LaunchBook, name: str) -> bodies.CampaignBody:
    about, launch = book.describe(name), book.current(name)
    return bodies.CampaignBody(
        campaign=name,
        name=about.name,
        owner=about.owner,
        launch_at=time_or_null(launch.id.at_ms if launch else None),
        known=known_name(launch) if launch else None,
        targets=target_bodies(about),
        channels=list(about.channels),
        described=name in book.campaigns,
        launches=[format_time(each.id.at_ms) for each in book.launches(name)],
    )


def known_name(launch: Launch) -> str:
    """Where a launch's beginning comes from."""
    if launch.declared:
        return "declared"
    if launch.grain_ms <= MINUTE_MS:
        return "minute"
    return "hour" if launch.grain_ms <= HOUR_MS else "day"


def resolution(minutes: int) -> str:
    """The name of the finest cells that wide."""
    return next((n for n, w in (("1m", 1), ("10m", 10), ("1h", HOUR)) if minutes <= w), "1d")


def target_bodies(about: Campaign) -> list[bodies.TargetBody]:
    """The targets of a campaign."""
    return [
        bodies.TargetBody(t.measure, _number(float(t.count)), spell_span(t.within_ms))
        for t in about.targets
    ]


def _launch(each: Earlier) -> bodies.LaunchName:
    launch = each.launch
    return bodies.LaunchName(
        id=launch_id(launch.id),
        campaign=launch.id.campaign,
        name=each.about.name,
        launch_at=format_time(launch.id.at_ms),
        known=known_name(launch),
        age_s=round(each.known * 60),
        chosen=each.chosen,
    )


def _line(lines: Lines) -> bodies.LineBody:
    digits = _RATIO_DIGITS if lines.unit == "ratio" else 2
    band = lines.band
    return bodies.LineBody(
        measure=lines.measure,
        unit=lines.unit,
        launch=_values(lines.launch, digits),
        earlier=[_values(each, digits) for each in lines.earlier],
        median=_values(band.median, digits),
        low=_values(band.low, digits),
        high=_values(band.high, digits),
    )


def _values(line: Floats, digits: int) -> bodies.Values:
    """A line as JSON has it: whole numbers without a point, no value as null."""
    rounded = np.round(line, digits).tolist()
    return [None if v != v else int(v) if v == int(v) else v for v in rounded]


def _figures(figures: Figures, sessions: bool = True) -> bodies.FiguresBody:
    counts, ratios = figures.counts, figures.ratios
    body = bodies.FiguresBody(
        impressions=round(counts["impressions"]),
        clicks=round(counts["clicks"]),
        ctr=_ratio(*ratios["ctr"]),
        cost=round(counts["cost"], 6),
    )
    if sessions:
        body.sessions = round(counts["sessions"])
        body.bounce_rate = _ratio(*ratios["bounce_rate"])
        body.conversions = round(counts["conversions"])
        body.conversion_rate = _ratio(*ratios["conversion_rate"])
        body.value = round(counts["value"], 6)
    return body


def _ratio(above: float, below: float) -> bodies.RatioBody:
    low, high = wilson(round(above), round(below)) or (None, None)
    value = above / below if below else None
    return bodies.RatioBody(value, _number(above), _number(below), low, high)


def _split(split: Split) -> bodies.SplitBody:
    def row(part: Part) -> bodies.PartBody:
        return bodies.PartBody(part.label, _figures(part.figures, split.sessions))

    return bodies.SplitBody(split.dimension, [row(part) for part in split.parts], split.others)


def _pace(pace: Pace, elapsed: float) -> bodies.PaceBody:
    target = float(pace.target.count) if pace.target else None
    course, projection = pace.course, pace.course.projection
    return bodies.PaceBody(
        measure=pace.measure,
        target=None if target is None else _number(target),
        within=spell_span(pace.within * MINUTE_MS),
        within_s=pace.within * 60,
        value=_number(round(pace.value, 2)),
        share=pace.value / target if target else None,
        usual_share=course.usual,
        launches=course.launches,
        projection=bodies.ProjectionBody(
            round(projection.value), round(projection.low), round(projection.high), LEVEL
        )
        if projection
        else None,
        why=course.why,
        text=tell_pace(pace, elapsed),
    )


def _way(way: Way) -> bodies.WayBody:
    steps = [
        bodies.StepBody(step.name, _number(round(step.count, 2)), step.share, step.usual)
        for step in way.steps
    ]
    return bodies.WayBody(steps, way.weakest, way.basis)


def _tagging(tagging: Tagging) -> bodies.TaggingBody:
    channels = [
        bodies.ChannelBody(
            seen.channel,
            seen.expected,
            time_or_null(seen.first_ms),
            time_or_null(seen.last_ms),
            None if seen.grain_ms is None else seen.grain_ms // 1000,
        )
        for seen in tagging.channels
    ]
    return bodies.TaggingBody(list(map(_untagged, tagging.untagged)), channels, tagging.silent)


def _untagged(each: Untagged) -> bodies.UntaggedBody:
    missing, total = round(each.missing), round(each.total)
    share = missing / total if total else None
    return bodies.UntaggedBody(each.topic, each.dimension, missing, total, share)


def _minutes(at_ms: int, launch_ms: int | None) -> float | None:
    return None if launch_ms is None else round((at_ms - launch_ms) / MINUTE_MS, 3)


def _number(number: float) -> Number:
    return int(number) if number == int(number) else number
