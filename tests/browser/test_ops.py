"""The ops room in Chromium, over a view made by hand."""

import re
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page, expect

from stream.core.catalogue import CLICKS, SESSIONS, TICKETS
from stream.settings import load_settings
from tests.browser.conftest import SIZES, Visit
from tests.support.patience import eventually
from tests.support.stage import Stage

pytestmark = pytest.mark.asyncio(loop_scope="session")
SPRING, AUTUMN = ("spring", "email", "A"), ("autumn", "social", "B")
HOSTILE = '"><img src=x onerror=alert(1)>\u202eevil'
MINUTE_MS, HOUR_MS = 60_000, 3_600_000


def fill(stage: Stage, minutes: int = 75) -> None:
    """An hour of traffic of two campaigns, and a support desk."""
    for ago in range(minutes):
        at_ms = ago * MINUTE_MS + 5_000
        more = 12 if ago < 30 else 8
        stage.count(CLICKS, SPRING, {"impressions": 100, "clicks": more}, at_ms)
        stage.count(CLICKS, AUTUMN, {"impressions": 60, "clicks": 3}, at_ms)
        done = {"single_interaction": 11, "converted": 3, "converted_within_15m": 2}
        aged = {"engaged_within_5m": 7, "engaged_within_15m": 9, "converted_within_5m": 1}
        stage.count(SESSIONS, SPRING, {"sessions": 20, **done, **aged}, at_ms)
    stage.count(SESSIONS, SPRING, {"active": 123})
    stage.count(TICKETS, ("chat", "billing"), {"resolved": 40, "first_contact_111": 28})
    stage.count(TICKETS, ("chat", "billing"), {"open": 7, "awaiting": 2})
    stage.count(TICKETS, ("chat", "billing"), {"still_open": 7}, 3 * HOUR_MS)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stage() -> AsyncIterator[Stage]:
    settings = load_settings({"targets": "ctr=6%,conversion_rate=20%"})
    async with Stage(settings).open() as stage:
        fill(stage)
        for labels in (SPRING, AUTUMN):
            stage.count(CLICKS, labels, {"impressions": 900, "clicks": 45}, 80 * MINUTE_MS)
        before = {"sessions": 900, "converted_within_15m": 80, "engaged_within_15m": 400}
        stage.count(SESSIONS, SPRING, before, 100 * MINUTE_MS)
        await stage.show()
        yield stage


def tile(page: Page, name: str, part: str = ".number") -> str:
    return f'[data-tile="{name}"] {part}'


async def board(stage: Stage, **parameters: str) -> dict[str, dict[str, object]]:
    async with httpx.AsyncClient(base_url=stage.url) as client:
        answer = await client.get("/api/v1/board", params=parameters)
    return {one["name"]: one for one in answer.json()["tiles"]}


async def test_a_tile_says_all_that_the_api_says(stage: Stage, visit: Visit) -> None:
    page = await visit(stage.url)
    said = (await board(stage))["ctr"]
    await expect(page.locator(tile(page, "ctr"))).to_have_text(f"{said['value']:.1%}")
    note = page.locator(tile(page, "ctr", ".note"))
    await expect(note).to_contain_text(f"95%: {said['low']:.1%} – {said['high']:.1%}")
    await expect(note).to_contain_text(f"of {said['n']:,} impressions")
    await expect(note).to_contain_text("target 6% ✓")
    change = page.locator(tile(page, "ctr", ".change"))
    await expect(change).to_contain_text("▲ +")
    await expect(change).to_contain_text("vs the hour before")
    await expect(page.locator(tile(page, "active_sessions"))).to_have_text("123")
    await expect(page.locator(tile(page, "tickets_waiting"))).to_have_text("5")
    await expect(page.locator(tile(page, "fcr"))).to_have_text("70.0%")
    await expect(page.locator(tile(page, "conversion_rate", ".change"))).to_contain_text(
        "at 15 min"
    )
    await expect(page.locator("#teams tr")).to_contain_text(["billing5"])
    await expect(page.locator("#freshness")).to_have_text(re.compile(r"live · \d\.\d s"))


