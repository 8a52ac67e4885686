"""Takes pictures of the pages while the real demonstration runs, with Chromium.

    python -m tools.screenshots                       those that the documents show
    python -m tools.screenshots --all FOLDER          every page, three sizes, dark and light
    python -m tools.screenshots --url http://…:8000   of a server that runs already

A demonstration needs an hour until all is there that it is compared with: --after SECONDS. Settings
of the screens (STREAM_ALERTMANAGER, STREAM_TARGETS) come from the environment, as always.
"""

import argparse
import io
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from tools.picture import demonstration, wait_for

FOLDER = Path(__file__).parents[1] / "docs" / "images"
SIZES = {"1080p": (1920, 1080), "laptop": (1366, 768), "phone": (390, 844)}
PAGES = {"ops": "/", "wall": "/?wall=1", "launch": "/launch/autumn"}
THEMES = ("dark", "light")
DEMONSTRATIONS = {
    ("ops", "wall"): ("--scenario", "mixed", "--backfill", "3h"),
    ("launch",): (),
}
"""Which demonstration shows what a page is for."""
READY = {"ops": "#movers li", "wall": "#movers li", "launch": "canvas"}
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")
COLOURS = 256
TARGETS = "ctr=10%,bounce_rate=60%,conversion_rate=7.5%,fcr=60%"


@dataclass(frozen=True)
class Shot:
    """One picture."""

    page: str
    size: str
    theme: str
    file: str


SHOWN = (
    Shot("ops", "1080p", "dark", "ops-dark.png"),
    Shot("launch", "1080p", "dark", "launch-dark.png"),
)
"""Those that the README shows."""


def main() -> None:
    """Take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", help="a server that runs already")
    parser.add_argument("--after", type=float, default=3_600.0, help="seconds of demonstration")
    parser.add_argument("--all", type=Path, metavar="FOLDER", help="take every picture")
    given = parser.parse_args()
    shots = list(every_shot()) if given.all else SHOWN
    folder = given.all or FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    if given.url:
        take(given.url, shots, folder)
        return
    os.environ.setdefault("STREAM_TARGETS", TARGETS)
    for pages, options in DEMONSTRATIONS.items():
        with demonstration(*options) as url:
            wait_for(url)
            time.sleep(given.after)
            take(url, [shot for shot in shots if shot.page in pages], folder)


def every_shot() -> Iterator[Shot]:
    """Every page at every size, dark and light; a wall is a wall."""
    for page in PAGES:
        for size in SIZES if page != "wall" else ("1080p",):
            for theme in THEMES:
                yield Shot(page, size, theme, f"{page}-{size}-{theme}.png")


def take(url: str, shots: Iterable[Shot], folder: Path) -> None:
    """Take pictures of a server that has figures to show."""
    with sync_playwright() as playwright:
        program = shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        for shot in shots:
            (folder / shot.file).write_bytes(smaller(picture(browser, url, shot)))
        browser.close()


def picture(browser: Browser, url: str, shot: Shot) -> bytes:
    """One page as PNG, once it shows figures."""
    width, height = SIZES[shot.size]
    page: Page = browser.new_page(
        viewport={"width": width, "height": height},
        color_scheme="dark" if shot.theme == "dark" else "light",
        locale="en-GB",
        reduced_motion="reduce",
    )
    page.goto(url + PAGES[shot.page])
    page.wait_for_selector(READY[shot.page])
    page.wait_for_selector('[data-state="live"]')
    page.evaluate("document.fonts.ready")
    content = page.screenshot()
    page.close()
    return content


def smaller(png: bytes) -> bytes:
    """The same picture in few colours: flat pages lose nothing that is seen."""
    image = Image.open(io.BytesIO(png)).convert("RGB")
    out = io.BytesIO()
    few = image.quantize(COLOURS, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    few.save(out, "PNG", optimize=True)
    return out.getvalue()


if __name__ == "__main__":
    main()
