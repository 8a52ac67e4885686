"""A running worker and server that data sets are sent to, and the figures read from its API."""

import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from prometheus_client.parser import text_string_to_metric_families as families

from tests.conformance.data import PARTITIONS, Event, at_ms
from tests.support.namespaces import Namespace
from tests.support.ports import free_port
from tests.support.services import Service
from tests.support.system import Start, System

Range = tuple[str, str]
ALL_TIME: Range = ("2000-01-01T00:00:00Z", "2040-01-01T00:00:00Z")
NOBODY: Mapping[str, str] = {}


@dataclass(frozen=True)
class Read:
    """Where in the API a figure stands.

    `part` is a key of a row, `p50`, `p90`, `percent` (of the two counts), or `rest` (the
    denominator less the numerator). `more` are parameters of the query, such as the definition.
    """

    metric: str
    part: str
    more: Mapping[str, str] = field(default_factory=dict)

    def of(self, row: Mapping[str, Any]) -> Any:
        """The figure in a row of an answer."""
        if self.part == "rest":
            return row["denominator"] - row["numerator"]
        if self.part == "percent":
            below = row["denominator"]
            return 100 * row["numerator"] / below if below else row["value"]
        if self.part in ("p50", "p90"):
            return row["quantiles"][self.part]
        return row[self.part]


class Site(System):
    """One system, its rules given as `STREAM_*` variables."""

    def __init__(
        self, start: Start, kafka: Service, redis: Service, folder: Path, **rules: str
    ) -> None:
        self.namespace = Namespace()
        super().__init__(start, self.namespace, kafka, redis, **rules)
        self._folder = folder
        self._sent = 0
        self._worker_port = free_port()

    async def open(self) -> None:
        """Start it, and wait until it is ready; others may be starting beside it."""
        mine = {"STREAM_WORKER_ID": "w1", "STREAM_WORKER_PORT": str(self._worker_port)}
        self._start("worker", env={**self.env, "STREAM_PARTITIONS": str(PARTITIONS), **mine})
        self.server()
        await self.ready(timeout_s=120)

    async def send(self, topic: str, events: Iterable[Event]) -> int:
        """Replay events in this order, and wait until all are in; how many there were."""
        lines = [msgspec.json.encode(event) for event in events]
        file = self._folder / f"{topic}-{len(list(self._folder.iterdir()))}.ndjson"
        file.write_bytes(b"\n".join([*lines, b""]))
        sender = self.run("replay", str(file), "--topic", topic)
        assert await sender.ended(60) == 0, sender.text
        self._sent += len(lines)
        await self.counted(self._sent, 240)
        return len(lines)

    def row(
        self, metric: str, span: Range = ALL_TIME, state: str = "live", **parameters: str
    ) -> dict[str, Any]:
        """The one row of a query without `by`."""
        (row,) = self._answer("query", metric, span, state, parameters)["rows"]
        assert row["labels"] == {}
        below = row["denominator"]
        assert row["value"] == (row["numerator"] / below if below else None)
        return row

    def figure(
        self, read: Read, span: Range = ALL_TIME, state: str = "live", **filters: str
    ) -> Any:
        """One figure."""
        return read.of(self.row(read.metric, span, state, **read.more, **filters))

    def table(
        self, metric: str, *by: str, span: Range = ALL_TIME, **parameters: str
    ) -> dict[str, dict[str, Any]]:
        """The rows of a live query by dimensions, under their labels joined by a slash."""
        asked = {"by": ",".join(by), "limit": "1000", **parameters}
        rows = self._answer("query", metric, span, "live", asked)["rows"]
        return {"/".join(row["labels"][name] for name in by): row for row in rows}

    def series(
        self, metric: str, step: str, span: Range, **parameters: str
    ) -> list[dict[str, Any]]:
        """The rows of a series."""
        answer = self._answer("series", metric, span, "live", {"step": step, **parameters})
        assert answer["step"] == step
        return answer["rows"]

    def _answer(
        self, kind: str, metric: str, span: Range, state: str, parameters: Mapping[str, str]
    ) -> Any:
        asked = {"metric": metric, "from": span[0], "to": span[1], "state": state, **parameters}
        answer = self.get(f"/api/v1/{kind}", **asked)
        assert answer["complete"] is True
        assert answer["truncated"] is False
        assert at_ms(answer["from"]) == at_ms(span[0])
        if state == "live":  # a settled range ends where the settled figures end
            assert at_ms(answer["to"]) == at_ms(span[1])
        return answer

    def samples(self, name: str, *, of_worker: bool = False) -> dict[tuple[str, ...], float]:
        """The samples of a counter at `/metrics`, under their label values in order of names."""
        port = self._worker_port if of_worker else self.http_port
        address = f"http://127.0.0.1:{port}/metrics"
        with urllib.request.urlopen(address, timeout=5) as answer:
            text = answer.read().decode()
        return {
            tuple(value for _, value in sorted(sample.labels.items())): sample.value
            for family in families(text)
            for sample in family.samples
            if sample.name == name
        }

    def outcomes(self, topic: str) -> dict[str, int]:
        """What became of the records of a topic, by outcome, where there was any."""
        found = self.samples("stream_events_total", of_worker=True)
        return {outcome: int(n) for (outcome, name), n in found.items() if name == topic and n}
