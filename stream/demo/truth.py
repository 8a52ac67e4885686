"""The truth of what the simulator sent: what must become of each record, and plain sums.

Counts what was sent, record by record, by another way than the system under test: whole sessions
and tickets, known from their planning. Pure. Sums hold under default settings (and under every
bounce rule), as `live` values once all is read.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping

from stream.core.catalogue import NOT_SET
from stream.core.durations import HOUR_MS
from stream.demo.faults import Record
from stream.demo.people import Event, Session, Ticket

INTERACTIONS = ("page_view", "action", "conversion")
REOPEN_WINDOW_MS = 72 * HOUR_MS
GA4_ENGAGED_MS = 10_000

Groups = defaultdict[str, Counter[str]]


class Truth:
    """Feed it every record that is sent; `report` gives the sums so far."""

    def __init__(self) -> None:
        self.records = 0
        self._outcomes: Groups = defaultdict(Counter)
        self._dead_letters: Groups = defaultdict(Counter)
        self._groups: dict[str, Groups] = {
            topic: defaultdict(Counter) for topic in ("clicks", "sessions", "tickets")
        }
        self._from_ms: int | None = None
        self._to_ms: int | None = None

    def add(self, record: Record) -> None:
        """Count one sent record."""
        self.records += 1
        self._outcomes[record.topic][record.outcome] += 1
        if record.reason is not None:
            self._dead_letters[record.topic][record.reason] += 1
        if record.event is not None:
            self._add_event(record.event)

    def report(self) -> dict[str, object]:
        """All of it, ready for JSON."""
        return {
            "records": self.records,
            "from_ms": self._from_ms,
            "to_ms": self._to_ms,
            "outcomes": _plain(self._outcomes),
            "dead_letters": _plain(self._dead_letters),
            "clicks_by_campaign": _plain(self._groups["clicks"]),
            "sessions_by_campaign": _plain(self._groups["sessions"]),
            "tickets_by_team": _plain(self._groups["tickets"]),
        }

    def _add_event(self, event: Event) -> None:
        time_ms, kind = event.time_ms, str(event.body["type"])
        self._from_ms = time_ms if self._from_ms is None else min(self._from_ms, time_ms)
        self._to_ms = time_ms if self._to_ms is None else max(self._to_ms, time_ms)
        groups = self._groups[event.topic]
        if isinstance(event.item, Session):
            sums = groups[event.item.campaign or NOT_SET]
            sums.subtract(session_sums(event.item))
            event.item.happened.append((time_ms, kind))
            sums.update(session_sums(event.item))
        elif isinstance(event.item, Ticket):
            for team, old in ticket_sums(event.item).items():
                groups[team].subtract(old)
            by, team_then = event.body.get("by"), str(event.body["team"])
            event.item.happened.append((time_ms, kind, str(by), team_then))
            for team, new in ticket_sums(event.item).items():
                groups[team].update(new)
        else:
            groups[str(event.body.get("campaign", NOT_SET))][f"{kind}s"] += 1


def session_sums(session: Session) -> Counter[str]:
    """What one session adds to its campaign; nothing before its first interaction."""
    kinds = Counter(kind for _, kind in session.happened if kind in INTERACTIONS)
    count = kinds.total()
    if not count:
        return Counter()
    times = [time_ms for time_ms, kind in session.happened if kind in INTERACTIONS]
    duration_ms = max(times) - min(times)
    pages, conversions = kinds["page_view"], kinds["conversion"]
    return Counter(
        sessions=1,
        page_views=pages,
        conversions=conversions,
        converted=int(conversions > 0),
        duration_ms=duration_ms,
        bounced_single=int(count == 1),
        bounced_ga4=int(duration_ms < GA4_ENGAGED_MS and pages < 2 and not conversions),
        with_page_view=int(pages > 0),
        bounced_posthog=int(count == 1 and pages == 1),
        bounced_matomo=int(pages + kinds["action"] == 1),
    )


def ticket_sums(ticket: Ticket) -> Mapping[str, Counter[str]]:
    """What one ticket adds, by team; nothing while its opening was not sent."""
    happened = sorted(ticket.happened)
    opened = next((time_ms for time_ms, kind, *_ in happened if kind == "opened"), None)
    sums: dict[str, Counter[str]] = {}
    if opened is None:
        return sums
    for _, kind, by, team in happened:
        if kind == "contact" and by == "agent":
            sums[team] = Counter(answered=1)
            break
    for first_ms, kind, _, team in happened:
        if kind == "resolved":
            until_ms = first_ms + REOPEN_WINDOW_MS
            spoiled = any(
                (later == "reopened" and first_ms < time_ms <= until_ms)
                or (later == "contact" and by == "customer" and opened < time_ms <= until_ms)
                for time_ms, later, by, _ in happened
            )
            sums.setdefault(team, Counter()).update(resolved=1, first_contact=int(not spoiled))
            break
    return sums


def _plain(groups: Groups) -> dict[str, dict[str, int]]:
    return {
        name: {field: count for field, count in sorted(sums.items()) if count}
        for name, sums in sorted(groups.items())
    }
