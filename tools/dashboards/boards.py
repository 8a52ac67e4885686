"""The dashboards: Overview, Launch, Support, Pipeline. A query names a level, a window, a state."""

import json
from collections.abc import Callable

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row
from grafana_foundation_sdk.cog.encoder import JSONEncoder

from tools.dashboards.panels import (
    COUNT,
    PERCENT,
    RATE,
    SECONDS,
    board,
    choice_of,
    lines,
    names_of,
    number,
    once,
    rate_of,
    rows,
)

TOTAL = '{level="total", window="$window", state="$state"}'
LIVE = '{level="total", window="$window", state="live"}'
CAMPAIGNS = '{level="campaign", campaign=~"$campaign", window="$window", state="$state"}'
LIVE_CAMPAIGNS = '{level="campaign", campaign=~"$campaign", window="$window", state="live"}'
CHANNELS = '{level="channel", channel=~"$channel", window="$window", state="$state"}'
LIVE_CHANNELS = '{level="channel", channel=~"$channel", window="$window", state="live"}'
TEAMS = '{level="team", team=~"$team", window="$window", state="$state"}'
_LATE = ((None, "green"), (5.0, "orange"), (30.0, "red"))
_ANY = ((None, "green"), (1.0, "red"))
_STATES = ("live", "settled")


def rendered(made: Dashboard) -> str:
    """A dashboard as Grafana reads it."""
    return json.dumps(made.build(), cls=JSONEncoder, indent=2, sort_keys=True) + "\n"


def overview() -> Dashboard:
    """How campaigns and channels do."""
    made = board(
        "engagement-overview",
        "Engagement · Overview",
        "Click-through, bounce and conversion by campaign and channel.",
        [
            _window("engagement_ctr_ratio"),
            choice_of("state", "State", _STATES),
            _names("campaign", "Campaigns", "engagement_ctr_ratio"),
            _names("channel", "Channels", "engagement_ctr_ratio"),
        ],
    )
    for panel in (
        number("Active sessions", once('engagement_active_sessions{level="total"}'), COUNT,
               "Open sessions with an interaction in the last 5 minutes."),
        number("Click-through rate", once(f"engagement_ctr_ratio{LIVE}"), PERCENT,
               "Clicks per impression. It has no settled value: a click is final at once."),
        number("Bounce rate", once(f"engagement_bounce_ratio{TOTAL}"), PERCENT,
               "Sessions with one interaction, of all sessions."),
        number("Conversion rate", once(f"engagement_conversion_ratio{TOTAL}"), PERCENT,
               "Sessions with a conversion, of all sessions."),
        number("Pages per session", once(f"engagement_pages_per_session{TOTAL}"), COUNT,
               "Page views of a session."),
        number("View age", once("engagement_view_age_seconds"), SECONDS,
               "How old the figures are.", steps=_LATE),
    ):  # fmt: skip
        made.with_panel(panel)
    made.with_row(Row("By campaign"))
    for title, name, where in (
        ("Click-through rate", "engagement_ctr_ratio", LIVE_CAMPAIGNS),
        ("Conversion rate", "engagement_conversion_ratio", CAMPAIGNS),
        ("Bounce rate", "engagement_bounce_ratio", CAMPAIGNS),
    ):
        query = once(name + where), "{{campaign}}"
        made.with_panel(lines(title, [query], PERCENT, "By campaign, in the chosen window."))
    made.with_panel(
        rows(
            "Campaigns now",
            [
                (
                    _by("campaign", f"engagement_window_impressions{LIVE_CAMPAIGNS}"),
                    "impressions (n)",
                ),
                (_by("campaign", f"engagement_ctr_ratio{LIVE_CAMPAIGNS}"), "CTR"),
                (_by("campaign", f"engagement_window_sessions{CAMPAIGNS}"), "sessions (n)"),
                (_by("campaign", f"engagement_bounce_ratio{CAMPAIGNS}"), "bounce"),
                (_by("campaign", f"engagement_conversion_ratio{CAMPAIGNS}"), "conversion"),
            ],
            "What the ratios rest on stands beside them.",
        )
    )
    made.with_row(Row("By channel"))
    for title, name, where in (
        ("Click-through rate", "engagement_ctr_ratio", LIVE_CHANNELS),
        ("Conversion rate", "engagement_conversion_ratio", CHANNELS),
    ):
        query = once(name + where), "{{channel}}"
        made.with_panel(lines(title, [query], PERCENT, "By channel, in the chosen window."))
    return made


