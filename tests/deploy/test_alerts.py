"""Every alert fires when it should, and keeps silent when it should not: promtool is asked.

Each situation is played as it is, and with one thing changed under which there is no reason to
tell anybody. All of that is one run of promtool; a test looks at its part of the answers.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.situations import (
    ENGAGEMENT,
    PIPELINE,
    TOPICS,
    YOUNG,
    Course,
    Situation,
    Span,
    as_of,
    gauge,
    stuck,
    well,
)
from tests.support.promtool import RULES, Answer, Played, ask, run_values

ALERTS: Mapping[str, Mapping[str, Any]] = {
    rule["alert"]: rule
    for path in RULES
    for group in yaml.safe_load(path.read_text())["groups"]
    for rule in group["rules"]
    if "alert" in rule
}
SITUATIONS = {**ENGAGEMENT, **PIPELINE}
FIRING = 'ALERTS{alertstate="firing"}'


# --- what is changed about a situation ---


def as_it_is(situation: Situation) -> Situation:
    return situation


def little_traffic(situation: Situation) -> Situation:
    """What a server exports below twenty expected: counts, but nothing to compare them with."""
    return _without(situation, lambda name: "_change_" in name or "_expected_" in name)


def no_history(situation: Situation) -> Situation:
    """All is compared with the last hours, which began today; what is usual is not known."""
    young = {
        name.replace('basis="weeks"', 'basis="recent"'): course
        for name, course in situation.series.items()
        if "_expected_" not in name
    }
    return replace(situation, series=young)


def late(situation: Situation) -> Situation:
    """Counting stands still since some minutes before."""
    behind = {as_of(topic): stuck(3) for topic in TOPICS}
    return replace(situation, series={**situation.series, **behind})


def only_a_moment(situation: Situation) -> Situation:
    """It is over before the alert's `for` is."""
    return replace(situation, bad=1)


def two_servers(situation: Situation) -> Situation:
    """Another server exports the same."""
    other = {
        name.replace('instance="a:8000"', 'instance="c:8000"'): course
        for name, course in {**well(), **situation.series}.items()
    }
    return replace(situation, series={**situation.series, **other})


def newcomer(situation: Situation) -> Situation:
    """The total has moved, but no campaign: one of other rates has begun."""
    return _without(situation, lambda name: "_change_" in name and 'campaign="spring"' in name)


def _without(situation: Situation, gone: Callable[[str], bool]) -> Situation:
    kept = {name: course for name, course in situation.series.items() if not gone(name)}
    return replace(situation, series=kept)


FIRES = (as_it_is, two_servers)
SILENT: Mapping[str, tuple[Callable[[Situation], Situation], ...]] = {
    **dict.fromkeys(ENGAGEMENT, (little_traffic, no_history, late, only_a_moment)),
    **dict.fromkeys(
        ("CtrDropped", "ConversionDropped", "BounceRose"),
        (little_traffic, no_history, late, only_a_moment, newcomer),
    ),
    **{name: (only_a_moment,) for name in PIPELINE if "for" in ALERTS.get(name, {})},
}


# --- one run of promtool ---

Case = tuple[str, str]
"""An alert, and what was changed."""


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Mapping[Case, list[Answer]]:
    """What fires in each case: just before it goes wrong, at the end of it, and at the end."""
    cases: dict[tuple[str, int], dict[Case, Situation]] = {}
    for alert, situation in SITUATIONS.items():
        layer = "engagement" if alert in ENGAGEMENT else "pipeline"
        alike = cases.setdefault((layer, situation.step_minutes), {})
        for change in (*FIRES, *SILENT.get(alert, ())):
            alike[alert, change.__name__] = change(situation)
    found: dict[Case, list[Answer]] = {}
    for (layer, step_minutes), alike in cases.items():
        rules = [path for path in RULES if path.stem == layer]
        folder = tmp_path_factory.mktemp("promtool")
        told = ask(folder, [*map(_played, alike.values())], rules, step_minutes=step_minutes)
        found |= zip(alike, told, strict=True)
    return found


def _played(situation: Situation) -> Played:
    span = situation.span
    series = {**well(), **situation.series}
    at = (span.before - 1, span.before + span.bad - 1, span.steps - 1)
    return Played(
        {name: _values(course, span) for name, course in series.items()},
        [(FIRING, step * span.step_minutes) for step in at],
    )


def _values(course: Course, span: Span) -> str:
    return run_values(None if value is None else f"{value:g}" for value in course(span))


def named(answer: Answer, *also: str) -> list[dict[str, str]]:
    """The labels of what fires, the watchdog and what else is expected left out."""
    found = [dict(labels) for labels in answer]
    return [one for one in found if one["alertname"] not in ("Watchdog", *also)]


# --- the tests ---


def test_every_alert_has_a_situation() -> None:
    assert SITUATIONS.keys() | {"Watchdog"} == ALERTS.keys()
    layers = {name: rule["labels"]["layer"] for name, rule in ALERTS.items()}
    assert {name for name in layers if layers[name] == "engagement"} == ENGAGEMENT.keys()


@pytest.mark.parametrize("change", FIRES, ids=lambda change: change.__name__)
@pytest.mark.parametrize("alert", SITUATIONS)
def test_it_fires_alone_and_resolves(
    answers: Mapping[Case, list[Answer]], alert: str, change: Callable[..., Situation]
) -> None:
    situation = SITUATIONS[alert]
    before, peak, after = answers[alert, change.__name__]
    assert named(before) == []
    fires = named(peak, *situation.with_it)
    assert [one["alertname"] for one in fires] == [alert]
    assert fires[0].items() >= situation.fires.items()
    assert fires[0].items() >= {**ALERTS[alert]["labels"], **_topic(fires[0])}.items()
    assert {one["alertname"] for one in named(peak)} == {alert, *situation.with_it}
    assert named(after) == []


@pytest.mark.parametrize(
    ("alert", "change"),
    [(alert, change) for alert, changes in SILENT.items() for change in changes],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_it_keeps_silent(
    answers: Mapping[Case, list[Answer]], alert: str, change: Callable[..., Situation]
) -> None:
    for answer in answers[alert, change.__name__]:
        assert [one for one in named(answer) if one["alertname"] == alert] == []


def test_a_young_campaign_is_compared_with_its_last_day_if_it_has_one(tmp_path: Path) -> None:
    of_today = _without(YOUNG, lambda name: name.startswith("engagement_impressions_total"))
    by_a_third = {
        name: gauge(0.01, -0.3) if "change_ratio" in name else course
        for name, course in YOUNG.series.items()
    }
    plays = [YOUNG, of_today, replace(YOUNG, series=by_a_third)]
    rules = [path for path in RULES if path.stem == "engagement"]
    told = ask(tmp_path, [*map(_played, plays)], rules, step_minutes=YOUNG.step_minutes)
    names = [[[one["alertname"] for one in named(answer)] for answer in play] for play in told]
    assert names == [[[], ["CampaignCtrDropped"], []], [[], [], []], [[], [], []]]


def _topic(fired: Mapping[str, str]) -> Mapping[str, str]:
    """A topic that is a template in the rule."""
    return {"topic": fired["topic"]} if "topic" in fired else {}
