"""A short mix of faults under load; `make chaos` runs the long one. See docs/reliability.md."""

import pytest

from tests.chaos.faults import FAULTS
from tests.chaos.run import Options, run
from tests.support.services import MissingError

pytestmark = [pytest.mark.chaos, pytest.mark.slow]
SHORT = (
    "kill_after_ledger",
    "zombie_before_ledger",
    "kafka_killed",
    "mix_rolled_back_and_worker_killed",
    "server_killed",
)
"""One of each sort: a kill between ledger and Redis, a zombie, and whatever else may end."""


async def judged(options: Options) -> None:
    try:
        report = await run(options)
    except MissingError as error:
        pytest.skip(str(error))
    print("\n".join(report.lines()))
    if report.void:
        pytest.skip(report.void)
    assert report.sound, "\n".join(report.lines())


@pytest.mark.timeout(300)
async def test_a_short_mix_of_faults_loses_and_doubles_nothing():
    await judged(
        Options(
            seed=4,
            only=SHORT,
            faults=len(SHORT),
            events=55_000,
            rate=1_200,
            session_timeout_s=4,
            outage_s=4,
            lateness_s=20,
            session_gap_s=10,
        )
    )


@pytest.mark.chaos_long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", sorted(FAULTS))
async def test_each_fault_alone_loses_and_doubles_nothing(name):
    await judged(Options(seed=5, only=(name,), faults=3, events=60_000, lateness_s=30))
