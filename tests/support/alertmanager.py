"""Alertmanager itself, where it is installed."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from stream.demo.demo import answers_ok
from stream.demo.local import LocalServer
from tests.support.choice import Choice
from tests.support.services import LocalService

PROGRAM = "prometheus-alertmanager"


class _Server(LocalServer):
    what = "Alertmanager"

    def __init__(self, config: Path, storage: Path) -> None:
        super().__init__()
        self._config, self._storage = config, storage

    def command(self, host: str, port: int) -> Sequence[str]:
        return [
            PROGRAM,
            f"--config.file={self._config}",
            f"--storage.path={self._storage}",
            f"--web.listen-address={host}:{port}",
            "--cluster.listen-address=",
        ]

    async def answers(self, host: str, port: int) -> bool:
        return await answers_ok(port, "/-/ready")


@contextmanager
def running_alertmanager(choice: Choice, config: Path, storage: Path) -> Iterator[str]:
    """Its URL; skips the test where it is not installed."""
    if shutil.which(PROGRAM) is None:
        pytest.skip(f"{PROGRAM} is not installed")
    service = LocalService("alertmanager", _Server.what, _Server(config, storage), choice.keeper)
    service.start()
    try:
        yield f"http://{service.address}"
    finally:
        service.close()
