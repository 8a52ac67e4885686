"""The launch view in Chromium, over a view and a book made by hand."""

import csv
import re
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import httpx
import pytest
import pytest_asyncio
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page, expect

from stream.core.campaigns import Campaign, Note, Target
from tests.browser.conftest import SIZES, Visit
from tests.support.launches import DAY, HOUR, MINUTE, described, launch
from tests.support.launches import visit as visits
from tests.support.patience import eventually
from tests.support.stage import Stage

pytestmark = pytest.mark.asyncio(loop_scope="session")
HOSTILE = '=1+"><img src=x onerror=alert(1)>\u202eevil'
TARGETS = (Target("conversions", Decimal(9_000), DAY),)
AGE = 47
AGED = re.compile(r"T \+ (4[789]|5\d) min")
"""By the time that it is looked at, on a slow machine too."""


def fill(stage: Stage) -> int:
    """Five launches of the last two days, and one of 47 minutes ago; when that was."""
    now_ms = stage.clock() // MINUTE * MINUTE
    at_ms, told = now_ms - AGE * MINUTE, {}
    for number, hours in enumerate((46, 41, 36, 31, 26)):
        name, then_ms = f"past-{number}", now_ms - hours * HOUR
        launch(stage.made, name, then_ms, minutes=150, size=2 + number % 3)
        told[name] = Campaign(then_ms, f"Past {number}")
    for name in ("spring", HOSTILE):
        launch(stage.made, name, at_ms, minutes=60, size=3)
        launch(stage.made, name, at_ms, minutes=60, channel="social", variant="B")
    visits(stage.made, "spring", at_ms - 3 * MINUTE)
    visits(stage.made, "trickle", at_ms)
    note = Note(at_ms + 5 * MINUTE, "mail <b>sent</b>")
    channels = ("email", "podcast")
    told["spring"] = Campaign(at_ms, "Spring sale", "Ana", TARGETS, (note,), channels)
    told[HOSTILE] = Campaign(at_ms, HOSTILE, HOSTILE, (), (Note(at_ms, HOSTILE),), (HOSTILE,))
    described(stage.book, **told)
    return at_ms


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stage() -> AsyncIterator[Stage]:
    async with Stage().open() as stage:
        fill(stage)
        await stage.show()
        yield stage


def address(stage: Stage, campaign: str = "spring", query: str = "") -> str:
    return f"{stage.url}/launch/{quote(campaign, safe='')}{query}"


async def told(stage: Stage, campaign: str = "spring", **parameters: Any) -> Any:
    async with httpx.AsyncClient(base_url=stage.url) as client:
        path = f"/api/v1/launch/{quote(campaign, safe='')}"
        answer = await client.get(path, params=parameters)
    return answer.json()


async def ready(page: Page) -> Page:
    await expect(page.locator("#story")).to_be_visible()
    await expect(page.locator("#charts canvas").first).to_be_visible()
    return page


async def test_the_page_says_what_the_api_says(stage: Stage, visit: Visit) -> None:
    page = await ready(await visit(address(stage), size="laptop"))
    said = await told(stage)
    await expect(page.locator("h1")).to_have_text("Spring sale")
    await expect(page.locator("#about")).to_have_text("spring · Ana")
    await expect(page.locator("#age")).to_have_text(AGED)
    totals = page.locator("#totals .value")
    await expect(totals.nth(0)).to_have_text(f"{said['totals']['impressions']:,}")
    await expect(totals.nth(2)).to_have_text(f"{said['totals']['ctr']['value']:.1%}")
    await expect(totals.nth(5)).to_have_text(f"{said['totals']['conversions']:,}")
    sentence = page.locator("#pace .sentence")
    [pace] = said["pace"]
    await expect(sentence).to_contain_text(re.compile(f"^At {AGED.pattern} "))
    await expect(sentence).to_contain_text(
        f"{pace['value']:,} of 9,000 conversions ({pace['share']:.1%})"
    )
    await expect(sentence).to_contain_text(f"the median launch had {pace['usual_share']:.0%}")
    await expect(sentence).to_contain_text("projected at 24 h")
    await expect(page.locator("#before")).to_contain_text("impressions 100, clicks 20")
    rows = page.locator("#parts tbody tr")
    first = said["splits"][0]["rows"][0]
    await expect(rows.nth(0)).to_contain_text(
        f"{first['label']}{first['figures']['impressions']:,}"
    )
    await page.locator("#dimensions button[value=variant]").click()
    await expect(rows).to_have_count(2)
    await expect(page.locator("#channels tr", has_text="podcast")).to_contain_text("silent")
    await expect(page.locator("#way .weakest")).to_have_count(1)
    await expect(page.locator("#freshness")).to_contain_text("live")


