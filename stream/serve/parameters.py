"""From a query string to a Query: every parameter read, checked and named when it is wrong.

Knows the catalogue and the query's shape; knows neither HTTP nor the view.
"""

import re
from functools import partial

from stream.core.buckets import STEPS, Size
from stream.core.catalogue import AGES_MS, LIVE, METRICS, SETTLED, SOURCES, Fraction, Metric
from stream.core.events import NAME_CHARS, is_name
from stream.live.query import ORDERS as ORDERINGS
from stream.live.query import Query
from stream.serve.definitions import asked_key, default_key, fraction_of
from stream.serve.given import Given, Pairs
from stream.serve.problems import ParameterError
from stream.serve.times import parse_time, parse_window
from stream.settings import Settings

DIMENSIONS = tuple(dict.fromkeys(name for s in SOURCES.values() for name in s.dimensions))
QUERY_PARAMETERS = (
    *("metric", "window", "from", "to", "state", "bounce", "fcr", "age", "limit", "order"),
)
SERIES_PARAMETERS = (*QUERY_PARAMETERS, "step")
EXPLAIN_PARAMETERS = ("metric", "window", "from", "to", "state", "bounce", "fcr", "age")
REPEATED = ("by", *DIMENSIONS)
"""Parameters that may be given several times; all others at most once."""
STATES = (LIVE, SETTLED)
DEFAULT_LIMIT, MAX_LIMIT = 100, 10_000
DEFAULT_ORDER = "-denominator"
ORDERS = (*ORDERINGS, *(f"-{name}" for name in ORDERINGS))


def read_query(pairs: Pairs, settings: Settings) -> Query:
    """The query of `/api/v1/query`; ParameterError names what is wrong."""
    return _query(Given(pairs, QUERY_PARAMETERS, REPEATED), settings)


def read_series(pairs: Pairs, settings: Settings) -> tuple[Query, Size]:
    """The query and the step of `/api/v1/series`; ParameterError names what is wrong."""
    given = Given(pairs, SERIES_PARAMETERS, REPEATED)
    query = _query(given, settings)
    return query, STEPS[given.choice("step", STEPS)]


def read_explain(pairs: Pairs, settings: Settings) -> Query:
    """The query of `/api/v1/explain`: one figure, so neither groups nor order nor limit."""
    return _query(Given(pairs, EXPLAIN_PARAMETERS, DIMENSIONS), settings)


def refuse_parameters(pairs: Pairs) -> None:
    """For addresses that take none."""
    for name, _ in pairs:
        raise ParameterError(name, "unknown parameter; there are none here")


def _query(given: Given, settings: Settings) -> Query:
    metric = METRICS[given.choice("metric", METRICS)]
    window_ms, from_ms, to_ms = _range(given)
    fraction, age_ms = _fraction(given, metric, settings)
    return Query(
        metric=metric,
        window_ms=window_ms,
        from_ms=from_ms,
        to_ms=to_ms,
        by=_by(given, metric),
        filters=_filters(given, metric),
        state=_state(given, metric),
        fraction=fraction,
        age_ms=age_ms,
        limit=given.parsed("limit", _limit) if "limit" in given else DEFAULT_LIMIT,
        order=given.choice("order", ORDERS, DEFAULT_ORDER),
    )


def _range(given: Given) -> tuple[int | None, int | None, int | None]:
    if "window" in given:
        if "from" in given or "to" in given:
            raise ParameterError("window", "give either a window, or from and to")
        return given.parsed("window", parse_window), None, None
    if "from" not in given and "to" not in given:
        raise ParameterError("window", "is required, or else from and to")
    from_ms, to_ms = given.parsed("from", parse_time), given.parsed("to", parse_time)
    if from_ms >= to_ms:
        raise ParameterError("to", "must be later than from")
    return None, from_ms, to_ms


def _by(given: Given, metric: Metric) -> tuple[str, ...]:
    names = [name for value in given.every("by") for name in value.split(",")]
    for name in names:
        if name not in metric.dimensions:
            raise ParameterError("by", _lacks(metric, name))
        if names.count(name) > 1:
            raise ParameterError("by", f"'{name}' is named more than once")
    return tuple(names)


def read_filters(given: Given) -> dict[str, frozenset[str]]:
    """The values that are kept, by dimension."""
    filters = {name: frozenset(given.every(name)) for name in DIMENSIONS if name in given}
    for name, values in filters.items():
        if not all(map(is_name, values)):
            raise ParameterError(
                name, f"must be 1 to {NAME_CHARS} characters without control characters"
            )
    return filters


def _filters(given: Given, metric: Metric) -> dict[str, frozenset[str]]:
    for name in DIMENSIONS:
        if name in given and name not in metric.dimensions:
            raise ParameterError(name, _lacks(metric, name))
    return read_filters(given)


def _lacks(metric: Metric, name: str) -> str:
    return f"{metric.name} has no dimension '{name}'; it has {', '.join(metric.dimensions)}"


def _state(given: Given, metric: Metric) -> str:
    state = given.choice("state", STATES, LIVE)
    if state == SETTLED and not metric.settles:
        raise ParameterError("state", f"{metric.name} has only live values")
    return state


def _fraction(given: Given, metric: Metric, settings: Settings) -> tuple[Fraction, int | None]:
    key = _definition(given, metric, settings)
    if "age" not in given:
        return fraction_of(metric, key), None
    if not metric.ages:
        raise ParameterError("age", f"{metric.name} cannot be read at an age")
    if metric.choice == "bounce" and key != "single":
        raise ParameterError("age", f"goes with bounce=single only, not with bounce={key}")
    age = given.choice("age", metric.ages)
    return metric.ages[age], AGES_MS[age]


def _definition(given: Given, metric: Metric, settings: Settings) -> str | None:
    for name in ("bounce", "fcr"):
        if name in given and metric.choice != name:
            raise ParameterError(name, f"{metric.name} does not depend on it")
    if metric.choice is not None and metric.choice in given:
        return given.parsed(metric.choice, partial(asked_key, metric))
    return default_key(metric, settings)


def _limit(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text) or not 1 <= int(text) <= MAX_LIMIT:
        raise ValueError(f"'{text}' is not a whole number from 1 to {MAX_LIMIT}")
    return int(text)
