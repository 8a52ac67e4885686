"""Questions to a view, each against what the contract says."""

from dataclasses import replace
from typing import Any

import pytest

from stream.core.buckets import Calendar, Size
from stream.core.catalogue import AGES_MS, METRICS, SETTLED, SOURCES
from stream.core.sketch import bin_index
from stream.live.query import Answer, Query, Row, TooManyRowsError
from tests.support.read_model import DAY, HOUR, MINUTE, NOW_MS, Table, table_of, view_of

TO_MS = NOW_MS // 10_000 * 10_000 + 10_000
SPRING, SUMMER = ("spring", "mail", "a"), ("summer", "web", "a")


def ask(metric: str, **how: Any) -> Query:
    found = METRICS[metric]
    return Query(found, how.pop("fraction", found.fraction), **how)


def clicks(*counts: tuple[int, tuple[str, ...], int, int]) -> Table:
    table = table_of("clicks")
    for at_ms, labels, below, above in counts:
        table.count(at_ms, labels, {"impressions": below, "clicks": above})
    return table


def only(answer: Answer) -> Row:
    assert len(answer.rows) == 1
    return answer.rows[0]


# --- windows and ranges --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("window_ms", "from_ms", "to_ms"),
    [
        (MINUTE, TO_MS - MINUTE, TO_MS),
        (HOUR, TO_MS - HOUR, TO_MS),
        (DAY, 1_760_000_040_000 - DAY, 1_760_000_040_000),
        (7 * DAY, 1_760_000_400_000 - 7 * DAY, 1_760_000_400_000),
        (2 * HOUR, 1_760_000_040_000 - 2 * HOUR, 1_760_000_040_000),
    ],
)
async def test_a_window_is_whole_buckets_and_holds_the_present_one(
    window_ms: int, from_ms: int, to_ms: int
) -> None:
    edges = clicks(
        (from_ms, SPRING, 1, 0),
        (from_ms - 1, SPRING, 10, 0),
        (NOW_MS, SPRING, 100, 0),
        (to_ms, SPRING, 1_000, 0),
    )
    answer = (await view_of([edges])).query(ask("ctr", window_ms=window_ms), NOW_MS)
    assert (answer.from_ms, answer.to_ms) == (from_ms, to_ms)
    assert only(answer).denominator == 101


async def test_a_range_is_half_open_and_sums_all_partitions() -> None:
    one = clicks((TO_MS - MINUTE, SPRING, 1, 1), (TO_MS, SPRING, 10, 1))
    two = clicks((TO_MS - 1, SUMMER, 100, 1), (TO_MS - MINUTE - 1, SPRING, 1_000, 1))
    query = ask("ctr", from_ms=TO_MS - MINUTE, to_ms=TO_MS)
    answer = (await view_of([one, two])).query(query, NOW_MS)
    assert (answer.from_ms, answer.to_ms) == (TO_MS - MINUTE, TO_MS)
    row = only(answer)
    assert (row.numerator, row.denominator, row.labels) == (2, 101, {})
    assert row.value == 2 / 101
    assert row.low is not None
    assert row.high is not None
    assert row.low < row.value < row.high


async def test_a_range_is_widened_to_ten_seconds_at_the_finest() -> None:
    view = await view_of([clicks((TO_MS - 20_000, SPRING, 1, 0), (TO_MS - 1, SPRING, 1, 0))])
    answer = view.query(ask("ctr", from_ms=TO_MS - 13_000, to_ms=TO_MS - 9_999), NOW_MS)
    assert (answer.from_ms, answer.to_ms) == (TO_MS - 20_000, TO_MS)
    assert only(answer).denominator == 2


async def test_an_old_range_is_widened_to_what_is_kept_and_says_so() -> None:
    at_ms = (NOW_MS - 3 * DAY) // HOUR * HOUR
    view = await view_of([clicks((at_ms + 5 * MINUTE, SPRING, 3, 0), (NOW_MS, SPRING, 1, 0))])
    answer = view.query(ask("ctr", from_ms=at_ms + MINUTE, to_ms=at_ms + 2 * MINUTE), NOW_MS)
    assert (answer.from_ms, answer.to_ms) == (at_ms, at_ms + HOUR)
    assert only(answer).denominator == 3