async def test_every_chart_has_a_table_of_its_lines(stage: Stage, visit: Visit) -> None:
    page = await ready(await visit(address(stage), size="laptop"))
    chart = page.locator("#charts section", has_text="Conversions").first
    await chart.locator("summary").click()
    heads = await chart.locator("th[scope=col]").all_text_contents()
    past = [f"Past {n}" for n in (4, 3, 2, 1, 0)]
    assert heads[:3] == ["Age", "10%", "90%"]
    assert heads[3:8] == past
    assert {"Median", "This launch", "Projected", "Pace for the target"} <= set(heads)
    line = next(x for x in (await told(stage))["lines"] if x["measure"] == "conversions")
    row = chart.locator("tr", has=page.get_by_role("rowheader", name="+30 min", exact=True))
    cells = await row.locator("td").all_text_contents()
    shown = dict(zip(heads[1:], cells, strict=True))
    assert float(shown["This launch"].replace(",", "")) == pytest.approx(line["launch"][30], abs=1)
    assert float(shown["Median"].replace(",", "")) == pytest.approx(line["median"][30], abs=1)


async def test_choices_are_in_the_address_and_the_address_makes_the_choice(
    stage: Stage, visit: Visit
) -> None:
    page = await ready(await visit(address(stage), size="laptop"))
    await page.locator("#spans button[value='2d']").click()
    await page.locator("#curves button[value=per_minute]").click()
    await expect(page.locator("#curves button[aria-pressed=true]")).to_have_text("Per minute")
    await page.locator("#compare summary").click()
    await page.locator("#launches label", has_text="Past 2").click()
    await expect(page.locator("#compared")).to_have_text("Compared with 4")
    query = parse_qs(urlsplit(page.url).query)
    assert (query["span"], query["curve"], len(query["compare"])) == (["2d"], ["per_minute"], 4)
    again = await ready(await visit(page.url, size="laptop"))
    await expect(again.locator("#compared")).to_have_text("Compared with 4")
    await expect(again.locator("#spans button[aria-pressed=true]")).to_have_text("2 days")
    await page.locator("#usual").click()
    await expect(page.locator("#compared")).to_have_text("Compared with 5")
    await page.go_back()
    await expect(page.locator("#compared")).to_have_text("Compared with 4")


async def test_a_moment_is_frozen_as_a_link(stage: Stage, visit: Visit) -> None:
    page = await ready(await visit(address(stage), size="laptop"))
    await page.locator("#freeze").click()
    await expect(page.locator("#frozen")).to_be_visible()
    at = parse_qs(urlsplit(page.url).query)["at"][0]
    assert at == (await told(stage, at=at))["at"].replace(":00.000Z", "Z")
    await expect(page.locator("#say")).to_contain_text("a link to T + ")
    then = await ready(await visit(address(stage, query=f"?at={at}"), size="laptop"))
    await expect(then.locator("#frozen-text")).to_contain_text("Frozen at")
    sentence = await then.locator("#pace .sentence").inner_text()
    shown = int(sentence.partition(" of 9,000")[0].rpartition(" ")[2].replace(",", ""))
    value = (await told(stage, at=at))["pace"][0]["value"]
    # Outcomes within a class of delays are spread evenly, so the last minutes still move a little.
    assert shown == pytest.approx(value, rel=0.005)
    await then.locator("#thaw").click()
    await expect(then.locator("#frozen")).to_be_hidden()
    assert "at" not in parse_qs(urlsplit(then.url).query)


