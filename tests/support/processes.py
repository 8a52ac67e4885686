"""Running `stream …` as a process of its own, and making sure that nothing of it is left."""

import atexit
import os
import signal
import sys
import tempfile
import time
import uuid
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from stream.demo.local import spawn
from tests.support.freezing import freeze, thaw
from tests.support.keeper import Keeper
from tests.support.patience import eventually

ROOT = Path(__file__).parents[2]
_MARK = "ENGAGEMENT_TEST_PROCESS"


class StreamProcess:
    """`python -m stream ARGS`, its output in a file. Leads a process group of its own."""

    def __init__(
        self, args: tuple[str, ...], env: Mapping[str, str], log: Path, keeper: Keeper
    ) -> None:
        self.args = args
        self.log = log
        self._mark = uuid.uuid4().hex
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("STREAM_")}
        path = os.pathsep.join(filter(None, [str(ROOT), inherited.get("PYTHONPATH")]))
        environment = {**inherited, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", _MARK: self._mark}
        environment["XDG_STATE_HOME"] = state_home()
        if environment.pop("PYTHONDONTWRITEBYTECODE", None):  # half of a start would be compiling
            environment["PYTHONPYCACHEPREFIX"] = bytecode_home()
        environment.update(env)
        with log.open("ab") as output:
            command = [sys.executable, "-m", "stream", *args]
            self._process = keeper.call(
                lambda: spawn(command, str(log.parent), output, environment)
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    @property
    def returncode(self) -> int | None:
        """Exit code, minus the signal's number where one ended it; None while it runs."""
        return self._process.poll()

    @property
    def text(self) -> str:
        """All it has written so far, stdout and stderr."""
        return self.log.read_text(errors="replace")

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def interrupt(self) -> None:
        """Ctrl-C, as a terminal sends it: to the whole process group."""
        os.killpg(self.pid, signal.SIGINT)

    def terminate(self) -> None:
        self._process.terminate()

    def kill(self) -> None:
        """`kill -9`, and wait for the end."""
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        freeze(self.pid)

    def thaw(self) -> None:
        thaw(self.pid)

    def wait(self, timeout_s: float = 20.0) -> int:
        """Wait for the end; the exit code. Blocks."""
        return self._process.wait(timeout_s)

    async def ended(self, timeout_s: float = 20.0) -> int:
        """Wait for the end without blocking the loop; the exit code."""
        await eventually(lambda: not self.running, timeout_s, what=f"the end of {self}")
        return self.wait()

    async def says(self, text: str, timeout_s: float = 20.0) -> None:
        """Wait until its output contains `text`."""

        def seen() -> bool:
            found = text in self.text
            assert found or self.running, f"{self} ended ({self.returncode}): {self.text[-2000:]}"
            return found

        await eventually(seen, timeout_s, what=f"'{text}' in the output of {self}")

    def survivors(self) -> dict[int, str]:
        """Processes that it started, itself included, and that are still there: pid → name."""
        return marked_processes(self._mark)

    def clean_up(self) -> None:
        """End it and whatever it started."""
        if self.running:
            self.kill()
        deadline_s = time.monotonic() + 5
        while (left := self.survivors()) and time.monotonic() < deadline_s:
            for pid in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            time.sleep(0.02)

    def __str__(self) -> str:
        return " ".join(("stream", *self.args))


@cache
def state_home() -> str:
    """Where the processes of this run keep the key of ids: one for all, gone with the run."""
    folder = tempfile.TemporaryDirectory(prefix="test-state-")
    atexit.register(folder.cleanup)
    return folder.name


@cache
def bytecode_home() -> str:
    """Where they keep the bytecode of what they import if it may not lie beside the sources."""
    folder = tempfile.TemporaryDirectory(prefix="test-bytecode-")
    atexit.register(folder.cleanup)
    return folder.name


def marked_processes(mark: str) -> dict[int, str]:
    """Living processes whose environment has this mark (Linux), zombies left out."""
    wanted = f"{_MARK}={mark}".encode()
    found: dict[int, str] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if wanted not in (folder / "environ").read_bytes().split(b"\0"):
                continue
            state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
            if state not in "ZX":
                found[int(folder.name)] = (folder / "comm").read_text().strip()
        except OSError:  # it has just ended
            continue
    return found
