"""What a ticket's figures are: sort the events, then ask one question after the other.

A figure may rest only on what happened up to the instant at which it settles. So whatever arrives
in time gives the same answer in any order: the first resolution looks at the history up to the end
of its reopen window, the first response at the history up to that contact. What a ticket is now
(open, and awaiting its customer) is what its whole history comes to.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.reference.model import (
    DIMENSIONS,
    NOT_SET,
    TYPES,
    Cells,
    Dims,
    Event,
    Json,
    Rules,
    add,
    read_all,
)

NEVER = 10**18
Key = tuple[int, int, str, str, str, int]


@dataclass(frozen=True)
class Resolution:
    """The first resolution, and what made it (or not) one at first contact."""

    at_ms: int
    due_ms: int
    opened_ms: int | None
    dims: Dims
    reopened: bool
    single_contact: bool
    no_reassignment: bool
    no_customer_wait: bool
    key: Key

    @property
    def cell(self) -> str:
        """The field of the three conditions."""
        held = (self.single_contact, self.no_reassignment, self.no_customer_wait)
        return "first_contact_" + "".join(str(int(one)) for one in held)

    def fields(self) -> dict[str, int]:
        """What it adds to the cells of the first resolution."""
        if self.opened_ms is None:
            return {"incomplete": 1}
        found = {"resolved": 1, "first_resolution_ms": max(0, self.at_ms - self.opened_ms)}
        return found if self.reopened else {**found, self.cell: 1}


@dataclass(frozen=True)
class Latest:
    """The latest resolution of the chain."""

    at_ms: int
    due_ms: int


@dataclass(frozen=True)
class Answer:
    """The first contact by an agent at or after opening."""

    at_ms: int
    opened_ms: int
    dims: Dims

    @property
    def due_ms(self) -> int:
        """It settles at once when the watermark passes it."""
        return self.at_ms


@dataclass
class Settled:
    """What can no longer change of one ticket."""

    resolution: Resolution | None = None
    latest: Latest | None = None
    answer: Answer | None = None
    passed: set[Key] = field(default_factory=set)
    """Contacts by agents that the watermark has passed and that were no answer then."""

    @property
    def over(self) -> bool:
        """Whether no resolution can come of the ticket any more."""
        if self.resolution is None:
            return False
        return self.resolution.opened_ms is None or self.latest is not None


@dataclass(frozen=True)
class Now:
    """What a ticket is now."""

    is_open: bool
    awaits_customer: bool
    since_ms: int
    dims: Dims

    def fields(self) -> dict[str, int]:
        """What it adds to the backlog, which knows no time."""
        return {"open": int(self.is_open), "awaiting": int(self.awaits_customer)}


@dataclass(frozen=True)
class TicketTruth:
    """One ticket as it stands."""

    ticket: str
    opened_ms: int | None
    first_resolution: Resolution | None
    latest_resolution: Latest | None
    first_response: Answer | None
    now: Now

    @property
    def incomplete(self) -> bool:
        """Resolved, but its opening was never seen."""
        return self.first_resolution is not None and self.first_resolution.opened_ms is None


def key_of(event: Event) -> Key:
    """The order of ticket events: by time, then by type, then by what they say.

    Where they say the same, their order makes no difference.
    """
    by = event.get("by") or "" if event.type == "contact" else ""
    channel, team = event.dims(DIMENSIONS["tickets"])
    told = event.instant("opened_at")
    rank = TYPES["tickets"].index(event.type)
    return (event.t, rank, by, channel, team, NEVER if told is None else told)


def tickets_of(events: Iterable[Json], rules: Rules) -> list[TicketTruth]:
    """All events of a partition, in any order, none twice -> its tickets.

    After a silence longer than the retention the same id is another ticket.
    """
    tickets: dict[str, list[list[Event]]] = {}
    for event in sorted(read_all("tickets", events), key=key_of):
        runs = tickets.setdefault(event.owner, [])
        if not runs or event.t - runs[-1][-1].t > rules.ticket_retention_ms:
            runs.append([])
        runs[-1].append(event)
    return [ticket_of(run, rules, Settled()) for _, runs in sorted(tickets.items()) for run in runs]


def ticket_of(events: list[Event], rules: Rules, settled: Settled) -> TicketTruth:
    """One ticket's events in any order -> the ticket; what has settled stays as it is."""
    history = sorted(events, key=key_of)
    first = settled.resolution or _first_resolution(history, rules)
    latest = settled.latest or (_latest_resolution(history, first, rules) if first else None)
    answer = settled.answer or _first_response(history, first, settled)
    opened = first.opened_ms if first else _opening(history)
    return TicketTruth(history[0].owner, opened, first, latest, answer, _now(history, opened))


def _now(history: list[Event], opened: int | None) -> Now:
    """Plays the whole history: only `opened` and `reopened` open again what was closed."""
    is_open, awaits = True, False
    for event in history:
        if event.type in ("opened", "reopened"):
            is_open = True
        elif event.type in ("resolved", "closed"):
            is_open = False
        awaits = is_open and event.type == "awaiting_customer"
    since = history[0].t if opened is None else opened
    return Now(is_open, awaits, min(since, history[-1].t), _dims_at(history, history[-1]))