async def test_retention_counts_from_the_newest_event_not_from_the_wall_clock() -> None:
    old_ms = NOW_MS - 400 * DAY
    table = table_of("clicks", now_ms=old_ms)
    table.count(old_ms, SPRING, {"impressions": 5})
    view = await view_of([table], clock_ms=old_ms)
    start_ms = old_ms // 10_000 * 10_000
    answer = view.query(ask("ctr", from_ms=start_ms, to_ms=start_ms + 10_000), NOW_MS)
    assert (answer.from_ms, answer.to_ms) == (start_ms, start_ms + 10_000)
    assert only(answer).denominator == 5


async def test_whole_days_of_the_time_zone_are_read_by_day() -> None:
    calendar = Calendar("Asia/Kolkata")
    from_ms, to_ms = calendar.day(NOW_MS - 200 * DAY)
    table = table_of("clicks", calendar=calendar)
    for at_ms in (from_ms - 1, from_ms, to_ms - 1, to_ms):
        table.count(at_ms, SPRING, {"impressions": 1})
    view = await view_of([table], timezone="Asia/Kolkata")
    answer = view.query(ask("ctr", from_ms=from_ms, to_ms=to_ms), NOW_MS)
    assert (answer.from_ms, answer.to_ms) == (from_ms, to_ms)
    assert only(answer).denominator == 2


async def test_a_long_range_mixes_sizes_without_counting_twice() -> None:
    counts = [(NOW_MS - ago, SPRING, 1, 0) for ago in range(0, 4 * DAY, 37 * MINUTE)]
    view = await view_of([clicks(*counts)])
    from_ms = (NOW_MS - 4 * DAY) // HOUR * HOUR
    answer = view.query(ask("ctr", from_ms=from_ms, to_ms=TO_MS), NOW_MS)
    assert (answer.from_ms, answer.to_ms) == (from_ms, TO_MS)
    assert only(answer).denominator == len(counts)


# --- settled and aged ----------------------------------------------------------------------------


def sessions(*counts: tuple[int, int, int]) -> Table:
    table = table_of("sessions")
    for at_ms, live, settled in counts:
        table.count(at_ms, SPRING, {"sessions": settled, "converted": 0}, settled=True)
        table.count(at_ms, SPRING, {"sessions": live - settled})
    return table


async def test_a_settled_window_ends_where_all_is_settled() -> None:
    through_ms = TO_MS - 20 * MINUTE + 3_000
    table = sessions((through_ms - 10_000, 3, 2), (through_ms, 100, 50), (NOW_MS, 1_000, 0))
    view = await view_of([table], settled_through_ms={"sessions": through_ms})
    query = ask("conversion_rate", window_ms=5 * MINUTE, state=SETTLED)
    answer = view.query(query, NOW_MS)
    assert answer.to_ms == through_ms // 10_000 * 10_000
    assert answer.from_ms == answer.to_ms - 5 * MINUTE
    assert (only(answer).denominator, answer.settled_through_ms) == (2, through_ms)
    assert view.query(replace(query, state="live"), NOW_MS).to_ms == TO_MS


async def test_a_settled_window_takes_coarser_buckets_where_fine_ones_are_gone() -> None:
    through_ms = NOW_MS - 3 * DAY
    view = await view_of([sessions((NOW_MS, 1, 0))], settled_through_ms={"sessions": through_ms})
    answer = view.query(ask("conversion_rate", window_ms=HOUR, state=SETTLED), NOW_MS)
    assert answer.to_ms == through_ms // HOUR * HOUR
    assert answer.from_ms == answer.to_ms - HOUR


