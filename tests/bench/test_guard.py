"""No change makes folding slower without somebody deciding so."""

import json

import pytest

from stream.core.catalogue import SOURCES
from tests.bench.guard import RECORDED, WORSE_MAX, measure

ATTEMPTS = 4
"""A busy machine disturbs one measurement; a slower fold is slower in all of them."""


@pytest.mark.parametrize("topic", SOURCES)
def test_folding_costs_as_many_reference_loops_as_recorded_at_most(topic: str) -> None:
    recorded = json.loads(RECORDED.read_text())[topic]
    seen = []
    for _ in range(ATTEMPTS):
        cost = measure(topic)
        seen.append(round(cost.ratio, 2))
        if cost.ratio <= WORSE_MAX * recorded:
            return
    pytest.fail(f"{topic}: {seen} reference loops an event; recorded {recorded}")
