"""The systems that the data sets share, one for each set of rules; they end with the package."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conformance import data
from tests.conformance.site import Site
from tests.support.choice import Choice
from tests.support.processes import StreamProcess
from tests.support.services import Service

OpenSite = Callable[..., Site]
TICKET_RULES = {"STREAM_FCR_REOPEN_WINDOW": "365d", "STREAM_TICKET_RETENTION": "800d"}


@pytest.fixture(autouse=True, scope="package")
def shared_data() -> Path:
    """Skips where the data is not there: it is no part of the project."""
    if not data.DATA.is_dir():
        pytest.skip(f"data: {data.DATA} is not there")
    return data.DATA


@pytest.fixture(scope="package")
def open_site(
    shared_data: Path,
    choice: Choice,
    kafka: Service,
    redis_server: Service,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[OpenSite]:
    """Starts a system with some rules; what is left of it is killed at the end."""
    started: list[StreamProcess] = []
    folder = tmp_path_factory.mktemp("conformance")

    def start(*args: str, env: dict[str, str]) -> StreamProcess:
        log = folder / f"{len(started)}-{args[0]}.log"
        started.append(StreamProcess(args, env, log, choice.keeper))
        return started[-1]

    def open_(**rules: str) -> Site:
        site = Site(start, kafka, redis_server, folder, **rules)
        asyncio.run(site.open())
        return site

    yield open_
    for process in started:
        process.clean_up()
        print(f"--- {process} ({process.returncode})\n{process.text[-4000:]}")


@pytest.fixture(scope="package")
def wide_site(open_site: OpenSite) -> Site:
    """Defaults, but ids hold sessions together over days, and tickets may reopen for a year."""
    wide = {"STREAM_SESSION_ID_TIMEOUT": "7d", "STREAM_SESSION_MAX": "30d"}
    return open_site(**wide, **TICKET_RULES)


@pytest.fixture(scope="package")
def midnight_site(open_site: OpenSite) -> Site:
    """As Matomo counts: a day's end ends sessions. Duplicates are known for eight days."""
    rules = {"STREAM_SESSION_SPLIT": "midnight", "STREAM_ALLOWED_LATENESS": "24h"}
    return open_site(**rules, STREAM_DEDUPE_HORIZON="8d", **TICKET_RULES)


@pytest.fixture(scope="package")
def minute_site(open_site: OpenSite) -> Site:
    """A lateness of a minute; sessions with an id may pause for three hours."""
    return open_site(STREAM_ALLOWED_LATENESS="60s", STREAM_SESSION_ID_TIMEOUT="3h")


@pytest.fixture(scope="package")
def gap_site(open_site: OpenSite) -> Site:
    """A lateness of a minute; all sessions may pause for three hours."""
    return open_site(STREAM_ALLOWED_LATENESS="60s", STREAM_SESSION_TIMEOUT="3h")


@pytest.fixture(scope="package")
def strict_site(open_site: OpenSite) -> Site:
    """No lateness at all."""
    return open_site(STREAM_ALLOWED_LATENESS="0s")
