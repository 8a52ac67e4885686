"""The catalogue: everything it names is there, and a ratio over counted fields is one record."""

import pytest

from stream.core.catalogue import (
    CLICKS,
    FCR_CONDITIONS,
    METRICS,
    SESSIONS,
    SOURCES,
    TICKETS,
    TOTALS,
    WINDOW_COUNTS,
    Fraction,
    Metric,
    Unit,
    _fcr,
    conditions_of,
    fcr_key,
)
from stream.core.sketch import FIRST_BIN
from stream.live.query import Query
from tests.support.serving import Served
from tests.support.views import NOW_MS, HandMade

GA4_CONVERSION = Metric(
    name="conversions_per_session",
    title="Conversions per session",
    help="Conversion events per session, by the session's first interaction.",
    unit=Unit.PAGES,
    source=SESSIONS,
    fraction=Fraction(("conversions",), ("sessions",)),
    gauge="engagement_conversions_per_session",
    shown=("conversions", "sessions"),
    attribution="the session's first interaction",
    settling="the watermark passes the session's time-out",
)


@pytest.mark.parametrize("metric", METRICS.values(), ids=list(METRICS))
def test_every_fraction_names_fields_that_are_counted(metric):
    fractions = [metric.fraction, *metric.definitions.values(), *metric.ages.values()]
    for fraction in fractions:
        for name in (*fraction.numerator, *fraction.denominator):
            assert name.removeprefix("-") in metric.source.fields
    if metric.sketch:
        assert metric.sketch in metric.source.sketches
    if metric.choice:
        assert metric.fraction in metric.definitions.values()


def test_the_metrics_are_those_of_the_contract():
    assert set(METRICS) == {
        *("ctr", "bounce_rate", "conversion_rate", "pages_per_session", "session_duration"),
        *("fcr", "first_response_time", "first_resolution_time", "resolution_time"),
    }
    assert [name for name, metric in METRICS.items() if not metric.settles] == ["ctr"]
    assert [name for name, metric in METRICS.items() if metric.ages] == [
        "bounce_rate",
        "conversion_rate",
    ]


def test_fields_and_sketch_bins_do_not_meet():
    for source in SOURCES.values():
        kinds = (source.fields, source.totals, source.levels, source.moments, source.fates)
        names = {name for kind in kinds for name in kind}
        assert len(source.index) == len(names)
        assert max(source.index.values()) < FIRST_BIN


def test_counts_and_totals_name_what_there_is():
    for count in WINDOW_COUNTS:
        assert count.part in ("numerator", "denominator")
        assert count.metric in METRICS
    for total in TOTALS:
        assert set(total.fields) <= set(total.source.index)
        assert total.label in total.source.dimensions


def test_dimensions_are_those_of_the_contract():
    assert SESSIONS.dimensions == ("campaign", "channel", "variant")
    assert CLICKS.dimensions == (*SESSIONS.dimensions, "creative")
    assert TICKETS.dimensions == ("channel", "team")


def test_fcr_adds_the_cells_in_which_all_its_conditions_hold():
    definitions = METRICS["fcr"].definitions
    assert len(definitions) == 8
    assert len(definitions["none"].numerator) == 8
    assert definitions["single_contact"].numerator == tuple(
        f"first_contact_1{b}{c}" for b in (0, 1) for c in (0, 1)
    )
    every = fcr_key(FCR_CONDITIONS)
    assert definitions[every].numerator == ("first_contact_111",)
    assert _fcr(FCR_CONDITIONS) == Fraction(("first_contact_111",), ("resolved",))
    assert _fcr(("single_contact",)) == definitions["single_contact"]
    assert _fcr(()) == definitions["none"]


@pytest.mark.parametrize(
    ("text", "conditions"),
    [
        ("", ()),
        ("none", ()),
        (" no_reassignment , single_contact ", ("single_contact", "no_reassignment")),
        ("no_customer_wait,no_customer_wait", ("no_customer_wait",)),
    ],
)
def test_conditions_are_a_list_in_any_order(text, conditions):
    assert conditions_of(text) == conditions
    assert fcr_key(reversed(conditions)) in METRICS["fcr"].definitions


@pytest.mark.parametrize("text", ["fast", "single_contact,none", "single_contact;no_reassignment"])
def test_a_wrong_condition_is_named(text):
    with pytest.raises(ValueError, match="is not one of single_contact"):
        conditions_of(text)


async def test_a_ratio_over_fields_that_are_counted_is_one_record(monkeypatch):
    monkeypatch.setitem(METRICS, GA4_CONVERSION.name, GA4_CONVERSION)
    made = HandMade()
    labels = ("spring", "email", "A")
    made.count(SESSIONS, labels, {"sessions": 4, "conversions": 6}, settled=True)
    view = await made.view()
    query = Query(
        metric=GA4_CONVERSION,
        window_ms=3_600_000,
        from_ms=None,
        to_ms=None,
        by=("campaign",),
        filters={},
        state="live",
        fraction=GA4_CONVERSION.fraction,
        age_ms=None,
        limit=10,
        order="-denominator",
    )
    [row] = view.query(query, NOW_MS).rows
    assert (row.value, row.numerator, row.denominator) == (1.5, 6, 4)
    served = Served(view)
    listed = (await served.get("/api/v1/catalogue")).json()["metrics"]
    [entry] = [metric for metric in listed if metric["name"] == GA4_CONVERSION.name]
    assert (entry["numerator"], entry["dimensions"][0]) == ("conversions", "campaign")
    for state in ("live", "settled"):
        answer = await served.get(
            "/api/v1/query", metric=GA4_CONVERSION.name, window="24h", state=state
        )
        assert [row["value"] for row in answer.json()["rows"]] == [1.5]
    text = (await served.get("/metrics")).text
    assert f"# HELP {GA4_CONVERSION.gauge} {GA4_CONVERSION.help}" in text
    assert f'{GA4_CONVERSION.gauge}{{window="1h",state="live",level="total"' in text
