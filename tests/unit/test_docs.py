"""What the README and the documents name must exist: commands, settings, metrics, paths, links."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import typer

from stream.audit.meters import AuditMeters
from stream.cli import app
from stream.core.catalogue import CLICKS, METRICS, SESSIONS, TICKETS, TOTALS, WINDOW_COUNTS
from stream.core.durations import format_duration, parse_duration
from stream.core.events import EVENTS, EventDecoder, Fault
from stream.meters import Meters
from stream.serve.change_gauges import FAMILIES as CHANGES
from stream.settings import Settings
from tests.support.serving import Served
from tests.support.views import HandMade
from tools import metrics_doc

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
FILES = [README, *sorted((ROOT / "docs").rglob("*.md"))]
ADRS = sorted((ROOT / "docs" / "adr").glob("*.md"))
each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?<=\n\n)(?:(?: {4}.*)?\n)+")
SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
PARTS_OF_NAMES = {"engagement_", "stream_"}


def code(text: str) -> Iterator[str]:
    """Lines of code: fenced, indented, and in sentences."""
    for found in FENCE.finditer(text):
        yield from found[2].splitlines()
    prose = FENCE.sub("", text)
    for found in INDENTED.finditer(prose):
        yield from (line.strip() for line in found[0].splitlines())
    yield from SPAN.findall(prose)


def fences(path: Path, language: str) -> list[str]:
    return [body for name, body in FENCE.findall(path.read_text()) if name == language]


def slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_the_metrics_page_is_what_the_catalogue_makes() -> None:
    assert metrics_doc.FILE.read_text() == metrics_doc.document(), "run: make docs"


@each_file
def test_every_command_and_option_exists(path: Path) -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for line in code(path.read_text()):
        if found := re.search(r"(?:^|\s|/)stream ([a-z]+(?:-[a-z]+)*)\b(.*)", line):
            name, rest = found.groups()
            assert name in commands, line
            command, words = commands[name], rest.split()
            if hasattr(command, "commands") and words:  # a group: the next word is its command
                assert words[0] in command.commands, line
                command = command.commands[words[0]]
            options = {o for p in command.params for o in (*p.opts, *p.secondary_opts)}
            given = set(re.findall(r"--[a-z][a-z-]*", rest.partition("#")[0]))
            assert given <= {*options, "--help"}, line


def test_some_commands_were_found() -> None:
    lines = [line for path in FILES for line in code(path.read_text())]
    told = {found[1] for line in lines if (found := re.match(r"(?:.*/)?stream ([a-z]+)", line))}
    assert told >= {"worker", "serve", "top", "doctor", "resume", "rebuild", "replay"}


@each_file
def test_every_make_target_exists(path: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for line in code(path.read_text()):
        if found := re.match(r"make ([a-z]+)", line):
            assert found[1] in targets, line


@each_file
def test_every_variable_is_a_setting(path: Path) -> None:
    known = {f"STREAM_{name.upper()}" for name in Settings.model_fields}
    named = set(re.findall(r"\bSTREAM_[A-Z][A-Z_]*[A-Z]\b", path.read_text()))
    assert named - known == set()


def told_defaults() -> list[tuple[str, str]]:
    row = re.compile(r"^\| `STREAM_([A-Z_]+)` \| (?:`([^`]*)`)? ?\|", re.MULTILINE)
    return row.findall(README.read_text())


@pytest.mark.parametrize(("name", "told"), told_defaults())
def test_every_default_is_as_told(name: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(f"STREAM_{name}", raising=False)
    field = Settings.model_fields[name.lower()]
    default = field.default
    if isinstance(default, tuple):
        assert tuple(map(parse_duration, told.split(","))) == default
    elif isinstance(default, int) and told.isdigit():
        assert int(told) == default
    elif isinstance(default, int):
        assert format_duration(parse_duration(told)) == format_duration(default)
    else:
        assert told == (default or "")


def test_the_defaults_table_is_long() -> None:
    assert len(told_defaults()) > 20


async def exported() -> set[str]:
    """Names of all samples of a server with data, and of a worker."""
    made = HandMade()
    made.count(CLICKS, ("spring", "email", "A"), {"impressions": 2, "clicks": 1})
    made.count(SESSIONS, ("spring", "email", "A"), {"sessions": 1, "active": 1}, settled=True)
    made.count(TICKETS, ("chat", "billing"), {"resolved": 1, "still_open": 1}, settled=True)
    made.total(TICKETS, ("chat", "billing"), {"open": 1})
    served = await Served(await made.view()).get("/metrics")
    names = set(re.findall(r"^# TYPE (\S+)", served.text, re.MULTILINE))
    for metric in METRICS.values():
        stem = metric.gauge.removesuffix("_mean_seconds")
        names |= {metric.gauge, f"{stem}_p50_seconds", f"{stem}_p90_seconds"}
    names |= {f"engagement_window_{count.name}" for count in WINDOW_COUNTS}
    names |= {f"{total.name}_total" for total in TOTALS}
    names |= CHANGES.keys()
    for registry in (Meters().registry, AuditMeters().registry):
        for family in registry.collect():
            names |= {family.name, f"{family.name}_total"}
    return names


@each_file
async def test_every_metric_name_is_exported(path: Path) -> None:
    known = await exported()
    for line in code(path.read_text()):
        for name in re.findall(r"\b(?:engagement|stream)_[a-z0-9_]*", line):
            assert name in known | PARTS_OF_NAMES, line


def asked(path: Path) -> Iterator[str]:
    """Every URL path of ours that a document names."""
    text = path.read_text()
    yield from re.findall(r"http://127\.0\.0\.1:8000(/[^\s'>`\"]*)", text)
    yield from (
        span.removeprefix("GET ")
        for span in SPAN.findall(FENCE.sub("", text))
        if re.fullmatch(r"(?:GET )?/[a-z][a-z0-9/.]*", span)
    )


@each_file
async def test_every_path_is_served(path: Path) -> None:
    served = Served(await HandMade().view())
    for url in asked(path):
        parts = urlsplit(url)
        if parts.path == "/api/v1/live":  # it has no end
            continue
        parameters = dict(parse_qsl(parts.query))
        response = await served.get(parts.path, **parameters)
        refused = f"{url}'\n" + '{"title":"Unprocessable' in path.read_text()
        assert response.status_code == (422 if refused else 200), url


def test_shown_answers_have_the_shape_of_answers() -> None:
    lines = [line for body in fences(README, "console") for line in body.splitlines()]
    answers = [json.loads(line) for line in lines if line.startswith("{")]
    assert len(answers) == len([line for line in lines if line.startswith("$ curl")]) >= 4
    for answer in answers:
        keys = {"metric", "from", "to", "state", "as_of", "settled_through", "complete", "rows"}
        assert keys <= answer.keys() or answer["status"] == 422
        for row in answer.get("rows", ()):
            assert row["value"] == pytest.approx(row["numerator"] / row["denominator"])


def test_sample_events_are_events_of_each_topic() -> None:
    lines = [line for body in fences(README, "json") for line in body.splitlines()]
    samples: dict[str, Any] = dict(zip(("clicks", "sessions", "tickets"), lines, strict=True))
    for topic, line in samples.items():
        assert not isinstance(EventDecoder(topic).decode(line.encode()), Fault), line
        assert json.loads(line).keys() == set(EVENTS[topic].__struct_fields__), "every field"


@each_file
def test_every_relative_link_leads_somewhere(path: Path) -> None:
    for link in LINK.findall(FENCE.sub("", path.read_text())):
        target, _, anchor = link.partition("#")
        if "://" in target:
            continue
        there = (path.parent / target).resolve() if target else path
        assert there.exists(), link
        if anchor:
            headings = {slug(h) for h in HEADING.findall(FENCE.sub("", there.read_text()))}
            assert anchor in headings, link


@each_file
def test_nothing_points_at_other_hosts_or_at_somebodys_machine(path: Path) -> None:
    text = path.read_text()
    assert set(re.findall(r"https?://([^/\s:>]+)", text)) <= {"127.0.0.1"}
    assert not re.search(r"(?<![\w.])/(?:work|root|home|tmp|Users)/", text)


def test_every_metric_is_in_the_readme() -> None:
    row = re.compile(r"^\| `([a-z_]+)` \| ([^|]*) \| ([^|]*) \|$", re.MULTILINE)
    table = row.findall(README.read_text())
    told = {name: (value, by) for name, value, by in table if name in METRICS}
    assert list(told) == list(METRICS)
    for name, (value, by) in told.items():
        assert value.partition(";")[0] == " / ".join(METRICS[name].shown)
        assert by == ", ".join(METRICS[name].dimensions)


def test_decisions_are_numbered_and_dated() -> None:
    assert [path.name[:4] for path in ADRS] == [f"{i:04}" for i in range(1, len(ADRS) + 1)]
    for path in ADRS:
        lines = path.read_text().splitlines()
        assert re.match(rf"# {int(path.name[:4])}\. ", lines[0]), path.name
        assert re.match(r"20\d\d-\d\d · ", lines[2]), path.name
        for part in ("**What.**", "**Why", "**Measured", "**Refused.**"):
            assert part in path.read_text(), f"{path.name}: {part}"


def test_pictures_refer_to_no_other_host() -> None:
    pictures = list((ROOT / "docs" / "images").glob("*.svg"))
    assert pictures
    for picture in pictures:
        named = set(re.findall(r"https?://([^/\s:<\"]+)", picture.read_text()))
        assert named <= {"www.w3.org", "127.0.0.1"}
        assert "@import" not in picture.read_text()
