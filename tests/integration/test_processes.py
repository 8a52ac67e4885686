"""`stream worker --processes N`: one command, N workers, and nothing counted twice or lost."""

import asyncio
import json
import os
import signal
import socket
from pathlib import Path

import pytest

from stream.clock import wall_clock_ms
from tests.support.patience import eventually
from tests.support.ports import free_port
from tests.support.processes import StreamProcess
from tests.support.system import System, check_against_truth

RECORDS = 3_000


@pytest.fixture
def system(kafka, redis_server, stream_process, namespace):
    return System(stream_process, namespace, kafka, redis_server, STREAM_KAFKA_SESSION_TIMEOUT="6s")


@pytest.fixture
def port() -> int:
    """The first of two that nobody listens on."""
    while True:
        port = free_port()
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port + 1)):
                return port


def pair(system: System, port: int) -> StreamProcess:
    return system.run("worker", "--processes", "2", "--worker-port", str(port))


def children(process: StreamProcess) -> list[int]:
    found = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(pid) for pid in found.read_text().split()]


def owners(system: System) -> set[str]:
    return {partition["worker"] for partition in system.get("/api/v1/status")["partitions"]}


async def send(system: System, truth: Path) -> None:
    start_ms = wall_clock_ms() - 3_600_000
    sender = system.run(
        "simulate", "--scenario", "mixed", "--seed", "7", "--count", str(RECORDS), "--speed", "0",
        "--start", str(start_ms), "--truth", str(truth),
    )  # fmt: skip
    assert await sender.ended(60) == 0, sender.text


async def test_two_processes_share_the_work_and_one_that_is_killed_comes_back(
    system, port, tmp_path
):
    truth = tmp_path / "truth.json"
    system.server()
    worker = pair(system, port)
    await system.ready()
    await eventually(lambda: len(owners(system)) == 2, 60, what="both own partitions")
    sending = asyncio.create_task(send(system, truth))
    await system.counted(RECORDS // 10)
    first, second = children(worker)
    os.kill(first, signal.SIGKILL)
    await sending
    await eventually(lambda: len(children(worker)) == 2 and first not in children(worker), 30)
    assert second in children(worker)
    wanted = json.loads(truth.read_text())
    await system.counted(wanted["records"])
    check_against_truth(system, wanted)
    worker.interrupt()
    assert await worker.ended(30) == 0, worker.text
    assert "process_killed" in worker.text


async def test_none_outlives_the_one_that_started_them(system, port):
    worker = pair(system, port)
    await eventually(lambda: len(children(worker)) == 2, 20)
    started = children(worker)
    worker.kill()
    await eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in started), 20)


async def test_a_mistake_that_one_finds_ends_all_with_its_line(system, port):
    with socket.create_server(("127.0.0.1", port + 1)):
        worker = pair(system, port)
        assert await worker.ended(40) == 1
    lines = [line for line in worker.text.splitlines() if line.startswith("stream: ")]
    (line,) = lines
    assert line.startswith(
        f"stream: cannot listen on 127.0.0.1:{port + 1} for the worker's metrics"
    )


async def test_ports_must_suffice(system):
    worker = pair(system, 65_535)
    assert await worker.ended(20) == 1
    assert "would need port 65536; choose a lower --worker-port" in worker.text
