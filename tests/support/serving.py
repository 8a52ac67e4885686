"""A server's endpoints over a view made by hand, asked without a socket."""

from typing import Any

import httpx

from stream.live.launch_book import LaunchBook
from stream.live.view import View
from stream.serve.server import Parts
from stream.settings import Settings, load_settings
from tests.support.views import NOW_MS


def settings_of(**given: Any) -> Settings:
    """Settings that differ from the defaults in what is given."""
    return load_settings(given)


class Served:
    """Endpoints and a client; `now_ms` is their wall clock."""

    def __init__(
        self, view: View, settings: Settings | None = None, book: LaunchBook | None = None
    ) -> None:
        self.now_ms = NOW_MS
        self.store_up = True
        self.view = view
        self.parts = Parts(
            view, settings or settings_of(), self._store_answers, lambda: self.now_ms, book
        )
        self.client = httpx.AsyncClient(
            transport=httpx.ASGITransport(self.parts.app()), base_url="http://served"
        )

    async def get(self, path: str, **parameters: str | list[str]) -> httpx.Response:
        return await self.client.get(path, params=parameters)

    async def _store_answers(self) -> bool:
        return self.store_up
