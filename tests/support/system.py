"""A whole system under test: workers and a server as processes, and the outside's view of them."""

import json
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

from tests.support.namespaces import Namespace
from tests.support.patience import eventually
from tests.support.ports import free_port
from tests.support.processes import StreamProcess
from tests.support.services import Service

Start = Callable[..., StreamProcess]


def ask(http_port: int, path: str, parameters: Mapping[str, str] | None = None) -> Any:
    """The JSON that a server answers."""
    query = f"?{urlencode(parameters)}" if parameters else ""
    with urllib.request.urlopen(f"http://127.0.0.1:{http_port}{path}{query}", timeout=5) as answer:
        return json.loads(answer.read())


class System:
    """Starts parts with one environment and asks the API what it shows."""

    def __init__(
        self, start: Start, namespace: Namespace, kafka: Service, redis: Service, **more: str
    ) -> None:
        self._start = start
        self.http_port = free_port()
        self.env: Mapping[str, str] = namespace.env(
            kafka, redis, STREAM_HTTP_PORT=str(self.http_port), **more
        )

    def worker(self, name: str = "w1") -> StreamProcess:
        """Start a worker; its name is its place in the group."""
        env = {**self.env, "STREAM_WORKER_ID": name, "STREAM_WORKER_PORT": str(free_port())}
        return self._start("worker", env=env)

    def server(self) -> StreamProcess:
        """Start the server."""
        return self._start("serve", env=self.env)

    def run(self, *args: str) -> StreamProcess:
        """Start any other command."""
        return self._start(*args, env=self.env)

    def get(self, path: str, **parameters: str) -> Any:
        """The JSON that the API answers."""
        return ask(self.http_port, path, parameters)

    def rows(self, metric: str, by: str, **parameters: str) -> dict[str, tuple[int, int]]:
        """Numerator and denominator by one dimension."""
        answer = self.get("/api/v1/query", metric=metric, by=by, **({"window": "30d"} | parameters))
        return {row["labels"][by]: (row["numerator"], row["denominator"]) for row in answer["rows"]}

    async def ready(self, timeout_s: float = 60.0) -> None:
        """Wait until every partition is live."""
        await eventually(lambda: self._try(lambda s: s["ready"]), timeout_s, what="ready")

    async def counted(self, records: int, timeout_s: float = 60.0) -> None:
        """Wait until so many records are in, of all topics together."""
        await eventually(
            lambda: self._try(
                lambda s: s["ready"] and sum(p["through"] for p in s["partitions"]) >= records
            ),
            timeout_s,
            what=f"{records} records counted",
        )

    def through(self) -> int:
        """How many records are in."""
        return sum(p["through"] for p in self.get("/api/v1/status")["partitions"])

    def _try(self, judge: Callable[[Any], bool]) -> bool:
        try:
            return judge(self.get("/api/v1/status"))
        except OSError:
            return False


def check_against_truth(system: System, truth: Mapping[str, Any]) -> None:
    """Compare all sums that the simulator knows of its own traffic with what the API says."""
    clicks = truth["clicks_by_campaign"]
    wanted = {name: (n.get("clicks", 0), n.get("impressions", 0)) for name, n in clicks.items()}
    assert system.rows("ctr", "campaign") == wanted
    sessions = truth["sessions_by_campaign"]
    for metric, field in (
        ("bounce_rate", "bounced_single"),
        ("conversion_rate", "converted"),
        ("pages_per_session", "page_views"),
    ):
        assert system.rows(metric, "campaign") == {
            name: (n.get(field, 0), n["sessions"]) for name, n in sessions.items()
        }
    tickets = {team: n for team, n in truth["tickets_by_team"].items() if n.get("resolved")}
    assert system.rows("fcr", "team") == {
        team: (n.get("first_contact", 0), n["resolved"]) for team, n in tickets.items()
    }
