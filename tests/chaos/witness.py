"""Watches from outside all the time: what the API and the exporter show, and when it is behind.

In a thread of its own, so that nothing in the test holds it up. A total that goes down, or counts
more than was ever sent, is a fault whatever comes later.
"""

import json
import re
import threading
import time
import urllib.error
import urllib.request
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.feeder import Feeder

EVERY_S = 0.1
SCRAPE_EVERY_S = 0.3
BEHIND_AFTER_S = 1.0
"""So long after its acknowledgement a record has to be shown, or the view counts as behind."""
_TOTAL = re.compile(r"^(engagement_\w+_total)\{(.*)\} ([0-9.e+]+)$", re.MULTILINE)


@dataclass(slots=True)
class Seen:
    """What was seen since the last `begin`."""

    statuses: Counter[str] = field(default_factory=Counter)
    readyz: Counter[int] = field(default_factory=Counter)
    behind_until_s: float | None = None
    behind_from_s: float | None = None
    absent: int = 0


class Witness:
    """Start it, ask it, stop it. `complaints` is empty as long as nothing wrong was shown."""

    def __init__(self, http_port: int, feeder: Feeder) -> None:
        self.complaints: list[str] = []
        self.scrapes = 0
        self.seen = Seen()
        self.partitions: dict[tuple[str, int], dict[str, Any]] = {}
        self._url = f"http://127.0.0.1:{http_port}"
        self._feeder = feeder
        self._totals: dict[tuple[str, str], float] = {}
        self._owed: deque[tuple[float, dict[tuple[str, int], int]]] = deque()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="witness", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join()

    def begin(self) -> None:
        """Forget what was seen so far; `complaints` stay."""
        self.seen = Seen()

    def get(self, path: str, timeout_s: float = 3.0) -> tuple[int, bytes]:
        """Status and body; status 0 where nobody answers."""
        try:
            with urllib.request.urlopen(self._url + path, timeout=timeout_s) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()
        except OSError:
            return 0, b""

    def _watch(self) -> None:
        scraped_s = 0.0
        while not self._over.wait(EVERY_S):
            try:
                self._look()
                if time.monotonic() - scraped_s >= SCRAPE_EVERY_S:
                    scraped_s = time.monotonic()
                    self._scrape()
            except Exception as error:
                self.complaints.append(f"the witness failed: {error!r}")

    def _look(self) -> None:
        asked_s = time.monotonic()
        self._owed.append((asked_s, dict(self._feeder.acknowledged)))
        code, body = self.get("/api/v1/status")
        if code == 200:
            status = json.loads(body)
            found = {(p["topic"], p["partition"]): p for p in status["partitions"]}
            self.partitions = found
            self.seen.statuses.update({p["status"] for p in found.values()})
        else:
            found = {}
            self.seen.statuses["no answer"] += 1
        while len(self._owed) > 1 and self._owed[1][0] <= asked_s - BEHIND_AFTER_S:
            self._owed.popleft()
        due_s, due = self._owed[0]
        if due_s > asked_s - BEHIND_AFTER_S:
            return
        if any(place not in found or found[place]["through"] < n for place, n in due.items()):
            now_s = time.monotonic()
            self.seen.behind_from_s = self.seen.behind_from_s or asked_s
            self.seen.behind_until_s = now_s

    def _scrape(self) -> None:
        self.seen.readyz[self.get("/readyz")[0]] += 1
        code, body = self.get("/metrics")
        most = dict(self._feeder.sent)
        if code != 200:
            return
        self.scrapes += 1
        found = {(name, labels): float(n) for name, labels, n in _TOTAL.findall(body.decode())}
        if not found:
            self.seen.absent += 1
            return
        for key, n in found.items():
            if n < self._totals.get(key, 0):
                self.complaints.append(f"{key} went down from {self._totals[key]} to {n}")
        lost = self._totals.keys() - found.keys()
        if lost:
            self.complaints.append(f"half a picture: {len(lost)} totals lacked, e.g. {min(lost)}")
        self._totals.update(found)
        for name, sent in (
            ("engagement_impressions_total", most.get(("clicks", "impression"), 0)),
            ("engagement_clicks_total", most.get(("clicks", "click"), 0)),
        ):
            shown = sum(n for (which, _), n in found.items() if which == name)
            if shown > sent:
                self.complaints.append(f"{name}: {shown} shown, only {sent} sent")
