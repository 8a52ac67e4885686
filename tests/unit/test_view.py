"""What a view says of itself: how far it reaches, how old it is, what it holds."""

import asyncio

import msgspec
import pytest

from stream.core.buckets import Size
from stream.core.catalogue import LIVE, METRICS, SESSIONS, SETTLED
from stream.core.records import TopicPartition
from stream.live.parcel import sort_changes, split, unpack
from stream.live.picture import Picture
from stream.live.query import Query
from stream.live.rows import About
from stream.live.view import View
from stream.live.windows import Bounds, Window
from tests.support.read_model import (
    HOUR,
    MINUTE,
    NOW_MS,
    Table,
    about,
    info_of,
    table_of,
    view_of,
)

CTR = METRICS["ctr"]
SPRING = ("spring", "mail", "a")
FIRST = TopicPartition("clicks", 0)


def impressions(view: View, now_ms: int = NOW_MS) -> int:
    return view.query(Query(CTR, CTR.fraction, window_ms=HOUR), now_ms).rows[0].denominator


def counted(n: int) -> Table:
    table = table_of("clicks")
    table.count(NOW_MS, SPRING, {"impressions": n})
    return table


# --- how far -------------------------------------------------------------------------------------


async def test_the_slowest_partition_says_how_far_the_view_reaches() -> None:
    view = await view_of([counted(1), counted(1)])
    assert view.as_of_ms("clicks") == NOW_MS
    view.take_step(FIRST, info_of("clicks", as_of_ms=NOW_MS - 5), NOW_MS)
    view.publish()
    assert view.as_of_ms("clicks") == NOW_MS - 5
    assert view.as_of_ms("tickets") is None
    view.take_step(FIRST, info_of("clicks", as_of_ms=None), NOW_MS)
    view.publish()
    assert view.as_of_ms("clicks") is None


async def test_settled_through_is_the_least_and_by_family() -> None:
    tables = [table_of("tickets"), table_of("tickets"), table_of("tickets")]
    ends = {"tickets": 3_000, "first_response": 9_000, "resolution": 5_000}
    view = await view_of(tables, settled_through_ms=ends)
    through = {name: view.settled_through_ms(metric) for name, metric in METRICS.items()}
    assert {name: at for name, at in through.items() if at} == {
        "fcr": 3_000,
        "first_resolution_time": 3_000,
        "first_response_time": 9_000,
        "resolution_time": 5_000,
    }
    slower = info_of("tickets", 1, settled_through_ms={**ends, "tickets": 2_000})
    view.take_step(TopicPartition("tickets", 1), slower, NOW_MS)
    view.publish()
    assert view.settled_through_ms(METRICS["fcr"]) == 2_000


async def test_a_partition_that_never_held_a_record_bounds_nothing_once_caught_up() -> None:
    view = await view_of([table_of("sessions")] * 2, settled_through_ms={"sessions": 7_000})
    empty = info_of("sessions", 1, clock_ms=None, caught_up=True)
    place, metric = TopicPartition("sessions", 1), METRICS["bounce_rate"]
    view.take_step(place, empty, NOW_MS)
    view.publish()
    assert view.settled_through_ms(metric) == 7_000
    view.take_step(place, msgspec.structs.replace(empty, caught_up=False), NOW_MS)
    view.publish()
    assert view.settled_through_ms(metric) is None


# --- how old -------------------------------------------------------------------------------------


async def test_a_view_of_nothing_is_not_ready() -> None:
    view = View()
    status = view.status(NOW_MS)
    assert (status.ready, status.view_age_s, status.definition_id) == (False, None, None)
    assert view.complete(NOW_MS) is view.fresh(NOW_MS) is False
    assert impressions(view) == 0
    view.take_about(about(clicks=1, unknown_topic=3))
    status = view.status(NOW_MS)
    assert [(p.topic, p.status, p.through) for p in status.partitions] == [("clicks", "unowned", 0)]
    assert (status.ready, status.view_age_s) == (False, None)


@pytest.mark.parametrize(
    ("silent_ms", "status", "complete", "fresh"),
    [
        (0, "live", True, True),
        (10_000, "live", True, True),
        (10_001, "unowned", False, True),
        (30_000, "unowned", False, True),
        (30_001, "unowned", False, False),
    ],
)
async def test_silence(silent_ms: int, status: str, complete: bool, fresh: bool) -> None:
    view, now_ms = await view_of([counted(1)]), NOW_MS + silent_ms
    assert view.status(now_ms).partitions[0].status == status
    assert view.status(now_ms).ready is (status == "live")
    assert view.status(now_ms).view_age_s == silent_ms / 1000
    assert (view.complete(now_ms), view.fresh(now_ms)) == (complete, fresh)


