"""Stopping a process with SIGSTOP so that it has stopped when the call returns."""

import os
import signal
import time
from pathlib import Path

_STOPPED, _PATIENCE_S = frozenset("TtZX"), 20.0


def freeze(pid: int) -> None:
    """Stop a process. Blocks until each of its threads stands still.

    The signal alone only asks for it: on a busy machine threads run on for a moment, long enough
    to answer one more request.
    """
    os.kill(pid, signal.SIGSTOP)
    deadline_s = time.monotonic() + _PATIENCE_S
    while not all(state in _STOPPED for state in _states(pid)):
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"process {pid} does not stop")
        time.sleep(0.001)


def thaw(pid: int) -> None:
    """Let it go on."""
    os.kill(pid, signal.SIGCONT)


def _states(pid: int) -> list[str]:
    """A letter for each thread, as proc(5) has them; none where there is no such system."""
    states = []
    for stat in Path(f"/proc/{pid}/task").glob("*/stat"):
        try:
            states.append(stat.read_text().rpartition(") ")[2][0])
        except OSError:
            continue  # the thread has ended
    return states
