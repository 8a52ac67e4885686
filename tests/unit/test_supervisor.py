"""The demo's supervisor with trivial children: order, restarts, last words, and nothing left."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from stream.demo.demo import DemoOptions, banner, check_ports, environment, stages_of
from stream.demo.supervisor import Part, Place, Supervisor
from stream.errors import UserError
from tests.support.patience import eventually
from tests.support.ports import free_port

ROOT = Path(__file__).parents[2]
FOREVER = "import time; print('up', flush=True); time.sleep(60)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {FOREVER}"


class Fake:
    """A server that is only said to run."""

    what: ClassVar[str] = "the fake broker"

    def __init__(self) -> None:
        self.running = False
        self.told: list[str] = []

    async def start(self, host: str, port: int) -> None:
        self.told.append(f"start {host}:{port}")
        self.running = True

    async def stop(self) -> None:
        self.told.append("stop")
        self.running = False

    def kill(self) -> None:
        self.told.append("kill")
        self.running = False


def program(text: str) -> tuple[str, ...]:
    return (sys.executable, "-c", text)


def noting(path: Path, text: str) -> str:
    """A program that writes its process id into a file, a line a start."""
    note = f"import os; open({str(path)!r}, 'a').write(str(os.getpid()) + '\\n')"
    return f"{note}; {text}"


def pids(path: Path) -> list[int]:
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


class Run:
    """A supervisor at work."""

    def __init__(self, *stages: list[Part], server: Fake | None = None, limit_s: float = 5) -> None:
        self.said: list[str] = []
        self.server = server or Fake()
        self.stop = asyncio.Event()
        self.ready = asyncio.Event()
        self.supervisor = Supervisor(
            [Place(self.server, "127.0.0.1", 1)],
            stages,
            env=dict(os.environ),
            say=self.said.append,
            ready_within_s=limit_s,
        )
        self.task = asyncio.create_task(self.supervisor.run(self.stop, self.ready.set))

    async def until_ready(self) -> None:
        await asyncio.wait_for(self.ready.wait(), 5)

    async def end(self) -> float:
        """Stop it; the seconds it took."""
        began_s = time.monotonic()
        self.stop.set()
        await asyncio.wait_for(self.task, 6)
        return time.monotonic() - began_s


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream.demo.supervisor.RESTART_PAUSE_S", 0.05)
    monkeypatch.setattr("stream.demo.supervisor.WATCH_S", 0.02)


@pytest.fixture
def notes(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "pids"
    yield path
    for pid in pids(path):
        if alive(pid):
            os.kill(pid, signal.SIGKILL)


async def test_servers_come_first_then_stage_by_stage_when_ready(notes: Path) -> None:
    asked: list[int] = []

    async def ready() -> bool:
        asked.append(len(pids(notes)))
        return len(asked) > 5

    first = Part("worker", program(noting(notes, FOREVER)), ready=ready)
    second = Part("simulator", program(noting(notes, FOREVER)))
    run = Run([first], [second])
    await run.until_ready()
    assert run.server.told == ["start 127.0.0.1:1"]
    assert max(asked) <= 1, "the second was started before the first was ready"
    await eventually(lambda: len(pids(notes)) == 2)
    await run.end()
    assert run.said == []
    assert run.server.told == ["start 127.0.0.1:1", "stop", "kill"]


async def test_nothing_is_left(notes: Path) -> None:
    own = noting(notes, FOREVER)
    grandchild = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {own!r}])"
    parts = [
        Part("worker", program(noting(notes, f"{grandchild}; {FOREVER}"))),
        Part("server", program(noting(notes, f"open('left', 'w'); {FOREVER}"))),
    ]
    run = Run(parts)
    await run.until_ready()
    await eventually(lambda: len(pids(notes)) == 3)
    folder = Path(run.supervisor._folder.name)  # type: ignore[union-attr]
    await eventually((folder / "left").exists)
    assert await run.end() < 2
    assert not folder.exists()
    await eventually(lambda: not any(map(alive, pids(notes))), timeout_s=1)


async def test_what_does_not_listen_to_sigterm_is_ended_within_five_seconds(notes: Path) -> None:
    run = Run([Part("worker", program(noting(notes, STUBBORN)))])
    await run.until_ready()
    await eventually(lambda: pids(notes))
    await asyncio.sleep(0.2)
    assert 2 < await run.end() < 5
    assert not alive(pids(notes)[0])


async def test_a_part_that_dies_is_started_again_by_its_other_command(notes: Path) -> None:
    part = Part(
        "simulator",
        program(noting(notes, "raise SystemExit(1)")),
        again=program(noting(notes, FOREVER)),
    )
    run = Run([part])
    await run.until_ready()
    await eventually(lambda: len(pids(notes)) == 2)
    assert run.said == ["the simulator ended (exit code 1); it is started again"]
    os.kill(pids(notes)[1], signal.SIGKILL)
    await eventually(lambda: len(pids(notes)) == 3)
    assert run.said[1:] == ["the simulator ended (SIGKILL); it is started again"]
    await run.end()


async def test_a_part_that_dies_again_and_again_ends_it_all_with_its_last_words(
    notes: Path,
) -> None:
    dying = "print('line one'); raise SystemExit('no such table')"
    run = Run([Part("worker", program(noting(notes, dying)))])
    with pytest.raises(UserError) as caught:
        await asyncio.wait_for(run.task, 10)
    first, *tail = str(caught.value).splitlines()
    assert first == "the worker ended (exit code 1), 4 times within 60 s:"
    assert "  no such table" in tail
    assert len(pids(notes)) == 4
    assert run.server.told[-2:] == ["stop", "kill"]


async def test_wrong_settings_are_not_tried_again(notes: Path) -> None:
    wrong = "import sys; print('STREAM_GROUP: wrong', file=sys.stderr); sys.exit(2)"
    run = Run([Part("worker", program(noting(notes, wrong)))])
    with pytest.raises(UserError, match=r"worker ended \(exit code 2\):\n  STREAM_GROUP: wrong$"):
        await asyncio.wait_for(run.task, 5)
    assert len(pids(notes)) == 1


async def test_a_part_that_may_end_is_let_go() -> None:
    run = Run([Part("simulator", program("pass"), may_end=True)])
    await run.until_ready()
    await asyncio.sleep(0.3)
    assert not run.task.done()
    await run.end()
    assert run.said == []


async def test_a_lost_server_ends_it_all() -> None:
    run = Run([Part("worker", program(FOREVER))])
    await run.until_ready()
    run.server.running = False
    with pytest.raises(UserError, match=r"^the fake broker ended; without it nothing can go on$"):
        await asyncio.wait_for(run.task, 5)


async def test_what_never_gets_ready_is_named() -> None:
    async def never() -> bool:
        return False

    run = Run(
        [Part("server", program("print('hm', flush=True); " + FOREVER), ready=never)], limit_s=0.5
    )
    with pytest.raises(UserError, match=r"the server was not ready within 0 s:\n  hm"):
        await asyncio.wait_for(run.task, 5)


async def test_stop_while_starting() -> None:
    async def never() -> bool:
        return False

    run = Run([Part("server", program(FOREVER), ready=never)], limit_s=60)
    await asyncio.sleep(0.2)
    assert await run.end() < 2


# --- as a process of its own: signals ------------------------------------------------------------

MAIN = """
import asyncio, os, sys
from stream.demo.supervisor import Part, Supervisor, stop_or_kill

