"""The pages of the ops screen: files as they are, sent with strict headers.

No template: what depends on the address is read from it in the browser, and set as text.
"""

from collections.abc import Mapping
from hashlib import blake2b
from importlib import resources

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from stream.serve.problems import respond

HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "object-src 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-cache",
}
_TYPES = {
    ".js": "text/javascript",
    ".css": "text/css",
    ".html": "text/html",
    ".svg": "image/svg+xml",
}


class Pages:
    """All files, read once."""

    def __init__(self) -> None:
        folder = resources.files(__name__)
        self._files = {
            file.name: file.read_bytes()
            for file in folder.iterdir()
            if file.is_file() and any(map(file.name.endswith, _TYPES))
        }

    def routes(self) -> list[Route]:
        """Where the pages are."""
        return [
            Route("/", self.ops),
            Route("/launch/{campaign:path}", self.launch),
            Route("/static/{name}", self.static),
        ]

    async def ops(self, request: Request) -> Response:
        """The ops screen."""
        return self._send("ops.html", request)

    async def launch(self, request: Request) -> Response:
        """One campaign; which one, the page reads from its address."""
        return self._send("launch.html", request)

    async def static(self, request: Request) -> Response:
        """A script, a style sheet or an image."""
        name = request.path_params["name"]
        if name not in self._files or name.endswith(".html"):
            return respond(404, "there is no such file")
        return self._send(name, request)

    def _send(self, name: str, request: Request) -> Response:
        content = self._files[name]
        tag = f'"{blake2b(content, digest_size=8).hexdigest()}"'
        headers = {**HEADERS, "ETag": tag}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        kind = next(kind for end, kind in _TYPES.items() if name.endswith(end))
        return Response(content, headers=headers, media_type=kind)
