"""The backlog that a view tells: how many tickets are open, who waits, and since when."""

import pytest

from stream.core.buckets import Calendar, Size
from stream.core.catalogue import TICKETS
from tests.support.read_model import DAY, HOUR, MINUTE, NOW_MS, Table, table_of, view_of

MAIL_RED, CHAT_RED, CHAT_BLUE = ("mail", "red"), ("chat", "red"), ("chat", "blue")
SECOND = 1_000


def standing(table, labels, opened_ms, *, awaiting=False):
    """One open ticket, as the fold counts it."""
    values = {TICKETS.index["open"]: 1}
    if awaiting:
        values[TICKETS.index["awaiting"]] = 1
    table.add((Size.ALL, 0), labels, values)
    table.count(opened_ms, labels, {"still_open": 1})


def desk() -> Table:
    table = table_of("tickets")
    standing(table, MAIL_RED, NOW_MS - 9 * DAY)
    standing(table, MAIL_RED, NOW_MS - 2 * HOUR, awaiting=True)
    standing(table, CHAT_RED, NOW_MS - 30 * SECOND, awaiting=True)
    standing(table, CHAT_BLUE, NOW_MS - 30 * HOUR)
    table.add((Size.ALL, 0), ("mail", "idle"), {TICKETS.index["opened_total"]: 3})
    return table


async def test_without_groups_there_is_one_row():
    [row] = (await view_of([desk(), desk()])).backlog(NOW_MS)
    assert (row.labels, row.open, row.awaiting) == ({}, 8, 4)
    assert row.younger == {"1h": 2, "24h": 4, "7d": 6, "30d": 8}


async def test_nothing_open_is_a_row_of_nothing_and_no_group():
    view = await view_of([table_of("tickets")])
    [row] = view.backlog(NOW_MS)
    assert (row.open, row.awaiting, row.oldest_opened_ms, row.oldest_before_ms) == (
        0,
        0,
        None,
        None,
    )
    assert set(row.younger.values()) == {0}
    assert view.backlog(NOW_MS, ("team",)) == []


async def test_groups_come_by_how_many_are_open_and_an_idle_team_is_none():
    rows = (await view_of([desk()])).backlog(NOW_MS, ("team",))
    assert [(row.labels, row.open, row.awaiting) for row in rows] == [
        ({"team": "red"}, 3, 2),
        ({"team": "blue"}, 1, 0),
    ]


async def test_a_filter_leaves_label_sets_out():
    view = await view_of([desk()])
    rows = view.backlog(NOW_MS, ("team", "channel"), {"channel": frozenset({"chat"})})
    assert [row.labels for row in rows] == [
        {"team": "blue", "channel": "chat"},
        {"team": "red", "channel": "chat"},
    ]


@pytest.mark.parametrize(
    ("age_ms", "width_ms"),
    [
        (10 * SECOND, 10 * SECOND),
        (HOUR, 10 * SECOND),
        (3 * HOUR, MINUTE),
        (40 * HOUR, MINUTE),
        (60 * HOUR, HOUR),
        (80 * DAY, HOUR),
        (100 * DAY, DAY),
    ],
)
async def test_the_oldest_is_told_as_finely_as_buckets_are_kept(age_ms, width_ms):
    table, opened_ms = table_of("tickets"), NOW_MS - age_ms
    standing(table, CHAT_RED, opened_ms)
    standing(table, CHAT_BLUE, NOW_MS)
    standing(table, ("mail", "red"), opened_ms + DAY if age_ms > DAY else NOW_MS)
    [row] = (await view_of([table])).backlog(NOW_MS, ("team",), {"team": frozenset({"red"})})
    assert row.oldest_opened_ms is not None
    assert row.oldest_before_ms == row.oldest_opened_ms + width_ms
    assert row.oldest_opened_ms <= opened_ms < row.oldest_before_ms


async def test_an_opening_older_than_all_buckets_is_not_told():
    table = table_of("tickets")
    standing(table, CHAT_RED, NOW_MS - 2_000 * DAY)
    view = await view_of([table])
    [row] = view.backlog(NOW_MS)
    assert (row.open, row.oldest_opened_ms) == (1, None)
    standing(table, CHAT_RED, NOW_MS - DAY)
    [row] = (await view_of([table])).backlog(NOW_MS)
    assert row.open == 2
    assert row.oldest_opened_ms is not None


async def test_hours_that_begin_on_the_day_before_are_looked_into():
    table = table_of("tickets", calendar=Calendar("Asia/Kolkata"))
    midnight_ms = table.calendar.day(NOW_MS)[0]
    standing(table, CHAT_RED, midnight_ms + MINUTE)
    view = await view_of([table], timezone="Asia/Kolkata")
    [row] = view.backlog(NOW_MS)
    assert row.oldest_opened_ms == midnight_ms + MINUTE
