"""The book of launches: which launches there are, and what is kept of them."""

import pytest

from stream.core.campaigns import Campaign
from stream.core.launches import (
    Head,
    HourMaker,
    LaunchId,
    encode_head,
    encode_hour,
    head_key,
    hour_key,
)
from stream.launch.way import FEW, Basis, way
from stream.live.launch_book import LaunchBook
from stream.live.mirror import News
from tests.support.launches import DAY, HOUR, described

T = 1_772_355_600_000


def kept(book: LaunchBook, name: str, at_ms: int, hours: int) -> None:
    launch = LaunchId(name, at_ms)
    pairs = {hour_key(launch, n): encode_hour(HourMaker(launch, n).make()) for n in range(hours)}
    book.take_launches(News(False, dict(pairs)))


def found(book: LaunchBook, name: str, at_ms: int, grain_ms: int = 60_000) -> None:
    launch = LaunchId(name, at_ms)
    book.take_launches(News(False, {head_key(launch): encode_head(Head(launch, grain_ms))}))


def starts(book: LaunchBook, name: str) -> list[int]:
    return [launch.id.at_ms for launch in book.launches(name)]


def test_what_is_declared_stands_before_what_was_found() -> None:
    book = LaunchBook()
    found(book, "spring", T, HOUR)
    current = book.current("spring")
    assert current is not None
    assert (current.declared, current.grain_ms) == (False, HOUR)
    described(book, spring=Campaign(T + HOUR))
    assert starts(book, "spring") == [T + HOUR]
    current = book.current("spring")
    assert current is not None
    assert current.declared


def test_a_launch_a_week_apart_is_another() -> None:
    book = LaunchBook()
    kept(book, "spring", T, 3)
    described(book, spring=Campaign(T + 7 * DAY))
    assert starts(book, "spring") == [T, T + 7 * DAY]
    described(book, spring=Campaign(T + 7 * DAY - 60_000))
    assert starts(book, "spring") == [T + 7 * DAY - 60_000]


def test_of_two_so_close_that_of_which_more_is_kept_stands() -> None:
    book = LaunchBook()
    kept(book, "spring", T, 3)
    kept(book, "spring", T + HOUR, 9)
    described(book, spring=Campaign(T + 30 * DAY))
    assert starts(book, "spring") == [T + HOUR, T + 30 * DAY]
    assert set(book.kept()) == {LaunchId("spring", T), LaunchId("spring", T + HOUR)}


def test_a_removed_description_leaves_what_was_kept() -> None:
    book = LaunchBook()
    described(book, spring=Campaign(T, "Spring"))
    kept(book, "spring", T, 2)
    book.take_campaigns(News(False, {b"spring": None}))
    assert book.describe("spring") == Campaign()
    assert starts(book, "spring") == [T]
    book.take_launches(
        News(False, dict.fromkeys(hour_key(LaunchId("spring", T), n) for n in (0, 1)))
    )
    assert book.names() == set()


def test_news_of_everything_replace_everything() -> None:
    book = LaunchBook()
    described(book, spring=Campaign(T), autumn=Campaign(T))
    found(book, "summer", T)
    book.take_campaigns(News(True, {b"autumn": b"{}"}))
    book.take_launches(News(True))
    assert book.names() == {"autumn"}


@pytest.mark.parametrize("value", [b"", b"nonsense", b'{"launch_at":"soon"}'])
def test_what_cannot_be_read_is_passed_over(value: bytes) -> None:
    book = LaunchBook()
    described(book, spring=Campaign(T))
    book.take_campaigns(News(False, {b"spring": value, b"\xff": b"{}", b"": b"{}"}))
    assert book.names() == set()
    book.take_launches(News(False, {b"key": value, hour_key(LaunchId("a", T), 0): value}))
    assert book.hour(LaunchId("a", T), 0) is None


def test_every_launch_is_listed_in_order_of_time() -> None:
    book = LaunchBook()
    described(book, b=Campaign(T), a=Campaign(T), c=Campaign(T - DAY), d=Campaign())
    assert [(e.id.campaign, e.id.at_ms - T) for e in book.all()] == [
        *(("c", -DAY), ("a", 0), ("b", 0)),
    ]


# --- the way ---

COUNTS = {"impressions": 1_000.0, "clicks": 100.0, "sessions": 90.0, "conversions": 9.0}
USUAL = {"impressions": 5_000.0, "clicks": 1_000.0, "sessions": 800.0, "conversions": 80.0}


def test_the_weakest_step_is_the_furthest_below_its_median() -> None:
    found_way = way(COUNTS, [USUAL] * 3)
    assert (found_way.weakest, found_way.basis) == ("clicks", Basis.MEDIAN)
    assert [step.share for step in found_way.steps] == [None, 0.1, 0.9, 0.1]
    assert [step.usual for step in found_way.steps] == [None, 0.2, 0.8, 0.1]


def test_without_three_launches_it_is_the_lowest() -> None:
    found_way = way({**COUNTS, "conversions": 8.0}, [USUAL] * 2)
    assert (found_way.weakest, found_way.basis) == ("conversions", Basis.LOWEST)


def test_a_step_that_few_have_entered_is_not_judged() -> None:
    few = dict.fromkeys(COUNTS, float(FEW - 1))
    assert way(few, [USUAL] * 3).weakest is None
    assert way(dict.fromkeys(COUNTS, 0.0), []).weakest is None
