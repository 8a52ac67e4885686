"""What deployment files call and set must be what the program knows."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from stream.settings import Settings

ROOT = Path(__file__).parents[2]
SUFFIXES = {".yml", ".yaml", ".json", ".md", ".env", ""}
FILES = [ROOT / "docker-compose.yml"]
FILES += sorted(
    path
    for path in (ROOT / "deploy").rglob("*")
    if path.is_file() and path.suffix in SUFFIXES and not path.name.startswith(".")
)


def commands() -> Iterator[tuple[str, list[str]]]:
    """Every `stream …` command of the deployment files: where it stands, and its words."""
    for path in FILES:
        if path.name == "Dockerfile":
            for words in re.findall(
                r"^(?:CMD|ENTRYPOINT) (\[.*\])$", path.read_text(), re.MULTILINE
            ):
                yield path.name, json.loads(words)
        elif path.suffix in {".yml", ".yaml"}:
            for document in yaml.safe_load_all(path.read_text()):
                for words in _found_in(document):
                    yield path.name, words


def _found_in(node: Any) -> Iterator[list[str]]:
    if isinstance(node, dict):
        for key in ("command", "args"):
            words = node.get(key)
            words = words.split() if isinstance(words, str) else words
            if isinstance(words, list) and words and words[0] == "stream":
                yield [str(word) for word in words]
        for child in node.values():
            yield from _found_in(child)
    elif isinstance(node, list):
        for child in node:
            yield from _found_in(child)


def stream_help(*words: str) -> str:
    """What `stream … --help` prints, without colours, wide enough not to be cut."""
    env = {**os.environ, "COLUMNS": "400", "TERM": "dumb", "NO_COLOR": "1"}
    command = [sys.executable, "-m", "stream", *words, "--help"]
    done = subprocess.run(
        command, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, f"stream {' '.join(words)}: {done.stdout}{done.stderr}"
    return done.stdout


STREAM_COMMANDS = sorted(
    {(place, *words[1:]) for place, words in commands() if words[0] == "stream"}
)


def test_the_files_start_both_programs() -> None:
    assert {words[1] for words in STREAM_COMMANDS} >= {"worker", "serve"}


@pytest.mark.parametrize("words", STREAM_COMMANDS, ids=" ".join)
def test_every_command_and_option_exists(words: tuple[str, ...]) -> None:
    _, subcommand, *rest = words
    assert re.search(rf"\b{re.escape(subcommand)}\b", stream_help())
    told = stream_help(subcommand)
    for option in (word.partition("=")[0] for word in rest if word.startswith("--")):
        assert option in told, option


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_variable_is_a_setting(path: Path) -> None:
    known = {f"STREAM_{name.upper()}" for name in Settings.model_fields}
    named = set(re.findall(r"\bSTREAM_[A-Z][A-Z_]*[A-Z]\b", path.read_text()))
    assert named - known == set()
