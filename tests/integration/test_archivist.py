"""The archivist over what workers wrote to a real store: what is found, kept and forgotten."""

from collections.abc import AsyncIterator, Collection
from dataclasses import asdict
from functools import partial

import pytest

from stream.core.catalogue import CLICKS, SOURCES
from stream.core.durations import HOUR_MS
from stream.core.launches import Head, LaunchId, encode_head, head_key, hour_key
from stream.core.rules import Rules
from stream.live.archivist import Archivist
from stream.live.launch_book import LaunchBook
from stream.live.link import Link
from stream.live.mirror import News
from stream.live.projection import Projection
from stream.live.rows import About
from tests.support.launches import DAY, HOUR, MINUTE, kept_hours, labels_of, launch, visit
from tests.support.namespaces import Namespace
from tests.support.services import Service
from tests.support.views import NOW_MS, HandMade, entries

ABOUT = About(Rules().definition_id, asdict(Rules()), dict.fromkeys(SOURCES, 1))
NEVER: dict[str, object] = {
    "clock_ms": None, "watermark_ms": None, "newest_event_ms": None, "settled_through_ms": {},
}  # fmt: skip
T = (NOW_MS - 5 * HOUR) // MINUTE * MINUTE
SPRING = LaunchId("spring", T)


class Desk:
    """A store that is written to as workers do, and the archivist that reads it."""

    def __init__(self, link: Link, group: str) -> None:
        self._link, self._group = link, group
        self._epoch = 0
        self.book = LaunchBook()
        self.archivist = Archivist(link, group, self.book)

    async def write(self, made: HandMade, empty: Collection[str] = (), **info: object) -> None:
        """All topics; partitions of `empty` ones have never had a record."""
        self._epoch += 1
        for topic in SOURCES:
            picture = entries(made, topic)
            cells = [(key, value) for key, value in picture.items() if value is not None]
            projection = Projection(self._link, self._group, topic, 0, about=ABOUT)
            state = made.info(topic, **info, **(NEVER if topic in empty else {}))
            await projection.push(self._epoch, 0, 42, picture, state, partial(iter, cells))

    async def look(self, times: int = 1) -> dict[bytes, bytes | None]:
        """What is written in so many looks, each after the one before was taken up."""
        written: dict[bytes, bytes | None] = {}
        for _ in range(times):
            records = dict(await self.archivist.look())
            self.book.take_launches(News(False, records))
            written |= records
        return written


@pytest.fixture
async def desk(redis_server: Service, namespace: Namespace) -> AsyncIterator[Desk]:
    link = Link(redis_server.url)
    yield Desk(link, namespace.group)
    await link.close()


def traffic() -> HandMade:
    made = HandMade()
    visit(made, "spring", T - 20 * MINUTE)  # a test, and no launch
    launch(made, "spring", T, minutes=280)
    launch(made, "trickle", T, minutes=4)
    return made


async def test_a_launch_is_found_and_its_settled_hours_are_kept(desk: Desk) -> None:
    made = traffic()
    await desk.write(made)
    assert await desk.look() == {head_key(SPRING): encode_head(Head(SPRING, MINUTE))}
    assert await desk.look(3) == kept_hours(made, SPRING, 4)
    assert await desk.look(3) == {}


async def test_late_clicks_change_what_is_kept_and_a_poorer_ledger_does_not(desk: Desk) -> None:
    made = traffic()
    await desk.write(made)
    await desk.look(3)
    labels = labels_of(CLICKS, "spring", "email", "A")
    made.count(CLICKS, labels, {"clicks": 1}, at_ms=T + 70 * MINUTE)
    await desk.write(made)
    late = hour_key(SPRING, 1)
    assert await desk.look(4) == {late: kept_hours(made, SPRING, 2)[late]}
    poor = HandMade()
    launch(poor, "spring", T, minutes=100)
    await desk.write(poor)
    assert await desk.look(4) == {}


@pytest.mark.parametrize(
    "info", [{"status": "recovering"}, {"status": "paused"}, {"caught_up": False}]
)
async def test_nothing_is_written_while_something_is_not_in(desk: Desk, info: dict) -> None:
    await desk.write(traffic(), **info)
    assert await desk.look() == {}


async def test_an_hour_that_has_not_settled_waits(desk: Desk) -> None:
    made = traffic()
    await desk.write(made, settled_through_ms={"sessions": T + 150 * MINUTE})
    assert await desk.look(4) == {
        head_key(SPRING): encode_head(Head(SPRING, MINUTE)),
        **kept_hours(made, SPRING, 2),
    }


async def test_clicks_alone_settle_by_themselves(desk: Desk) -> None:
    made = HandMade()
    for minute in range(280):
        labels = labels_of(CLICKS, "spring", "email", "A")
        made.count(CLICKS, labels, {"impressions": 9}, at_ms=T + minute * MINUTE)
    await desk.write(made, empty=("sessions", "tickets"))
    assert await desk.look(3) == {
        head_key(SPRING): encode_head(Head(SPRING, MINUTE)),
        **kept_hours(made, SPRING, 4),
    }


async def test_nothing_in_the_store_is_nothing_to_do(desk: Desk) -> None:
    assert await desk.look() == {}


async def test_what_began_before_the_minutes_that_are_kept_is_found_by_the_hour(
    desk: Desk,
) -> None:
    made, at_ms = HandMade(), NOW_MS // HOUR_MS * HOUR_MS - 9 * DAY
    visit(made, "old", at_ms + 12 * MINUTE)
    visit(made, "ancient", NOW_MS - 200 * DAY)
    await desk.write(made)
    old, ancient = LaunchId("old", at_ms), LaunchId("ancient", (NOW_MS - 200 * DAY) // DAY * DAY)
    assert await desk.look(2) == {
        head_key(old): encode_head(Head(old, HOUR)),
        head_key(ancient): encode_head(Head(ancient, DAY)),
    }


async def test_a_launch_is_forgotten_after_two_years(desk: Desk) -> None:
    at_ms = T - 733 * DAY
    gone, stays = LaunchId("gone", at_ms), LaunchId("stays", at_ms + 3 * DAY)
    made = HandMade()
    for each in (gone, stays):
        desk.book.take_launches(
            News(False, {head_key(each): encode_head(Head(each, 1)), **kept_hours(made, each, 2)})
        )
    await desk.write(traffic())
    written = await desk.look()
    removed = {key for key, value in written.items() if value is None}
    assert removed == {head_key(gone), hour_key(gone, 0), hour_key(gone, 1)}
    assert set(desk.book.names()) == {"spring", "stays"}
