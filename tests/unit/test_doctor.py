"""`stream doctor`: its lines, its exit code, its waiting, and what each check judges."""

from collections.abc import Iterator

import pytest

from stream import checks, doctor
from stream.checks import CLOCK_TOLERANCE_MS, Finding, Mark, bad, good
from stream.clock import wall_clock_ms
from stream.doctor import line, run_doctor
from stream.live.rows import About
from stream.settings import load_settings
from tests.support.views import DEFINITION

SETTINGS = load_settings({})
BROKEN, SOUND = [good("a"), bad("b is wrong", "mend it")], [good("a"), Finding(Mark.NOTE, "hm")]


@pytest.fixture
def examined(monkeypatch: pytest.MonkeyPatch) -> list[list[Finding]]:
    """What the looks will find, one after another; the last one for ever."""
    looks: list[list[Finding]] = []

    async def examine(_: object) -> list[Finding]:
        return looks.pop(0) if len(looks) > 1 else looks[0]

    monkeypatch.setattr(doctor, "examine", examine)
    monkeypatch.setattr(doctor, "_PAUSE_S", 0.01)
    return looks


async def test_one_line_per_finding_and_what_to_do(
    examined: list[list[Finding]], capsys: pytest.CaptureFixture[str]
) -> None:
    examined.append(BROKEN)
    assert await run_doctor(SETTINGS) == 1
    assert capsys.readouterr().out.splitlines() == [
        "✓ a",
        "✗ b is wrong → mend it",
        "1 thing(s) wrong",
    ]


async def test_notes_are_no_failure(examined: list[list[Finding]]) -> None:
    examined.append(SOUND)
    assert await run_doctor(SETTINGS) == 0


async def test_it_waits_until_all_is_well(examined: list[list[Finding]]) -> None:
    examined += [BROKEN, BROKEN, SOUND]
    assert await run_doctor(SETTINGS, wait=True, timeout_s=5) == 0


async def test_but_not_for_ever(
    examined: list[list[Finding]], capsys: pytest.CaptureFixture[str]
) -> None:
    examined.append(BROKEN)
    assert await run_doctor(SETTINGS, wait=True, timeout_s=0.05) == 1
    assert "after 0.05 s" in capsys.readouterr().out


def test_a_line_cannot_steer_the_terminal() -> None:
    assert "\x1b" not in line(bad("evil \x1b[2J", "")).plain


def marks(*findings: Finding) -> Iterator[Mark]:
    return (finding.mark for finding in findings)


def test_clocks() -> None:
    now_ms = wall_clock_ms()
    ahead, behind = now_ms + CLOCK_TOLERANCE_MS + 5_000, now_ms - 10**9
    assert [*marks(checks._judge_clock("x", ahead), checks._judge_clock("x", behind))] == [
        Mark.BAD,
        Mark.GOOD,
    ]
    assert checks._judge_redis_clock(1_000_000, 1_000_000, 1_000_010).mark is Mark.GOOD
    assert checks._judge_redis_clock(997_000, 1_000_000, 1_000_010).mark is Mark.BAD
    assert checks._judge_redis_clock(1_003_000, 1_000_000, 1_000_010).mark is Mark.BAD
    slow = checks._judge_redis_clock(1_003_000, 1_000_000, 1_004_000)
    assert slow.mark is Mark.GOOD, "a slow answer says little of the clock"


def test_eviction() -> None:
    assert checks._judge_eviction({"maxmemory_policy": "noeviction"}).mark is Mark.GOOD
    assert checks._judge_eviction({"maxmemory_policy": "allkeys-lru"}).mark is Mark.BAD
    assert checks._judge_eviction({}).mark is Mark.BAD


def test_definition() -> None:
    judged = [
        checks._judge_definition(None, SETTINGS),
        checks._judge_definition(About("other", {}, {}), SETTINGS),
        checks._judge_definition(About(DEFINITION, {}, {}), SETTINGS),
    ]
    assert [*marks(*judged)] == [Mark.BAD, Mark.BAD, Mark.GOOD]
    assert "rebuild" in judged[1].advice
