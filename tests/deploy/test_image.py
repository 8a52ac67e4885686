"""The Dockerfile's build steps, run outside Docker in a fresh folder: what they make works."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "deploy" / "Dockerfile"


def build_steps() -> list[tuple[str, str]]:
    """COPY and RUN of the first stage, in order."""
    text = DOCKERFILE.read_text().replace("\\\n", " ")
    first, _, _ = text.partition("\nFROM python:3.12.11-slim-bookworm\n")
    return re.findall(r"^(COPY|RUN) (.+)$", first, re.MULTILINE)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_build_steps_make_a_program_that_runs(tmp_path: Path) -> None:
    source, opt = tmp_path / "src", tmp_path / "opt"
    source.mkdir()
    steps = build_steps()
    assert {kind for kind, _ in steps} == {"COPY", "RUN"}
    for kind, words in steps:
        if kind == "COPY":
            copy(words, source)
        else:
            command = words.replace("/opt/", f"{opt}/").replace(
                "python -m venv", f"{shlex.quote(sys.executable)} -m venv"
            )
            done = subprocess.run(
                command, shell=True, cwd=source, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
    said = subprocess.run(
        [opt / "stream" / "bin" / "stream", "--help"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert "worker" in said.stdout


def copy(words: str, into: Path) -> None:
    *sources, target = words.split()
    for name in sources:
        found = ROOT / name
        if found.is_dir():
            shutil.copytree(found, into / target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            place = into / target
            place.mkdir(parents=True, exist_ok=True)
            shutil.copy(found, place / found.name)
