"""Child processes that live and end together, and none of which outlives this one.

Knows nothing of what they do.
"""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Callable, Sequence

import structlog

RESTART_S = 1.0
PATIENCE_S = 15.0
"""How long a child may take to end after SIGTERM."""
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None

log = structlog.get_logger(__name__)


class Processes:
    """A process for each command. One that a signal has killed is started again."""

    def __init__(self, commands: Sequence[Sequence[str]]) -> None:
        self._commands = commands
        self._running: dict[int, asyncio.subprocess.Process] = {}

    async def run(self, stop: asyncio.Event) -> int:
        """Until `stop` is set (0), or one ends by itself (its exit code); then all have ended."""
        keepers = [asyncio.create_task(self._keep(n)) for n in range(len(self._commands))]
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({*keepers, stopping}, return_when=asyncio.FIRST_COMPLETED)
            return max((task.result() for task in keepers if task.done()), default=0)
        finally:
            for task in (*keepers, stopping):
                task.cancel()
            await asyncio.gather(*keepers, stopping, return_exceptions=True)
            await self._end()

    async def _keep(self, number: int) -> int:
        """Start a command's process, and again as often as a signal kills it."""
        while True:
            process = await asyncio.create_subprocess_exec(
                *self._commands[number],
                stdin=asyncio.subprocess.DEVNULL,
                process_group=0,  # Ctrl-C is for this process, which passes it on as SIGTERM
                preexec_fn=die_with_parent(),
            )
            self._running[number] = process
            code = await process.wait()
            if code >= 0:
                return code
            log.error("process_killed", process=number, signal=signal.Signals(-code).name)
            await asyncio.sleep(RESTART_S)

    async def _end(self) -> None:
        left = [process for process in self._running.values() if process.returncode is None]
        for process in left:
            _signal(process, signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                for process in left:
                    await process.wait()
        for process in left:
            if process.returncode is None:
                _signal(process, signal.SIGKILL)
                await process.wait()


def die_with_parent() -> Callable[[], None] | None:
    """What a child does before it begins, so that `kill -9` of this process ends it too.

    Linux only; elsewhere None: there a child outlives a parent that was killed.
    """
    if _libc is None:
        return None
    prctl, parent = _libc.prctl, os.getpid()

    def tie() -> None:
        prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
        if os.getppid() != parent:  # it died in between
            os._exit(1)

    return tie


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(number)
