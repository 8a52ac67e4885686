"""Writes docs/metrics.md out of the catalogue: `python -m tools.metrics_doc`.

Owns the page's order and the words around the catalogue's records; knows no figures and no server.
What a rule means is said here, what a metric is good for in `tools/metrics/`, an example in
`tools.metric_examples`; a rule without words is a KeyError, a metric without notes a missing file,
so that none stays undocumented.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from stream.core.buckets import RETENTION_MS, STEPS, WINDOWS_MS
from stream.core.catalogue import (
    BOUNCE_RULES,
    FCR_CONDITIONS,
    METRICS,
    SOURCES,
    TOTALS,
    WINDOW_COUNTS,
    Fraction,
    Metric,
    Source,
    Sum,
    Total,
    Unit,
)
from stream.core.durations import format_duration
from stream.core.sketch import ACCURACY
from tools.metric_examples import EXAMPLES, Step, fraction

NOTES = Path(__file__).parent / "metrics"
"""What is said of each metric, with places for `{facts}` and `{example}`."""
FILE = Path(__file__).parents[1] / "docs" / "metrics.md"

HEAD = """\
# Metrics

<!-- Made by `make docs` out of the catalogue and tools/metrics. Do not edit it by hand. -->

Each metric is one record of [the catalogue](../stream/core/catalogue.py), and this page is made
from it. A value is numerator / denominator. An empty denominator gives no value: `null` in the API,
no sample in Prometheus, never 0. Ratios come with their 95 % Wilson interval (`low`, `high`).

The examples are worked out by hand, under the default settings, and
[a test sends them through the core](../tests/unit/test_metric_examples.py). Each row shows the
figures after its event. Times are UTC; an event is its type, the visitor or ticket, and its fields.

- **Live** is the value as it stands now. Later events correct it, in the bucket where the item
  was counted.
- **Settled** counts only what can no longer change. When an item settles follows from its start
  and its last activity, never from its outcome. A settled answer ends at `settled_through`.
