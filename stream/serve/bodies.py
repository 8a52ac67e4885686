"""The JSON bodies of the HTTP interface, as types: what is encoded, and what OpenAPI describes.

Times are RFC 3339 in UTC. Knows nothing of the view; `api` and `feed` fill these in.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from stream.core.buckets import STEPS
from stream.core.catalogue import Unit

Number = int | float
Time = Annotated[str, msgspec.Meta(extra_json_schema={"format": "date-time"})]
State = Annotated[str, msgspec.Meta(extra_json_schema={"enum": ["live", "settled"]})]
StepName = Annotated[str, msgspec.Meta(extra_json_schema={"enum": list(STEPS)})]
UnitName = Annotated[str, msgspec.Meta(extra_json_schema={"enum": [unit.value for unit in Unit]})]
PartitionState = Annotated[
    str, msgspec.Meta(extra_json_schema={"enum": ["live", "recovering", "paused", "unowned"]})
]


class Quantiles(msgspec.Struct):
    """Nearest-rank percentiles in seconds, within 1 %; null where nothing was counted."""

    p50: float | None
    p90: float | None


class Row(msgspec.Struct):
    """One group. `low` and `high` are the 95 % Wilson interval of a ratio."""

    labels: dict[str, str]
    value: float | None
    numerator: Number
    denominator: int
    low: float | None
    high: float | None
    quantiles: Quantiles | UnsetType = UNSET


class SeriesRow(msgspec.Struct):
    """One group in one step, which starts `at`."""

    at: Time
    labels: dict[str, str]
    value: float | None
    numerator: Number
    denominator: int
    low: float | None
    high: float | None
    quantiles: Quantiles | UnsetType = UNSET


class QueryAnswer(msgspec.Struct, rename={"from_": "from"}):
    """Answer of `/api/v1/query`; `from` and `to` say what was really covered."""

    metric: str
    from_: Time
    to: Time
    state: State
    as_of: Time | None
    settled_through: Time | None
    complete: bool
    truncated: bool
    rows: list[Row]


class SeriesAnswer(msgspec.Struct, rename={"from_": "from"}):
    """Answer of `/api/v1/series`; steps without data are left out."""

    metric: str
    from_: Time
    to: Time
    state: State
    step: StepName
    as_of: Time | None
    settled_through: Time | None
    complete: bool
    truncated: bool
    rows: list[SeriesRow]


class PartitionBody(msgspec.Struct):
    """One partition. `through` is the first source offset that is not yet included."""

    topic: str
    partition: int
    status: PartitionState
    through: int
    lag: int | None
    watermark: Time | None
    worker: str | None


class StatusBody(msgspec.Struct):
    """Answer of `/api/v1/status`; `ready` when every partition is `live` or `paused`."""

    ready: bool
    view_age_s: float | None
    definition_id: str | None
    partitions: list[PartitionBody]


class LiveStatus(StatusBody, kw_only=True):
    """Data of the live event `status`: as it changes, and every few seconds."""

    at: Time
    """The server's clock when it was sent: `at` - `as_of` is how old the figures are."""
    as_of: Time | None
    complete: bool
    build: str = ""
    """What the server runs: when it changes, pages load anew."""


class LayerBody(msgspec.Struct, rename={"from_": "from"}):
    """Neighbouring buckets of one size, and how many cells of the figure they hold."""

    step: StepName
    from_: Time
    to: Time
    buckets: int
    cells: int


class ProvenanceBody(msgspec.Struct):
    """One partition: where the records of the range lie, and what became of all its records."""

    partition: int
    status: PartitionState
    through: int
    first_offset: int | None
    last_offset: int | None
    tally: dict[str, int]


class ExplainAnswer(msgspec.Struct, rename={"from_": "from"}):
    """Answer of `/api/v1/explain`: what stands behind one figure, and under which definition."""

    metric: str
    from_: Time
    to: Time
    state: State
    as_of: Time | None
    settled_through: Time | None
    complete: bool
    value: float | None
    numerator: Number
    denominator: int
    formula: str
    """The fraction in fields; `fields` has their sums."""
    fields: dict[str, int]
    left_out: dict[str, int]
    """Events of the range that were not counted: duplicates, late; unchecked ones were."""
    cells: list[LayerBody]
    partitions: list[ProvenanceBody]
    definition_id: str | None
    rules: dict[str, Any]


class MetricBody(msgspec.Struct):
    """One metric of the catalogue."""

    name: str
    title: str
    help: str
    unit: UnitName
    numerator: str
    denominator: str
    dimensions: list[str]
    states: list[str]
    definitions: list[str]
    """What the parameter `bounce` or `fcr` may choose (FCR: any list of conditions, or none)."""
    ages: list[str]
    quantiles: bool


class CatalogueBody(msgspec.Struct):
    """Answer of `/api/v1/catalogue`."""

    metrics: list[MetricBody]
    windows: list[str]
    steps: list[str]


class LiveRow(msgspec.Struct):
    """One group of one metric in one window, live: a tile."""

    metric: str
    window: str
    labels: dict[str, str]
    value: float | None
    numerator: Number
    denominator: int
    low: float | None
    high: float | None


class LiveKey(msgspec.Struct):
    """A row that is gone."""

    metric: str
    window: str
    labels: dict[str, str]


class Snapshot(msgspec.Struct):
    """Data of the live event `snapshot`: every row as it stands now.

    Totals (labels {}) and the groups with the most traffic, by campaign (tickets: by team).
    """

    at: Time
    as_of: Time | None
    complete: bool
    truncated: bool
    active_sessions: int | None
    rows: list[LiveRow]
    status: StatusBody
    build: str = ""


class Delta(msgspec.Struct):
    """Data of the live event `delta`: rows that changed since the message before it."""

    at: Time
    as_of: Time | None
    complete: bool
    active_sessions: int | None
    rows: list[LiveRow]
    gone: list[LiveKey]


class Health(msgspec.Struct):
    """Answer of `/healthz` and `/readyz`."""

    status: Literal["ok"]
