"""From the view's answers to the JSON bodies of the HTTP interface: pure translation."""

from collections.abc import Sequence

from msgspec import UNSET, UnsetType

from stream.core.buckets import STEPS, WINDOWS_MS, Size
from stream.core.catalogue import LIVE, METRICS, SETTLED, Metric
from stream.live.query import Answer, Explanation, PartitionStatus, Quantiles, Row, Status
from stream.serve import bodies
from stream.serve.times import format_time

_STEP_NAMES = {size: name for name, size in STEPS.items()}


def query_body(answer: Answer) -> bodies.QueryAnswer:
    """The body of `/api/v1/query`."""
    return bodies.QueryAnswer(
        metric=answer.metric.name,
        from_=format_time(answer.from_ms),
        to=format_time(answer.to_ms),
        state=answer.state,
        as_of=time_or_null(answer.as_of_ms),
        settled_through=time_or_null(answer.settled_through_ms),
        complete=answer.complete,
        truncated=answer.truncated,
        rows=[_row(row) for row in answer.rows],
    )


def explain_body(explanation: Explanation) -> bodies.ExplainAnswer:
    """The body of `/api/v1/explain`."""
    answer, fraction = explanation.answer, explanation.query.fraction
    row = answer.rows[0]
    return bodies.ExplainAnswer(
        metric=answer.metric.name,
        from_=format_time(answer.from_ms),
        to=format_time(answer.to_ms),
        state=answer.state,
        as_of=time_or_null(answer.as_of_ms),
        settled_through=time_or_null(answer.settled_through_ms),
        complete=answer.complete,
        value=row.value,
        numerator=row.numerator,
        denominator=row.denominator,
        formula=f"({_spell(fraction.numerator)}) / ({_spell(fraction.denominator)})",
        fields=dict(explanation.fields),
        left_out=dict(explanation.left_out),
        cells=[
            bodies.LayerBody(
                _STEP_NAMES[layer.size],
                format_time(layer.from_ms),
                format_time(layer.to_ms),
                layer.buckets,
                layer.cells,
            )
            for layer in explanation.layers
        ],
        partitions=[
            bodies.ProvenanceBody(
                found.status.partition,
                found.status.status,
                found.status.through,
                found.first_offset,
                found.last_offset,
                dict(found.tally),
            )
            for found in explanation.partitions
        ],
        definition_id=explanation.definition_id,
        rules=dict(explanation.rules),
    )


def _spell(names: Sequence[str]) -> str:
    return " + ".join(names).replace("+ -", "- ")


def series_body(answer: Answer, step: Size) -> bodies.SeriesAnswer:
    """The body of `/api/v1/series`; `step` is the one asked for."""
    return bodies.SeriesAnswer(
        metric=answer.metric.name,
        from_=format_time(answer.from_ms),
        to=format_time(answer.to_ms),
        state=answer.state,
        step=_STEP_NAMES[answer.step or step],
        as_of=time_or_null(answer.as_of_ms),
        settled_through=time_or_null(answer.settled_through_ms),
        complete=answer.complete,
        truncated=answer.truncated,
        rows=[_series_row(row) for row in answer.rows],
    )


def status_body(status: Status) -> bodies.StatusBody:
    """The body of `/api/v1/status`."""
    return bodies.StatusBody(
        ready=status.ready,
        view_age_s=None if status.view_age_s is None else round(status.view_age_s, 3),
        definition_id=status.definition_id,
        partitions=[_partition(partition) for partition in status.partitions],
    )


def catalogue_body() -> bodies.CatalogueBody:
    """The body of `/api/v1/catalogue`."""
    return bodies.CatalogueBody(
        metrics=[_metric(metric) for metric in METRICS.values()],
        windows=list(WINDOWS_MS),
        steps=list(STEPS),
    )


def time_or_null(at_ms: int | None) -> str | None:
    """A time as JSON has it."""
    return None if at_ms is None else format_time(at_ms)


def _row(row: Row) -> bodies.Row:
    return bodies.Row(
        labels=dict(row.labels),
        value=row.value,
        numerator=row.numerator,
        denominator=row.denominator,
        low=row.low,
        high=row.high,
        quantiles=_quantiles(row.quantiles),
    )


def _series_row(row: Row) -> bodies.SeriesRow:
    return bodies.SeriesRow(
        at=format_time(row.at_ms or 0),
        labels=dict(row.labels),
        value=row.value,
        numerator=row.numerator,
        denominator=row.denominator,
        low=row.low,
        high=row.high,
        quantiles=_quantiles(row.quantiles),
    )


def _quantiles(quantiles: Quantiles | None) -> bodies.Quantiles | UnsetType:
    if quantiles is None:
        return UNSET
    return bodies.Quantiles(quantiles.p50, quantiles.p90)


def _partition(partition: PartitionStatus) -> bodies.PartitionBody:
    return bodies.PartitionBody(
        topic=partition.topic,
        partition=partition.partition,
        status=partition.status,
        through=partition.through,
        lag=partition.lag,
        watermark=time_or_null(partition.watermark_ms),
        worker=partition.worker,
    )


def _metric(metric: Metric) -> bodies.MetricBody:
    numerator, denominator = metric.shown
    return bodies.MetricBody(
        name=metric.name,
        title=metric.title,
        help=metric.help,
        unit=metric.unit,
        numerator=numerator,
        denominator=denominator,
        dimensions=list(metric.dimensions),
        states=[LIVE, SETTLED] if metric.settles else [LIVE],
        definitions=list(metric.definitions),
        ages=list(metric.ages),
        quantiles=metric.sketch is not None,
    )