- **Watermark**: the partition's clock less the allowed lateness (`STREAM_ALLOWED_LATENESS`).
- **Interactions** are `page_view`, `action` and `conversion`. `ping` and `end` are none.
"""

BOUNCE_TEXTS = {
    "single": "exactly one interaction",
    "ga4": "under 10 s, fewer than 2 page views and no conversion",
    "posthog": (
        "exactly 1 page view, no other interaction, under 10 s; "
        "a session without a page view is left out of the denominator"
    ),
    "matomo": "exactly one page view or action; conversions are not counted as one",
}
CONDITION_TEXTS = {
    "single_contact": "no `contact` by the customer after `opened`",
    "no_reassignment": "no `reassigned`",
    "no_customer_wait": "no `awaiting_customer`",
}


def main() -> None:
    """Write the file."""
    FILE.write_text(document())


def document() -> str:
    """The whole page."""
    parts = [
        HEAD,
        _overview(),
        _notes("jumps"),
        *(_section(metric) for metric in METRICS.values()),
        _bounce(),
        _fcr(),
        _ages(),
        _notes("backlog"),
        _fields(),
        _prometheus(),
        _notes("changes"),
        _time(),
        _notes("sources"),
    ]
    return "\n".join(parts)


def _overview() -> str:
    rows = [
        (
            f"[`{metric.name}`](#{metric.name})",
            " / ".join(metric.shown),
            metric.unit.value,
            _names(metric.dimensions),
            "live, settled" if metric.settles else "live",
        )
        for metric in METRICS.values()
    ]
    return _table(("metric", "value", "unit", "dimensions", "states"), rows)


def _section(metric: Metric) -> str:
    notes = _notes(metric.name)
    notes = notes.replace("{facts}\n", _table(("", ""), _facts(metric)) + "\n")
    notes = notes.replace("{example}\n", _example(metric) + "\n")
    return f"## {metric.name}\n\n{metric.title}. {metric.help}\n\n{notes}"


def _notes(name: str) -> str:
    return (NOTES / f"{name}.md").read_text()


def _example(metric: Metric) -> str:
    example = EXAMPLES[metric.name]
    rows = [_row(number, step, metric) for number, step in enumerate(example.steps, 1)]
    states = ("live", "settled") if metric.settles else ("live",)
    last = example.steps[-1]
    ends = zip(states, (last.live, last.settled), strict=False)
    told = ", ".join(f"{state} {_value(text, metric)}" for state, text in ends)
    others = ", ".join(f"`{name}` {_over(text)}" for name, text in example.others.items())
    return (
        _table(("", "time", "event", *states, ""), rows)
        + f"\nIn the end: {told}."
        + (f" Chosen otherwise: {others}." if others else "")
        + "\n"
    )


def _row(number: int, step: Step, metric: Metric) -> tuple[str, ...]:
    time = f"{step.at}, sent {step.sent}" if step.sent else step.at
    event = f"`{step.what}`" if step.what else "none; time goes by"
    label = str(step.again or number) if step.what else ""
    figures = (step.live, step.settled) if metric.settles else (step.live,)
    return label, time, event, *map(_over, figures), step.note


def _over(text: str) -> str:
    numerator, denominator = fraction(text)
    return f"{numerator:,} / {denominator:,}" if denominator else "–"


def _value(text: str, metric: Metric) -> str:
    numerator, denominator = fraction(text)
    unit = {Unit.RATIO: "", Unit.SECONDS: " s", Unit.PAGES: " pages"}[metric.unit]
    return f"{_over(text)} = {round(numerator / denominator, 3):,}{unit}"


def _facts(metric: Metric) -> Iterator[tuple[str, str]]:
    yield "value", f"{metric.shown[0]} / {metric.shown[1]}"
    yield "unit", metric.unit.value
    yield "topic", f"`{metric.source.topic}`"
    yield "dimensions", _names(metric.dimensions)
    yield "counted in the bucket of", metric.attribution
    yield "an item settles when", metric.settling or "– (there are live values only)"
    yield "fields", _formula(metric.fraction, metric.divisor)
    if metric.choice is not None:
        section = {"bounce": "#bounce-rules", "fcr": "#first-contact-conditions"}[metric.choice]
        yield "parameter", f"[`{metric.choice}`]({section})"
    if metric.ages:
        yield "parameter", f"[`age`](#ages): {_names(metric.ages)}"
    if metric.sketch is not None:
        yield "quantiles", f"p50, p90 (nearest rank, within {ACCURACY:.0%})"
    yield "Prometheus", _names(_gauges(metric))
    counts = [f"engagement_window_{c.name}" for c in WINDOW_COUNTS if c.metric == metric.name]
    if counts:
        yield "counts beside it", _names(counts)


def _bounce() -> str:
    rows = [
        (f"`{name}`", BOUNCE_TEXTS[name], _formula(fraction))
        for name, fraction in BOUNCE_RULES.items()
    ]
    return (
        "## Bounce rules\n\n"
        "Chosen when it is read: `&bounce=`, default `STREAM_BOUNCE`. All are counted, so that\n"
        "another choice needs no recount.\n\n" + _table(("rule", "a bounce has", "fields"), rows)
    )


def _fcr() -> str:
    conditions = [(f"`{name}`", CONDITION_TEXTS[name]) for name in FCR_CONDITIONS]
    cells = [
        (f"`{key}`", _sum(fraction.numerator))
        for key, fraction in METRICS["fcr"].definitions.items()
    ]
    return (
        "## First-contact conditions\n\n"
        "A ticket was resolved at first contact if it was resolved, was not reopened within\n"
        "`STREAM_FCR_REOPEN_WINDOW` of its first resolution, and all conditions of a list hold\n"
        "up to the end of that window. The list is chosen when it is read: `&fcr=`, default\n"
        "`STREAM_FCR_CONDITIONS`; `none` is the empty list. A ticket whose `opened` was never\n"
        "seen (and that carries no `opened_at`) is incomplete: counted as such, in no\n"
        "denominator.\n\n"
        + _table(("condition", "holds if there was"), conditions)
        + "\nTickets that were not reopened are counted in eight cells. The three digits of a\n"
        "cell say which of the conditions hold, in the order above; a list adds up its cells.\n\n"
        + _table(("list", "cells"), cells)
    )


def _ages() -> str:
    rows = [
        (f"`{metric.name}`", f"`{age}`", _formula(fraction))
        for metric in METRICS.values()
        for age, fraction in metric.ages.items()
    ]
    return (
        "## Ages\n\n"
        "`&age=` shows outcomes as they stood at that age of the session: only what happened\n"
        "within that time of its first interaction counts, and only buckets that ended at least\n"
        "that long before `as_of` are read. Sessions of the last minutes have not had time to\n"
        "convert; compare at the same age. It goes with the bounce rule `single` only.\n\n"
        + _table(("metric", "age", "fields"), rows)
    )


def _fields() -> str:
    return (
        "## Fields\n\n"
        "What is counted of each topic, as integers, for each label set and bucket. Times are\n"
        "milliseconds, money is micro-units. A dimension that an event lacks is `(not set)`; what\n"
        "a cap folds together is `(other)`. Both count in every total. Beside them each topic\n"
        "counts the events that were left out, for `stream explain`: `duplicates`, `late`, and\n"
        "`unchecked`, those that were counted without a look for duplicates.\n\n"
        + _table(("topic", "dimensions", "fields"), map(_source, SOURCES.values()))
    )


def _source(source: Source) -> tuple[str, str, str]:
    return f"`{source.topic}`", _names(source.dimensions), _names(source.fields)


def _prometheus() -> str:
    counts = [
        (f"`engagement_window_{count.name}`", count.help, f"{count.part} of `{count.metric}`")
        for count in WINDOW_COUNTS
    ]
    totals = [(f"`{total.name}_total`", total.help, _labels(total)) for total in TOTALS]
    return (
        "## Prometheus\n\n"
        "Windowed gauges carry the labels `window`, `state`, `level` and the dimensions of that\n"
        "level (others are empty). Name one level and one window in a query; then `sum()` is\n"
        "right. Which there are: `STREAM_METRICS_WINDOWS`, `STREAM_METRICS_TICKET_WINDOWS`,\n"
        "`STREAM_METRICS_LEVELS`. The counts under the ratios have the same labels:\n\n"
        + _table(("gauge", "", "is"), counts)
        + "\nCounters are never taken back, for `rate()` and `increase()`:\n\n"
        + _table(("counter", "", "labels"), totals)
    )


def _labels(total: Total) -> str:
    return _names((total.label, "type") if total.by_type else (total.label,))


def _time() -> str:
    rows = [
        (f"`{name}`", "5 years" if name == "1d" else format_duration(RETENTION_MS[size]))
        for name, size in STEPS.items()
    ]
    windows = _names(WINDOWS_MS)
    return (
        "## Buckets and windows\n\n"
        f"Sliding windows: {windows}. Buckets are half-open and in event time; each size is kept\n"
        "for a while, counted from the partition's newest event time:\n\n"
        + _table(("bucket and step", "kept"), rows)
    )


def _gauges(metric: Metric) -> tuple[str, ...]:
    if metric.sketch is None:
        return (metric.gauge,)
    stem = metric.gauge.removesuffix("_mean_seconds")
    return metric.gauge, f"{stem}_p50_seconds", f"{stem}_p90_seconds"


def _formula(fraction: Fraction, divisor: int = 1) -> str:
    scale = f" / {divisor}" if divisor != 1 else ""
    return f"{_sum(fraction.numerator)}{scale} over {_sum(fraction.denominator)}"


def _sum(names: Sum) -> str:
    text = " ".join(f"− `{n[1:]}`" if n.startswith("-") else f"+ `{n}`" for n in names)
    return text.removeprefix("+ ")


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


if __name__ == "__main__":
    main()
