"""What others wrote is sent as they wrote it, with its licence, and from nowhere but here."""

import json
import re
from pathlib import Path

import pytest

from tools.vendor import PACKAGES, RECORD, VENDOR, check, sha256

RECORDED = json.loads(RECORD.read_text())
PAGES = VENDOR.parent


def test_every_file_has_the_hash_that_was_recorded() -> None:
    found = {path.name: sha256(path.read_bytes()) for path in VENDOR.iterdir() if path != RECORD}
    recorded = {
        file: one for package in RECORDED.values() for file, one in package["sha256"].items()
    }
    assert found == recorded
    assert set(RECORDED) == set(PACKAGES)


@pytest.mark.parametrize(
    ("package", "licence", "words"),
    [
        ("uplot", "MIT", "The MIT License"),
        ("@fontsource-variable/inter", "OFL-1.1", "SIL OPEN FONT"),
    ],
)
def test_licences_are_there(package: str, licence: str, words: str) -> None:
    assert RECORDED[package]["licence"] == licence
    [file] = [name for name in PACKAGES[package] if name.endswith(".LICENSE")]
    assert words in (VENDOR / file).read_text()


def test_the_record_names_no_host() -> None:
    assert "http" not in RECORD.read_text()


def test_a_package_with_another_hash_is_refused() -> None:
    with pytest.raises(SystemExit, match="uplot: npm names sha512-"):
        check("uplot", b"something else", RECORDED["uplot"]["integrity"])


@pytest.mark.parametrize("path", sorted(PAGES.glob("*.*")), ids=lambda path: path.name)
def test_pages_load_nothing_from_elsewhere_and_make_no_markup_of_text(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"""(?:src|href|from|import|url)\s*[=(]?\s*["'(]?(?:https?:)?//""", text)
    for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert way not in text