def launch() -> Dashboard:
    """One campaign, minute by minute."""
    one = '{level="campaign", campaign="$campaign", window="$window", state="$state"}'
    live = '{level="campaign", campaign="$campaign", window="$window", state="live"}'
    mine = '{campaign="$campaign"}'
    made = board(
        "engagement-launch",
        "Engagement · Launch",
        "One campaign from its first minute on. Its own screen, /launch/…, compares launches.",
        [
            names_of("campaign", "Campaign",
                     'label_values(engagement_ctr_ratio{level="campaign"}, campaign)', many=False),
            _window("engagement_ctr_ratio"),
            choice_of("state", "State", _STATES),
        ],
    ).time("now-1h", "now")  # fmt: skip
    for panel in (
        number("Impressions", once(f"engagement_window_impressions{live}"), COUNT,
               "In the chosen window."),
        number("Clicks", once(f"engagement_window_clicks{live}"), COUNT, "In the chosen window."),
        number("Click-through rate", once(f"engagement_ctr_ratio{live}"), PERCENT,
               "Clicks per impression."),
        number("Sessions", once(f"engagement_window_sessions{one}"), COUNT,
               "Begun in the chosen window."),
        number("Bounce rate", once(f"engagement_bounce_ratio{one}"), PERCENT,
               "Sessions with one interaction, of all sessions."),
        number("Conversion rate", once(f"engagement_conversion_ratio{one}"), PERCENT,
               "Sessions with a conversion, of all sessions."),
    ):  # fmt: skip
        made.with_panel(panel)
    for plot in (
        lines(
            "Traffic",
            [
                (rate_of(f"engagement_impressions_total{mine}", "campaign"), "impressions"),
                (rate_of(f"engagement_clicks_total{mine}", "campaign"), "clicks"),
                (rate_of(f"engagement_page_views_total{mine}", "campaign"), "page views"),
            ],
            RATE,
            "Events a second.",
        ),
        lines(
            "Conversions",
            [(rate_of(f"engagement_conversions_total{mine}", "campaign"), "conversions")],
            RATE,
            "Conversion events a second.",
        ),
        lines(
            "Ratios",
            [
                (once(f"engagement_ctr_ratio{live}"), "click-through"),
                (once(f"engagement_conversion_ratio{one}"), "conversion"),
                (once(f"engagement_bounce_ratio{one}"), "bounce"),
            ],
            PERCENT,
            "In the chosen window.",
        ),
        lines(
            "Active sessions",
            [(once('engagement_active_sessions{level="campaign", campaign="$campaign"}'), "open")],
            COUNT,
            "Open sessions with an interaction in the last 5 minutes.",
        ),
    ):
        made.with_panel(plot)
    return made


def support() -> Dashboard:
    """How support teams do."""
    made = board(
        "engagement-support",
        "Engagement · Support",
        "First-contact resolution, response and resolution times by team.",
        [
            _window("engagement_fcr_ratio"),
            choice_of("state", "State", _STATES),
            _names("team", "Teams", "engagement_fcr_ratio"),
        ],
    ).time("now-24h", "now")
    for panel in (
        number("First-contact resolution", once(f"engagement_fcr_ratio{TOTAL}"), PERCENT,
               "Tickets resolved at first contact, of those resolved.", width=6),
        number("Resolved tickets", once(f"engagement_window_resolved_tickets{TOTAL}"), COUNT,
               "First resolved in the chosen window.", width=6),
        number("First response, median",
               once(f"engagement_first_response_time_p50_seconds{TOTAL}"), SECONDS,
               "From opened to the first contact by an agent.", width=6),
        number("First resolution, median",
               once(f"engagement_first_resolution_time_p50_seconds{TOTAL}"), SECONDS,
               "From opened to the first resolution.", width=6),
    ):  # fmt: skip
        made.with_panel(panel)
    for title, name, unit, about in (
        ("First-contact resolution", "engagement_fcr_ratio", PERCENT, "By team."),
        ("First response, 90 %", "engagement_first_response_time_p90_seconds", SECONDS,
         "Nine in ten tickets were answered faster."),
        ("Resolution, 90 %", "engagement_resolution_time_p90_seconds", SECONDS,
         "Nine in ten tickets were resolved faster, reopenings included."),
    ):  # fmt: skip
        made.with_panel(lines(title, [(once(name + TEAMS), "{{team}}")], unit, about))
    made.with_panel(
        lines(
            "Ticket events",
            [(rate_of('engagement_ticket_events_total{team=~"$team"}', "type"), "{{type}}")],
            RATE,
            "Events a second, by type.",
        )
    )
    made.with_panel(
        rows(
            "Teams now",
            [
                (_by("team", f"engagement_window_resolved_tickets{TEAMS}"), "resolved (n)"),
                (_by("team", f"engagement_fcr_ratio{TEAMS}"), "FCR"),
                (_by("team", f"engagement_first_response_time_p50_seconds{TEAMS}"), "response (s)"),
                (_by("team", f"engagement_resolution_time_p50_seconds{TEAMS}"), "resolution (s)"),
            ],
            "What the ratios rest on stands beside them.",
            width=24,
        )
    )
    return made


