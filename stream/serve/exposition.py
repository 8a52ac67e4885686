"""Prometheus text 0.0.4 and OpenMetrics 1.0 from families of samples.

Labels arrive as text that was escaped once and is kept, because a scrape writes tens of thousands
of samples; that makes this about ten times faster than a collector of sample objects.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPEN_METRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

Sample = tuple[str, str, float]
"""Suffix of the name (`_total`, `_bucket`, mostly none), labels as text, value."""


@dataclass(frozen=True, slots=True)
class Family:
    """All samples of one name. A counter's name is without `_total`, an info's without `_info`."""

    name: str
    type: Literal["gauge", "counter", "histogram", "info"]
    help: str
    samples: Sequence[Sample]


def label_text(pairs: Iterable[tuple[str, str]]) -> str:
    """Labels as they stand between the braces."""
    return ",".join(f'{name}="{_escape(value)}"' for name, value in pairs)


def render(families: Iterable[Family], open_metrics: bool) -> bytes:
    """The families as text; families without samples are left out, and there is no end mark."""
    lines: list[str] = []
    for family in families:
        if family.samples:
            lines += _head(family, open_metrics)
            lines += [
                f"{family.name}{suffix}{{{labels}}} {value!r}\n"
                if labels and value - value == 0
                else _odd_line(family.name + suffix, labels, value)
                for suffix, labels, value in family.samples
            ]
    return "".join(lines).encode(errors="replace")


def end_mark(open_metrics: bool) -> bytes:
    """What closes an exposition."""
    return b"# EOF\n" if open_metrics else b""


def prefers_open_metrics(accept: str) -> bool:
    """Whether an Accept header ranks OpenMetrics above plain text."""
    ranks = {"application/openmetrics-text": 0.0, "text/plain": 0.0}
    for part in accept.split(","):
        name, *parameters = (piece.strip() for piece in part.split(";"))
        version = next((p[8:].strip('"') for p in parameters if p.startswith("version=")), "")
        if name == "application/openmetrics-text" and version not in ("", "1.0.0", "0.0.1"):
            continue
        if name in ranks:
            ranks[name] = max(ranks[name], _quality(parameters))
    return ranks["application/openmetrics-text"] > 0 and (
        ranks["application/openmetrics-text"] >= ranks["text/plain"]
    )


def _odd_line(name: str, labels: str, value: float) -> str:
    """The line of a sample without labels, or whose value is no number."""
    shown = f"{value!r}" if math.isfinite(value) else _NO_NUMBER[str(float(value))]
    return f"{name}{{{labels}}} {shown}\n" if labels else f"{name} {shown}\n"


_NO_NUMBER = {"inf": "+Inf", "-inf": "-Inf", "nan": "NaN"}


def _quality(parameters: Iterable[str]) -> float:
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return float(parameter[2:])
            except ValueError:
                return 0.0
    return 1.0


def _head(family: Family, open_metrics: bool) -> tuple[str, str]:
    name, kind = family.name, str(family.type)
    text = family.help.replace("\\", "\\\\").replace("\n", "\\n")
    if open_metrics:
        text = text.replace('"', '\\"')
    elif kind == "counter":
        name += "_total"
    elif kind == "info":
        name, kind = name + "_info", "gauge"
    return f"# HELP {name} {text}\n", f"# TYPE {name} {kind}\n"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
