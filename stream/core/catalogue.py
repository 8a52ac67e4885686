"""The catalogue: what is counted, and every metric made of it, as data.

A source is a topic: its dimensions and the integer fields counted for each label set and bucket. A
metric is one record that names the fields above and below its fraction line. Folding, Redis, API,
exporter and docs/metrics.md all read this module; to add a ratio over fields that are counted
already is to add one record.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import product

NOT_SET, OTHER = "(not set)", "(other)"
LIVE, SETTLED = "live", "settled"

AGES_MS = {"1m": 60_000, "5m": 300_000, "15m": 900_000, "30m": 1_800_000}
FCR_CONDITIONS = ("single_contact", "no_reassignment", "no_customer_wait")
TICKET_TYPES = (
    "opened",
    "contact",
    "reassigned",
    "awaiting_customer",
    "resolved",
    "reopened",
    "closed",
)
"""Ticket event types, in the order in which they happen when they carry one timestamp."""


class Unit(StrEnum):
    """What a metric's value is measured in."""

    RATIO = "ratio"
    SECONDS = "seconds"
    PAGES = "pages"


@dataclass(frozen=True, slots=True)
class Source:
    """A topic and what is counted of it.

    `fields` are counted in every bucket size; `totals` only in the bucket without end, for counters
    that are never taken back; `levels` there too, for what is so now and goes up and down;
    `moments` only in 10 s buckets; `sketches` are quantile sketches.
    `fates` count the events that were left out (or, unchecked, let in without a look).
    """

    topic: str
    dimensions: tuple[str, ...]
    fields: tuple[str, ...]
    totals: tuple[str, ...] = ()
    levels: tuple[str, ...] = ()
    moments: tuple[str, ...] = ()
    fates: tuple[str, ...] = ("unchecked", "duplicates", "late")
    sketches: tuple[str, ...] = ()
    index: Mapping[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        names = (*self.fields, *self.totals, *self.levels, *self.moments, *self.fates)
        object.__setattr__(self, "index", {name: i for i, name in enumerate(names)})


CLICKS = Source(
    topic="clicks",
    dimensions=("campaign", "channel", "variant", "creative"),
    fields=("impressions", "clicks", "cost_micros"),
)
SESSIONS = Source(
    topic="sessions",
    dimensions=("campaign", "channel", "variant"),
    fields=(
        "sessions",
        "page_views",
        "duration_ms",
        "conversions",
        "value_micros",
        "single_interaction",
        "bounced_ga4",
        "with_page_view",
        "bounced_posthog",
        "bounced_matomo",
        "converted",
        *(f"converted_within_{age}" for age in AGES_MS),
        *(f"engaged_within_{age}" for age in AGES_MS),
    ),
    totals=("page_views_total", "conversions_total"),
    moments=("active",),
)
FIRST_CONTACT_CELLS = tuple(
    f"first_contact_{a}{b}{c}" for a, b, c in product((0, 1), repeat=len(FCR_CONDITIONS))
)
"""Resolved, not reopened tickets by which of the three conditions hold, in their order."""
TICKETS = Source(
    topic="tickets",
    dimensions=("channel", "team"),
    fields=(
        "resolved",
        "incomplete",
        *FIRST_CONTACT_CELLS,
        "first_resolution_ms",
        "resolved_latest",
        "resolution_ms",
        "answered",
        "first_response_ms",
        "still_open",
    ),
    totals=tuple(f"{name}_total" for name in TICKET_TYPES),
    levels=("open", "awaiting"),
    sketches=("first_resolution_ms", "resolution_ms", "first_response_ms"),
)
SOURCES = {source.topic: source for source in (CLICKS, SESSIONS, TICKETS)}

Sum = tuple[str, ...]
"""Names of fields that are added; one that begins with `-` is taken away."""


@dataclass(frozen=True, slots=True)
class Fraction:
    """What stands above and below the fraction line."""

    numerator: Sum
    denominator: Sum


@dataclass(frozen=True, slots=True)
class Metric:
    """All there is to know of one metric.

    `attribution` completes "counted in the bucket of …", `settling` "an item settles when …"; a
    metric without it has live values only. `definitions` holds the fraction of each choice of the
    parameter `choice` (`bounce`, `fcr`), `ages` that of each age. `divisor` turns the numerator's
    unit into the metric's. `gauge` is its Prometheus name without quantile.
    """

    name: str
    title: str
    help: str
    unit: Unit
    source: Source
    fraction: Fraction
    gauge: str
    shown: tuple[str, str]
    attribution: str
    settling: str | None = None
    divisor: int = 1
    choice: str | None = None
    definitions: Mapping[str, Fraction] = field(default_factory=dict)
    ages: Mapping[str, Fraction] = field(default_factory=dict)
    sketch: str | None = None

    @property
    def dimensions(self) -> tuple[str, ...]:
        """Dimensions that a query may filter and group by."""
        return self.source.dimensions

    @property
    def settles(self) -> bool:
        """Whether it has settled values beside the live ones."""
        return self.settling is not None


def conditions_of(text: str) -> tuple[str, ...]:
    """The FCR conditions that a text lists, in their own order; ValueError names a wrong one."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    if names == ["none"]:
        return ()
    for name in names:
        if name not in FCR_CONDITIONS:
            raise ValueError(f"'{name}' is not one of {', '.join(FCR_CONDITIONS)}, none")
    return tuple(name for name in FCR_CONDITIONS if name in names)


def fcr_key(conditions: Iterable[str]) -> str:
    """The spelling of a list of conditions under which its fraction is found."""
    wanted = set(conditions)
    return ",".join(name for name in FCR_CONDITIONS if name in wanted) or "none"


def _fcr(conditions: tuple[str, ...]) -> Fraction:
    wanted = [FCR_CONDITIONS.index(name) for name in conditions]
    digits = {cell: cell.rsplit("_", 1)[1] for cell in FIRST_CONTACT_CELLS}
    held = tuple(cell for cell, text in digits.items() if all(text[i] == "1" for i in wanted))
    return Fraction(held, ("resolved",))


_FCR = {
    fcr_key(chosen): _fcr(chosen)
    for flags in product((False, True), repeat=len(FCR_CONDITIONS))
    for chosen in [tuple(c for c, on in zip(FCR_CONDITIONS, flags, strict=True) if on)]
}
_PER_SESSION: Sum = ("sessions",)

BOUNCE_RULES = {
    "single": Fraction(("single_interaction",), _PER_SESSION),
    "ga4": Fraction(("bounced_ga4",), _PER_SESSION),
    "posthog": Fraction(("bounced_posthog",), ("with_page_view",)),
    "matomo": Fraction(("bounced_matomo",), _PER_SESSION),
}

_FIRST_INTERACTION = "the session's first interaction"
_SESSION_OVER = "the watermark passes its `end`, or the last moment at which it could go on"
_FIRST_RESOLUTION = "the ticket's first resolution, under its channel and team at it"
_REOPEN_WINDOW_OVER = "the watermark passes the first resolution and the reopen window after it"

METRICS = {
    metric.name: metric
    for metric in (
        Metric(
            name="ctr",
            title="Click-through rate",
            help="Clicks per impression.",
            unit=Unit.RATIO,
            source=CLICKS,
            fraction=Fraction(("clicks",), ("impressions",)),
            gauge="engagement_ctr_ratio",
            shown=("clicks", "impressions"),
            attribution="the event itself",
        ),
        Metric(
            name="bounce_rate",
            title="Bounce rate",
            help="Bounced sessions per session, by the session's first interaction.",
            unit=Unit.RATIO,
            source=SESSIONS,
            fraction=BOUNCE_RULES["single"],
            gauge="engagement_bounce_ratio",
            shown=("bounced sessions", "sessions"),
            attribution=_FIRST_INTERACTION,
            settling=_SESSION_OVER,
            choice="bounce",
            definitions=BOUNCE_RULES,
            ages={
                age: Fraction(("sessions", f"-engaged_within_{age}"), _PER_SESSION)
                for age in AGES_MS
            },
        ),
        Metric(
            name="conversion_rate",
            title="Conversion rate",
            help="Converted sessions per session, by the session's first interaction.",
            unit=Unit.RATIO,
            source=SESSIONS,
            fraction=Fraction(("converted",), _PER_SESSION),
            gauge="engagement_conversion_ratio",
            shown=("converted sessions", "sessions"),
            attribution=_FIRST_INTERACTION,
            settling=_SESSION_OVER,
            ages={age: Fraction((f"converted_within_{age}",), _PER_SESSION) for age in AGES_MS},
        ),
        Metric(
            name="pages_per_session",
            title="Pages per session",
            help="Page views per session, by the session's first interaction.",
            unit=Unit.PAGES,
            source=SESSIONS,
            fraction=Fraction(("page_views",), _PER_SESSION),
            gauge="engagement_pages_per_session",
            shown=("page views", "sessions"),
            attribution=_FIRST_INTERACTION,
            settling=_SESSION_OVER,
        ),
        Metric(
            name="session_duration",
            title="Session duration",
            help="Mean seconds from a session's first to its last interaction.",
            unit=Unit.SECONDS,
            source=SESSIONS,
            fraction=Fraction(("duration_ms",), _PER_SESSION),
            gauge="engagement_session_duration_mean_seconds",
            shown=("seconds", "sessions"),
            attribution=_FIRST_INTERACTION,
            settling=_SESSION_OVER,
            divisor=1000,
        ),
        Metric(
            name="fcr",
            title="First-contact resolution",
            help="First-contact resolutions per resolved ticket, by the first resolution.",
            unit=Unit.RATIO,
            source=TICKETS,
            fraction=_FCR["single_contact"],
            gauge="engagement_fcr_ratio",
            shown=("first-contact resolutions", "resolved tickets"),
            attribution=_FIRST_RESOLUTION,
            settling=_REOPEN_WINDOW_OVER,
            choice="fcr",
            definitions=_FCR,
        ),
        Metric(
            name="first_response_time",
            title="First response time",
            help="Seconds from opened to the first contact by an agent, by that contact.",
            unit=Unit.SECONDS,
            source=TICKETS,
            fraction=Fraction(("first_response_ms",), ("answered",)),
            gauge="engagement_first_response_time_mean_seconds",
            shown=("seconds", "tickets answered"),
            attribution="that contact, under the ticket's channel and team at it",
            settling="the watermark passes that contact",
            divisor=1000,
            sketch="first_response_ms",
        ),
        Metric(
            name="first_resolution_time",
            title="First resolution time",
            help="Seconds from opened to the first resolution, by that resolution.",
            unit=Unit.SECONDS,
            source=TICKETS,
            fraction=Fraction(("first_resolution_ms",), ("resolved",)),
            gauge="engagement_first_resolution_time_mean_seconds",
            shown=("seconds", "resolved tickets"),
            attribution=_FIRST_RESOLUTION,
            settling=_REOPEN_WINDOW_OVER,
            divisor=1000,
            sketch="first_resolution_ms",
        ),
        Metric(
            name="resolution_time",
            title="Resolution time",
            help="Seconds from opened to the latest resolution, by that resolution.",
            unit=Unit.SECONDS,
            source=TICKETS,
            fraction=Fraction(("resolution_ms",), ("resolved_latest",)),
            gauge="engagement_resolution_time_mean_seconds",
            shown=("seconds", "resolved tickets"),
            attribution=(
                "the ticket's latest resolution, under its channel and team at the first one"
            ),
            settling="the watermark passes the latest resolution and the reopen window after it",
            divisor=1000,
            sketch="resolution_ms",
        ),
    )
}


@dataclass(frozen=True, slots=True)
class WindowCount:
    """A count under a ratio, exported as a gauge with the ratio's labels.

    `part` is the `numerator` or `denominator` of the metric under the chosen definition.
    """

    name: str
    help: str
    metric: str
    part: str


WINDOW_COUNTS = (
    WindowCount("impressions", "Impressions in the window.", "ctr", "denominator"),
    WindowCount("clicks", "Clicks in the window.", "ctr", "numerator"),
    WindowCount("sessions", "Sessions begun in the window.", "conversion_rate", "denominator"),
    WindowCount(
        "bounce_sessions", "Sessions that the bounce rate counts.", "bounce_rate", "denominator"
    ),
    WindowCount("bounced_sessions", "Bounced sessions.", "bounce_rate", "numerator"),
    WindowCount("converted_sessions", "Converted sessions.", "conversion_rate", "numerator"),
    WindowCount("page_views", "Page views of the sessions.", "pages_per_session", "numerator"),
    WindowCount("resolved_tickets", "Tickets first resolved in the window.", "fcr", "denominator"),
    WindowCount("first_contact_tickets", "First-contact resolutions.", "fcr", "numerator"),
)


@dataclass(frozen=True, slots=True)
class Total:
    """A Prometheus counter over the bucket without end: one dimension as label, never taken back.

    `fields` are added; with `by_type` each field is a sample of its own, labelled `type`.
    """

    name: str
    help: str
    source: Source
    label: str
    fields: Sum
    by_type: bool = False


TOTALS = (
    Total("engagement_impressions", "Impressions.", CLICKS, "campaign", ("impressions",)),
    Total("engagement_clicks", "Clicks.", CLICKS, "campaign", ("clicks",)),
    Total(
        "engagement_page_views",
        "Page views, by the event's own campaign.",
        SESSIONS,
        "campaign",
        ("page_views_total",),
    ),
    Total(
        "engagement_conversions",
        "Conversion events, by the event's own campaign.",
        SESSIONS,
        "campaign",
        ("conversions_total",),
    ),
    Total(
        "engagement_ticket_events",
        "Ticket events, by the event's own team.",
        TICKETS,
        "team",
        TICKETS.totals,
        by_type=True,
    ),
)
