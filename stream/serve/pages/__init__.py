"""The pages of the ops screen: files as they are.

No template: what depends on the address is read from it in the browser, and set as text.
"""

from collections.abc import Iterator, Mapping
from hashlib import blake2b
from importlib import resources
from importlib.resources.abc import Traversable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

import stream
from stream.serve.problems import respond

HEADERS: Mapping[str, str] = {"Cache-Control": "no-cache"}
_TYPES = {
    ".js": "text/javascript",
    ".css": "text/css",
    ".html": "text/html",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
}


class Pages:
    """All files, read once. `build` names what is served: another one, and open pages load anew."""

    def __init__(self) -> None:
        self._files = dict(_read(resources.files(__name__)))
        content = b"".join(self._files[name] for name in sorted(self._files))
        digest = blake2b(content, digest_size=4).hexdigest()
        self.build = f"{stream.__version__}-{digest}"

    def routes(self) -> list[Route]:
        """Where the pages are."""
        return [
            Route("/", self.ops),
            Route("/launch/{campaign:path}", self.launch),
            Route("/static/{name:path}", self.static),
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


def _read(folder: Traversable, path: str = "") -> Iterator[tuple[str, bytes]]:
    """The files that browsers may have, by their path; `vendor/` has what others wrote."""
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _read(entry, f"{path}{entry.name}/")
        elif any(map(entry.name.endswith, _TYPES)):
            yield path + entry.name, entry.read_bytes()
