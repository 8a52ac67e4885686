"""No figure of the data is passed over: it is compared, or the documentation says why not."""

import re
from typing import Any

import pytest

from tests.conformance import data
from tests.conformance.figures import (
    Key,
    elastic_figures,
    incident_figures,
    nowhere,
    peer_figures,
)
from tests.support.processes import ROOT

_ROW = re.compile(r"\| (?P<where>[^|]+) \| `(?P<figure>\w+)` \| (?P<why>[^|]+) \|")


def figures(name: str) -> list[tuple[Key, Any]]:
    if name == "peer_cases":
        return list(peer_figures(data.peer_cases()))
    found = {"elastic_apache": elastic_figures, "uci_incidents": incident_figures}[name]
    return list(found(data.read_json(name, "ground_truth.json")))


def documented(name: str) -> dict[Key, str]:
    """What a section of the documentation says cannot be expressed."""
    text = (ROOT / "docs" / "conformance.md").read_text()
    parts = re.split(r"^## ", text, flags=re.MULTILINE)
    (section,) = [part for part in parts if part.startswith(name)]
    listed = section.partition("\nNot expressible:\n")[2].splitlines()
    rows = [found for line in listed if (found := _ROW.fullmatch(line))]
    assert rows
    return {
        (where.strip(), row["figure"]): row["why"]
        for row in rows
        for where in row["where"].split(";")
    }


NAMES = ("peer_cases", "elastic_apache", "uci_incidents")


@pytest.mark.parametrize("name", NAMES)
def test_every_figure_has_a_place(name):
    assert [key for key, place in figures(name) if place is None] == []


@pytest.mark.parametrize("name", NAMES)
def test_what_cannot_be_expressed_is_documented_by_name(name):
    assert documented(name) == nowhere(figures(name))
