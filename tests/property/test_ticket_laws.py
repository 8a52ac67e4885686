"""Many tickets at once, each with a long story, come to what the reference makes of them.

Stories are dense where the rules have an edge: windows, lateness, ties, what is told late. None is
so long that a ticket is forgotten: of that the reference knows only when it was told in order.
"""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core import desk, ticket_arrivals, ticket_facts, tickets
from tests import strategies as worlds
from tests.property.test_partition_laws import check

MINUTE, HOUR = 60_000, 3_600_000
KINDS = ["opened", "contact", "contact", "resolved", "resolved", "reopened", "closed"]
KINDS += ["reassigned", "awaiting_customer", "contact"]
FIRST = ["opened", "opened", "opened", "contact", "resolved", "awaiting_customer"]


def stories(chance, rules):
    """Events of several tickets as they come: most in time, some late, few much too late."""
    late_ms, window_ms = rules.allowed_lateness_ms, rules.fcr_reopen_window_ms
    steps = [0, 1, MINUTE, HOUR, late_ms - 1, late_ms, late_ms + 1, window_ms // 2]
    steps += [window_ms - 1, window_ms, window_ms + 1, window_ms + late_ms + 1]
    delays = [0] * 8 + [1, late_ms - 1, late_ms, late_ms + 1, window_ms, window_ms + 1]
    due = []
    for ticket in range(chance.randint(1, 6)):
        at_ms = worlds.START_MS + chance.choice([0, 0, 7, window_ms])
        named, teams = chance.choice([(0.0, "x"), (0.4, "xyz"), (1.0, "x")])
        for number in range(chance.randint(1, 9)):
            one = {"event_id": f"{chance.randint(0, 9)}-{ticket}-{number}", "timestamp": at_ms}
            one |= {"ticket_id": f"t{ticket}", "type": chance.choice(KINDS if number else FIRST)}
            one |= {"team": chance.choice(teams)} if chance.random() < named else {}
            one |= {"channel": chance.choice("ab")} if chance.random() < named * (1 - named) else {}
            if one["type"] == "contact":
                one["by"] = chance.choice(["agent", "agent", "customer", None])
            if chance.random() < 0.1:
                one["opened_at"] = at_ms - chance.choice([*steps, -1])
            due.append((at_ms + chance.choice(delays), chance.random(), one))
            at_ms += chance.choice(steps)
    newest_ms, log = worlds.START_MS, []
    for shown_ms, _, one in sorted(due, key=lambda each: each[:2]):
        newest_ms = max(newest_ms, shown_ms)
        log.append((newest_ms, one))
    return log


@given(worlds.rules(), st.integers(0, 1 << 32).map(Random))
def test_long_stories_of_many_tickets_are_what_the_reference_says(plain, chance):
    log = worlds.to_records("tickets", stories(chance, plain))
    cuts = sorted(chance.sample(range(1, len(log)), min(len(log) - 1, chance.choice([0, 3, 9]))))
    batches = [log[a:b] for a, b in zip([0, *cuts], [*cuts, len(log)], strict=True)]
    restarts = frozenset(n for n in range(len(batches)) if chance.random() < 0.3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(desk, "MAX_DECODED", chance.choice([1, 4_096]))
        patch.setattr(ticket_facts, "MAX_STORY", chance.choice([0, 4, 20]))
        patch.setattr(ticket_arrivals, "MAX_KNOWN", chance.choice([1, 3, 100_000]))
        drain_each = chance.random() < 0.5
        check("tickets", plain, log, batches, drain_each=drain_each, restart_after=restarts)


_NAMES = {0: ("(not set)", "(not set)")} | {n: ("mail", f"team {n}") for n in (1, 2, 3)}
_OWN_KINDS = [*tickets.KINDS.values(), tickets.BY_CUSTOMER]
_OWN_KINDS += [tickets.BY_AGENT, tickets.PASSED] * 3


class _Labels:
    """Label sets that are known beforehand."""

    def merged(self, label, own):
        return own or label

    def names(self, label):
        return _NAMES[label]


_HAPPENED = st.tuples(
    st.integers(0, 12),
    st.sampled_from(_OWN_KINDS),
    st.integers(0, 3),
    st.none() | st.integers(0, 9),
)


@given(st.lists(_HAPPENED, min_size=1, max_size=9), st.integers(0, 12), st.booleans())
def test_a_life_that_is_known_says_what_the_steps_say_one_by_one(happened, window_ms, is_opened):
    ticket = tickets.Ticket(None, 0, 0, [])
    opening = [(0, tickets.OPENED, 1, None)] if is_opened else []
    for at_ms, kind, own, opened_ms in [*opening, *happened]:
        tickets.take(ticket, at_ms, kind, own, opened_ms, _Labels())
    counted = []
    for most in (20, 0):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ticket_facts, "MAX_STORY", most)
            counted.append(ticket_facts.counts(ticket, window_ms))
    assert counted[0] == counted[1]