async def test_silence_is_measured_by_redis_clock() -> None:
    view = await view_of([counted(1)])
    view.take_redis_time(NOW_MS + 3_000, NOW_MS - 100_000)
    assert view.age_s(NOW_MS - 100_000) == 3.0


@pytest.mark.parametrize(
    ("status", "ready", "complete"),
    [("live", True, True), ("paused", True, False), ("recovering", False, False)],
)
async def test_what_the_worker_says_of_a_partition(
    status: str, ready: bool, complete: bool
) -> None:
    view = await view_of([counted(1)], status=status, lag=4, through=9)
    shown = view.status(NOW_MS).partitions[0]
    assert (shown.status, shown.lag, shown.through, shown.worker) == (status, 4, 9, "w1")
    assert (view.status(NOW_MS).ready, view.complete(NOW_MS)) == (ready, complete)


# --- what it holds -------------------------------------------------------------------------------


async def test_a_step_shows_with_the_next_publishing_figures_and_state_together() -> None:
    view, more = await view_of([counted(1)]), counted(5)
    labels, *cells = unpack(sort_changes(more.entries.items()).pack())
    places = sort_changes(more.entries.items()).written_places()
    view.take_step(
        FIRST,
        info_of("clicks", through=8),
        NOW_MS,
        labels,
        list(zip(places, cells, strict=True)),
    )
    assert (impressions(view), view.status(NOW_MS).partitions[0].through) == (1, 0)
    before = view.version
    waiting = asyncio.create_task(view.changed(before))
    await asyncio.sleep(0)
    view.publish()
    assert await waiting == view.version == before + 1
    assert (impressions(view), view.status(NOW_MS).partitions[0].through) == (5, 8)
    assert await view.changed(before) == view.version


async def test_a_lost_picture_is_still_shown_but_incomplete() -> None:
    view = await view_of([counted(3)])
    view.lose(FIRST)
    assert impressions(view) == 3
    assert view.status(NOW_MS).partitions[0].status == "recovering"
    assert view.complete(NOW_MS) is False
    await view.take_picture(FIRST, counted(4).picture(), info_of("clicks"), NOW_MS)
    assert (impressions(view), view.complete(NOW_MS)) == (4, True)


async def test_a_picture_with_other_label_ids_replaces_the_old_one_wholly() -> None:
    view, other = await view_of([counted(3), counted(10)]), table_of("clicks")
    other.count(NOW_MS, ("autumn", "x", "y"), {"impressions": 100})
    other.count(NOW_MS, SPRING, {"impressions": 1})
    assert impressions(view) == 13
    await view.take_picture(FIRST, other.picture(), info_of("clicks"), NOW_MS)
    assert impressions(view) == 111


async def test_a_picture_takes_the_place_of_steps_that_were_not_published_yet() -> None:
    view, step = await view_of([counted(3)]), sort_changes(counted(7).entries.items())
    labels, *cells = unpack(step.pack())
    buckets = list(zip(step.written_places(), cells, strict=True))
    view.take_step(FIRST, info_of("clicks"), NOW_MS, labels, buckets)
    await view.take_picture(FIRST, counted(5).picture(), info_of("clicks"), NOW_MS)
    view.publish()
    assert impressions(view) == 5


async def test_a_window_that_changes_its_grain_is_summed_anew() -> None:
    table, start_ms = table_of("clicks"), NOW_MS // HOUR * HOUR
    for size, n in ((Size.S10, 1), (Size.M1, 10)):
        for minute in range(60):
            table.cell((size, start_ms + minute * MINUTE), SPRING, {0: n}, {})
    store = (await view_of([table])).store("clicks")
    window, end_ms = Window(store, LIVE), start_ms + 30 * MINUTE
    for bounds, wanted in (
        (Bounds(start_ms, end_ms, Size.S10), 30),
        (Bounds(start_ms, end_ms + MINUTE, Size.M1), 310),
        (Bounds(start_ms + MINUTE, end_ms, Size.S10), 29),
    ):
        window.move(bounds)
        assert window.sums == {SPRING: {0: wanted}}


async def test_partitions_that_are_no_more_leave_the_sums() -> None:
    view = await view_of([counted(3), counted(10)])
    view.take_about(about(clicks=1))
    view.publish()
    assert (impressions(view), len(view.status(NOW_MS).partitions)) == (3, 1)


async def test_redis_without_about_makes_all_incomplete() -> None:
    view = await view_of([counted(3)])
    view.take_about(None)
    assert (view.complete(NOW_MS), impressions(view)) == (False, 3)


async def test_a_label_set_that_was_never_told_is_refused() -> None:
    view = await view_of([counted(3)])
    with pytest.raises(KeyError):
        view.take_step(FIRST, info_of("clicks"), NOW_MS, [], [((1, 0), [(b"\0\0\0\x09", b"x")])])