def pipeline() -> Dashboard:
    """How the system itself does."""
    made = board(
        "engagement-pipeline",
        "Engagement · Pipeline",
        "Lag, latency, dead letters and the state of partitions.",
        [names_of("topic", "Topics", "label_values(stream_lag_records, topic)")],
    ).time("now-1h", "now")
    topic = '{topic=~"$topic"}'
    for panel in (
        number("View age", once("engagement_view_age_seconds"), SECONDS,
               "How old the figures are.", steps=_LATE, width=6),
        number("Records behind", f"sum(max by (topic, partition) (stream_lag_records{topic}))",
               COUNT, "Records that Kafka has and that are not counted yet.", width=6),
        number("Partitions not live",
               'sum(max by (topic, status) (engagement_partitions{status!="live"}))', COUNT,
               "Recovering, paused or without an owner.", steps=_ANY, width=6),
        number("Series not exported", "max(engagement_series_dropped)", COUNT,
               "Beyond STREAM_METRICS_MAX_SERIES.", steps=_ANY, width=6),
    ):  # fmt: skip
        made.with_panel(panel)
    outcome = f"sum by (topic, outcome) (rate(stream_events_total{topic}[$__rate_interval]))"
    reason = f"sum by (reason) (rate(stream_dead_letters_total{topic}[$__rate_interval]))"
    for plot in (
        lines("Records", [(outcome, "{{topic}} {{outcome}}")], RATE, "Records a second."),
        lines("Dead letters", [(reason, "{{reason}}")], RATE, "A second, by reason."),
        lines(
            "From record to view",
            [
                (_quantile(share, "stream_event_to_view_seconds_bucket"), f"{share:.0%}")
                for share in (0.5, 0.9, 0.99)
            ],
            SECONDS,
            "From Kafka's timestamp of a record until the view had it.",
        ),
        lines(
            "Flush",
            [
                (_quantile(share, "stream_flush_seconds_bucket"), f"{share:.0%}")
                for share in (0.5, 0.99)
            ],
            SECONDS,
            "Time to write a partition's changes to the ledger.",
        ),
        lines(
            "Records behind",
            [(f"max by (topic, partition) (stream_lag_records{topic})", "{{topic}}/{{partition}}")],
            COUNT,
            "By partition.",
        ),
        lines(
            "Watermark behind the clock",
            [
                (
                    f"time() - max by (topic) (stream_watermark_timestamp_seconds{topic})",
                    "{{topic}}",
                )
            ],
            SECONDS,
            "The allowed lateness, and what events are behind.",
        ),
        lines(
            "State held",
            [(f"sum by (topic, kind) (stream_state_items{topic})", "{{topic}} {{kind}}")],
            COUNT,
            "What workers hold in memory.",
        ),
        lines(
            "Partitions",
            [("max by (topic, status) (engagement_partitions)", "{{topic}} {{status}}")],
            COUNT,
            "By status.",
        ),
    ):
        made.with_panel(plot)
    return made


BOARDS: dict[str, Callable[[], Dashboard]] = {
    "overview": overview,
    "launch": launch,
    "support": support,
    "pipeline": pipeline,
}


def _window(name: str) -> object:
    return names_of("window", "Window", f"label_values({name}, window)", many=False)


def _names(label: str, title: str, series: str) -> object:
    return names_of(label, title, f'label_values({series}{{level="{label}"}}, {label})')


def _by(label: str, series: str) -> str:
    return f"max by ({label}) ({series})"


def _quantile(share: float, bucket: str) -> str:
    return f"histogram_quantile({share}, sum by (le) (rate({bucket}[$__rate_interval])))"
