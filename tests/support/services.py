"""Servers that tests talk to, whatever they are made of: one face for all kinds.

A service keeps its address over `stop`, `kill` and `start`. All methods block; an async test may
call them, or hand them to `asyncio.to_thread` where its own loop must go on.
"""

from typing import Any, Protocol

from stream.demo.local import LocalServer
from tests.support.freezing import freeze, thaw
from tests.support.keeper import Keeper
from tests.support.ports import free_port


class MissingError(Exception):
    """This kind of service cannot be had on this machine; the text says why."""


class Service(Protocol):
    kind: str
    about: str  # what it is, with its version, for the summary
    address: str  # host:port

    @property
    def running(self) -> bool: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...
    def kill(self) -> None: ...
    def restart(self) -> None: ...
    def freeze(self) -> None: ...
    def thaw(self) -> None: ...
    def close(self) -> None: ...

    @property
    def bootstrap(self) -> str: ...
    @property
    def url(self) -> str: ...


class ServiceBase:
    """The address in its two spellings, and what is made of other methods."""

    address: str

    @property
    def bootstrap(self) -> str:
        """For Kafka clients."""
        return self.address

    @property
    def url(self) -> str:
        """For Redis clients."""
        return f"redis://{self.address}/0"


class LocalService(ServiceBase):
    """A process of this machine."""

    def __init__(self, kind: str, about: str, server: LocalServer, keeper: Keeper) -> None:
        self.kind = kind
        self.about = about
        self.server = server
        self._keeper = keeper
        self._port = free_port()
        self.address = f"127.0.0.1:{self._port}"

    @property
    def running(self) -> bool:
        return self.server.running

    def start(self) -> None:
        """Start it, unless it runs; returns once it answers."""
        if not self.running:
            self._keeper.run(self.server.start("127.0.0.1", self._port))

    def stop(self) -> None:
        """End it in an orderly way."""
        self._keeper.run(self.server.stop())

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self._keeper.call(self.server.kill)

    def restart(self) -> None:
        """End it in an orderly way and start it again."""
        self.stop()
        self.start()

    def freeze(self) -> None:
        """Stop its clock, as it were (SIGSTOP)."""
        freeze(self._pid())

    def thaw(self) -> None:
        """Let it go on (SIGCONT)."""
        thaw(self._pid())

    def close(self) -> None:
        """End it for good and remove its data."""
        self.kill()
        forget = getattr(self.server, "forget", None)
        if forget is not None:
            forget()

    def _pid(self) -> int:
        pid = self.server.pid
        if pid is None:
            raise RuntimeError(f"{self.about} does not run")
        return pid


class DockerService(ServiceBase):
    """A container, published on one port of loopback."""

    kind = "docker"

    def __init__(self, image: str, inner_port: int, port: int, env: dict[str, str]) -> None:
        from testcontainers.core.container import DockerContainer

        self.about = image
        self.address = f"127.0.0.1:{port}"
        self._container: Any = DockerContainer(image).with_bind_ports(inner_port, port)
        for name, value in env.items():
            self._container.with_env(name, value)
        self._started = False

    @property
    def running(self) -> bool:
        if not self._started:
            return False
        inner = self._container.get_wrapped_container()
        inner.reload()
        return bool(inner.status == "running")

    def start(self) -> None:
        """Start it, unless it runs."""
        if not self._started:
            self._container.start()
            self._started = True
        elif not self.running:
            self._container.get_wrapped_container().start()

    def stop(self) -> None:
        self._container.get_wrapped_container().stop(timeout=10)

    def kill(self) -> None:
        self._container.get_wrapped_container().kill()

    def restart(self) -> None:
        self.stop()
        self.start()

    def freeze(self) -> None:
        self._container.get_wrapped_container().pause()

    def thaw(self) -> None:
        self._container.get_wrapped_container().unpause()

    def close(self) -> None:
        if self._started:
            self._container.stop()


def require_docker() -> None:
    """Raise MissingError where no Docker engine answers."""
    import docker
    from docker.errors import DockerException

    try:
        client = docker.from_env(timeout=3)
        try:
            client.ping()
        finally:
            client.close()
    except (DockerException, OSError) as error:
        raise MissingError("docker: no engine answers") from error
