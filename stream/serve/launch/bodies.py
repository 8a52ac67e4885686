"""The JSON bodies of the launch view, as types. Times are RFC 3339 in UTC; null: no value."""

from typing import Annotated

import msgspec

from stream.launch.axis import SPANS
from stream.launch.measures import MEASURES
from stream.launch.pace import Why
from stream.launch.way import STATIONS, Basis
from stream.serve.bodies import Number, Time


def _one_of(*values: str) -> msgspec.Meta:
    return msgspec.Meta(extra_json_schema={"enum": list(values)})


Known = Annotated[str, _one_of("declared", "minute", "hour", "day")]
Resolution = Annotated[str, _one_of("1m", "10m", "1h", "1d")]
SpanName = Annotated[str, _one_of(*SPANS)]
AxisUnit = Annotated[str, _one_of(*(span.unit for span in SPANS.values()))]
Curve = Annotated[str, _one_of("cumulative", "per_minute")]
MeasureName = Annotated[str, _one_of(*MEASURES)]
MeasureUnit = Annotated[str, _one_of("count", "money", "ratio")]
Station = Annotated[str, _one_of(*STATIONS)]
BasisName = Annotated[str, _one_of(*Basis)]
WhyName = Annotated[str, _one_of(*Why)]
TopicName = Annotated[str, _one_of("clicks", "sessions")]
Values = list[Number | None]


class TargetBody(msgspec.Struct):
    """So much of a measure within so long of the launch."""

    measure: str
    count: Number
    within: str


class NoteBody(msgspec.Struct):
    """Something that happened; `minute` counts from the launch, null while there is none."""

    at: Time
    minute: float | None
    text: str


class LaunchName(msgspec.Struct):
    """A launch that may be compared with. `id` is what `compare` takes."""

    id: str
    campaign: str
    name: str | None
    launch_at: Time
    known: Known
    age_s: float
    chosen: bool


class BeforeBody(msgspec.Struct, rename={"from_": "from"}):
    """What was counted before the launch, since `from`. It is in no other figure."""

    from_: Time
    impressions: int
    clicks: int
    sessions: int


class RatioBody(msgspec.Struct):
    """A rate. `low` and `high` are its 95 % Wilson interval."""

    value: float | None
    numerator: Number
    denominator: Number
    low: float | None
    high: float | None


class FiguresBody(msgspec.Struct):
    """Counts and rates. `conversions` are converted sessions, as far as they are known today."""

    impressions: int
    clicks: int
    ctr: RatioBody
    cost: float
    sessions: int | None = None
    bounce_rate: RatioBody | None = None
    conversions: int | None = None
    conversion_rate: RatioBody | None = None
    value: float | None = None


class PartBody(msgspec.Struct):
    """A row of a split; what sessions say is null where they lack the dimension."""

    label: str
    figures: FiguresBody


class SplitBody(msgspec.Struct):
    """The launch by one dimension, largest first; `others` rows are left out."""

    dimension: str
    rows: list[PartBody]
    others: int


class AxisBody(msgspec.Struct):
    """The points of every line, in minutes since the launch."""

    span: SpanName
    unit: AxisUnit
    step_s: int
    minutes: list[int]


class LineBody(msgspec.Struct):
    """One measure at each point of the axis; null: not yet, or nothing to divide by.

    `earlier` has a line for each chosen launch, in the order of `launches`. `median`, `low` and
    `high` (10 and 90 %) are those of three of them or more, as far as these go. Minute by minute,
    the earlier ones are means of five minutes.
    """

    measure: MeasureName
    unit: MeasureUnit
    launch: Values
    earlier: list[Values]
    median: Values
    low: Values
    high: Values


class ProjectionBody(msgspec.Struct):
    """Where it leads; between `low` and `high` it ends with the probability `level`."""

    value: Number
    low: Number
    high: Number
    level: float


class PaceBody(msgspec.Struct):
    """How far a measure has come by now, as it stood then.

    `share` is that of the target. `usual_share` is the part of its end (at `within`) that the
    median earlier launch had at this age. Without a projection `why` says why. `text` is all of it.
    """

    measure: MeasureName
    target: Number | None
    within: str
    within_s: int
    value: Number
    share: float | None
    usual_share: float | None
    launches: int
    projection: ProjectionBody | None
    why: WhyName | None
    text: str


class StepBody(msgspec.Struct):
    """A station on the way; `share` of the one before came on, `usual_share` is the median."""

    name: Station
    count: Number
    share: float | None
    usual_share: float | None


class WayBody(msgspec.Struct):
    """From impression to conversion. `weakest` is the furthest below its median, or the lowest."""

    steps: list[StepBody]
    weakest: Station | None
    basis: BasisName | None


class UntaggedBody(msgspec.Struct):
    """How many of a topic's events name no value of a dimension; `campaign`: of all traffic."""

    topic: TopicName
    dimension: str
    missing: int
    total: int
    share: float | None


class ChannelBody(msgspec.Struct):
    """When a channel was first and last seen since the launch; within `grain_s` seconds."""

    channel: str
    expected: bool
    first: Time | None
    last: Time | None
    grain_s: int | None


class TaggingBody(msgspec.Struct):
    """Is it tagged right? `silent`: expected channels that were not seen since the launch."""

    untagged: list[UntaggedBody]
    channels: list[ChannelBody]
    silent: list[str]


class LaunchAnswer(msgspec.Struct, rename={"from_": "from"}):
    """Answer of `/api/v1/launch/{campaign}`.

    `at` is the moment that it is about; `frozen`: it was asked for. `known` says where `launch_at`
    comes from: declared, or found to a minute, hour or day. What follows `complete` is null or
    empty while there has been no launch. `usual` has, by measure, what the median of the chosen
    launches had come to at this age. `resolution` is that of the coarsest cells behind the
    lines; from 1h on they are an approximation.
    """

    campaign: str
    name: str | None
    owner: str | None
    launch_at: Time | None
    known: Known | None
    targets: list[TargetBody]
    annotations: list[NoteBody]
    expected_channels: list[str]
    at: Time
    frozen: bool
    as_of: Time | None
    complete: bool
    from_: Time | None = None
    to: Time | None = None
    elapsed_s: float | None = None
    resolution: Resolution | None = None
    resolution_earlier: Resolution | None = None
    before: BeforeBody | None = None
    curve: Curve = "cumulative"
    outcome_age: str | None = None
    axis: AxisBody | None = None
    lines: list[LineBody] = []
    totals: FiguresBody | None = None
    usual: dict[str, Number] = {}
    splits: list[SplitBody] = []
    pace: list[PaceBody] = []
    way: WayBody | None = None
    tagging: TaggingBody | None = None
    launches: list[LaunchName] = []


class CampaignBody(msgspec.Struct):
    """A campaign; `launch_at` is that of its current launch, `launches` has all."""

    campaign: str
    name: str | None
    owner: str | None
    launch_at: Time | None
    known: Known | None
    targets: list[TargetBody]
    channels: list[str]
    described: bool
    launches: list[Time]


class CampaignsAnswer(msgspec.Struct):
    """Answer of `/api/v1/campaigns`: those that were described, launched or counted, by name."""

    campaigns: list[CampaignBody]
    complete: bool
