"""Traffic whose outcome is known: what is sent, when, and what must become of it. Pure.

A person sees advertisements, clicks, has visits; a ticket has its life. Beside good records there
are late-sent ones, repetitions, clicks older than the dedupe horizon, and records for the dead
letters. Written apart from the product and its simulator, so that both can be wrong only by
themselves.
"""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush
from random import Random
from typing import Any

CAMPAIGNS = ("spring", "summer", "autumn", "winter", "été", None)
CHANNELS = ("email", "social", "search", None)
TEAMS = ("billing", "returns", "fitting", "delivery")
GAP_MS = 4_000
"""No longer between two things that belong together; the chaos rules' time-outs are far longer."""
HOUR_MS, DAY_MS = 3_600_000, 86_400_000
UNSET = "(not set)"


@dataclass(slots=True, eq=False)
class Visit:
    """A session, as far as its events have been acknowledged."""

    campaign: str
    left: int
    pages: int = 0
    actions: int = 0
    conversions: int = 0
    first_ms: int = 0
    last_ms: int = 0

    def take(self, kind: str, at_ms: int) -> None:
        self.left -= 1
        if kind in ("ping", "end"):
            return
        if not self.interactions:
            self.first_ms = self.last_ms = at_ms
        self.first_ms, self.last_ms = min(self.first_ms, at_ms), max(self.last_ms, at_ms)
        self.pages += kind == "page_view"
        self.actions += kind == "action"
        self.conversions += kind == "conversion"

    @property
    def interactions(self) -> int:
        return self.pages + self.actions + self.conversions

    def sums(self) -> Iterator[tuple[str, str, int]]:
        if self.interactions:
            yield "sessions", self.campaign, 1
            yield "page_views", self.campaign, self.pages
            yield "bounced", self.campaign, int(self.interactions == 1)
            yield "converted", self.campaign, int(self.conversions > 0)
            yield "duration_ms", self.campaign, self.last_ms - self.first_ms


@dataclass(slots=True, eq=False)
class Ticket:
    """A ticket, as far as its events have been acknowledged. Its team never changes."""

    team: str
    left: int
    opened_ms: int = 0
    answered_ms: int | None = None
    resolved_ms: int | None = None
    spoiled: bool = False

    def take(self, kind: str, at_ms: int) -> None:
        self.left -= 1
        if kind == "opened":
            self.opened_ms = at_ms
        elif kind == "answer" and self.answered_ms is None:
            self.answered_ms = at_ms
        elif kind == "resolved" and self.resolved_ms is None:
            self.resolved_ms = at_ms
        elif kind in ("asked", "reopened"):
            self.spoiled = True

    def sums(self) -> Iterator[tuple[str, str, int]]:
        if self.answered_ms is not None:
            yield "answered", self.team, 1
            yield "first_response_ms", self.team, self.answered_ms - self.opened_ms
        if self.resolved_ms is not None:
            yield "resolved", self.team, 1
            yield "first_contact", self.team, int(not self.spoiled)
            yield "first_resolution_ms", self.team, self.resolved_ms - self.opened_ms


@dataclass(slots=True)
class Shot:
    """One record to send. `dead` is the reason of its dead letter, `copy` marks a repetition."""

    topic: str
    key: bytes | None
    value: bytes | None
    at_ms: int = 0
    kind: str = ""
    label: str = ""
    item: Visit | Ticket | None = None
    dead: str = ""
    copy: bool = False