async def test_a_sparkline_has_the_values_of_the_api_in_a_table(stage: Stage, visit: Visit) -> None:
    page = await visit(stage.url)
    await page.locator(tile(page, "ctr", "summary")).click()
    rows = page.locator(tile(page, "ctr", "tbody tr"))
    await expect(rows).to_have_count(60)
    spark = (await board(stage))["ctr"]["spark"]
    last = spark["values"][-1]  # type: ignore[index]
    await expect(rows.first).to_contain_text(f"{last:.1%}" if last > 0.0995 else f"{last:.2%}")


async def test_too_little_is_told_and_is_no_number(stage: Stage, visit: Visit) -> None:
    page = await visit(f"{stage.url}/?campaign=autumn")
    number = page.locator(tile(page, "conversion_rate"))
    await expect(number).to_have_text("– (0 of 200 sessions)")
    await expect(page.locator(tile(page, "fcr", "h2"))).to_contain_text("not by campaign")


async def test_a_link_reproduces_the_view_and_the_view_makes_the_link(
    stage: Stage, visit: Visit
) -> None:
    page = await visit(f"{stage.url}/?campaign=autumn&window=15m")
    await expect(page.locator("#slice")).to_have_text("autumn")
    await expect(page.locator('#windows [aria-pressed="true"]')).to_have_text("15 min")
    await expect(page.locator(tile(page, "ctr"))).to_have_text("5.0%")
    await page.locator("select[name=campaign]").select_option(label="spring")
    await expect(page.locator("#slice")).to_have_text("spring")
    await expect(page.locator(tile(page, "ctr"))).to_have_text("12.0%")
    assert "campaign=spring" in page.url
    assert "window=15m" in page.url
    await expect(page.locator("#say")).to_have_text("Shown: 15 min, spring.")
    await page.go_back()
    await expect(page.locator(tile(page, "ctr"))).to_have_text("5.0%")
    await page.get_by_role("button", name="1 h", exact=True).click()
    await page.locator("select[name=campaign]").select_option(label="All campaigns")
    assert "campaign" not in page.url


async def test_hostile_names_are_text(stage: Stage, visit: Visit) -> None:
    stage.count(CLICKS, (HOSTILE, "email", "A"), {"impressions": 2000, "clicks": 900})
    stage.count(CLICKS, (HOSTILE, "email", "A"), {"impressions": 2000, "clicks": 90}, HOUR_MS * 2)
    stage.count(TICKETS, ("chat", HOSTILE), {"resolved": 30, "first_contact_111": 3, "open": 1})
    await stage.show()
    page = await visit(stage.url)
    await expect(page.locator("#teams bdi").filter(has_text="evil")).to_have_text(HOSTILE)
    await page.locator("select[name=campaign]").select_option(label=HOSTILE)
    await expect(page.locator("#slice bdi")).to_have_text(HOSTILE)
    await expect(page.locator(tile(page, "ctr"))).to_have_text("45.0%")
    assert await page.locator("img:not([src='/static/icon.svg'])").count() == 0
    await page.goto(f"{stage.url}/?campaign={HOSTILE}")
    await expect(page.locator("#slice bdi")).to_have_text(HOSTILE)


async def test_everything_can_be_done_with_the_keyboard(stage: Stage, visit: Visit) -> None:
    page = await visit(stage.url)
    await expect(page.locator(tile(page, "ctr"))).not_to_be_empty()
    await page.keyboard.press("Tab")
    await expect(page.locator(":focus")).to_have_text("Skip to the figures")
    seen = []
    for _ in range(40):
        await page.keyboard.press("Tab")
        label = await page.evaluate(
            "() => { const e = document.activeElement;"
            " return e.name || e.id || e.value || e.textContent || e.tagName; }"
        )
        seen.append(label)
        if label == "pause":
            await page.keyboard.press("Enter")
            await expect(page.locator("#freshness")).to_have_text(re.compile(r"^paused \d\d:"))
            await page.keyboard.press("Space")
            await expect(page.locator("#freshness")).to_have_text(re.compile("^live"))
        if label == "Values":
            await page.keyboard.press("Enter")
            await expect(page.locator("details[open]")).to_have_count(1)
            break
    assert seen[:4] == ["5m", "15m", "1h", "24h"]
    assert {"pause", "theme", "language", "campaign", "channel", "variant", "team"} <= set(seen)


