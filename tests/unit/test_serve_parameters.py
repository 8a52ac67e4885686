"""Query strings: what they become, and which parameter is blamed when they cannot."""

from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.buckets import EPOCH_MAX_MS, EPOCH_MIN_MS, WINDOWS_MS, Size
from stream.core.catalogue import BOUNCE_RULES, METRICS
from stream.serve.parameters import read_query, read_series
from stream.serve.problems import ParameterError
from stream.serve.times import format_time, parse_time
from stream.settings import Settings
from tests.support.serving import settings_of

SETTINGS = settings_of()
GA4 = settings_of(bounce="ga4", fcr_conditions="none")


def pairs(text: str) -> list[tuple[str, str]]:
    return parse_qsl(text, keep_blank_values=True)


def blamed(text: str, settings: Settings = SETTINGS, series: bool = False) -> str:
    with pytest.raises(ParameterError) as caught:
        (read_series if series else read_query)(pairs(text), settings)
    assert caught.value.detail
    return caught.value.param


def test_defaults() -> None:
    query = read_query(pairs("metric=ctr&window=5m"), SETTINGS)
    assert query.metric is METRICS["ctr"]
    assert (query.window_ms, query.from_ms, query.to_ms) == (300_000, None, None)
    assert (query.by, query.filters, query.state) == ((), {}, "live")
    assert (query.limit, query.order, query.age_ms) == (100, "-denominator", None)


def test_everything_at_once() -> None:
    text = (
        "metric=bounce_rate&from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00%2B01:00"
        "&by=campaign,channel&by=variant&campaign=a&campaign=b&state=settled&bounce=matomo"
        "&limit=10000&order=label&step=1h"
    )
    query, step = read_series(pairs(text), SETTINGS)
    assert step is Size.H1
    assert query.to_ms is not None
    assert query.from_ms is not None
    assert query.to_ms - query.from_ms == 23 * 3_600_000
    assert query.by == ("campaign", "channel", "variant")
    assert query.filters == {"campaign": frozenset({"a", "b"})}
    assert query.fraction == BOUNCE_RULES["matomo"]
    assert (query.limit, query.order, query.state) == (10_000, "label", "settled")


@pytest.mark.parametrize("name", WINDOWS_MS)
def test_each_window_is_taken(name: str) -> None:
    assert read_query(pairs(f"metric=fcr&window={name}"), SETTINGS).window_ms == WINDOWS_MS[name]


@pytest.mark.parametrize(
    ("text", "param"),
    [
        ("window=5m", "metric"),
        ("metric=nope&window=5m", "metric"),
        ("metric=ctr", "window"),
        ("metric=ctr&window=2m", "window"),
        ("metric=ctr&window=1d", "window"),
        ("metric=ctr&window=", "window"),
        ("metric=ctr&window=5m&window=5m", "window"),
        ("metric=ctr&window=5m&from=2026-01-01T00:00:00Z", "window"),
        ("metric=ctr&window=5m&to=2026-01-01T00:00:00Z", "window"),
        ("metric=ctr&from=2026-01-01T00:00:00Z", "to"),
        ("metric=ctr&to=2026-01-01T00:00:00Z", "from"),
        ("metric=ctr&from=2026-01-01&to=2026-01-02T00:00:00Z", "from"),
        ("metric=ctr&from=1760000000000&to=2026-01-02T00:00:00Z", "from"),
        ("metric=ctr&from=2026-01-01T00:00:00Z&to=2026-01-01T00:00:00", "to"),
        ("metric=ctr&from=2026-01-01T00:00:00Z&to=2026-02-30T00:00:00Z", "to"),
        ("metric=ctr&from=2026-01-01T00:00:00Z&to=2026-01-01T00:00:00Z", "to"),
        ("metric=ctr&window=5m&by=team", "by"),
        ("metric=fcr&window=24h&by=campaign", "by"),
        ("metric=ctr&window=5m&by=", "by"),
        ("metric=ctr&window=5m&by=campaign,", "by"),
        ("metric=ctr&window=5m&by=campaign,campaign", "by"),
        ("metric=ctr&window=5m&by=campaign&by=campaign", "by"),
        ("metric=ctr&window=5m&team=x", "team"),
        ("metric=fcr&window=5m&campaign=x", "campaign"),
        ("metric=ctr&window=5m&campaign=", "campaign"),
        ("metric=ctr&window=5m&campaign=" + "x" * 129, "campaign"),
        ("metric=ctr&window=5m&campaign=a%00b", "campaign"),
        ("metric=ctr&window=5m&state=settled", "state"),
        ("metric=ctr&window=5m&state=final", "state"),
        ("metric=ctr&window=5m&bounce=single", "bounce"),
        ("metric=bounce_rate&window=5m&bounce=none", "bounce"),
        ("metric=bounce_rate&window=5m&fcr=none", "fcr"),
        ("metric=fcr&window=5m&fcr=single_contact,nope", "fcr"),
        ("metric=first_response_time&window=5m&fcr=none", "fcr"),
        ("metric=ctr&window=5m&age=5m", "age"),
        ("metric=fcr&window=5m&age=5m", "age"),
        ("metric=pages_per_session&window=5m&age=5m", "age"),
        ("metric=conversion_rate&window=5m&age=2m", "age"),
        ("metric=bounce_rate&window=5m&age=5m&bounce=ga4", "age"),
        ("metric=ctr&window=5m&limit=0", "limit"),
        ("metric=ctr&window=5m&limit=10001", "limit"),
        ("metric=ctr&window=5m&limit=1e2", "limit"),
        ("metric=ctr&window=5m&limit=%D9%A3", "limit"),
        ("metric=ctr&window=5m&limit=-1", "limit"),
        ("metric=ctr&window=5m&order=rate", "order"),
        ("metric=ctr&window=5m&order=--value", "order"),
        ("metric=ctr&window=5m&step=1m", "step"),
        ("metric=ctr&window=5m&windows=1h", "windows"),
        ("metric=ctr&window=5m&=x", ""),
    ],
)
def test_the_wrong_parameter_is_named(text: str, param: str) -> None:
    assert blamed(text) == param