async def test_a_large_picture_is_taken_in_slices_and_windows_are_summed_anew() -> None:
    view, many = await view_of([counted(3)]), table_of("clicks")
    assert impressions(view) == 3
    start_ms = NOW_MS // 10_000 * 10_000
    for n in range(21_000):
        many.cell((1, start_ms), (f"c{n}", "x", "y"), {0: 1}, {})
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            assert impressions(view) in (3, 21_000)
            turns += 1

    task = asyncio.create_task(others())
    await view.take_picture(FIRST, many.picture(), info_of("clicks"), NOW_MS)
    task.cancel()
    assert (impressions(view), turns > 10) == (21_000, True)


async def test_totals_and_active_sessions() -> None:
    table, active = table_of("sessions"), SESSIONS.index["active"]
    views = SESSIONS.index["page_views_total"]
    start_ms = NOW_MS // 10_000 * 10_000
    table.cell((Size.ALL, 0), SPRING, {views: 12}, {})
    for ago, n in ((0, 1), (29, 2), (30, 4)):
        table.cell((Size.S10, start_ms - 10_000 * ago), SPRING, {active: n}, {})
    view = await view_of([table, table])
    assert view.totals(SESSIONS) == {SPRING: {views: 24}}
    assert view.active_sessions(NOW_MS) == {SPRING: 6}


async def test_windows_for_the_exporter() -> None:
    table = table_of("sessions")
    table.count(NOW_MS - 30 * MINUTE, SPRING, {"sessions": 2}, settled=True)
    view = await view_of([table], settled_through_ms={"sessions": NOW_MS - 20 * MINUTE})
    metric, sessions = METRICS["bounce_rate"], SESSIONS.index["sessions"]
    for state in (LIVE, SETTLED):
        window = view.window(metric, HOUR, state, NOW_MS)
        assert window is not None
        assert window.sums == {SPRING: {sessions: 2}}
    window = view.window(metric, HOUR, LIVE, NOW_MS + HOUR)
    assert window is not None
    assert window.sums == {}
    nothing = await view_of([table])
    assert nothing.window(metric, HOUR, SETTLED, NOW_MS) is None


async def test_latencies_are_drained_once() -> None:
    view = View()
    view.take_latencies([(1_000, 5), (2_000, 1)], 2_500)
    drained = [(one.recorded_ms, one.seen_ms, one.records) for one in view.drain_latencies()]
    assert drained == [(1_000, 2_500, 5), (2_000, 2_500, 1)]
    assert view.drain_latencies() == []


def test_the_time_zone_of_days_comes_from_the_rules() -> None:
    view = View()
    view.take_about(About("x", {"timezone": "Asia/Kolkata"}, {}))
    assert view.calendar.zone == "Asia/Kolkata"


# --- parcels -------------------------------------------------------------------------------------


def test_a_parcel_carries_labels_and_cells_and_nothing_else() -> None:
    table = counted(3)
    table.put(next(key for key in table.entries if key[:2] == b"c\x01"), None)
    table.put(b"c" + bytes(13), b"x" * 70_000)
    parcel = sort_changes(table.drain().items())
    labels, *cells = unpack(parcel.pack())
    assert labels == [(bytes(4), msgspec.msgpack.encode(SPRING))]
    assert len(cells) == len(parcel.written_places()) + len(parcel.removed_places()) == 5
    shown = dict(zip([*parcel.written_places(), *parcel.removed_places()], cells, strict=True))
    assert shown[0, 0] == [(bytes(4), b"x" * 70_000)]
    assert shown[parcel.removed_places()[0]] == [(bytes(4), b"")]
    assert list(unpack(sort_changes([]).pack())) == [[]]


@pytest.mark.parametrize("at_once", [1, 2, 3, 5, 1_000])
def test_a_picture_in_parts_is_the_picture(at_once: int) -> None:
    table = table_of("clicks")
    for n in range(7):
        for start in range(n):
            table.cell((1, start * 10_000), (f"c{n}", "x", "y"), {0: n}, {})
    whole, sizes = Picture(), []
    for part in split(sort_changes(table.entries.items()), at_once):
        labels, *cells = unpack(part.pack())
        sizes.append(len(labels) + sum(map(len, cells)))
        whole.learn(labels)
        for place, pairs in zip(part.written_places(), cells, strict=True):
            whole.put(place, pairs)
    expected = table.picture()
    assert (whole.labels, whole.cells) == (expected.labels, expected.cells)
    assert max(sizes) < 2 * at_once or max(sizes) == at_once


def test_nothing_has_no_parts() -> None:
    assert list(split(sort_changes([]), 5)) == []
