"""What may be asked of a view and what it answers: plain data between the view and who serves it.

Times are milliseconds since the epoch, ranges half-open. Knows nothing of HTTP or of Redis.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from stream.core.buckets import Size
from stream.core.catalogue import LIVE, Fraction, Metric

ORDERS = ("value", "numerator", "denominator", "label")
"""What rows may be sorted by; a `-` before it turns the order round."""
MAX_SERIES_ROWS = 11_000


@dataclass(frozen=True, slots=True)
class Query:
    """One question: a metric over a window that ends now, or over `from_ms` to `to_ms`.

    Exactly one of both is given. `fraction` is the metric's under the chosen bounce rule, FCR
    conditions or age; with an age, `age_ms` is set too. `by` and the keys of `filters` are
    dimensions of the metric; a filter keeps the label sets whose value is in its set.
    """

    metric: Metric
    fraction: Fraction
    window_ms: int | None = None
    from_ms: int | None = None
    to_ms: int | None = None
    by: tuple[str, ...] = ()
    filters: Mapping[str, frozenset[str]] = field(default_factory=dict)
    state: str = LIVE
    age_ms: int | None = None
    limit: int = 100
    order: str = "-denominator"


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Nearest-rank quantiles in the metric's unit; None where nothing was counted."""

    p50: float | None
    p90: float | None


class Row(NamedTuple):
    """One group's figures; `value` is numerator / denominator, both in the metric's unit.

    `low` and `high` are the 95 % interval of a ratio, `quantiles` those of a duration that has
    them, `at_ms` the start of a series' step.
    """

    labels: Mapping[str, str]
    value: float | None
    numerator: int | float
    denominator: int
    low: float | None = None
    high: float | None = None
    quantiles: Quantiles | None = None
    at_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """Rows, and what they cover: the range really summed, and how far the figures reach.

    `as_of_ms` and `settled_through_ms` are None while nothing is known of them. `step` is that of
    a series: coarser than asked for where so fine a step is no longer kept.
    """

    metric: Metric
    from_ms: int
    to_ms: int
    state: str
    as_of_ms: int | None
    settled_through_ms: int | None
    complete: bool
    truncated: bool
    rows: Sequence[Row]
    step: Size | None = None


@dataclass(frozen=True, slots=True)
class PartitionStatus:
    """One partition as the view sees it; `status` is live, recovering, paused or unowned.

    `through` is the first source offset that is not yet included. None is "not known".
    """

    topic: str
    partition: int
    status: str
    through: int
    lag: int | None
    watermark_ms: int | None
    worker: str | None


@dataclass(frozen=True, slots=True)
class Status:
    """The whole view: `view_age_s` is None while some partition was never heard of."""

    ready: bool
    view_age_s: float | None
    definition_id: str | None
    partitions: Sequence[PartitionStatus]


@dataclass(frozen=True, slots=True)
class Layer:
    """Neighbouring buckets of one size that stand behind a figure, and how many cells they hold."""

    size: Size
    from_ms: int
    to_ms: int
    buckets: int
    cells: int


@dataclass(frozen=True, slots=True)
class Provenance:
    """One partition behind a figure.

    `first_offset` and `last_offset` are those of the records whose events lie in the range (None:
    there are none); `tally` counts all its records since the ledger began, by outcome and reason.
    """

    status: PartitionStatus
    first_offset: int | None
    last_offset: int | None
    tally: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Explanation:
    """What stands behind a figure: `answer` has it as a single row.

    `fields` are the sums that the fraction is made of; `left_out` the events of the range and the
    filters that were not counted (or, `unchecked`, counted without a look for duplicates).
    """

    query: Query
    answer: Answer
    layers: Sequence[Layer]
    fields: Mapping[str, int]
    left_out: Mapping[str, int]
    partitions: Sequence[Provenance]
    definition_id: str | None
    rules: Mapping[str, object]


class TooManyRowsError(Exception):
    """A series would have more rows than anybody may ask for: at least `rows`."""

    def __init__(self, rows: int) -> None:
        super().__init__(f"more than {MAX_SERIES_ROWS} rows: take a longer step or fewer groups")
        self.rows = rows