async def test_paused_means_that_nothing_moves(stage: Stage, visit: Visit) -> None:
    page = await visit(stage.url)
    number = page.locator(tile(page, "active_sessions"))
    before = await number.text_content()
    await expect(number).not_to_be_empty()
    await page.get_by_role("button", name="Pause").click()
    before = await number.text_content()
    stage.count(SESSIONS, SPRING, {"active": 10})
    await stage.show()
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    await page.wait_for_timeout(1_200)
    assert [url for url in asked if "/api/v1/board" in url] == []
    assert await number.text_content() == before
    await expect(page.locator("#say")).to_have_text("Paused: the page stands still.")
    await page.get_by_role("button", name="Resume").click()
    await expect(number).to_have_text(str(int(before or 0) + 10))


async def test_french_has_its_words_and_numbers(stage: Stage, visit: Visit) -> None:
    page = await visit(f"{stage.url}/?lang=fr")
    assert await page.evaluate("document.documentElement.lang") == "fr"
    await expect(page.locator(tile(page, "ctr", "h2"))).to_contain_text("Taux de clic")
    number = await page.locator(tile(page, "fcr")).text_content()
    assert re.fullmatch(r"\d\d,\d[\u202f\u00a0]%", number or "")
    await expect(page.locator(tile(page, "ctr", ".note"))).to_contain_text(
        re.compile(r"sur \d+\u202f\d{3} impressions")
    )
    await expect(page.locator("#freshness")).to_have_text(re.compile(r"en direct · \d,\d s"))
    await page.get_by_label("Langue").select_option("en")
    await expect(page.locator(tile(page, "ctr", "h2"))).to_contain_text("Click-through rate")
    assert "lang" not in page.url


async def test_a_french_browser_gets_french(stage: Stage, visit: Visit) -> None:
    page = await visit(stage.url, locale="fr-FR")
    await expect(page.locator("#slice")).to_have_text("Tout le trafic")


async def test_the_theme_is_the_systems_until_one_is_chosen(stage: Stage, visit: Visit) -> None:
    page = await visit(stage.url, theme="light")
    ground = "getComputedStyle(document.body).backgroundColor"
    light = await page.evaluate(ground)
    await page.get_by_label("Colours").select_option("dark")
    dark = await page.evaluate(ground)
    assert dark != light
    await page.reload()
    assert await page.evaluate(ground) == dark
    await page.goto(f"{stage.url}/?theme=light")
    assert await page.evaluate(ground) == light


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("theme", ["dark", "light"])
async def test_axe_finds_nothing_and_nothing_overflows(
    stage: Stage, visit: Visit, size: str, theme: str
) -> None:
    page = await visit(stage.url, size=size, theme=theme, reduced_motion="reduce")
    await expect(page.locator(tile(page, "ctr"))).not_to_be_empty()
    await expect(page.locator("#movers li").first).to_be_visible()
    await page.locator(tile(page, "ctr", "summary")).click()
    results = await Axe().run(page)
    assert results.violations_count == 0, results.generate_report()
    widths = "[document.documentElement.scrollWidth, innerWidth]"
    wide, screen = await page.evaluate(widths)
    assert wide <= screen
    assert await page.locator("[aria-live], [role=alert], [role=status]").count() == 1
    moves = "getComputedStyle(document.querySelector('.number')).transitionDuration"
    assert await page.evaluate(moves) == "0s"  # reduced motion was asked for


async def test_numbers_are_read_from_five_metres_on_a_wall(stage: Stage, visit: Visit) -> None:
    for path in ("/", "/?wall=1"):
        page = await visit(stage.url + path)
        await expect(page.locator(tile(page, "ctr"))).not_to_be_empty()
        sizes = await page.evaluate(
            "() => [...document.querySelectorAll('.number:not(.small)')]"
            ".map((number) => parseFloat(getComputedStyle(number).fontSize))"
        )
        assert len(sizes) == 6
        assert min(sizes) >= 96


AWAKE = """(() => {
  globalThis.asked = [];
  if (navigator.wakeLock) navigator.wakeLock.request = async (kind) => globalThis.asked.push(kind);
})()"""


async def test_campaigns_take_turns_on_a_wall_that_stays_on(stage: Stage, visit: Visit) -> None:
    page = await visit(f"{stage.url}/?wall=1&rotate=1s&campaigns=spring,autumn", script=AWAKE)
    assert await page.evaluate("globalThis.asked") == ["screen"]
    for turn, ctr in (("spring1/2", "10.0%"), ("autumn2/2", "5.0%"), ("spring1/2", "10.0%")):
        await expect(page.locator("#slice")).to_have_text(turn)
        await expect(page.locator(tile(page, "ctr"))).to_have_text(ctr)


