"""Asks promtool what rules come to over made-up series, through its rule tests.

promtool only compares: an expectation that cannot hold makes it print what there is, and that is
read here.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
RULES = sorted((ROOT / "deploy" / "prometheus" / "rules").glob("*.yml"))
LINKS = {"server_url": "http://s", "grafana_url": "http://g", "repository_url": "http://r"}

Labels = tuple[tuple[str, str], ...]
Answer = dict[Labels, float]
_GOT = re.compile(r"^ +got: (.*)$", re.MULTILINE)
_SAMPLE = re.compile(r'(\{(?:[^"{}]|"(?:[^"\\]|\\.)*")*\}) (\S+?)(?:, |$)')
_LABEL = re.compile(r'([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"')


def tool(name: str) -> str:
    """The path of a tool of Prometheus; skips the test where there is none."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


def run(
    *arguments: str, cwd: Path = ROOT, timeout_s: float = 100
) -> "subprocess.CompletedProcess[str]":
    """Run promtool."""
    command = [tool("promtool"), *arguments]
    return subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, "GOGC": "400"},  # collects its garbage less often, for speed
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout_s,
    )


def run_values(values: Iterable[str | None]) -> str:
    """A series in promtool's notation; None is a sample that is gone."""
    words: list[str] = []
    there = False
    for value, same in groupby(values):
        n = len(list(same))
        if value is None:
            words += (["stale"] if there else ["_"]) + ([f"_x{n - 1}"] if n > 1 else [])
        else:
            words.append(value if n == 1 else f"{value}x{n - 1}")
        there = value is not None
    return " ".join(words)


@dataclass(frozen=True, slots=True)
class Played:
    """Series, given as values by step, and what is asked of them: (query, minute)."""

    series: Mapping[str, str]
    questions: Sequence[tuple[str, int]]


def ask(
    folder: Path,
    plays: Sequence[Played],
    rules: Iterable[Path] = RULES,
    *,
    step_minutes: int = 1,
    timeout_s: float = 100,
) -> list[list[Answer]]:
    """What the questions of each play come to, under the rules, evaluated at each step."""
    document = {
        "rule_files": [str(path) for path in rules],
        "evaluation_interval": f"{step_minutes}m",
        "tests": [_as_document(play, step_minutes) for play in plays],
    }
    file = folder / "asked.json"
    file.write_text(json.dumps(document))
    done = run("test", "rules", str(file), timeout_s=timeout_s)
    texts = iter(_GOT.findall(done.stdout + done.stderr))
    answers = [[_samples(next(texts, "")) for _ in play.questions] for play in plays]
    assert " err: " not in done.stdout + done.stderr, (done.stdout + done.stderr)[-2_000:]
    return answers


def _as_document(play: Played, step_minutes: int) -> dict[str, Any]:
    return {
        "interval": f"{step_minutes}m",
        "external_labels": LINKS,
        "input_series": [{"series": name, "values": v} for name, v in play.series.items()],
        "promql_expr_test": [
            {"expr": query, "eval_time": f"{minute}m", "exp_samples": _NEVER}
            for query, minute in play.questions
        ],
    }


_NEVER = [{"labels": 'never{such="thing"}', "value": 1}]


def _samples(text: str) -> Answer:
    if text == "nil":
        return {}
    assert text, "promtool did not answer"
    return {
        tuple(sorted(_LABEL.findall(labels))): float(value)
        for labels, value in _SAMPLE.findall(text)
    }