async def main():
    command = (sys.executable, "-c", sys.argv[1])
    supervisor = Supervisor([], [[Part("worker", command)]], env=os.environ, say=print)
    with stop_or_kill(supervisor.kill) as stop:
        await supervisor.run(stop, lambda: print("ready", flush=True))

asyncio.run(main())
"""


def started(text: str, folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(MAIN), text],
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        text=True,
        process_group=0,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_ends_it_in_order(number: signal.Signals, notes: Path) -> None:
    process = started(noting(notes, FOREVER), notes.parent)
    with process:
        await eventually(lambda: pids(notes))
        process.send_signal(number)
        assert process.wait(5) == 0
    assert not alive(pids(notes)[0])


async def test_a_second_signal_ends_it_at_once(notes: Path) -> None:
    process = started(noting(notes, STUBBORN), notes.parent)
    with process:
        await eventually(lambda: pids(notes))
        await asyncio.sleep(0.3)
        process.send_signal(signal.SIGINT)
        await asyncio.sleep(0.3)
        began_s = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(5) == 130
    assert time.monotonic() - began_s < 1
    assert not alive(pids(notes)[0])


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ties a child to its parent")
async def test_kill_9_leaves_no_child(notes: Path) -> None:
    process = started(noting(notes, FOREVER), notes.parent)
    with process:
        await eventually(lambda: pids(notes))
        process.kill()
        process.wait(5)
    await eventually(lambda: not alive(pids(notes)[0]))


# --- what the demo is made of --------------------------------------------------------------------


def test_every_port_in_use_is_named_with_its_option() -> None:
    import socket

    with socket.socket() as one, socket.socket() as other:
        for taken in (one, other):
            taken.bind(("127.0.0.1", 0))
            taken.listen()
        kafka_port, http_port = one.getsockname()[1], other.getsockname()[1]
        options = DemoOptions(
            kafka_port=kafka_port,
            redis_port=free_port(),
            worker_port=free_port(),
            http_port=http_port,
        )
        with pytest.raises(UserError) as caught:
            check_ports(options)
    first, second = str(caught.value).splitlines()
    assert f":{kafka_port} is already in use" in first
    assert first.endswith("move it with --kafka-port")
    assert f":{http_port} is already in use" in second
    assert second.endswith("move it with --http-port")


def test_one_port_for_two_is_refused() -> None:
    port = free_port()
    options = DemoOptions(
        kafka="elsewhere:9092", redis_url="redis://elsewhere", worker_port=port, http_port=port
    )
    with pytest.raises(UserError, match="wanted by the worker and the server"):
        check_ports(options)


def test_children_are_told_where_everything_is() -> None:
    options = DemoOptions(kafka_port=1111, redis_port=2222, worker_port=3333, http_port=4444)
    told = environment(options, {"STREAM_GROUP": "g", "PYTHONPATH": "/p"})
    assert told["STREAM_KAFKA"] == "127.0.0.1:1111"
    assert told["STREAM_REDIS_URL"] == "redis://127.0.0.1:2222/0"
    assert (told["STREAM_WORKER_PORT"], told["STREAM_HTTP_PORT"]) == ("3333", "4444")
    assert told["STREAM_GROUP"] == "g"
    assert told["PYTHONPATH"].split(os.pathsep) == [str(ROOT), "/p"]
    given = environment(DemoOptions(kafka="k:1", redis_url="redis://r"), {})
    assert (given["STREAM_KAFKA"], given["STREAM_REDIS_URL"]) == ("k:1", "redis://r")


def test_the_simulator_comes_last_and_backfills_only_once() -> None:
    stages = stages_of(DemoOptions(seed=5, rate=12.5))
    assert [[part.name for part in stage] for stage in stages] == [
        ["worker", "server"],
        ["simulator"],
    ]
    simulator = stages[1][0]
    assert simulator.command[3:] == (
        *("simulate", "--scenario", "launches", "--rate", "12.5", "--seed", "5"),
        *("--backfill", "2850m"),
    )
    assert simulator.again == simulator.command[:-2]
    assert [len(stage) for stage in stages_of(DemoOptions(events=False))] == [2]


def test_the_banner_says_where_to_look() -> None:
    told = banner(DemoOptions())
    for place in ("http://127.0.0.1:8000/", "6066/metrics", "127.0.0.1:9092", "6379", "Ctrl-C"):
        assert place in told
    assert "stream replay" in banner(DemoOptions(events=False))
    assert "http://127.0.0.1:8000/launch/autumn" in told
    assert "47.5 h of it are sent first" in told
    for without in (DemoOptions(events=False), DemoOptions(scenario="mixed", backfill_ms=0)):
        assert "/launch/" not in banner(without)
        assert "sent first" not in banner(without)