async def test_a_settled_range_is_cut_at_a_whole_bucket_that_is_kept() -> None:
    through_ms = (NOW_MS - 3 * DAY) // HOUR * HOUR + 30 * MINUTE
    hour_ms = through_ms // HOUR * HOUR
    table = sessions((hour_ms - MINUTE, 7, 5), (hour_ms + MINUTE, 10, 10))
    view = await view_of([table], settled_through_ms={"sessions": through_ms})
    query = ask("conversion_rate", from_ms=hour_ms - HOUR, to_ms=NOW_MS, state=SETTLED)
    answer = view.query(query, NOW_MS)
    assert (answer.from_ms, answer.to_ms) == (hour_ms - HOUR, hour_ms)
    assert only(answer).denominator == 5
    answer = view.query(replace(query, to_ms=hour_ms + 20 * MINUTE), NOW_MS)
    assert answer.to_ms == hour_ms
    beyond = view.query(replace(query, from_ms=NOW_MS - HOUR), NOW_MS)
    assert (beyond.from_ms, beyond.to_ms) == (hour_ms, hour_ms)
    assert only(beyond).denominator == 0


async def test_nothing_settled_answers_nothing() -> None:
    view = await view_of([sessions((NOW_MS, 5, 5))])
    for how in ({"window_ms": HOUR}, {"from_ms": NOW_MS - HOUR, "to_ms": NOW_MS}):
        answer = view.query(ask("conversion_rate", state=SETTLED, **how), NOW_MS)
        assert answer.from_ms == answer.to_ms
        assert (only(answer).value, answer.settled_through_ms) == (None, None)


async def test_an_age_leaves_out_what_is_not_old_enough() -> None:
    metric, age_ms = METRICS["bounce_rate"], AGES_MS["5m"]
    table = table_of("sessions")
    cut_ms = (NOW_MS - age_ms) // 10_000 * 10_000
    table.count(cut_ms - 1, SPRING, {"sessions": 4, "engaged_within_5m": 1})
    table.count(cut_ms, SPRING, {"sessions": 100, "engaged_within_5m": 1})
    view = await view_of([table], as_of_ms=NOW_MS)
    query = ask("bounce_rate", fraction=metric.ages["5m"], age_ms=age_ms, window_ms=HOUR)
    answer = view.query(query, NOW_MS)
    assert (answer.from_ms, answer.to_ms) == (cut_ms - HOUR, cut_ms)
    assert (only(answer).numerator, only(answer).denominator) == (3, 4)
    ranged = replace(query, window_ms=None, from_ms=cut_ms - HOUR, to_ms=NOW_MS)
    assert view.query(ranged, NOW_MS).to_ms == cut_ms
    unknown = await view_of([table], as_of_ms=None)
    assert only(unknown.query(query, NOW_MS)).denominator == 0


@pytest.mark.parametrize("later", ["settled", "age"])
async def test_a_settled_figure_at_an_age_ends_where_both_allow(later: str) -> None:
    metric, age_ms = METRICS["conversion_rate"], AGES_MS["15m"]
    aged_ms = (NOW_MS - age_ms) // 10_000 * 10_000
    through_ms = aged_ms + (1 if later == "settled" else -1) * 10 * MINUTE
    view = await view_of([sessions((NOW_MS, 1, 0))], settled_through_ms={"sessions": through_ms})
    how = {"fraction": metric.ages["15m"], "age_ms": age_ms, "state": SETTLED}
    answer = view.query(ask("conversion_rate", window_ms=HOUR, **how), NOW_MS)
    assert answer.to_ms == min(aged_ms, through_ms)


# --- rows ----------------------------------------------------------------------------------------


async def test_without_by_there_is_one_row_even_of_nothing() -> None:
    view = await view_of([clicks()])
    row = only(view.query(ask("ctr", window_ms=HOUR), NOW_MS))
    assert row == Row({}, None, 0, 0)
    tickets = await view_of([table_of("tickets")])
    row = only(tickets.query(ask("resolution_time", window_ms=DAY), NOW_MS))
    assert row.quantiles is not None
    assert (row.value, row.quantiles.p50, row.quantiles.p90) == (None, None, None)


async def test_groups_without_data_are_not_listed() -> None:
    table = table_of("sessions")
    table.count(NOW_MS, SPRING, {"sessions": 1})
    table.count(NOW_MS, SUMMER, {"with_page_view": 1})
    view = await view_of([table])
    answer = view.query(ask("conversion_rate", window_ms=HOUR, by=("campaign",)), NOW_MS)
    assert [row.labels for row in answer.rows] == [{"campaign": "spring"}]


