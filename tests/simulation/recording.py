"""Series as Prometheus would scrape them once a minute, and gone when no longer exported."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.simulation.playback import Samples
from tests.support.promtool import run_values

_LEVELS = re.compile(r'level="(total|campaign|team)"')
_TARGET = 'job="engagement-server",instance="server:8000"'


class Recording:
    """The samples that rules read, minute by minute; float32 keeps weeks of them small."""

    def __init__(self, rules: Iterable[Path], minutes: int) -> None:
        self._minutes = minutes
        self._wanted = wanted_names(rules)
        self._values: dict[str, NDArray[np.float32]] = {}

    def take(self, minute: int, samples: Samples) -> None:
        """Note what is shown in a minute, counted from the beginning of the recording."""
        for family, listed in samples.items():
            for suffix, labels, value in listed:
                name = family + suffix
                if name in self._wanted and ("level=" not in labels or _LEVELS.search(labels)):
                    series = f"{name}{{{labels},{_TARGET}}}"
                    values = self._values.get(series)
                    if values is None:
                        values = np.full(self._minutes, np.nan, np.float32)
                        self._values[series] = values
                    values[minute] = value

    def series(self) -> Mapping[str, str]:
        """All of it in promtool's notation."""
        told = {
            name: run_values(None if np.isnan(v) else f"{v:.5g}" for v in values.tolist())
            for name, values in self._values.items()
        }
        now = f"engagement_as_of_timestamp_seconds{{topic=%s,{_TARGET}}}"
        for topic in ("clicks", "sessions", "tickets"):
            told[now % f'"{topic}"'] = f"0+60x{self._minutes}"  # promtool's time begins at 0
        return told


def wanted_names(rules: Iterable[Path]) -> set[str]:
    """The names of our samples that rules read; the time is told by promtool's own clock."""
    text = "\n".join(path.read_text() for path in rules)
    names = set(re.findall(r"(?<![:\w])engagement_\w+", text))
    return names - {"engagement_as_of_timestamp_seconds"}
