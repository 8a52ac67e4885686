"""Fixtures that every test may ask for; see tests/support for what they are made of."""

import os
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import hypothesis
import pytest

from tests.support.brokers import KAFKA_KINDS
from tests.support.choice import Choice, in_ci
from tests.support.namespaces import Namespace
from tests.support.processes import StreamProcess
from tests.support.services import Service
from tests.support.stores import REDIS_KINDS

SHARED = Path(__file__).parents[2] / "shared"
"""Beside the checkout: real data with known answers, no part of the project."""
_CHOICE = pytest.StashKey[Choice]()
_ROLE_FIXTURES = ("every_kafka", "every_redis", "kafka", "redis_server")
R = TypeVar("R", pytest.TestReport, pytest.CollectReport)

# A slow machine is no fault, and CI must not fail for what a change has not touched. Mutants are
# many: each has to fall for the same examples whenever it is tried, and nobody reads which one.
_PROFILES = {"here": 60, "ci": 150, "thorough": 2_000, "mutants": 40}
for _name, _examples in _PROFILES.items():
    hypothesis.settings.register_profile(
        _name,
        deadline=None,
        print_blob=True,
        max_examples=_examples,
        derandomize=_name in ("ci", "mutants"),
        phases=[
            phase
            for phase in hypothesis.Phase
            if _name != "mutants" or phase in (hypothesis.Phase.explicit, hypothesis.Phase.generate)
        ],
    )


def pytest_configure(config: pytest.Config) -> None:
    for name in [name for name in os.environ if name.startswith("STREAM_")]:
        del os.environ[name]  # a test says itself what it needs
    config.stash[_CHOICE] = Choice()
    if not config.getoption("--hypothesis-profile"):
        hypothesis.settings.load_profile("ci" if in_ci() else "here")


def pytest_unconfigure(config: pytest.Config) -> None:
    config.stash[_CHOICE].close()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    roles = {"kafka": {"kafka", "every_kafka"}, "redis": {"redis_server", "every_redis"}}
    for item in items:
        for mark, fixtures in roles.items():
            if fixtures & set(getattr(item, "fixturenames", ())):
                item.add_marker(mark)
    unfit = [item for item in items if _is_of_no_use(item)]
    if unfit:
        config.hook.pytest_deselected(items=unfit)
        items[:] = [item for item in items if item not in set(unfit)]


def _is_of_no_use(item: pytest.Item) -> bool:
    """Whether the test is marked to run over other kinds of servers only."""
    mark, callspec = item.get_closest_marker("kinds"), getattr(item, "callspec", None)
    if mark is None or callspec is None:
        return False
    mine = {callspec.params.get(fixture) for fixture in _ROLE_FIXTURES} - {None}
    return bool(mine) and not mine & set(mark.args)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    return _without_skips_in_ci((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    return _without_skips_in_ci((yield))


def _without_skips_in_ci(report: R) -> R:
    if not (report.skipped and in_ci()) or hasattr(report, "wasxfail"):
        return report
    reason = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
    reason = reason.removeprefix("Skipped: ")
    if not _may_be_missing(reason):
        report.outcome = "failed"
        report.longrepr = f"nothing but Docker may be missing in CI: {reason}"
    return report


def _may_be_missing(reason: str) -> bool:
    """Docker may, and the real data may where nothing lies beside the checkout."""
    return reason.startswith("docker:") or (reason.startswith("data:") and not SHARED.exists())


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    for line in config.stash[_CHOICE].summary():
        terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def choice(pytestconfig: pytest.Config) -> Choice:
    """All services of this run; for fixtures that start their own kind."""
    return pytestconfig.stash[_CHOICE]


@pytest.fixture(autouse=True)
def _services_alive(pytestconfig: pytest.Config) -> None:
    pytestconfig.stash[_CHOICE].revive()


@pytest.fixture(scope="session")
def kafka(choice: Choice) -> Service:
    """The best broker to be had: `.bootstrap`, `.kind`, `.restart()`, `.kill()`, `.start()` …"""
    return choice.best_kafka()


@pytest.fixture(scope="session", params=KAFKA_KINDS)
def every_kafka(request: pytest.FixtureRequest, choice: Choice) -> Service:
    """Runs a test over each kind of broker."""
    return choice.kafka(request.param)


@pytest.fixture(scope="session")
def redis_server(choice: Choice) -> Service:
    """The best store to be had: `.url`, `.kind`, `.restart()`, `.kill()`, `.start()` …"""
    return choice.best_redis()


@pytest.fixture(scope="session", params=REDIS_KINDS)
def every_redis(request: pytest.FixtureRequest, choice: Choice) -> Service:
    """Runs a test over each kind of store."""
    return choice.redis(request.param)


@pytest.fixture
def namespace() -> Namespace:
    """A topic prefix and a group of this test's own."""
    return Namespace()


@pytest.fixture
def stream_process(tmp_path: Path, choice: Choice) -> Iterator[Callable[..., StreamProcess]]:
    """Starts `stream ARGS`, as often as called: `stream_process("worker", env={…})`.

    Whatever is left of them is killed after the test; their output is shown where it failed.
    """
    started: list[StreamProcess] = []

    def start(*args: str, env: Mapping[str, str] | None = None) -> StreamProcess:
        log = tmp_path / f"{len(started)}-{args[0] if args else 'stream'}.log"
        process = StreamProcess(args, env or {}, log, choice.keeper)
        started.append(process)
        return process

    yield start
    for process in started:
        process.clean_up()
        print(f"--- {process} ({process.returncode})\n{process.text[-8000:]}")
