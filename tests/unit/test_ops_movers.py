"""Top movers: ranked by z-score, five each way, and only where both sides have enough."""

from typing import Any

import pytest

from stream.core.catalogue import CLICKS, SESSIONS
from stream.core.change import Proportion, compare
from tests.support.serving import Served
from tests.support.views import NOW_MS, HandMade

MINUTE = 60_000


def moved(made: HandMade, campaign: str, before: int, now: int, shown: int = 1_000) -> None:
    labels = (campaign, "email", "A")
    for ago, clicked in ((70, before), (10, now)):
        fields = {"clicks": clicked, "impressions": shown}
        made.count(CLICKS, labels, fields, at_ms=NOW_MS - ago * MINUTE)


async def movers_of(made: HandMade, **parameters: str) -> dict[str, Any]:
    return dict((await Served(await made.view()).get("/api/v1/movers", **parameters)).json())


def names(moves: list[dict[str, Any]]) -> list[str]:
    return [move["labels"]["campaign"] for move in moves]


async def test_five_rise_and_five_fall_the_surest_first() -> None:
    made = HandMade()
    for n in range(1, 8):
        moved(made, f"up{n}", 100, 100 + 10 * n)
        moved(made, f"down{n}", 200, 200 - 10 * n)
    moved(made, "same", 100, 100)
    body = await movers_of(made)
    assert body["compared"] == 15
    assert names(body["up"]) == ["up7", "up6", "up5", "up4", "up3"]
    assert names(body["down"]) == ["down7", "down6", "down5", "down4", "down3"]
    expected = compare(Proportion(170, 1_000), Proportion(100, 1_000))
    assert expected is not None
    assert body["up"][0]["change"]["z"] == pytest.approx(expected.zscore)
    assert body["up"][0]["change"]["difference"] == pytest.approx(0.07)


async def test_certainty_goes_before_size() -> None:
    made = HandMade()
    moved(made, "large", 2_000, 2_600, shown=20_000)
    moved(made, "small", 30, 45, shown=300)
    assert names((await movers_of(made))["up"]) == ["large", "small"]


@pytest.mark.parametrize(
    ("before", "now", "shown", "ranked"),
    [(20, 60, 1_000, True), (19, 60, 1_000, False), (60, 80, 199, False), (985, 990, 1_000, False)],
)
async def test_fewer_than_twenty_expected_on_a_side_are_not_ranked(
    before: int, now: int, shown: int, ranked: bool
) -> None:
    made = HandMade()
    moved(made, "spring", before, now, shown)
    assert ((await movers_of(made))["compared"] == 1) is ranked


async def test_sessions_move_at_the_same_age() -> None:
    made = HandMade()
    for ago, converted in ((80, 60), (20, 30)):
        fields = {"sessions": 1_000, "converted": converted, "converted_within_15m": 30}
        made.count(SESSIONS, ("spring", "email", "A"), fields, at_ms=NOW_MS - ago * MINUTE)
    body = await movers_of(made)
    assert [move["metric"] for move in body["up"] + body["down"]] == []
    assert body["compared"] == 1


async def test_a_slice_moves_by_another_dimension() -> None:
    made = HandMade()
    for channel, now in (("email", 150), ("social", 100)):
        for ago, clicked in ((70, 100), (10, now)):
            fields = {"clicks": clicked, "impressions": 1_000}
            made.count(CLICKS, ("spring", channel, "A"), fields, at_ms=NOW_MS - ago * MINUTE)
    moved(made, "autumn", 100, 300)
    body = await movers_of(made, campaign="spring", by="channel")
    assert [move["labels"] for move in body["up"]] == [{"channel": "email"}]
    assert body["up"][0]["better"] == "higher"