@dataclass(slots=True)
class Truth:
    """Sums by name and label over everything that Kafka has acknowledged."""

    records: int = 0
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    _open: set[Visit | Ticket] = field(default_factory=set)

    def add(self, shot: Shot) -> None:
        self.records += 1
        self.outcomes[shot.dead or ("duplicate" if shot.copy else "counted")] += 1
        if shot.dead or shot.copy:
            return
        item = shot.item
        if item is None:
            self.counts[f"{shot.kind}s", shot.label] += 1
            return
        item.take(shot.kind, shot.at_ms)
        if item.left:
            self._open.add(item)
        else:
            self._open.discard(item)
            self._close(item, self.counts)

    def report(self) -> Counter[tuple[str, str]]:
        counts = self.counts.copy()
        for item in self._open:
            self._close(item, counts)
        return Counter({key: n for key, n in counts.items() if n})

    def _close(self, item: Visit | Ticket, counts: Counter[tuple[str, str]]) -> None:
        for name, label, n in item.sums():
            counts[name, label] += n


class Traffic:
    """Makes shots in time; `due` gives those whose moment has come."""

    def __init__(self, seed: int, rate: float) -> None:
        self._rng = Random(f"chaos/{seed}")
        self._run = f"{self._rng.getrandbits(32):08x}"
        self._per_ms = rate / 1000 / 5.4  # about so many records come of one arrival
        self._number = 0
        self._waiting: list[tuple[int, int, Shot]] = []
        self._last_ms = 0
        self._owed = 0.0

    def due(self, now_ms: int) -> Iterator[Shot]:
        """What has to be sent by now, in order. A pause of the sender is not made up for."""
        self._owed += self._per_ms * min(now_ms - self._last_ms, 200)
        self._last_ms = now_ms
        while self._owed >= 1:
            self._owed -= 1
            self._arrive(now_ms)
        while self._waiting and self._waiting[0][0] <= now_ms:
            yield heappop(self._waiting)[2]

    def _arrive(self, now_ms: int) -> None:
        rng = self._rng
        visitor = self._name("v")
        labels = {"campaign": rng.choice(CAMPAIGNS), "channel": rng.choice(CHANNELS)}
        at_ms = now_ms
        for _ in range(rng.randrange(1, 4)):
            self._click(visitor, labels, "impression", at_ms)
            at_ms += rng.randrange(50, 1_500)
        if rng.random() < 0.4:
            self._click(visitor, labels, "click", at_ms)
        if rng.random() < 0.45:
            self._visit(visitor, labels, at_ms + rng.randrange(10, 500))
        if rng.random() < 0.06:
            self._ticket(at_ms)

    def _click(self, visitor: str, labels: dict[str, Any], kind: str, at_ms: int) -> None:
        body = {"visitor_id": visitor, **labels}
        self._good("clicks", visitor, body, kind, at_ms, label=labels["campaign"] or UNSET)
        roll = self._rng.random()
        if roll < 0.004:  # older than the horizon: nobody can say whether it came before
            old_ms = at_ms - HOUR_MS // 4 - self._rng.randrange(HOUR_MS // 2)
            shot = self._shot("clicks", visitor, body, kind, old_ms)
            shot.label = labels["campaign"] or UNSET
            self._push(at_ms, shot)
        elif roll < 0.010:
            self._bad("clicks", visitor, body, kind, at_ms)

    def _visit(self, visitor: str, labels: dict[str, Any], at_ms: int) -> None:
        rng = self._rng
        kinds = ["page_view"]
        while rng.random() < 0.6 and len(kinds) < 10:
            kinds.append(rng.choice(("page_view", "page_view", "action", "ping")))
        if rng.random() < 0.15:
            kinds.append("conversion")
        if rng.random() < 0.3:
            kinds.append("end")
        body = {"visitor_id": visitor, **labels}
        if rng.random() < 0.5:
            body["session_id"] = self._name("s")
        visit = Visit(labels["campaign"] or UNSET, len(kinds))
        if rng.random() < 0.01:  # long before: its place is a session that is over
            shot = self._shot("sessions", visitor, body, "page_view", at_ms - 2 * HOUR_MS)
            shot.dead, shot.item = "late", None
            self._push(at_ms + 6_000, shot)
        for kind in kinds:
            more = {"value": "12.50", "goal": "buy"} if kind == "conversion" else {}
            self._good("sessions", visitor, {**body, **more}, kind, at_ms, item=visit)
            at_ms += rng.randrange(1, GAP_MS)
        if rng.random() < 0.01:
            self._bad("sessions", visitor, body, "page_view", at_ms)

    def _ticket(self, at_ms: int) -> None:
        rng = self._rng
        ticket_id, team = self._name("t"), rng.choice(TEAMS)
        steps = ["opened", "answer"]
        if rng.random() < 0.3:
            steps.append("asked")
        steps.append("resolved")
        if rng.random() < 0.3:
            steps += ["reopened", "answer", "resolved"]
        if rng.random() < 0.5:
            steps.append("closed")
        ticket = Ticket(team, len(steps))
        body = {"ticket_id": ticket_id, "team": team, "channel": rng.choice(CHANNELS)}
        for step in steps:
            by = "customer" if step in ("opened", "asked", "reopened") else "agent"
            self._good("tickets", ticket_id, {**body, "by": by}, step, at_ms, item=ticket)
            at_ms += rng.randrange(1_000, GAP_MS)
        if rng.random() < 0.03:
            self._bad("tickets", ticket_id, body, "contact", at_ms)

    def _good(
        self,
        topic: str,
        key: str,
        body: dict[str, Any],
        kind: str,
        at_ms: int,
        *,
        item: Visit | Ticket | None = None,
        label: str = "",
    ) -> None:
        """A record that counts: on time, or a little after it, and now and then once more."""
        shot = self._shot(topic, key, body, kind, at_ms)
        shot.item, shot.label = item, label
        ordered = isinstance(item, Ticket)
        late_ms = self._rng.randrange(4_000) if self._rng.random() < 0.05 and not ordered else 0
        self._push(at_ms + late_ms, shot)
        if self._rng.random() < 0.02:
            again = Shot(topic, shot.key, shot.value, copy=True)
            wait_ms = self._rng.choice((1, 300, 5_000, 90_000))
            self._push(at_ms + late_ms + self._rng.randrange(1, wait_ms + 1), again)

    def _bad(self, topic: str, key: str, body: dict[str, Any], kind: str, at_ms: int) -> None:
        rng = self._rng
        reasons = ["malformed", "invalid", "unknown_type", "future"]
        reason = rng.choice([*reasons, "too_late"] if topic == "clicks" else reasons)
        if reason == "malformed" and rng.random() < 0.02:
            reason = "oversize"
        shifts = {"future": 3 * HOUR_MS, "too_late": -6 * 366 * DAY_MS}
        shot = self._shot(topic, key, body, kind, at_ms + shifts.get(reason, 0))
        value = shot.value or b""
        if reason == "malformed":
            shot.value = rng.choice((value[:-3], b"\xfe" + value, b"[" + value + b"]", None))
        elif reason == "invalid":
            shot.value = value.replace(b'"event_id": "', b'"event_id": "' + b"x" * 70)
        elif reason == "unknown_type":
            shot.value = value.replace(b'"type": "', b'"type": "un')
        elif reason == "oversize":
            shot.value = value[:-1] + b', "note": "' + b"z" * 70_000 + b'"}'
        shot.dead, shot.item = reason, None
        self._push(at_ms, shot)

    def _shot(self, topic: str, key: str, body: dict[str, Any], kind: str, at_ms: int) -> Shot:
        spelled = "contact" if kind in ("answer", "asked") else kind
        event = {"event_id": self._name("e"), "type": spelled, "timestamp": at_ms}
        event |= {name: value for name, value in body.items() if value is not None}
        value = json.dumps(event, ensure_ascii=False).encode()
        return Shot(topic, key.encode(), value, at_ms, kind)

    def _push(self, at_ms: int, shot: Shot) -> None:
        self._number += 1
        heappush(self._waiting, (at_ms, self._number, shot))

    def _name(self, prefix: str) -> str:
        self._number += 1
        return f"{prefix}{self._run}{self._number:x}"
