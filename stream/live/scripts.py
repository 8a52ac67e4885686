"""Lua scripts that live beside their callers, run by digest and sent whole only when unknown."""

import hashlib
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from redis.exceptions import NoScriptError

from stream.live.link import Client, reach


class Script:
    """One script; Redis forgets it on a restart or failover, so the text is kept at hand."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()

    @classmethod
    def load(cls, name: str) -> "Script":
        """The script in a file of this package."""
        return cls(files(__package__).joinpath(name).read_text("utf-8"))

    async def run(self, client: Client, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        """The script's answer; raises what the client raises."""
        call = await reach(client)
        try:
            return await call.evalsha(self._digest, len(keys), *keys, *arguments)
        except NoScriptError:
            return await call.eval(self._text, len(keys), *keys, *arguments)