def comes_too_late(event: Event, history: list[Event], settled: Settled, watermark: int) -> bool:
    """Whether an event changes nothing: its ticket is over, and later events have passed."""
    passed = [other.t for other in history if other.t < watermark]
    return settled.over and event.t < watermark and max(passed, default=event.t - 1) >= event.t


def _opening(history: list[Event]) -> int | None:
    """The earliest `opened`, or else the earliest `opened_at` that any event carries."""
    opened = [event.t for event in history if event.type == "opened"]
    if opened:
        return min(opened)
    told = [event.instant("opened_at") for event in history]
    return min((t for t in told if t is not None), default=None)


def _up_to(history: list[Event], t: int) -> list[Event]:
    return [event for event in history if event.t <= t]


def _dims_at(history: list[Event], here: Event) -> Dims:
    """The channel and the team named last, up to this event and by itself."""
    before = [event for event in history if key_of(event) <= key_of(here)]
    found = []
    for name in DIMENSIONS["tickets"]:
        named = [text for event in before if (text := event.get(name)) is not None]
        found.append(named[-1] if named else NOT_SET)
    return tuple(found)


def _first_resolution(history: list[Event], rules: Rules) -> Resolution | None:
    first = next((event for event in history if event.type == "resolved"), None)
    if first is None:
        return None
    due = first.t + rules.fcr_reopen_window_ms
    known = _up_to(history, due)
    opened = _opening(known)
    customer = [event for event in known if event.type == "contact"]
    customer = [event for event in customer if event.get("by") == "customer"]
    types = {event.type for event in known}
    return Resolution(
        at_ms=first.t,
        due_ms=due,
        opened_ms=opened,
        dims=_dims_at(history, first),
        reopened=any(event.type == "reopened" and key_of(event) > key_of(first) for event in known),
        # `opened` goes before all else of its instant, so "after" is "not before" here.
        single_contact=not any(opened is not None and event.t >= opened for event in customer),
        no_reassignment="reassigned" not in types,
        no_customer_wait="awaiting_customer" not in types,
        key=key_of(first),
    )


def _latest_resolution(history: list[Event], first: Resolution, rules: Rules) -> Latest:
    """Goes along the resolutions until one comes more than the window after the one before."""
    latest = first.at_ms
    for event in history:
        if event.type != "resolved" or key_of(event) <= first.key:
            continue
        if event.t - latest > rules.fcr_reopen_window_ms:
            break
        latest = event.t
    return Latest(latest, latest + rules.fcr_reopen_window_ms)


def _agent_contacts(history: list[Event]) -> list[Event]:
    contacts = [event for event in history if event.type == "contact"]
    return [event for event in contacts if event.get("by") == "agent"]


def _first_response(
    history: list[Event], first: Resolution | None, settled: Settled
) -> Answer | None:
    """The first contact by an agent since opening, if the opening was known by then."""
    contacts = _agent_contacts(history)
    for number, contact in enumerate(contacts):
        opened = _opening_known_at(contact.t, history, first, settled)
        if opened is None or contact.t < opened or key_of(contact) in settled.passed:
            continue
        # An earlier one since opening was the first; it passed unanswerable and stays so.
        if not any(earlier.t >= opened for earlier in contacts[:number]):
            return Answer(contact.t, opened, _dims_at(history, contact))
    return None


def _opening_known_at(
    t: int, history: list[Event], first: Resolution | None, settled: Settled
) -> int | None:
    """A ticket that was incomplete at the end of its reopen window stays so for good."""
    if settled.resolution is not None:
        return settled.resolution.opened_ms
    return _opening(_up_to(history, min(t, first.due_ms) if first else t))


def settle(ticket: TicketTruth, events: list[Event], settled: Settled, watermark: int) -> None:
    """Notes what the watermark has passed of the ticket."""
    first, latest, answer = ticket.first_resolution, ticket.latest_resolution, ticket.first_response
    if first is not None and first.due_ms < watermark:
        settled.resolution = settled.resolution or first
    if latest is not None and latest.due_ms < watermark:
        settled.latest = settled.latest or latest
    if answer is not None and answer.due_ms < watermark:
        settled.answer = settled.answer or answer
    if settled.answer is None:
        passed = [event for event in _agent_contacts(events) if event.t < watermark]
        settled.passed.update(key_of(event) for event in passed)


def count_ticket(
    cells: Cells,
    zone: str,
    resolution: Resolution | None,
    latest: Latest | None,
    answer: Answer | None,
) -> None:
    """Adds the three figures of one ticket to the cells."""
    if resolution is not None:
        add(cells, resolution.at_ms, resolution.dims, resolution.fields(), zone)
    if resolution is not None and latest is not None and resolution.opened_ms is not None:
        took = max(0, latest.at_ms - resolution.opened_ms)
        fields = {"resolved_latest": 1, "resolution_ms": took}
        add(cells, latest.at_ms, resolution.dims, fields, zone)
    if answer is not None:
        fields = {"answered": 1, "first_response_ms": max(0, answer.at_ms - answer.opened_ms)}
        add(cells, answer.at_ms, answer.dims, fields, zone)
