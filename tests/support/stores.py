"""Redis-compatible stores for tests: Debian's redis-server, Valkey embedded, or a container."""

import re
import shutil
import subprocess
import time
from collections.abc import Callable

import redis

from stream.demo.store import EmbeddedStore
from stream.errors import UserError
from tests.support.keeper import Keeper
from tests.support.ports import free_port
from tests.support.services import (
    DockerService,
    LocalService,
    MissingError,
    Service,
    require_docker,
)

REDIS_KINDS = ("docker", "redis", "embedded")
REDIS_IMAGE = "redis:7.4.2-alpine"


def open_redis(kind: str, keeper: Keeper) -> Service:
    """A store of this kind, not yet started. Raises MissingError."""
    openers: dict[str, Callable[[Keeper], Service]] = {
        "docker": lambda _: _docker_redis(),
        "redis": _redis,
        "embedded": _embedded_redis,
    }
    return openers[kind](keeper)


def _embedded_redis(keeper: Keeper) -> Service:
    server = EmbeddedStore()
    try:
        server.command("127.0.0.1", 0)
    except UserError as error:
        raise MissingError(str(error)) from error
    return LocalService("embedded", "embedded (Valkey)", server, keeper)


def _redis(keeper: Keeper) -> Service:
    if shutil.which("redis-server") is None:
        raise MissingError("redis-server is not installed")
    done = subprocess.run(["redis-server", "--version"], capture_output=True, text=True, check=True)
    found = re.search(r"v=(\S+)", done.stdout)
    return LocalService("redis", f"Redis {found[1] if found else '?'}", RedisServer(), keeper)


def _docker_redis() -> Service:
    require_docker()
    return _DockerRedis(REDIS_IMAGE, 6379, free_port(), {})


class _DockerRedis(DockerService):
    def start(self) -> None:
        super().start()
        client = redis.Redis.from_url(self.url)
        for _ in range(100):
            try:
                client.ping()
                break
            except redis.ConnectionError:
                time.sleep(0.1)
        client.close()


class RedisServer(EmbeddedStore):
    """Redis as this machine has it, instead of what the demonstration ships."""

    what = "redis-server"

    def program(self) -> str:
        return "redis-server"
