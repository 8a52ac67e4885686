"""What a visitor's sessions are: sort the events, then walk along them once."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.reference.model import (
    DIMENSIONS,
    MINUTE,
    S10,
    SECOND,
    Cells,
    Dims,
    Event,
    Json,
    Rules,
    add,
    day_of,
    next_day_start,
    read_all,
)

INTERACTIONS = ("page_view", "action", "conversion")
AGES_MS = {"1m": MINUTE, "5m": 5 * MINUTE, "15m": 15 * MINUTE, "30m": 30 * MINUTE}
SHORT_MS = 10 * SECOND
Key = tuple[int, bool, str]


@dataclass(frozen=True)
class SessionTruth:
    """One session as it stands; `due_ms` is the last instant of an event that could change it."""

    visitor: str
    session_id: str | None
    first_ms: int
    last_ms: int
    page_views: int
    actions: int
    conversions: int
    value_micros: int
    dims: Dims
    second_interaction_delay_ms: int | None
    first_conversion_delay_ms: int | None
    ended: bool
    due_ms: int
    members: tuple[Key, ...] = field(repr=False)
    """Keys of all events that joined it, pings and its end too; the first opened it."""

    @property
    def interactions(self) -> int:
        """How many things the visitor did."""
        return self.page_views + self.actions + self.conversions

    @property
    def duration_ms(self) -> int:
        """From the first to the last interaction."""
        return self.last_ms - self.first_ms

    def bounced(self, rule: str) -> bool:
        """Whether it is a bounce under one of the four rules."""
        short = self.duration_ms < SHORT_MS
        if rule == "single":
            return self.interactions == 1
        if rule == "ga4":
            return short and self.page_views < 2 and self.conversions == 0
        if rule == "posthog":
            return self.page_views == 1 and self.interactions == 1 and short
        if rule == "matomo":
            return self.page_views + self.actions == 1
        raise ValueError(rule)

    def fields(self) -> dict[str, int]:
        """What it adds to the cells of its first interaction."""
        found = {
            "sessions": 1,
            "single_interaction": int(self.bounced("single")),
            "bounced_ga4": int(self.bounced("ga4")),
            "with_page_view": int(self.page_views > 0),
            "bounced_posthog": int(self.bounced("posthog")),
            "bounced_matomo": int(self.bounced("matomo")),
            "converted": int(self.conversions > 0),
            "page_views": self.page_views,
            "duration_ms": self.duration_ms,
            "conversions": self.conversions,
            "value_micros": self.value_micros,
        }
        for name, age_ms in AGES_MS.items():
            found[f"converted_within_{name}"] = _within(self.first_conversion_delay_ms, age_ms)
            found[f"engaged_within_{name}"] = _within(self.second_interaction_delay_ms, age_ms)
        return found


def _within(delay_ms: int | None, age_ms: int) -> int:
    return int(delay_ms is not None and delay_ms <= age_ms)


@dataclass
class _Session:
    """A session while the walk goes on."""

    session_id: str | None
    interactions: list[Event]
    members: list[Event]
    activity_ms: int
    ended_ms: int | None = None

    @property
    def first(self) -> Event:
        return self.interactions[0]

    @property
    def last(self) -> Event:
        return self.interactions[-1]

    def timeout_ms(self, rules: Rules) -> int:
        given = self.session_id is not None
        return rules.session_id_timeout_ms if given else rules.session_timeout_ms

    def within_timeout(self, t: int, rules: Rules) -> bool:
        return self.ended_ms is None and t - self.activity_ms <= self.timeout_ms(rules)

    def capped(self, t: int, rules: Rules) -> bool:
        """Whether an event at `t` is beyond the longest, fullest or the day of the session."""
        other_day = day_of(t, rules.timezone) != day_of(self.first.t, rules.timezone)
        return (
            t - self.first.t > rules.session_max_ms
            or len(self.interactions) >= rules.session_max_interactions
            or (rules.session_split_midnight and other_day)
        )

    def due_ms(self, rules: Rules) -> int:
        if self.ended_ms is not None:
            return self.ended_ms
        if len(self.interactions) >= rules.session_max_interactions:
            return self.last.t
        due = min(self.activity_ms + self.timeout_ms(rules), self.first.t + rules.session_max_ms)
        if rules.session_split_midnight:
            due = min(due, next_day_start(self.first.t, rules.timezone) - 1)
        return due


def key_of(event: Event) -> Key:
    """The order of session events: by time, an `end` last, then by id."""
    return (event.t, event.type == "end", event.id)


def sessions_of(events: Iterable[Json], rules: Rules) -> list[SessionTruth]:
    """All events of a partition, in any order, none late, none twice -> its sessions."""
    return sessions_from(read_all("sessions", events), rules)


def sessions_from(events: Iterable[Event], rules: Rules) -> list[SessionTruth]:
    """The same from events that are read already."""
    visitors: dict[str, list[Event]] = {}
    for event in events:
        visitors.setdefault(event.owner, []).append(event)
    return [
        _truth(session, rules)
        for _, own in sorted(visitors.items())
        for session in _walk(sorted(own, key=key_of), rules)
    ]


def _walk(events: list[Event], rules: Rules) -> list[_Session]:
    """One visitor's events, sorted -> the sessions, in the order of their first interactions."""
    sessions: list[_Session] = []
    for event in events:
        session = _joined(sessions, event, rules)
        if session is None and event.type in INTERACTIONS:
            sessions.append(_Session(event.get("session_id"), [event], [event], event.t))
        elif session is not None:
            session.members.append(event)
            session.activity_ms = event.t
            if event.type in INTERACTIONS:
                session.interactions.append(event)
            elif event.type == "end":
                session.ended_ms = event.t
    return sessions


def _joined(sessions: list[_Session], event: Event, rules: Rules) -> _Session | None:
    """The session that the event belongs to; None: to none of them."""
    given = event.get("session_id")
    candidates = [
        session
        for session in sessions
        if session.within_timeout(event.t, rules) and given in (None, session.session_id)
    ]
    if not candidates:
        return None
    nearest = max(candidates, key=lambda session: key_of(session.last))
    return None if nearest.capped(event.t, rules) else nearest


def _truth(session: _Session, rules: Rules) -> SessionTruth:
    first, interactions = session.first, session.interactions
    conversions = [event for event in interactions if event.type == "conversion"]
    return SessionTruth(
        visitor=first.owner,
        session_id=session.session_id,
        first_ms=first.t,
        last_ms=session.last.t,
        page_views=sum(event.type == "page_view" for event in interactions),
        actions=sum(event.type == "action" for event in interactions),
        conversions=len(conversions),
        value_micros=sum(event.money("value") for event in conversions),
        dims=first.dims(DIMENSIONS["sessions"]),
        second_interaction_delay_ms=(
            interactions[1].t - first.t if len(interactions) > 1 else None
        ),
        first_conversion_delay_ms=conversions[0].t - first.t if conversions else None,
        ended=session.ended_ms is not None,
        due_ms=session.due_ms(rules),
        members=tuple(key_of(event) for event in session.members),
    )


def count_session(cells: Cells, session: SessionTruth, zone: str, *, live: bool) -> None:
    """Adds one session to the cells; only live ones tell that it is active."""
    add(cells, session.first_ms, session.dims, session.fields(), zone)
    if live and not session.ended:
        add(cells, session.last_ms, session.dims, {"active": 1}, zone, (S10,))
