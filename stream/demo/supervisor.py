"""Runs servers and child programs together: started in order, watched, started again, all ended.

Knows nothing of what they do. Nothing outlives it: children end with their parent (see local), and
what they write lies in one folder that goes when they go.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, ClassVar, Protocol

from stream.demo.local import spawn
from stream.errors import UserError
from stream.producer import Say

WATCH_S = 0.2
RESTARTS_MAX, RESTARTS_WITHIN_S = 3, 60.0
RESTART_PAUSE_S = 1.0
PARTS_STOP_S, SERVERS_STOP_S = 3.0, 1.2
"""Ends within five seconds, whatever happens."""
WRONG_SETTINGS = 2
"""The exit code of a program that will not do better when it is started again."""
LOG_BYTES_MAX = 16 * 1024 * 1024
TAIL_LINES, TAIL_BYTES = 8, 8_192
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Ready = Callable[[], Awaitable[bool]]


class Server(Protocol):
    """A server that is not a child program of ours to restart: its end ends everything."""

    what: ClassVar[str]

    @property
    def running(self) -> bool:
        """Whether it is there."""

    async def start(self, host: str, port: int) -> None:
        """Return once it answers."""

    async def stop(self) -> None:
        """End it."""

    def kill(self) -> None:
        """End it at once."""


@dataclass(frozen=True, slots=True)
class Place:
    """A server and where it listens."""

    server: Server
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Part:
    """A child program.

    `again` is the command of a restart, where it differs. `ready` says whether it can be used.
    `may_end` is for programs that may end well by themselves.
    """

    name: str
    command: tuple[str, ...]
    again: tuple[str, ...] | None = None
    ready: Ready | None = None
    may_end: bool = False


@dataclass(slots=True)
class _Child:
    part: Part
    log: Path
    process: subprocess.Popen[bytes] | None = None
    due_s: float = 0.0
    deaths_s: deque[float] = field(default_factory=deque)
    done: bool = False


class Supervisor:
    """Servers first, then stage after stage of parts, each ready before the next is started."""

    def __init__(
        self,
        places: Sequence[Place],
        stages: Sequence[Sequence[Part]],
        *,
        env: Mapping[str, str],
        say: Say,
        verbose: bool = False,
        ready_within_s: float = 60.0,
    ) -> None:
        self._places, self._stages = places, stages
        self._env, self._say, self._verbose = env, say, verbose
        self._ready_within_s = ready_within_s
        self._children: list[_Child] = []
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    async def run(self, stop: asyncio.Event, on_ready: Callable[[], None]) -> None:
        """Until `stop` is set. Raises UserError where a part or server is lost for good."""
        self._folder = tempfile.TemporaryDirectory(
            prefix="stream-demo-", ignore_cleanup_errors=True
        )
        living = asyncio.create_task(self._live(on_ready))
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({living, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (living, stopping):
                task.cancel()
            ended = await asyncio.gather(living, return_exceptions=True)
            try:
                await self._shut_down()
            finally:
                self.kill()
        if isinstance(ended[0], Exception):
            raise ended[0]

    def kill(self) -> None:
        """End everything at once, and remove what it left."""
        for child in self._children:
            _signal(child, signal.SIGKILL)
            if child.process is not None:
                child.process.wait()
        for place in self._places:
            place.server.kill()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    async def _live(self, on_ready: Callable[[], None]) -> None:
        for place in self._places:
            await place.server.start(place.host, place.port)
        for stage in self._stages:
            started = [self._add(part) for part in stage]
            await self._until_ready(started)
        on_ready()
        while True:
            self._look()
            await asyncio.sleep(WATCH_S)

    def _add(self, part: Part) -> _Child:
        assert self._folder is not None
        child = _Child(part, Path(self._folder.name, f"{part.name}.log"))
        self._children.append(child)
        self._spawn(child, part.command)
        return child

    async def _until_ready(self, children: Sequence[_Child]) -> None:
        deadline_s = time.monotonic() + self._ready_within_s
        for child in children:
            ready = child.part.ready
            while ready is not None and not await ready():
                self._look()
                if time.monotonic() > deadline_s:
                    limit = f"{self._ready_within_s:.0f} s"
                    raise UserError(
                        f"the {child.part.name} was not ready within {limit}{_tail(child)}"
                    )
                await asyncio.sleep(WATCH_S)

    def _look(self) -> None:
        """See to whoever died. Raises UserError where that cannot be mended."""
        for place in self._places:
            if not place.server.running:
                raise UserError(f"{place.server.what} ended; without it nothing can go on")
        for child in self._children:
            if child.done:
                continue
            if child.process is None:
                if time.monotonic() >= child.due_s:
                    self._spawn(child, child.part.again or child.part.command)
            elif (code := child.process.poll()) is not None:
                self._died(child, code)
            elif not self._verbose and child.log.stat().st_size > LOG_BYTES_MAX:
                os.truncate(child.log, 0)

    def _died(self, child: _Child, code: int) -> None:
        _signal(child, signal.SIGKILL)  # whatever it may have started itself
        child.process = None
        if child.part.may_end and code == 0:
            child.done = True
            return
        now_s = time.monotonic()
        child.deaths_s.append(now_s)
        while child.deaths_s[0] < now_s - RESTARTS_WITHIN_S:
            child.deaths_s.popleft()
        ended = f"the {child.part.name} ended ({_how(code)})"
        if code == WRONG_SETTINGS:
            raise UserError(f"{ended}{_tail(child)}")
        if len(child.deaths_s) > RESTARTS_MAX:
            limit = f"{RESTARTS_WITHIN_S:.0f} s"
            raise UserError(f"{ended}, {len(child.deaths_s)} times within {limit}{_tail(child)}")
        child.due_s = now_s + RESTART_PAUSE_S
        self._say(f"{ended}; it is started again")

    def _spawn(self, child: _Child, command: Sequence[str]) -> None:
        assert self._folder is not None
        with ExitStack() as stack:
            output: IO[bytes]
            if self._verbose:
                output = sys.stderr.buffer
            else:
                output = stack.enter_context(child.log.open("ab"))
            env = {**self._env, "TMPDIR": self._folder.name}
            child.process = spawn(command, self._folder.name, output, env)

    async def _shut_down(self) -> None:
        for child in self._children:
            _signal(child, signal.SIGTERM)
        deadline_s = time.monotonic() + PARTS_STOP_S
        while time.monotonic() < deadline_s:
            if not any(_runs(child) for child in self._children):
                break
            await asyncio.sleep(0.02)
        for child in self._children:
            _signal(child, signal.SIGKILL)
        stops = [place.server.stop() for place in self._places]
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.gather(*stops, return_exceptions=True), SERVERS_STOP_S)


@contextlib.contextmanager
def stop_or_kill(kill: Callable[[], None]) -> Iterator[asyncio.Event]:
    """An event that the first Ctrl-C, SIGTERM or SIGHUP sets; the second one ends all at once."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def heard() -> None:
        if not stop.is_set():
            stop.set()
            return
        kill()
        os._exit(130)

    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, heard)
    try:
        yield stop
    finally:
        for number in STOP_SIGNALS:
            loop.remove_signal_handler(number)


def _runs(child: _Child) -> bool:
    return child.process is not None and child.process.poll() is None


def _signal(child: _Child, number: signal.Signals) -> None:
    """To the child's whole process group."""
    if child.process is not None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.process.pid, number)


def _how(code: int) -> str:
    if code < 0:
        return signal.Signals(-code).name
    return f"exit code {code}"


def _tail(child: _Child) -> str:
    """The last lines of a child's log, below a colon; nothing where it said nothing."""
    try:
        with child.log.open("rb") as log:
            log.seek(max(0, child.log.stat().st_size - TAIL_BYTES))
            lines = log.read().decode(errors="replace").splitlines()[-TAIL_LINES:]
    except OSError:
        return ""
    return ":\n" + "\n".join(f"  {line}" for line in lines) if lines else ""