async def test_sheet_and_picture_are_saved(stage: Stage, visit: Visit, tmp_path: Path) -> None:
    page = await ready(await visit(address(stage), size="laptop", accept_downloads=True))
    async with page.expect_download() as sheet:
        await page.locator("#csv").click()
    download = await sheet.value
    assert download.suggested_filename == "spring.csv"
    await download.save_as(tmp_path / "spring.csv")
    with (tmp_path / "spring.csv").open(newline="") as file:
        assert next(csv.reader(file))[:3] == ["launch", "launch_at", "minute"]
    async with page.expect_download() as picture:
        await page.locator("#png").click()
    await (await picture.value).save_as(tmp_path / "spring.png")
    assert (tmp_path / "spring.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "spring.png").stat().st_size > 20_000


async def test_new_figures_show_by_themselves_unless_paused(stage: Stage, visit: Visit) -> None:
    page = await ready(await visit(address(stage, "past-4"), size="laptop"))
    clicks = page.locator("#totals .value").nth(1)
    before = int((await clicks.inner_text()).replace(",", ""))
    visits(stage.made, "past-4", stage.clock() // MINUTE * MINUTE - MINUTE, 5)
    await stage.show()
    await expect(clicks).to_have_text(f"{before + 100:,}")
    await page.locator("#pause").click()
    visits(stage.made, "past-4", stage.clock() // MINUTE * MINUTE - MINUTE, 5)
    await stage.show()
    said = await eventually(lambda: _clicks(stage, before + 200), what="the API has them")
    assert said
    await expect(clicks).to_have_text(f"{before + 100:,}")
    await page.locator("#pause").click()
    await expect(clicks).to_have_text(f"{before + 200:,}")


async def _clicks(stage: Stage, wanted: int) -> bool:
    return bool((await told(stage, "past-4"))["totals"]["clicks"] == wanted)


async def test_hostile_names_are_text(stage: Stage, visit: Visit) -> None:
    page = await ready(await visit(address(stage, HOSTILE), size="laptop"))
    await expect(page.locator("h1")).to_have_text(HOSTILE)
    await expect(page.locator("#channels tr").first).to_contain_text(HOSTILE)
    assert await page.locator("img[src='x']").count() == 0
    assert HOSTILE in await page.title()


@pytest.mark.parametrize(
    ("campaign", "query", "words"),
    [
        ("nobody", "", "There is no campaign “nobody”"),
        ("trickle", "", "Not launched yet"),
        ("spring", "?at=yesterday", "This cannot be shown: 'yesterday' is not a time"),
    ],
)
async def test_what_cannot_be_shown_is_told(
    stage: Stage, visit: Visit, watch: Any, campaign: str, query: str, words: str
) -> None:
    watch.away = True  # Chromium logs each refusal
    page = await visit(address(stage, campaign, query), size="phone")
    await expect(page.locator("#fault")).to_contain_text(words)
    await expect(page.locator("#story")).to_be_hidden()


async def test_everything_can_be_done_with_the_keyboard(stage: Stage, visit: Visit) -> None:
    page = await ready(await visit(address(stage), size="laptop"))
    await page.locator("#spans button[value='7d']").focus()
    await page.keyboard.press("Enter")
    await expect(page.locator("#spans button[aria-pressed=true]")).to_have_text("7 days")
    await page.locator("#compare summary").focus()
    await page.keyboard.press("Enter")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Space")
    await expect(page.locator("#compared")).to_have_text("Compared with 4")
    await page.keyboard.press("Escape")
    await expect(page.locator("#compare")).not_to_have_attribute("open", "")
    assert await page.evaluate("document.activeElement.tagName") == "SUMMARY"
    await page.locator("#charts summary").first.focus()
    await page.keyboard.press("Enter")
    await expect(page.locator("#charts .rows table").first).to_be_visible()


async def test_french_has_its_words_and_numbers(stage: Stage, visit: Visit) -> None:
    page = await ready(await visit(address(stage), size="laptop", locale="fr-FR"))
    await expect(page.locator("#pace .sentence")).to_contain_text(re.compile("À T \\+ .. min : "))
    await expect(page.locator("#pace .sentence")).to_contain_text("le lancement médian")
    await expect(page.locator("#totals h2").nth(1)).to_have_text("Clics")
    await expect(page.locator("#totals .value").nth(2)).to_contain_text(",")
    assert await page.evaluate("document.documentElement.lang") == "fr"
    words = await page.locator("body").inner_text()
    assert re.findall(r"\b[a-z]+\.[a-z_]+", words) == []  # the key of a text that is missing


@pytest.mark.parametrize("size", list(SIZES))
@pytest.mark.parametrize("theme", ["dark", "light"])
async def test_axe_finds_nothing_and_nothing_overflows(
    stage: Stage, visit: Visit, size: str, theme: str
) -> None:
    page = await visit(address(stage), size=size, theme=theme, reduced_motion="reduce")
    await ready(page)
    await page.locator("#charts summary").first.click()
    await page.locator("#compare summary").click()
    results = await Axe().run(page)
    assert results.violations_count == 0, results.generate_report()
    wide, screen = await page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert wide <= screen
    assert await page.locator("[aria-live], [role=alert], [role=status]").count() == 1