async def test_groups_are_those_of_the_dimensions_asked_for() -> None:
    view = await view_of(
        [
            clicks((NOW_MS, ("s", "mail", "a"), 1, 0), (NOW_MS, ("s", "web", "b"), 2, 0)),
            clicks((NOW_MS, ("t", "web", "b"), 4, 0), (NOW_MS, ("s", "web", "a"), 8, 0)),
        ]
    )
    query = ask("ctr", window_ms=HOUR, by=("channel", "campaign"))
    rows = view.query(query, NOW_MS).rows
    assert [(dict(r.labels), r.denominator) for r in rows] == [
        ({"channel": "web", "campaign": "s"}, 10),
        ({"channel": "web", "campaign": "t"}, 4),
        ({"channel": "mail", "campaign": "s"}, 1),
    ]
    for how in ({"window_ms": HOUR}, {"window_ms": None, "from_ms": TO_MS - HOUR, "to_ms": TO_MS}):
        query = ask(
            "ctr",
            filters={"channel": frozenset({"web", "mail"}), "variant": frozenset({"b"})},
            **how,
        )
        assert only(view.query(query, NOW_MS)).denominator == 6


@pytest.mark.parametrize(
    ("order", "campaigns"),
    [
        ("-denominator", "dbcae"),
        ("denominator", "eacbd"),
        ("numerator", "edcba"),
        ("-numerator", "bcade"),
        ("label", "abcde"),
        ("-label", "edcba"),
        ("value", "dcbae"),
        ("-value", "abcde"),
    ],
)
async def test_orders(order: str, campaigns: str) -> None:
    figures = {"a": (2, 2), "b": (8, 3), "c": (8, 2), "d": (9, 1), "e": (0, 1)}
    counts = [(NOW_MS, (name, "x", "y"), *figure) for name, figure in figures.items()]
    view = await view_of([clicks(*counts)])
    query = ask("ctr", window_ms=HOUR, by=("campaign",), order=order)
    rows = view.query(query, NOW_MS).rows
    found = "".join(row.labels["campaign"] for row in rows)
    ties = {"denominator": "eabcd", "numerator": "deacb", "-numerator": "bacde"}
    assert found == ties.get(order, campaigns)


async def test_a_limit_cuts_and_says_so() -> None:
    counts = [(NOW_MS, (name, "x", "y"), n + 1, 0) for n, name in enumerate("abc")]
    view = await view_of([clicks(*counts)])
    query = ask("ctr", window_ms=HOUR, by=("campaign",), limit=2)
    answer = view.query(query, NOW_MS)
    assert ([r.labels["campaign"] for r in answer.rows], answer.truncated) == (["c", "b"], True)
    assert view.query(replace(query, limit=3), NOW_MS).truncated is False


async def test_more_clicks_than_impressions_have_no_interval() -> None:
    view = await view_of([clicks((NOW_MS, SPRING, 2, 3))])
    row = only(view.query(ask("ctr", window_ms=HOUR), NOW_MS))
    assert (row.value, row.low, row.high) == (1.5, None, None)


async def test_means_are_in_the_metrics_unit_without_interval() -> None:
    table = table_of("sessions")
    table.count(NOW_MS, SPRING, {"sessions": 4, "duration_ms": 90_500, "page_views": 6})
    view = await view_of([table])
    row = only(view.query(ask("session_duration", window_ms=HOUR), NOW_MS))
    assert (row.numerator, row.denominator, row.value) == (90.5, 4, 22.625)
    assert (row.low, row.high, row.quantiles) == (None, None, None)
    row = only(view.query(ask("pages_per_session", window_ms=HOUR), NOW_MS))
    assert (row.numerator, row.value, row.low) == (6, 1.5, None)


