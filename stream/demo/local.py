"""Owns the life of one server process on this machine: start, wait until it answers, end it.

The process never outlives this one and leaves no file behind. Knows nothing of what it serves:
a subclass says how to start the server and how to ask whether it answers.
"""

import asyncio
import errno
import os
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import IO, ClassVar

from stream.errors import UserError
from stream.processes import die_with_parent

_POLL_S = 0.02
_LOG_TAIL_BYTES = 4_000


class PortInUseError(UserError):
    """Somebody else already listens where a server was to listen."""

    def __init__(self, what: str, host: str, port: int) -> None:
        super().__init__(f"{host}:{port} is already in use; {what} cannot listen there")
        self.host = host
        self.port = port


class LocalServer(ABC):
    """A server process on one address.

    It runs in a process group of its own, so that Ctrl-C reaches this process alone and the order
    of the end is ours. Start it from a thread that lives as long as the server is to live: Linux
    ties a child to the thread that started it.
    """

    what: ClassVar[str]
    start_timeout_s: ClassVar[float] = 20.0
    stop_timeout_s: ClassVar[float] = 5.0

    def __init__(self) -> None:
        self._host = ""
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    @abstractmethod
    def command(self, host: str, port: int) -> Sequence[str]:
        """The program and its arguments. Raises UserError where it is not installed."""

    @abstractmethod
    async def answers(self, host: str, port: int) -> bool:
        """Ask the server for a sign of life. OSError and EOFError mean no."""

    @property
    def address(self) -> str:
        """`host:port`, for clients; known from the first start on."""
        return f"{self._host}:{self._port}"

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """Process id, or None while there is no process."""
        return self._process.pid if self._process is not None and self.running else None

    async def start(self, host: str, port: int) -> None:
        """Listen on `host:port`; returns once the server answers there.

        Raises PortInUseError, or UserError with the last words of the server.
        """
        if self.running:
            raise RuntimeError(f"{self.what} runs already, on {self.address}")
        command = self.command(host, port)
        check_port_free(self.what, host, port)
        self.kill()
        self._host, self._port = host, port
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the process lives
        self._folder = tempfile.TemporaryDirectory(prefix="stream-")
        self._process = spawn(command, self._folder.name, self._log)
        try:
            await self._wait_until_it_answers()
        except BaseException:
            self.kill()
            raise

    async def stop(self) -> None:
        """Ask the process to end, insist after a while, and remove what it left."""
        if self._process is not None and self.running:
            self._process.terminate()
            await self._ended()
        self.kill()

    def kill(self) -> None:
        """End the process at once, and remove what it left."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        if self._log is not None:
            self._log.close()
            self._log = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    async def _ended(self) -> None:
        deadline_s = time.monotonic() + self.stop_timeout_s
        while time.monotonic() < deadline_s:
            if not self.running:
                return
            await asyncio.sleep(_POLL_S)

    async def _wait_until_it_answers(self) -> None:
        deadline_s = time.monotonic() + self.start_timeout_s
        while time.monotonic() < deadline_s:
            if not self.running:
                check_port_free(self.what, self._host, self._port)  # was a race for it lost?
                raise UserError(f"{self.what} ended while it started: {self._last_words()}")
            if await self._answers_in_time():
                return
            await asyncio.sleep(_POLL_S)
        raise UserError(
            f"{self.what} on {self.address} did not answer within {self.start_timeout_s:.0f} s: "
            f"{self._last_words()}"
        )

    async def _answers_in_time(self) -> bool:
        try:
            return await asyncio.wait_for(self.answers(self._host, self._port), timeout=2.0)
        except (OSError, EOFError, TimeoutError):
            return False

    def _last_words(self) -> str:
        if self._log is None:
            return ""
        size = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, size - _LOG_TAIL_BYTES))
        lines = self._log.read().decode(errors="replace").splitlines()
        return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")


def check_port_free(what: str, host: str, port: int) -> None:
    """Raise PortInUseError where somebody listens on `host:port`, UserError where nobody may."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise PortInUseError(what, host, port) from error
            raise UserError(f"{what} cannot listen on {host}:{port}: {error.strerror}") from error


def find_program(package: str, *path: str) -> str:
    """A program that an installed package carries; `path` is its place inside the package.

    Raises UserError where the package, or its program for this machine, is missing.
    """
    try:
        program = Path(str(files(package).joinpath(*path)))
    except ModuleNotFoundError:
        program = None
    if program is None or not os.access(program, os.X_OK):
        raise UserError(
            f"{package} has no program for this machine: pip install 'engagement-stream[demo]', "
            "or name servers of your own in STREAM_KAFKA and STREAM_REDIS_URL"
        )
    return str(program)


def spawn(
    command: Sequence[str], folder: str, output: IO[bytes], env: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a process that ends with this one, in a process group of its own.

    `folder` is its working directory, `output` takes both its streams.
    """
    return subprocess.Popen(  # noqa: S603 - the caller chose the program, no shell is between
        command,
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        process_group=0,
        preexec_fn=die_with_parent(),  # noqa: PLW1509 - it calls nothing that takes a lock
    )
