"""Launches made by hand: traffic into a view, descriptions and hours into a book."""

from stream.core.campaigns import Campaign, encode_campaign
from stream.core.catalogue import CLICKS, NOT_SET, SESSIONS, Source
from stream.core.durations import HOUR_MS
from stream.core.launches import HourMaker, LaunchId, encode_hour, hour_key
from stream.live.launch_book import LaunchBook
from stream.live.mirror import News
from tests.support.views import HandMade

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000


def labels_of(source: Source, campaign: str, channel: str, variant: str, **more: str) -> tuple:
    """A label set in the source's dimensions; those that are not named are not set."""
    named = {"campaign": campaign, "channel": channel, "variant": variant, **more}
    return tuple(named.get(name, NOT_SET) for name in source.dimensions)


def visit(made: HandMade, campaign: str, at_ms: int, many: int = 1, **labels: str) -> None:
    """A hundred impressions and what comes of them, so many times, at one instant."""
    named = {"channel": "email", "variant": "A", **labels}
    made.count(
        CLICKS,
        labels_of(CLICKS, campaign, **named),
        {"impressions": 100 * many, "clicks": 20 * many, "cost_micros": 1_000_000 * many},
        at_ms=at_ms,
    )
    made.count(
        SESSIONS,
        labels_of(SESSIONS, campaign, **named),
        {
            "sessions": 15 * many,
            "single_interaction": 6 * many,
            "with_page_view": 12 * many,
            "bounced_posthog": 5 * many,
            "engaged_within_1m": 7 * many,
            "engaged_within_5m": 8 * many,
            "engaged_within_15m": 9 * many,
            "engaged_within_30m": 9 * many,
            "converted": 3 * many,
            "converted_within_1m": many,
            "converted_within_5m": 2 * many,
            "converted_within_15m": 3 * many,
            "converted_within_30m": 3 * many,
            "value_micros": 30_000_000 * many,
        },
        at_ms=at_ms,
    )


def launch(
    made: HandMade, campaign: str, at_ms: int, *, minutes: int = 120, size: int = 1, **labels: str
) -> None:
    """A launch that loses half of its traffic in 40 minutes; a visit at each minute."""
    for minute in range(minutes):
        many = max(1, round(size * 8 * 0.5 ** (minute / 40)))
        if at_ms + minute * MINUTE < made.now_ms:
            visit(made, campaign, at_ms + minute * MINUTE, many, **labels)


def described(book: LaunchBook, **campaigns: Campaign) -> LaunchBook:
    """The book with what is said of some campaigns."""
    pairs = {name.encode(): encode_campaign(about) for name, about in campaigns.items()}
    book.take_campaigns(News(False, dict(pairs)))
    return book


def kept_hours(made: HandMade, launch_id: LaunchId, hours: int) -> dict[bytes, bytes | None]:
    """The records of a launch's first hours, of the minutes in a view made by hand."""
    records: dict[bytes, bytes | None] = {}
    for number in range(hours):
        maker = HourMaker(launch_id, number)
        start_ms = launch_id.at_ms + number * HOUR_MS
        for source in (CLICKS, SESSIONS):
            for at_ms, labels, values in made.minutes(source, start_ms, start_ms + HOUR_MS):
                if labels[0] == launch_id.campaign:
                    maker.add(source, at_ms, labels, values)
        records[hour_key(launch_id, number)] = encode_hour(maker.make())
    return records