@pytest.mark.parametrize("size", ["wall", "laptop"])
async def test_a_wall_has_no_controls_and_does_not_scroll(
    stage: Stage, visit: Visit, size: str
) -> None:
    page = await visit(f"{stage.url}/?wall=1&campaigns=spring", size=size)
    await expect(page.locator(tile(page, "ctr"))).not_to_be_empty()
    await expect(page.locator("#movers li").first).to_be_visible()
    for control in await page.locator("button, select, summary, input").all():
        assert not await control.is_visible()
    inside = "document.documentElement.scrollHeight <= innerHeight"
    assert await page.evaluate(f"{inside} && document.documentElement.scrollWidth <= innerWidth")
    cut = await page.evaluate(
        "() => [...document.querySelectorAll('.tile')]"
        ".filter((tile) => tile.scrollHeight > tile.clientHeight + 1).length"
    )
    assert cut == 0
    teams = page.locator("#teams tr").last
    box, host = await teams.bounding_box(), await page.locator(".panels").bounding_box()
    assert box is not None
    assert host is not None
    assert box["y"] + box["height"] <= host["y"] + host["height"]


async def test_a_wall_in_the_hand_scrolls_and_cuts_nothing(stage: Stage, visit: Visit) -> None:
    page = await visit(f"{stage.url}/?wall=1", size="phone")
    await expect(page.locator(tile(page, "ctr"))).not_to_be_empty()
    wide = (
        "[...document.querySelectorAll('.tile *, body')].filter((e) => e.scrollWidth > innerWidth)"
    )
    assert await page.evaluate(f"{wide}.length") == 0
    await page.locator("#teams").scroll_into_view_if_needed()
    await expect(page.locator("#teams tr").first).to_be_in_viewport()


async def test_it_greys_when_nobody_counts_any_more_and_says_when_it_stopped(
    stage: Stage, visit: Visit
) -> None:
    page = await visit(stage.url)
    await expect(page.locator("#freshness")).to_have_attribute("data-state", "live")
    stage.hush()
    try:
        await expect(page.locator(".tile.stale")).to_have_count(6)
        await expect(page.locator("#freshness")).to_have_text(re.compile(r"delayed \d+ s"))
        await expect(page.locator("#say")).to_have_text("Figures are delayed.")
    finally:
        stage.hush(False)
    await expect(page.locator(".tile.stale")).to_have_count(0)
    await expect(page.locator("#freshness")).to_have_attribute("data-state", "live")


async def test_tabs_share_one_event_stream(stage: Stage, visit: Visit) -> None:
    first = await visit(stage.url)
    await expect(first.locator("#freshness")).to_have_attribute("data-state", "live")
    others = [await visit(stage.url, context=first.context) for _ in range(6)]  # of six connections
    for page in others:
        await expect(page.locator("#freshness")).to_have_attribute("data-state", "live")
        await expect(page.locator(tile(page, "ctr"))).not_to_be_empty()
    await eventually(lambda: stage.parts.hub.listeners == 1, what="one stream for seven tabs")
    for page in (first, *others[1:]):
        await page.close()
    await expect(others[0].locator("#freshness")).to_have_attribute("data-state", "live")
    assert stage.parts.hub.listeners == 1


async def test_without_shared_workers_a_tab_has_a_stream_of_its_own(
    stage: Stage, visit: Visit
) -> None:
    page = await visit(stage.url, script="delete globalThis.SharedWorker")
    await expect(page.locator("#freshness")).to_have_attribute("data-state", "live")
    await eventually(lambda: stage.parts.hub.listeners == 1)


async def test_a_new_build_is_loaded_by_itself(stage: Stage, visit: Visit) -> None:
    page = await visit(stage.url)
    await expect(page.locator("#freshness")).to_have_attribute("data-state", "live")
    before = stage.parts.hub._build
    try:
        async with page.expect_navigation():
            stage.parts.hub._build = "another"
        await expect(page.locator("#freshness")).to_have_attribute("data-state", "live")
    finally:
        stage.parts.hub._build = before