@pytest.mark.parametrize("step", ["", "&step=5m", "&step=1m&step=1m"])
def test_a_series_needs_one_step(step: str) -> None:
    assert blamed(f"metric=ctr&window=1h{step}", series=True) == "step"


def test_the_definition_is_the_settings_unless_asked_for() -> None:
    bounce, fcr = METRICS["bounce_rate"], METRICS["fcr"]

    def fraction(text: str, settings: Settings) -> object:
        return read_query(pairs(text + "&window=1h"), settings).fraction

    assert fraction("metric=bounce_rate", GA4) == bounce.definitions["ga4"]
    assert fraction("metric=bounce_rate&bounce=single", GA4) == bounce.definitions["single"]
    assert fraction("metric=fcr", SETTINGS) == fcr.definitions["single_contact"]
    assert fraction("metric=fcr", GA4) == fcr.definitions["none"]
    assert fraction("metric=fcr&fcr=", SETTINGS) == fcr.definitions["none"]
    asked = "metric=fcr&fcr=no_customer_wait,single_contact"
    assert fraction(asked, SETTINGS) == fcr.definitions["single_contact,no_customer_wait"]


def test_age_goes_with_single_only_even_as_the_default() -> None:
    age = "metric=bounce_rate&window=1h&age=5m"
    assert blamed(age, GA4) == "age"
    query = read_query(pairs(age + "&bounce=single"), GA4)
    assert query.age_ms == 300_000
    assert query.fraction == METRICS["bounce_rate"].ages["5m"]
    assert read_query(pairs("metric=conversion_rate&window=1h&age=30m"), GA4).age_ms == 1_800_000


def test_a_plus_that_became_a_space_is_understood() -> None:
    text = "metric=ctr&from=2026-01-01T00:00:00+02:00&to=2026-01-01T00:00:00Z"
    query = read_query(pairs(text), SETTINGS)
    assert query.from_ms == parse_time("2025-12-31T22:00:00Z")


@given(st.integers(EPOCH_MIN_MS, EPOCH_MAX_MS - 1))
def test_times_are_read_as_written(at_ms: int) -> None:
    assert parse_time(format_time(at_ms)) == at_ms


def test_times_have_milliseconds_and_finer_digits_are_cut() -> None:
    assert format_time(0) == "1970-01-01T00:00:00.000Z"
    assert format_time(1) == "1970-01-01T00:00:00.001Z"
    assert parse_time("1970-01-01T00:00:00.0019999Z") == 1
    assert parse_time("1970-01-01t01:00:00.5+01:00") == 500
    assert format_time(10**18) == "9999-12-31T23:59:59.999Z"
    assert format_time(-(10**18)) == "0001-01-01T00:00:00.000Z"


@pytest.mark.parametrize(
    "text",
    ["", "now", "0001-01-01T00:00:00+23:59", "2026-01-01T24:01:00Z", "२०२६-01-01T00:00:00Z"],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="time"):
        parse_time(text)
