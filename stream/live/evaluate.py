"""Evaluation: from a question and a view to an answer. Pure; the contract of the HTTP queries.

A window that is kept as a sum costs its label sets; everything else the cells of the buckets that
cover the range. Either way they are added up as arrays, and only the rows that are shown are made
one by one. `View` is asked for what is held, never changed.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from stream.core.buckets import EPOCH_MAX_MS, Size
from stream.core.catalogue import LIVE, SETTLED
from stream.live.axis import Counts, Mask
from stream.live.cover import Cover, Piece, cover
from stream.live.figures import Figures, Tallies
from stream.live.query import (
    MAX_SERIES_ROWS,
    Answer,
    Explanation,
    Layer,
    PartitionStatus,
    Provenance,
    Query,
    Row,
    TooManyRowsError,
)
from stream.live.windows import STANDARD_MS, window_bounds

if TYPE_CHECKING:
    from stream.live.view import View

Group = tuple[str, ...]


def answer(view: "View", query: Query, now_ms: int) -> Answer:
    """One row per group over the whole range."""
    if query.window_ms in STANDARD_MS and query.age_ms is None:
        span, counts = _kept_window(view, query, now_ms)
    else:
        span = _span(view, query, now_ms, Size.D1)
        counts = _counts(view, query, span.pieces)
    figures = Figures(query.metric, query.fraction)
    tallies = figures.tallies(counts)
    if not query.by:
        row = figures.row(tallies.find(()), {})
        return _answer(view, query, now_ms, span, [row], truncated=False)
    ordered = _order(query, tallies)
    shown = ((tallies.of(n), tallies.labels[n]) for n in ordered[: query.limit])
    rows = [figures.row(tally, _labels(query, group)) for tally, group in shown]
    return _answer(view, query, now_ms, span, rows, len(ordered) > query.limit)


def series(view: "View", query: Query, step: Size, now_ms: int) -> Answer:
    """One row per group and step; steps are the calendar's, so those at the ends may be cut."""
    figures = Figures(query.metric, query.fraction)
    step = _kept_step(view, query, step, now_ms)
    span = _span(view, query, now_ms, step)
    whole = figures.tallies(_counts(view, query, span.pieces))
    ordered = _order(query, whole)
    shown = [whole.labels[n] for n in ordered[: query.limit]]
    steps = [
        (at_ms, figures.tallies(_counts(view, query, pieces)))
        for at_ms, pieces in _steps(view, span.pieces, step).items()
    ]
    rows: list[Row] = []
    for group in shown:
        for at_ms, tallies in steps:
            tally = tallies.find(group)
            if not tally.empty:
                rows.append(figures.row(tally, _labels(query, group), at_ms))
        if len(rows) > MAX_SERIES_ROWS:
            raise TooManyRowsError(len(rows))
    return _answer(view, query, now_ms, span, rows, len(ordered) > query.limit, step)


def explain(view: "View", query: Query, now_ms: int) -> Explanation:
    """What stands behind the figure that a query without groups gives."""
    query = replace(query, by=())
    topic = query.metric.source.topic
    store = view.store(topic)
    span = _span(view, query, now_ms, Size.D1)
    sums = _counts(view, query, span.pieces).maps().get((), {})
    fates = _counts(view, replace(query, state=LIVE), span.pieces).maps().get((), {})
    index = query.metric.source.index
    named = [*query.fraction.numerator, *query.fraction.denominator]
    spans = store.spans(span.pieces)
    return Explanation(
        query=query,
        answer=answer(view, query, now_ms),
        layers=_layers(view, query, span.pieces),
        fields={n: sums.get(index[n], 0) for n in (name.removeprefix("-") for name in named)},
        left_out={name: fates.get(index[name], 0) for name in query.metric.source.fates},
        partitions=[
            _provenance(view, status, spans.get(status.partition))
            for status in view.status(now_ms).partitions
            if status.topic == topic
        ],
        definition_id=view.about.definition_id if view.about else None,
        rules=view.about.rules if view.about else {},
    )


def _provenance(view: "View", status: PartitionStatus, span: tuple[int, int] | None) -> Provenance:
    first, last = span or (None, None)
    return Provenance(status, first, last, view.tally(status))


def _layers(view: "View", query: Query, pieces: Iterable[Piece]) -> list[Layer]:
    store, mask = view.store(query.metric.source.topic), _mask(view, query)
    layers: list[Layer] = []
    for size, start_ms in pieces:
        end_ms = view.calendar.end(size, start_ms)
        cells = len(store.seen([(size, start_ms)], mask))
        last = layers[-1] if layers else None
        if last is not None and last.size == size and last.to_ms == start_ms:
            layers[-1] = Layer(size, last.from_ms, end_ms, last.buckets + 1, last.cells + cells)
        else:
            layers.append(Layer(size, start_ms, end_ms, 1, cells))
    return layers