async def test_quantiles_are_of_the_metrics_own_sketch_over_all_partitions() -> None:
    tables = [table_of("tickets"), table_of("tickets")]
    start_ms = NOW_MS // 10_000 * 10_000
    for n in range(10):
        bin_ = bin_index(1, (n + 1) * MINUTE)
        tables[n % 2].add((Size.S10, start_ms), ("mail", "red"), {bin_: 1, bin_index(0, 7): 1})
        tables[n % 2].add(
            (Size.S10, start_ms),
            ("mail", "red"),
            {
                SOURCES["tickets"].index["resolved_latest"]: 1,
                SOURCES["tickets"].index["resolution_ms"]: (n + 1) * MINUTE,
            },
        )
    view = await view_of(tables)
    row = only(view.query(ask("resolution_time", window_ms=HOUR), NOW_MS))
    assert (row.value, row.denominator) == (330.0, 10)
    assert row.quantiles is not None
    assert row.quantiles.p50 == pytest.approx(300, rel=0.01)
    assert row.quantiles.p90 == pytest.approx(540, rel=0.01)


# --- series --------------------------------------------------------------------------------------


async def test_a_series_sums_to_the_query_and_leaves_empty_steps_out() -> None:
    counts = [(TO_MS - ago, SPRING, 1, 1) for ago in (1, 61_000, 62_000, 10 * MINUTE, 50 * MINUTE)]
    view = await view_of([clicks(*counts, (TO_MS - 1, SUMMER, 7, 0))])
    query = ask("ctr", window_ms=HOUR, by=("campaign",))
    answer = view.series(query, Size.M1, NOW_MS)
    whole = view.query(query, NOW_MS)
    assert (answer.from_ms, answer.to_ms) == (whole.from_ms, whole.to_ms)
    assert [row.labels["campaign"] for row in answer.rows] == ["summer"] + ["spring"] * 4
    spring = [row for row in answer.rows if row.labels["campaign"] == "spring"]
    assert [row.at_ms for row in spring] == sorted({t // MINUTE * MINUTE for t, *_ in counts})
    assert [row.denominator for row in spring] == [1, 1, 2, 1]
    assert (answer.step, answer.truncated) == (Size.M1, False)
    assert view.series(query, Size.M1, NOW_MS) == answer
    first = view.series(replace(query, limit=1), Size.M1, NOW_MS)
    assert ({row.labels["campaign"] for row in first.rows}, first.truncated) == ({"summer"}, True)


async def test_a_series_without_by_has_only_steps_with_data() -> None:
    view = await view_of([clicks((NOW_MS - 5 * MINUTE, SPRING, 1, 0))])
    rows = view.series(ask("ctr", window_ms=HOUR), Size.S10, NOW_MS).rows
    assert [row.labels for row in rows] == [{}]


async def test_a_step_that_is_no_longer_kept_becomes_the_finest_that_is() -> None:
    view = await view_of([clicks((NOW_MS - DAY, SPRING, 1, 0), (NOW_MS, SPRING, 1, 0))])
    query = ask("ctr", from_ms=(NOW_MS - DAY) // HOUR * HOUR, to_ms=TO_MS)
    answer = view.series(query, Size.S10, NOW_MS)
    assert answer.step is Size.M1
    assert [row.at_ms for row in answer.rows] == [
        (NOW_MS - DAY) // MINUTE * MINUTE,
        NOW_MS // MINUTE * MINUTE,
    ]


async def test_a_series_by_day_keeps_the_zones_days() -> None:
    calendar = Calendar("Europe/Berlin")
    table = table_of("clicks", calendar=calendar)
    days = [calendar.day(NOW_MS - n * DAY)[0] for n in range(3)]
    for start_ms in days:
        table.count(start_ms, SPRING, {"impressions": 1})
    view = await view_of([table], timezone="Europe/Berlin")
    answer = view.series(ask("ctr", from_ms=days[2], to_ms=TO_MS), Size.D1, NOW_MS)
    assert [row.at_ms for row in answer.rows] == days[::-1]


async def test_too_many_rows_are_refused() -> None:
    table = table_of("clicks")
    for n in range(40):
        for ago in range(300):
            table.cell((Size.S10, TO_MS - 10_000 * (ago + 1)), (f"c{n}", "x", "y"), {0: 1}, {})
    view = await view_of([table])
    query = ask("ctr", window_ms=HOUR, by=("campaign",), limit=40)
    with pytest.raises(TooManyRowsError, match="11000"):
        view.series(query, Size.S10, NOW_MS)
    assert len(view.series(replace(query, limit=36), Size.S10, NOW_MS).rows) == 10_800
