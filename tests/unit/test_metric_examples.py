"""The worked examples of docs/metrics.md give, step by step, the figures that the page tells."""

import json
import re
from collections.abc import Iterator

import pytest

from stream.core.buckets import Calendar, Size
from stream.core.catalogue import METRICS, Fraction, Metric
from stream.core.partition import Partition
from stream.core.ratios import wilson
from stream.core.rules import Rules
from tests import reference
from tests.support.play import PSEUDONYMS, Cells, batch_of, cells, write
from tools.metric_examples import EXAMPLES, Example, Step, fraction, moment_ms
from tools.metrics_doc import NOTES, document

PEERS = ("Plausible", "Matomo", "GA4", "PostHog", "Zendesk")
PARTS = ("Where it comes from", "Example", "What makes it jump", "Read it with", "Elsewhere")
each_metric = pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS.keys())


def records(example: Example) -> Iterator[tuple[Step, reference.Record | None]]:
    """Each step with its record; None where time goes by."""
    offset = 0
    for number, step in enumerate(example.steps, 1):
        if not step.what:
            yield step, None
            continue
        event = example.event(number)
        key = str(event.get("ticket_id", event.get("visitor_id"))).encode()
        value = json.dumps(event).encode()
        yield step, reference.Record(offset, moment_ms(step.sent or step.at), key, value)
        offset += 1


def sums(found: Cells, chosen: Fraction) -> tuple[int, int]:
    """Numerator and denominator over all days and label sets."""
    days = [values for (size, _, _), values in found.items() if size == Size.D1]

    def total(names: tuple[str, ...]) -> int:
        signed = [(-1, name[1:]) if name.startswith("-") else (1, name) for name in names]
        return sum(sign * values.get(name, 0) for sign, name in signed for values in days)

    return total(chosen.numerator), total(chosen.denominator)


def expected(text: str, metric: Metric) -> tuple[int, int]:
    numerator, denominator = fraction(text)
    return numerator * metric.divisor, denominator


def chosen(metric: Metric, choice: str) -> Fraction:
    name, _, value = choice.partition("=")
    assert name in {metric.choice, "age"}
    return metric.ages[value] if name == "age" else metric.definitions[value]


@each_metric
def test_the_core_gives_the_figures_of_the_example(metric: Metric) -> None:
    example, rules = EXAMPLES[metric.name], Rules()
    partition = Partition(example.topic, rules, Calendar(rules.timezone), PSEUDONYMS)
    ledger: dict[bytes, bytes] = {}
    live, settled = cells(partition, example.topic)
    for step, record in records(example):
        if record is None:
            partition.pass_time(moment_ms(step.at))
        else:
            folded = partition.fold(batch_of(example.topic, [record]))
            told = [str(drop.reason) for drop in folded.drops] or [*map(str, folded.outcomes)]
            assert told == [step.outcome], step
        write(partition, ledger, sweep=0)
        live, settled = cells(partition, example.topic)
        assert sums(live, metric.fraction) == expected(step.live, metric), step
        assert sums(settled, metric.fraction) == expected(step.settled, metric), step
    for choice, text in example.others.items():
        for found in (live, settled):
            assert sums(found, chosen(metric, choice)) == expected(text, metric), choice


@each_metric
def test_the_judge_gives_them_too(metric: Metric) -> None:
    """The other reading of the specification, over each beginning of the log."""
    example = EXAMPLES[metric.name]
    log: list[reference.Record] = []
    for step, record in records(example):
        now_ms = moment_ms(step.at) if record is None else None
        log += [record] if record else []
        truth = reference.partition_truth(example.topic, log, reference.Rules(), now_ms=now_ms)
        assert sums(truth.live, metric.fraction) == expected(step.live, metric), step
        assert sums(truth.settled, metric.fraction) == expected(step.settled, metric), step
        assert record is None or truth.outcomes[record.offset] == step.outcome


@each_metric
def test_everything_is_settled_in_the_end(metric: Metric) -> None:
    """So that the two last figures of an example may be compared."""
    last = EXAMPLES[metric.name].steps[-1]
    assert last.settled == (last.live if metric.settles else "")


def test_every_metric_has_an_example_and_notes() -> None:
    assert list(EXAMPLES) == list(METRICS)
    assert {path.stem for path in NOTES.glob("*.md")} == {
        *METRICS, "backlog", "changes", "jumps", "sources",
    }  # fmt: skip


@each_metric
def test_every_section_says_all_there_is_to_say(metric: Metric) -> None:
    section = document().split(f"\n## {metric.name}\n")[1].split("\n## ")[0]
    assert tuple(re.findall(r"^### (.+)$", section, re.MULTILINE)) == PARTS
    elsewhere = section.split("### Elsewhere")[1]
    assert [peer for peer in PEERS if peer not in elsewhere] == []
    assert f"**`{metric.name}` = " in section
    assert "| counted in the bucket of |" in section
    assert "In the end: live " in section


def test_every_bounce_rule_is_shown_in_the_example() -> None:
    told = {choice.partition("=")[2] for choice in EXAMPLES["bounce_rate"].others}
    assert told >= METRICS["bounce_rate"].definitions.keys() - {"single"}


def test_the_interval_told_of_few_items_is_right() -> None:
    low, high = wilson(3, 4) or (0, 0)
    assert f"3 of 4 may be anything from {low:.2f} to {high:.2f}" in document()
