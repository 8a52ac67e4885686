"""A short part of the long simulation: real rules over what the real exporter shows.

`python -m tests.simulation.alerts` plays four weeks and a hundred drops; see docs/reliability.md.
"""

import numpy as np
import pytest

from tests.simulation.alerts import Drops, Quiet, false_alerts, minutes_to_find
from tests.simulation.traffic import DAY_MINUTES
from tests.support.promtool import tool

pytestmark = pytest.mark.slow


def test_a_drop_by_30_percent_is_found_within_ten_minutes() -> None:
    tool("promtool")
    minutes = minutes_to_find(Drops(seed=11, ctr=0.08, campaigns=20))
    assert np.mean(np.array(minutes) <= 10) >= 0.9, sorted(minutes)
    assert min(minutes) >= 2, "not before there is enough to tell"


def test_an_evening_without_a_change_wakes_nobody_and_says_little() -> None:
    tool("promtool")
    quiet = Quiet(seed=12, first=18 * DAY_MINUTES + 17 * 60, minutes=100)
    begun = false_alerts(quiet)
    assert [name for name, severity in begun if severity == "page"] == []
    assert begun.total() <= 1, begun
