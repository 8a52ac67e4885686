"""The alerts that fire now, as Alertmanager tells them: asked in the background, answered at once.

Knows Alertmanager's API v2 and nothing of what the alerts mean. Nobody waits for Alertmanager: a
screen gets the last answer, and how old it is.
"""

import asyncio
import threading
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from http.client import HTTPException
from urllib.parse import unquote, urlsplit, urlunsplit

import msgspec
import structlog

from stream.serve.ops import bodies
from stream.serve.times import format_time

log = structlog.get_logger(__name__)

PERIOD_S = 5.0
PATIENCE_S = 3.0
MOST = 50
MOST_BYTES = 4_000_000
PATH = "/api/v2/alerts?active=true&silenced=false&inhibited=false&unprocessed=false"
SEVERITIES = ("page", "critical", "error", "ticket", "warning", "info")
"""The gravest first; others come after."""
UNSEEN = "none"
"""The severity of what fires all the time, to show that alerts arrive."""


class _Heard(msgspec.Struct):
    """What is read of one alert of the API; the rest is passed over."""

    labels: dict[str, str]
    annotations: dict[str, str] = {}
    startsAt: str | None = None  # noqa: N815 - the name that Alertmanager gives it


_decode = msgspec.json.Decoder(list[_Heard]).decode


class AlertWatch:
    """Asks one Alertmanager again and again; `answer` is what it said last."""

    def __init__(self, url: str | None, clock: Callable[[], int]) -> None:
        self._url = url
        self._clock = clock
        state = "not_set" if url is None else "asking"
        self.answer = bodies.AlertsAnswer(state=state, checked_at=None, total=0, alerts=[])

    async def run(self) -> None:
        """Ask until cancelled; return at once where there is nobody to ask."""
        if self._url is None:
            return
        while True:
            await self.ask(self._url)
            await asyncio.sleep(PERIOD_S)

    async def ask(self, url: str) -> None:
        """Ask once. What cannot be had leaves the last alerts standing, and says so."""
        try:
            async with asyncio.timeout(2 * PATIENCE_S):
                raw = await _fetch_aside(url)
            heard = [one for one in _decode(raw) if one.labels.get("severity") != UNSEEN]
            alerts = sorted(map(_alert, heard), key=_rank)
        except (OSError, ValueError) as error:
            if self.answer.state != "unreachable":
                log.warning("alertmanager_unreachable", reason=type(error).__name__)
            self.answer = msgspec.structs.replace(self.answer, state="unreachable")
            return
        self.answer = bodies.AlertsAnswer(
            state="ok",
            checked_at=format_time(self._clock()),
            total=len(alerts),
            alerts=alerts[:MOST],
        )


async def _fetch_aside(url: str) -> bytes:
    """The same in a thread that nobody waits for at the end, as those of a pool are waited for."""
    fetched: Future[bytes] = Future()
    fetched.set_running_or_notify_cancel()  # whoever gives up leaves it alone

    def work() -> None:
        try:
            fetched.set_result(_fetch(url))
        except (OSError, ValueError, HTTPException) as error:
            fetched.set_exception(OSError(str(error)))

    threading.Thread(target=work, name="alertmanager", daemon=True).start()
    return await asyncio.wrap_future(fetched)


def _fetch(url: str) -> bytes:
    """The body of the answer, cut where it is too long (then it is no JSON).

    Raises OSError (URLError and TimeoutError too), ValueError or HTTPException.
    """
    parts = urlsplit(url)
    bare = parts._replace(
        netloc=parts.netloc.rpartition("@")[2], path=parts.path.rstrip("/"), query="", fragment=""
    )
    request = urllib.request.Request(urlunsplit(bare) + PATH)  # noqa: S310 - settings allow http(s)
    if parts.username is not None:
        user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        request.add_header("Authorization", f"Basic {b64encode(user.encode()).decode()}")
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:  # noqa: S310
        body: bytes = answer.read(MOST_BYTES)
    return body


def _alert(heard: _Heard) -> bodies.Alert:
    notes = heard.annotations
    return bodies.Alert(
        name=heard.labels.get("alertname", "?"),
        severity=heard.labels.get("severity", ""),
        summary=notes.get("summary", ""),
        description=notes.get("description", ""),
        since=heard.startsAt,
        labels={k: v for k, v in heard.labels.items() if k not in ("alertname", "severity")},
        runbook_url=_link(notes, "runbook_url"),
        dashboard_url=_link(notes, "dashboard_url"),
        launch_url=_link(notes, "launch_url"),
    )


def _link(notes: Mapping[str, str], name: str) -> str | None:
    """A link to the web or to a path of this server; somebody's `javascript:` is neither."""
    url = notes.get(name, "")
    here = url.startswith("/") and not url.startswith(("//", "/\\"))
    return url if here or url.startswith(("http://", "https://")) else None


def _rank(alert: bodies.Alert) -> tuple[int, str, str]:
    known = SEVERITIES.index(alert.severity) if alert.severity in SEVERITIES else len(SEVERITIES)
    return known, alert.since or "", alert.name
