"""What stands before every endpoint: who may ask, and headers that keep browsers strict.

Knows nothing of what is asked or answered.
"""

import asyncio
import time

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stream.access import Access
from stream.headers import headers_of
from stream.serve.problems import respond

OPEN_PATHS = frozenset({"/healthz"})
"""Whoever asks these tells nobody anything."""
WAITING_MAX = 16
"""Passwords that wait to be checked; each takes a third of a second of one core."""
TELL_EVERY_S = 60.0
NO_STORE = {"Cache-Control": "no-store"}
LATER = {**NO_STORE, "Retry-After": "5"}
log = structlog.get_logger(__name__)


class Guarded:
    """An app behind its guard. `access` None lets everybody in; `tls` says that HTTPS is spoken."""

    def __init__(self, app: ASGIApp, access: Access | None = None, *, tls: bool = False) -> None:
        self._app = app
        self._access = access
        self._headers = headers_of(tls=tls)
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._refusals = 0
        self._told_s = -TELL_EVERY_S

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or let the app answer; either way under our headers."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                message.setdefault("headers", [])
                MutableHeaders(scope=message).update(self._headers)
            await send(message)

        refusal = await self._refusal(scope)
        await (refusal or self._app)(scope, receive, marked)

    async def _refusal(self, scope: Scope) -> Response | None:
        """Why the request is not answered; None: it is."""
        if self._access is None or scope["path"] in OPEN_PATHS:
            return None
        given = Headers(scope=scope).getlist("authorization")
        if len(given) != 1:
            return self._challenge(self._access)
        verdict = self._access.recall(given[0])
        if verdict is None:
            if self._waiting >= WAITING_MAX:
                return respond(503, "too many passwords wait to be checked", headers=LATER)
            verdict = await self._decide(self._access, given[0])
        if verdict:
            return None
        self._tell(scope)
        return self._challenge(self._access)

    async def _decide(self, access: Access, header: str) -> bool:
        """Off the loop, and one at a time: others' work goes before that of checking passwords."""
        self._waiting += 1
        try:
            async with self._turn:
                return await asyncio.to_thread(access.decide, header)
        finally:
            self._waiting -= 1

    def _challenge(self, access: Access) -> Response:
        refusal = respond(
            401, "a token, or a name and a password, is needed here", headers=NO_STORE
        )
        for challenge in access.challenges:
            refusal.headers.append("WWW-Authenticate", challenge)
        return refusal

    def _tell(self, scope: Scope) -> None:
        """Of wrong tokens and passwords, a line a minute at most."""
        self._refusals += 1
        now_s = time.monotonic()
        if now_s - self._told_s >= TELL_EVERY_S:
            client = scope.get("client") or ("unknown",)
            log.warning("credentials_refused", times=self._refusals, latest_from=client[0])
            self._told_s, self._refusals = now_s, 0