def _steps(view: "View", pieces: Iterable[Piece], step: Size) -> dict[int, list[Piece]]:
    """The buckets of each step, by the step's start."""
    steps: dict[int, list[Piece]] = {}
    for size, start_ms in pieces:
        steps.setdefault(view.calendar.start(step, start_ms), []).append((size, start_ms))
    return steps


def _answer(
    view: "View",
    query: Query,
    now_ms: int,
    span: Cover,
    rows: list[Row],
    truncated: bool,
    step: Size | None = None,
) -> Answer:
    metric = query.metric
    return Answer(
        metric=metric,
        from_ms=span.from_ms,
        to_ms=span.to_ms,
        state=query.state,
        as_of_ms=view.as_of_ms(metric.source.topic),
        settled_through_ms=view.settled_through_ms(metric),
        complete=view.complete(now_ms),
        truncated=truncated,
        rows=rows,
        step=step,
    )


# --- the range ---


def _limit(view: "View", query: Query) -> int | None:
    """Where the range ends at the latest; None: nothing may be shown yet."""
    limit_ms: int | None = EPOCH_MAX_MS
    if query.state == SETTLED:
        limit_ms = view.settled_through_ms(query.metric)
    if query.age_ms is not None and limit_ms is not None:
        as_of_ms = view.as_of_ms(query.metric.source.topic)
        limit_ms = None if as_of_ms is None else min(limit_ms, as_of_ms - query.age_ms)
    return limit_ms


def _asked(view: "View", query: Query, now_ms: int, limit_ms: int) -> tuple[int, int]:
    """The range asked for; a window lies before the limit, a range is cut there later."""
    if query.window_ms is not None:
        shelf = view.shelf(query.metric.source.topic)
        bounds = window_bounds(shelf, query.window_ms, now_ms, limit_ms)
        return bounds.from_ms, bounds.to_ms
    if query.from_ms is None or query.to_ms is None:
        raise ValueError("a query needs a window, or both bounds")
    return query.from_ms, query.to_ms


def _span(view: "View", query: Query, now_ms: int, largest: Size) -> Cover:
    """The buckets to read."""
    limit_ms = _limit(view, query)
    if limit_ms is None:
        return _nothing(view, query, now_ms)
    from_ms, to_ms = _asked(view, query, now_ms, limit_ms)
    shelf = view.shelf(query.metric.source.topic)
    return cover(shelf, from_ms, to_ms, limit_ms=limit_ms, largest=largest)


def _nothing(view: "View", query: Query, now_ms: int) -> Cover:
    """No bucket at all, where the range begins."""
    from_ms, _ = _asked(view, query, now_ms, EPOCH_MAX_MS)
    return Cover(from_ms, from_ms, [])


def _kept_window(view: "View", query: Query, now_ms: int) -> tuple[Cover, Counts]:
    window = view.window(query.metric, query.window_ms or 0, query.state, now_ms)
    if window is None:
        return _nothing(view, query, now_ms), _counts(view, query, [])
    span = Cover(window.bounds.from_ms, window.bounds.to_ms, [])
    return span, window.counts.fold(_shown(query), _mask(view, query))


def _kept_step(view: "View", query: Query, step: Size, now_ms: int) -> Size:
    """The step asked for, or the finest that is still kept all along the range."""
    shelf = view.shelf(query.metric.source.topic)
    limit_ms = _limit(view, query)
    from_ms, _ = _asked(view, query, now_ms, EPOCH_MAX_MS if limit_ms is None else limit_ms)
    return max(step, shelf.finest(max(from_ms, shelf.oldest_ms)))


# --- groups and rows ---


def _shown(query: Query) -> tuple[int, ...]:
    """The positions of the dimensions that are grouped by."""
    return tuple(query.metric.source.dimensions.index(name) for name in query.by)


def _mask(view: "View", query: Query) -> Mask | None:
    """The label sets that the filters keep; None: all."""
    place = query.metric.source.dimensions.index
    axis = view.store(query.metric.source.topic).axis
    return axis.where({place(name): kept for name, kept in query.filters.items()})


def _counts(view: "View", query: Query, pieces: Iterable[Piece]) -> Counts:
    """The sums of each group over some buckets."""
    store = view.store(query.metric.source.topic)
    vector = store.vector(pieces, query.state, _mask(view, query))
    return store.axis.fold(_shown(query)).sum(vector)


def _labels(query: Query, group: Group) -> Mapping[str, str]:
    return dict(zip(query.by, group, strict=True))


def _order(query: Query, tallies: Tallies) -> list[int]:
    """Groups with data, sorted; equal ones by label, those without a value last either way."""
    key, sign = query.order.removeprefix("-"), -1 if query.order.startswith("-") else 1
    listed = sorted(tallies.with_data(), key=tallies.labels.__getitem__)
    if key == "label":
        return listed[::sign]
    above, below = tallies.numerators, tallies.denominators
    if key == "value":

        def rank(n: int) -> tuple[bool, float]:
            return not below[n], sign * above[n] / below[n] if below[n] else 0.0

        return sorted(listed, key=rank)
    by = above if key == "numerator" else below
    return sorted(listed, key=lambda n: sign * by[n])
