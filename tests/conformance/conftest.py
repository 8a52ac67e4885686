"""The systems that the data sets share, one for each set of rules; they end with the package."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance import data
from tests.conformance.site import Site
from tests.support.choice import Choice
from tests.support.processes import StreamProcess
from tests.support.services import Service

TICKET_RULES = {"STREAM_FCR_REOPEN_WINDOW": "365d", "STREAM_TICKET_RETENTION": "800d"}
RULES = {
    "wide": {"STREAM_SESSION_ID_TIMEOUT": "7d", "STREAM_SESSION_MAX": "30d", **TICKET_RULES},
    "midnight": {
        "STREAM_SESSION_SPLIT": "midnight",
        "STREAM_ALLOWED_LATENESS": "24h",
        "STREAM_DEDUPE_HORIZON": "8d",
        **TICKET_RULES,
    },
    "minute": {"STREAM_ALLOWED_LATENESS": "60s", "STREAM_SESSION_ID_TIMEOUT": "3h"},
    "gap": {"STREAM_ALLOWED_LATENESS": "60s", "STREAM_SESSION_TIMEOUT": "3h"},
    "strict": {"STREAM_ALLOWED_LATENESS": "0s"},
}


@pytest.fixture(autouse=True, scope="package")
def shared_data() -> Path:
    """Skips where the data is not there: it is no part of the project."""
    if not data.DATA.is_dir():
        pytest.skip(f"data: {data.DATA} is not there")
    return data.DATA


@pytest.fixture(scope="package")
def sites(
    shared_data: Path,
    choice: Choice,
    kafka: Service,
    redis_server: Service,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[str, Site]]:
    """A system for each set of rules, started together; what is left is killed at the end."""
    started: list[StreamProcess] = []
    folder = tmp_path_factory.mktemp("conformance")

    def start(*args: str, env: dict[str, str]) -> StreamProcess:
        log = folder / f"{len(started)}-{args[0]}.log"
        started.append(StreamProcess(args, env, log, choice.keeper))
        return started[-1]

    async def open_all(found: dict[str, Site]) -> None:
        await asyncio.gather(*(site.open() for site in found.values()))

    found = {name: Site(start, kafka, redis_server, folder, **r) for name, r in RULES.items()}
    try:
        asyncio.run(open_all(found))
        yield found
    finally:
        for process in started:
            process.clean_up()
            print(f"--- {process} ({process.returncode})\n{process.text[-4000:]}")


@pytest.fixture(scope="package")
def wide_site(sites: dict[str, Site]) -> Site:
    """Defaults, but ids hold sessions together over days, and tickets may reopen for a year."""
    return sites["wide"]


@pytest.fixture(scope="package")
def midnight_site(sites: dict[str, Site]) -> Site:
    """As Matomo counts: a day's end ends sessions. Duplicates are known for eight days."""
    return sites["midnight"]


@pytest.fixture(scope="package")
def minute_site(sites: dict[str, Site]) -> Site:
    """A lateness of a minute; sessions with an id may pause for three hours."""
    return sites["minute"]


@pytest.fixture(scope="package")
def gap_site(sites: dict[str, Site]) -> Site:
    """A lateness of a minute; all sessions may pause for three hours."""
    return sites["gap"]


@pytest.fixture(scope="package")
def strict_site(sites: dict[str, Site]) -> Site:
    """No lateness at all."""
    return sites["strict"]
