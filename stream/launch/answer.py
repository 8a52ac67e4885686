"""What is answered about a launch, as plain data. Times are ms, spans minutes; None: no value."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stream.core.campaigns import Campaign, Target
from stream.launch.axis import Floats, Ints, Span
from stream.launch.band import Band
from stream.launch.pace import Course
from stream.launch.way import Way
from stream.live.launch_book import Launch


@dataclass(frozen=True, slots=True)
class Ask:
    """A question: which campaign, as of when (None: now), beside which launches.

    `compare` None takes the last five. `span` None takes the one that fits the launch's age;
    `stepwise` asks for each step by itself, not for all since the launch.
    """

    campaign: str
    at_ms: int | None = None
    compare: tuple[tuple[str, int | None], ...] | None = None
    span: str | None = None
    stepwise: bool = False


class UnknownCampaignError(LookupError):
    """Nobody has described the campaign, and nothing of it was ever counted."""


class UnknownLaunchError(LookupError):
    """There is no such launch to compare with."""


@dataclass(frozen=True, slots=True)
class Earlier:
    """Another launch, and how old it was then (minutes)."""

    launch: Launch
    about: Campaign
    chosen: bool
    known: float


@dataclass(frozen=True, slots=True)
class Lines:
    """One measure over the grid: of this launch, of the chosen ones, and their band."""

    measure: str
    unit: str
    launch: Floats
    earlier: Sequence[Floats]
    band: Band


@dataclass(frozen=True, slots=True)
class Figures:
    """Sums and rates of what is counted by now; outcomes as they are known today."""

    counts: Mapping[str, float]
    ratios: Mapping[str, tuple[float, float]]
    """Numerator and denominator, by measure."""


@dataclass(frozen=True, slots=True)
class Part:
    """A row of a split."""

    label: str
    figures: Figures


@dataclass(frozen=True, slots=True)
class Split:
    """The launch by one dimension, the largest parts first; `others` are not listed."""

    dimension: str
    parts: Sequence[Part]
    others: int
    sessions: bool
    """Whether sessions carry the dimension."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How far a measure has come; `target` None: none is set, and the time is a day."""

    measure: str
    target: Target | None
    within: int
    value: float
    course: Course


@dataclass(frozen=True, slots=True)
class Untagged:
    """Of so many events of a topic, how many name no value of a dimension."""

    topic: str
    dimension: str
    missing: float
    total: float


@dataclass(frozen=True, slots=True)
class ChannelSeen:
    """A channel: whether it is expected, and when it was first and last seen (None: never)."""

    channel: str
    expected: bool
    first_ms: int | None
    last_ms: int | None
    grain_ms: int | None


@dataclass(frozen=True, slots=True)
class Tagging:
    """Is it tagged right? Shares without a value, and every channel seen or expected."""

    untagged: Sequence[Untagged]
    channels: Sequence[ChannelSeen]

    @property
    def silent(self) -> list[str]:
        """Channels that are expected and were not seen since the launch."""
        return [c.channel for c in self.channels if c.expected and c.first_ms is None]


@dataclass(frozen=True, slots=True)
class Before:
    """What was counted of the campaign before the launch, from then on; it is in no figure."""

    from_ms: int
    impressions: int
    clicks: int
    sessions: int


@dataclass(frozen=True, slots=True)
class Story:
    """All there is to say of a launch that has a beginning.

    `coarsest` is the width of the widest cell (minutes) that it is made of, `coarsest_earlier` of
    those that the launches beside it are made of. `age` is that of outcomes read step by step,
    `usual` has what the median of those launches had come to at this age.
    """

    launch: Launch
    from_ms: int
    to_ms: int
    elapsed: float
    span: Span
    grid: Ints
    coarsest: int
    before: Before
    lines: Sequence[Lines]
    usual: Mapping[str, float]
    age: str
    totals: Figures
    splits: Sequence[Split]
    pace: Sequence[Pace]
    way: Way
    tagging: Tagging
    earlier: Sequence[Earlier]
    coarsest_earlier: int


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer; `story` None: the campaign has not been launched, as far as is known."""

    campaign: str
    about: Campaign
    now_ms: int
    frozen: bool
    as_of_ms: int | None
    complete: bool
    stepwise: bool
    story: Story | None
