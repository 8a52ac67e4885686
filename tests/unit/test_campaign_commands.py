"""`stream campaign`: what is asked of the topic, what is printed, and mistakes in one line."""

from typing import Any

import pytest
from typer.testing import CliRunner

from stream import campaign_topic
from stream.cli import app
from stream.core.campaigns import Campaign, Change, apply, encode_campaign
from stream.errors import UserError


@pytest.fixture
def topic(monkeypatch: pytest.MonkeyPatch) -> dict[bytes, bytes]:
    """The records of a topic that is none: a map."""
    held: dict[bytes, bytes] = {}

    async def change(_: Any, key: bytes, change: Change) -> Campaign:
        raw = held.get(key)
        before = campaign_topic.read_campaign(key, raw) if raw else Campaign()
        after = apply(change, before)
        held[key] = encode_campaign(after)
        return after

    async def read(_: Any) -> dict[bytes, bytes]:
        return held

    async def forget(_: Any, key: bytes) -> None:
        del held[key]

    monkeypatch.setattr(campaign_topic, "change_campaign", change)
    monkeypatch.setattr(campaign_topic, "read_campaigns", read)
    monkeypatch.setattr(campaign_topic, "forget_campaign", forget)
    return held


def run(*args: str) -> str:
    result = CliRunner().invoke(app, ["campaign", *args])
    if result.exception:
        raise result.exception
    return result.output


SET: tuple[str, ...] = (
    *("set", "spring", "--launch-at", "2026-03-01T10:00+01:00", "--name", "Spring sale"),
    *("--owner", "Ana", "--target", "conversions=5000@24h", "--target", "value=9.5@7d"),
    *("--note", "mail sent@2026-03-01T09:10Z", "--channels", "email, social"),
)


def test_set_lays_over_and_show_prints_all(topic: dict) -> None:
    run(*SET)
    said = run("set", "spring", "--note", "on the home page@2026-03-01T09:25Z", "--owner", "Mei")
    assert said == run("show", "spring")
    assert said.splitlines() == [
        "spring",
        "  name      Spring sale",
        "  owner     Mei",
        "  launch    2026-03-01T09:00Z",
        "  targets   conversions=5000@24h, value=9.5@7d",
        "  channels  email, social",
        "  note      2026-03-01T09:10Z  mail sent",
        "  note      2026-03-01T09:25Z  on the home page",
    ]


def test_clear_forgets_a_part(topic: dict) -> None:
    run(*SET)
    said = run("set", "spring", "--clear", "targets", "--clear", "launch-at", "--clear", "notes")
    assert [line.split()[0] for line in said.splitlines()] == [
        *("spring", "name", "owner", "channels"),
    ]


def test_list_shows_every_campaign_and_what_cannot_be_read(topic: dict) -> None:
    assert "begin with: stream campaign set" in run("list")
    run(*SET)
    topic[b"broken"] = b"{"
    lines = run("list").splitlines()
    assert lines[0].split() == ["CAMPAIGN", "LAUNCH", "NAME", "OWNER", "TARGETS"]
    assert lines[1].split()[:4] == ["broken", "-", "cannot", "be"]
    assert lines[2].startswith("spring    2026-03-01T09:00Z  Spring sale")


def test_remove_forgets_it(topic: dict) -> None:
    run(*SET)
    assert run("remove", "spring") == "spring is forgotten\n"
    assert topic == {}


@pytest.mark.parametrize(
    ("args", "code", "why"),
    [
        (("set", "spring"), 2, "nothing to set: give --launch-at"),
        (("set", "spring", "--launch-at", "soon"), 2, "--launch-at: 'soon' is not a time"),
        (("set", "spring", "--target", "joy=1@1h"), 2, "--target: 'joy' is no measure"),
        (("set", "spring", "--note", " "), 2, "--note: a note needs a text"),
        (("set", "spring", "--channels", ","), 2, "--channels: no channel is named"),
        (("set", "spring", "--clear", "all"), 2, "--clear: 'all' is not one of launch-at"),
        (("set", "", "--name", "x"), 2, "CAMPAIGN: a campaign has 1 to 128 characters"),
        (("set", "spring", "--name", "x" * 201), 2, "--name: a name has at most 200"),
        (("show", "nobody"), 1, "campaign 'nobody' is not described; see: stream campaign list"),
        (("show", "broken"), 1, "the record of campaign 'broken' cannot be read"),
        (("remove", "nobody"), 1, "campaign 'nobody' is not described"),
    ],
)
def test_mistakes_are_told_in_one_line(
    topic: dict, args: tuple[str, ...], code: int, why: str
) -> None:
    topic[b"broken"] = b"{"
    with pytest.raises(UserError) as told:
        run(*args)
    assert why in str(told.value)
    assert "\n" not in str(told.value)
    assert told.value.exit_code == code
