"""Evaluation: from a question and a view to an answer. Pure; the contract of the HTTP queries.

A window that is kept as a sum costs its label sets; everything else the cells of the buckets that
cover the range. `View` is asked for what is held, never changed.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from stream.core.buckets import EPOCH_MAX_MS, Size
from stream.core.catalogue import LIVE, SETTLED
from stream.live.cover import Cover, Piece, cover
from stream.live.figures import Figures, Tally
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
from stream.live.store import Store
from stream.live.vectors import Algebra, Labels, Vector
from stream.live.windows import STANDARD_MS, window_bounds

if TYPE_CHECKING:
    from stream.live.view import View

Group = tuple[str, ...]


class Groups(dict[Labels, Group | None]):
    """From a label set to its group, None where a filter leaves it out; each is found once."""

    def __init__(self, query: Query) -> None:
        dimensions = query.metric.source.dimensions
        self._shown = [dimensions.index(name) for name in query.by]
        self._wanted = [(dimensions.index(name), kept) for name, kept in query.filters.items()]

    def __missing__(self, labels: Labels) -> Group | None:
        group: Group | None = tuple([labels[i] for i in self._shown])
        for i, kept in self._wanted:
            if labels[i] not in kept:
                group = None
        self[labels] = group
        return group


def answer(view: "View", query: Query, now_ms: int) -> Answer:
    """One row per group over the whole range."""
    figures = Figures(query.metric, query.fraction)
    if query.window_ms in STANDARD_MS and query.age_ms is None:
        span, values = _kept_window(view, query, now_ms)
    else:
        span = _span(view, query, now_ms, Size.D1)
        values = _cells(view.store(query.metric.source.topic), span.pieces, query.state)
    algebra = view.store(query.metric.source.topic).algebra
    tallies = _tally(figures, algebra, _gather(Groups(query), values))
    rows = _rows(query, figures, tallies)
    return _answer(view, query, now_ms, span, rows[: query.limit], len(rows) > query.limit)


def series(view: "View", query: Query, step: Size, now_ms: int) -> Answer:
    """One row per group and step; steps are the calendar's, so those at the ends may be cut."""
    figures = Figures(query.metric, query.fraction)
    step = _kept_step(view, query, step, now_ms)
    span = _span(view, query, now_ms, step)
    algebra = view.store(query.metric.source.topic).algebra
    steps = _steps(view, query, span.pieces, step)
    whole: dict[Group, list[Vector]] = {}
    for sums in steps.values():
        for group, vector in sums.items():
            whole.setdefault(group, []).append(vector)
    ordered = _order(query, _tally(figures, algebra, whole))
    rows: list[Row] = []
    for group, _ in ordered[: query.limit]:
        for at_ms, sums in steps.items():
            tally = figures.tally([algebra.unpack(sums[group])] if group in sums else ())
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
    groups = Groups(query)
    vectors = _gather(groups, _cells(store, span.pieces, query.state)).get((), [])
    live = _gather(groups, _cells(store, span.pieces, LIVE)).get((), [])
    sums = store.algebra.unpack(store.algebra.total(vectors)) if vectors else {}
    fates = store.algebra.unpack(store.algebra.total(live)) if live else {}
    index = query.metric.source.index
    named = [*query.fraction.numerator, *query.fraction.denominator]
    spans = store.spans(span.pieces)
    return Explanation(
        query=query,
        answer=answer(view, query, now_ms),
        layers=_layers(view, store, span.pieces, groups),
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


def _layers(
    view: "View",
    store: Store,
    pieces: Iterable[Piece],
    groups: Groups,
) -> list[Layer]:
    layers: list[Layer] = []
    for size, start_ms in pieces:
        end_ms = view.calendar.end(size, start_ms)
        cells = sum(groups[labels] is not None for labels in store.bucket(size, start_ms))
        last = layers[-1] if layers else None
        if last is not None and last.size == size and last.to_ms == start_ms:
            layers[-1] = Layer(size, last.from_ms, end_ms, last.buckets + 1, last.cells + cells)
        else:
            layers.append(Layer(size, start_ms, end_ms, 1, cells))
    return layers


def _steps(
    view: "View", query: Query, pieces: Iterable[Piece], step: Size
) -> dict[int, dict[Group, Vector]]:
    """The sum of each group in each step, by the step's start."""
    store, groups = view.store(query.metric.source.topic), Groups(query)
    by_step: dict[int, list[Piece]] = {}
    for size, start_ms in pieces:
        by_step.setdefault(view.calendar.start(step, start_ms), []).append((size, start_ms))
    return {
        at_ms: {
            group: store.algebra.total(many)
            for group, many in _gather(groups, _cells(store, held, query.state)).items()
        }
        for at_ms, held in by_step.items()
    }


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


def _kept_window(
    view: "View", query: Query, now_ms: int
) -> tuple[Cover, Iterable[tuple[Labels, Vector]]]:
    window = view.window(query.metric, query.window_ms or 0, query.state, now_ms)
    if window is None:
        return _nothing(view, query, now_ms), ()
    return Cover(window.bounds.from_ms, window.bounds.to_ms, []), window.vectors.items()


def _kept_step(view: "View", query: Query, step: Size, now_ms: int) -> Size:
    """The step asked for, or the finest that is still kept all along the range."""
    shelf = view.shelf(query.metric.source.topic)
    limit_ms = _limit(view, query)
    from_ms, _ = _asked(view, query, now_ms, EPOCH_MAX_MS if limit_ms is None else limit_ms)
    return max(step, shelf.finest(max(from_ms, shelf.oldest_ms)))


def _cells(store: Store, pieces: Iterable[Piece], state: str) -> Iterator[tuple[Labels, Vector]]:
    which = 0 if state == LIVE else 1
    for size, start_ms in pieces:
        for labels, cell in store.bucket(size, start_ms).items():
            yield labels, cell[which]


# --- groups and rows ---


def _tally(
    figures: Figures, algebra: Algebra, vectors: Mapping[Group, list[Vector]]
) -> dict[Group, Tally]:
    tallies: dict[Group, Tally] = {}
    for group, many in vectors.items():
        tally = tallies[group] = Tally()
        figures.add(tally, algebra.unpack(algebra.total(many)))
    return tallies


def _gather(groups: Groups, many: Iterable[tuple[Labels, Vector]]) -> dict[Group, list[Vector]]:
    """The vectors of each group."""
    gathered: dict[Group, list[Vector]] = {}
    for labels, vector in many:
        group = groups[labels]
        if group is not None:
            held = gathered.get(group)
            if held is None:
                gathered[group] = [vector]
            else:
                held.append(vector)
    return gathered


def _labels(query: Query, group: Group) -> Mapping[str, str]:
    return dict(zip(query.by, group, strict=True))


def _rows(query: Query, figures: Figures, tallies: dict[Group, Tally]) -> list[Row]:
    if not query.by:
        return [figures.row(tallies.get((), Tally()), {})]
    ordered = _order(query, tallies)
    return [figures.row(tally, _labels(query, group)) for group, tally in ordered]


def _order(query: Query, tallies: dict[Group, Tally]) -> list[tuple[Group, Tally]]:
    """Groups with data, sorted; equal ones by label, those without a value last either way."""
    key, sign = query.order.removeprefix("-"), -1 if query.order.startswith("-") else 1
    listed = sorted((item for item in tallies.items() if not item[1].empty), key=lambda i: i[0])
    if key == "label":
        return listed[::sign]
    if key == "value":

        def rank(item: tuple[Group, Tally]) -> tuple[bool, float]:
            tally = item[1]
            below = tally.denominator
            return not below, sign * tally.numerator / below if below else 0.0

        return sorted(listed, key=rank)
    return sorted(listed, key=lambda item: sign * getattr(item[1], key))
