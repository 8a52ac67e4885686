"""What is said of topics that exist."""

from dataclasses import replace

import pytest

from stream.engine.kafka_admin import TopicShape
from stream.engine.topics import (
    DEAD_LETTER_CONFIGS,
    LEDGER_CONFIGS,
    SOURCE_CONFIGS,
    Finding,
    Plan,
    judge,
    ledger_shape,
)

PLAN = Plan({"clicks": "g-ledger-clicks"}, "dead-letters", partitions=4)
SOURCE = TopicShape("clicks", 4, 1, SOURCE_CONFIGS)
LEDGER = TopicShape("g-ledger-clicks", 4, 1, LEDGER_CONFIGS)
LETTERS = TopicShape("dead-letters", 4, 1, DEAD_LETTER_CONFIGS)


def judged(*topics: TopicShape, brokers: int = 1) -> list[Finding]:
    return judge(PLAN, {topic.name: topic for topic in topics}, brokers)


def with_configs(topic: TopicShape, **configs: str) -> TopicShape:
    named = {name.replace("_", "."): value for name, value in configs.items()}
    return replace(topic, configs={**topic.configs, **named})


def test_topics_as_they_are_made_are_in_order() -> None:
    assert judged(SOURCE, LEDGER, LETTERS) == []


def test_a_broker_that_tells_no_settings_is_believed() -> None:
    assert judged(*(replace(topic, configs={}) for topic in (SOURCE, LEDGER, LETTERS))) == []


def test_missing_topics_are_named() -> None:
    assert [finding.text for finding in judged(SOURCE)] == [
        "topic dead-letters does not exist",
        "topic g-ledger-clicks does not exist",
    ]


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("cleanup_policy", "compact"),
        ("cleanup_policy", "compact,delete"),
        ("retention_ms", "604800000"),
        ("retention_bytes", "1000"),
        ("max_message_bytes", "1048588"),
    ],
)
def test_a_ledger_that_would_lose_its_state_is_refused(setting: str, value: str) -> None:
    ledger = with_configs(LEDGER, **{setting: value})
    (finding,) = judged(SOURCE, ledger, LETTERS)
    assert finding.refused
    assert setting.replace("_", ".") in finding.text
    assert value in finding.text


def test_a_ledger_with_smaller_messages_than_ours_is_remarked_on() -> None:
    (finding,) = judged(SOURCE, with_configs(LEDGER, max_message_bytes=str(4 << 20)), LETTERS)
    assert not finding.refused


@pytest.mark.parametrize("partitions", [3, 8])
def test_a_changed_partition_count_is_refused_and_says_what_to_do(partitions: int) -> None:
    (finding,) = judged(replace(SOURCE, partitions=partitions), LEDGER, LETTERS)
    assert finding.refused
    assert finding.text == (
        f"ledger g-ledger-clicks has 4 partition(s), its source topic clicks {partitions}: "
        "run `stream rebuild` to count it again"
    )


def test_a_source_may_have_any_number_of_partitions() -> None:
    assert judged(replace(SOURCE, partitions=12), replace(LEDGER, partitions=12), LETTERS) == []


@pytest.mark.parametrize(
    ("topic", "about"),
    [
        (with_configs(SOURCE, message_timestamp_type="CreateTime"), "LogAppendTime"),
        (with_configs(SOURCE, cleanup_policy="compact"), "compacted"),
    ],
)
def test_a_source_is_remarked_on_never_refused(topic: TopicShape, about: str) -> None:
    (finding,) = judged(topic, LEDGER, LETTERS)
    assert about in finding.text
    assert not finding.refused


def test_compacted_dead_letters_are_refused() -> None:
    (finding,) = judged(SOURCE, LEDGER, with_configs(LETTERS, cleanup_policy="compact"))
    assert finding.refused


def test_too_few_replicas_are_remarked_on() -> None:
    assert judged(SOURCE, LEDGER, LETTERS, brokers=3) == [
        Finding("topic clicks has 1 replica(s) on 3 brokers", refused=False)
    ]
    (finding,) = judged(replace(SOURCE, replication=3), LEDGER, LETTERS, brokers=3)
    assert finding.text == "ledger g-ledger-clicks has fewer replicas than its source topic clicks"


def test_refusals_come_first() -> None:
    findings = judged(
        with_configs(SOURCE, cleanup_policy="compact"), replace(LEDGER, partitions=1), LETTERS
    )
    assert [finding.refused for finding in findings] == [True, False]


def test_a_ledger_follows_its_source() -> None:
    shape = ledger_shape("l", TopicShape("s", 12, 2))
    assert (shape.name, shape.partitions, shape.replication) == ("l", 12, 2)
    assert shape.configs == LEDGER_CONFIGS


def test_a_ledger_of_three_replicas_is_written_to_two_at_least() -> None:
    assert ledger_shape("l", TopicShape("s", 1, 3)).configs["min.insync.replicas"] == "2"
