"""The worked examples of docs/metrics.md, as data: one for each metric.

Owns the events and the figures that they give, worked out by hand. `tools.metrics_doc` prints them
and a test sends them through the core, so the page cannot tell anything else than what happens.
Knows nothing of the core.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

_DAY_1 = datetime(2026, 3, 2, tzinfo=UTC)
_OWNERS = {"clicks": "visitor_id", "sessions": "visitor_id", "tickets": "ticket_id"}


def moment_ms(text: str) -> int:
    """`10:00:05` or `day 2 09:00` as epoch milliseconds (UTC); without a day it is day 1."""
    day, _, clock = text.removeprefix("day ").rpartition(" ")
    hours, minutes, *seconds = map(int, clock.split(":"))
    passed = timedelta(days=int(day or 1) - 1, hours=hours, minutes=minutes, seconds=sum(seconds))
    return int((_DAY_1 + passed).timestamp()) * 1000


def fraction(text: str) -> tuple[int, int]:
    """`1/2` as numerator and denominator; the empty text is no value: `0/0`."""
    numerator, _, denominator = (text or "0/0").partition("/")
    return int(numerator), int(denominator)


@dataclass(frozen=True, slots=True)
class Step:
    """An event, and the figures after it.

    `what` is the type, whose it is, and fields, `page_view ann session_id=s1`; empty where nothing
    comes and time goes by. `sent` is the record's time where it is another than the event's;
    `again` repeats the event of that number, id and all. `outcome` is what becomes of the record.
    """

    at: str
    what: str
    live: str
    settled: str = ""
    note: str = ""
    sent: str = ""
    again: int = 0
    outcome: str = "counted"


@dataclass(frozen=True, slots=True)
class Example:
    """Steps of one partition in the order of the log, under the default rules.

    `others` holds what other choices of `bounce`, `fcr` or `age` give after the last step.
    """

    topic: str
    steps: tuple[Step, ...]
    others: dict[str, str] = field(default_factory=dict)

    def event(self, number: int) -> dict[str, object]:
        """The event of a step, counted from 1, as JSON would hold it."""
        step = self.steps[number - 1]
        if step.again:
            return self.event(step.again)
        kind, owner, *pairs = step.what.split()
        event: dict[str, object] = {
            "event_id": f"e{number}",
            "type": kind,
            "timestamp": moment_ms(step.at),
            _OWNERS[self.topic]: owner,
        }
        for name, _, value in (pair.partition("=") for pair in pairs):
            event[name] = moment_ms(value) if name == "opened_at" else value
        return event


_CTR = Example(
    "clicks",
    (
        Step("10:00:00", "impression ann campaign=spring", "0/1"),
        Step("10:00:01", "impression bob campaign=spring", "0/2"),
        Step("10:00:05", "click ann campaign=spring", "1/2"),
        Step(
            "10:00:05",
            "click ann campaign=spring",
            "1/2",
            note="event 3 sent again: a duplicate",
            sent="10:00:40",
            again=3,
            outcome="duplicate",
        ),
        Step("10:00:20", "impression cat", "1/3", note="no campaign: `(not set)`"),
        Step("10:20:00", "click bob campaign=spring", "2/3", note="in the bucket of the click"),
        Step(
            "10:02:00",
            "impression dan campaign=spring",
            "2/4",
            note="19 minutes late, counts in the bucket of 10:02; too old to be checked for a copy",
            sent="10:21:00",
            outcome="unchecked",
        ),
    ),
)

_BOUNCE_RATE = Example(
    "sessions",
    (
        Step("10:00:00", "page_view ann", "1/1", note="a bounce until a second thing happens"),
        Step("10:00:05", "action ann", "0/1", note="taken back in the bucket of 10:00:00"),
        Step("10:01:00", "page_view bob", "1/2"),
        Step("10:01:30", "ping bob", "1/2", note="no interaction"),
        Step("10:02:00", "page_view cat", "2/3"),
        Step("10:02:03", "conversion cat", "1/3"),
        Step("10:45:00", "page_view dan", "2/4", "1/3", "watermark 10:35: three have timed out"),
        Step(
            "10:20:00",
            "page_view eve",
            "2/4",
            "1/3",
            "behind the watermark and no session open: late",
            sent="10:46:00",
            outcome="late",
        ),
        Step("11:30:00", "", "2/4", "2/4", "dan has timed out too"),
    ),
    {"bounce=ga4": "3/4", "bounce=posthog": "2/4", "bounce=matomo": "3/4", "age=1m": "2/4"},
)

_CONVERSION_RATE = Example(
    "sessions",
    (
        Step("10:00:00", "page_view ann", "0/1"),
        Step("10:05:00", "page_view bob", "0/2"),
        Step("10:12:00", "conversion ann", "1/2", note="counts in the bucket of 10:00:00"),
        Step("10:13:00", "conversion ann", "1/2", note="the same session, once"),
        Step("10:14:00", "conversion cat", "2/3", note="a session without a page view"),
        Step("10:30:00", "conversion bob", "3/3", note="25 minutes later, within the time-out"),
        Step("10:31:00", "page_view dan", "3/4"),
        Step("11:15:00", "", "3/4", "3/4", "all have timed out"),
    ),
    {"age=5m": "1/4", "age=15m": "2/4", "age=30m": "3/4"},
)

_PAGES_PER_SESSION = Example(
    "sessions",
    (
        Step("10:00:00", "page_view ann session_id=s1", "1/1"),
        Step("10:01:00", "page_view ann session_id=s1", "2/1"),
        Step("10:02:00", "page_view ann", "3/1", note="no `session_id`: joins s1"),
        Step("10:03:00", "page_view ann session_id=s2", "4/2", note="another id, another session"),
        Step("10:04:00", "action bob", "4/3", note="a session without a page view"),
        Step(
            "10:01:00",
            "page_view ann session_id=s1",
            "4/3",
            note="event 2 sent again: a duplicate",
            sent="10:06:00",
            again=2,
            outcome="duplicate",
        ),
        Step("10:50:00", "page_view ann", "5/4", "4/3", "47 minutes after s2: a new session"),
        Step("11:40:00", "", "5/4", "5/4"),
    ),
)

_SESSION_DURATION = Example(
    "sessions",
    (
        Step("10:00:00", "page_view ann", "0/1"),
        Step("10:00:40", "page_view ann", "40/1"),
        Step("10:01:00", "page_view bob", "40/2", note="one interaction lasts 0 s"),
        Step("10:05:00", "ping bob", "40/2", note="keeps the session open, adds nothing"),
        Step(
            "10:04:00",
            "action ann",
            "240/2",
            note="two minutes late, within the lateness",
            sent="10:06:00",
        ),
        Step("10:07:00", "end ann", "240/2", note="closes the session, adds nothing"),
        Step("10:08:00", "page_view ann", "240/3", note="after the end: a new session"),
        Step("10:25:00", "", "240/3", "240/1", "settled by its `end`; the others are still open"),
        Step("11:00:00", "", "240/3", "240/3"),
    ),
)

_FCR = Example(
    "tickets",
    (
        Step("day 1 09:00", "opened T1", ""),
        Step("day 1 09:10", "resolved T1", "1/1", note="first contact until it is reopened"),
        Step("day 1 10:00", "opened T2", "1/1"),
        Step("day 1 10:05", "contact T2 by=customer", "1/1"),
        Step("day 1 11:00", "resolved T2", "1/2", note="the customer had to write again"),
        Step("day 2 09:00", "opened T3", "1/2"),
        Step("day 2 09:30", "reassigned T3", "1/2"),
        Step("day 2 10:00", "resolved T3", "2/3", note="`single_contact` allows the reassignment"),
        Step("day 3 09:00", "reopened T1", "1/3", note="within 72h: taken back, on day 1"),
        Step("day 4 12:00", "resolved T4", "1/3", "0/2", "never opened: incomplete, not counted"),
        Step("day 5 12:00", "reopened T3", "1/3", "1/3", "74 hours later: changes nothing"),
    ),
    {
        "fcr=none": "2/3",
        "fcr=no_reassignment": "1/3",
        "fcr=no_customer_wait": "2/3",
        "fcr=single_contact,no_reassignment": "0/3",
    },
)

_FIRST_RESPONSE_TIME = Example(
    "tickets",
    (
        Step("09:00", "opened T1", ""),
        Step("09:01", "contact T1 by=customer", "", note="not by an agent"),
        Step("09:04", "contact T1 by=agent", "240/1", note="four minutes after opening"),
        Step("09:05", "opened T2", "240/1"),
        Step("09:06", "resolved T2", "240/1", note="resolved without an answer: not counted"),
        Step("09:30", "contact T1 by=agent", "240/1", "240/1", "only the first counts"),
        Step(
            "09:02",
            "contact T1 by=agent",
            "240/1",
            "240/1",
            "an earlier contact, but 09:04 has settled",
            sent="09:31",
            outcome="unchecked",
        ),
        Step("09:35", "opened T3", "240/1", "240/1"),
        Step("10:35", "contact T3 by=agent", "3840/2", "240/1"),
        Step("10:50", "", "3840/2", "3840/2"),
    ),
)

_FIRST_RESOLUTION_TIME = Example(
    "tickets",
    (
        Step("day 1 09:00", "opened T1", ""),
        Step("day 1 10:00", "resolved T1", "3600/1"),
        Step("day 1 12:00", "resolved T2 opened_at=08:00", "18000/2", note="`opened_at` will do"),
        Step("day 2 09:00", "reopened T1", "18000/2"),
        Step("day 2 11:00", "resolved T1", "18000/2", note="the second resolution"),
        Step(
            "day 1 09:30",
            "resolved T1",
            "16200/2",
            note="a day late, and now the first: it replaces 10:00",
            sent="day 2 11:30",
            outcome="unchecked",
        ),
        Step("day 4 10:30", "opened T3", "16200/2", "1800/1", "72h after 09:30 have passed"),
        Step("day 4 13:00", "", "16200/2", "16200/2"),
    ),
)

_RESOLUTION_TIME = Example(
    "tickets",
    (
        Step("day 1 09:00", "opened T1", ""),
        Step("day 1 10:00", "resolved T1", "3600/1"),
        Step("day 2 09:00", "reopened T1", "3600/1", note="stands until it is resolved again"),
        Step("day 2 11:00", "resolved T1", "93600/1", note="26 hours, moved to day 2"),
        Step("day 4 10:00", "opened T2", "93600/1"),
        Step("day 4 10:10", "resolved T2", "94200/2"),
        Step("day 5 11:30", "resolved T1", "94200/2", "93600/1", "72.5 hours later: no change"),
        Step("day 7 11:00", "", "94200/2", "94200/2"),
    ),
)

EXAMPLES = {
    "ctr": _CTR,
    "bounce_rate": _BOUNCE_RATE,
    "conversion_rate": _CONVERSION_RATE,
    "pages_per_session": _PAGES_PER_SESSION,
    "session_duration": _SESSION_DURATION,
    "fcr": _FCR,
    "first_response_time": _FIRST_RESPONSE_TIME,
    "first_resolution_time": _FIRST_RESOLUTION_TIME,
    "resolution_time": _RESOLUTION_TIME,
}
