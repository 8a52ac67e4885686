"""The system under attack: a broker and a store of its own, workers that are started again when
they end, and a server. What befalls them is `faults`' business.
"""

import asyncio
import json
import re
import shutil
import signal
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import redis

from tests.chaos.feeder import Feeder
from tests.chaos.plan import Traffic
from tests.chaos.witness import Witness
from tests.support.brokers import open_kafka
from tests.support.keeper import Keeper
from tests.support.namespaces import Namespace
from tests.support.ports import free_port
from tests.support.processes import ROOT, StreamProcess
from tests.support.services import LocalService, Service
from tests.support.stores import RedisServer

AIM_FOLDER = Path(__file__).parent / "aim"


class KeptRedis(RedisServer):
    """Starts with the snapshot that lies in its folder; none, none."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.dump = folder / "dump.rdb"

    def command(self, host: str, port: int) -> Sequence[str]:
        command = list(super().command(host, port))
        return [*command, "--dir", str(self.dump.parent), "--dbfilename", self.dump.name]


class Slot:
    """A worker's place in the group: one name, one process after another."""

    def __init__(self, arena: "Arena", name: str) -> None:
        self.name = name
        self.port = free_port()
        self.log = arena.folder / f"{name}.log"
        self.aim = arena.folder / f"{name}.aim"
        self.wanted = False
        self.process: StreamProcess | None = None
        self._arena = arena

    def start(self) -> None:
        env = {
            **self._arena.env,
            "STREAM_WORKER_ID": self.name,
            "STREAM_WORKER_PORT": str(self.port),
            "CHAOS_AIM": str(self.aim),
            "PYTHONPATH": f"{AIM_FOLDER}:{ROOT}",
        }
        self.wanted = True
        self.process = StreamProcess(("worker",), env, self.log, self._arena.keeper)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()

    def arm(self, point: str, number: int, skip: int = 0) -> None:
        """The next time but `skip` that it passes the point, it gets the signal."""
        self.aim.write_text(f"{point} {skip} {int(number)}")

    async def struck(self, timeout_s: float) -> bool:
        """Whether it passed the point in time."""
        deadline_s = time.monotonic() + timeout_s
        while self.aim.exists():
            if time.monotonic() > deadline_s:
                self.aim.unlink(missing_ok=True)
                return False
            await asyncio.sleep(0.005)
        return True

    def metric(self, name: str) -> float | None:
        """The first sample of a metric of this worker, None if it does not answer or has none."""
        try:
            url = f"http://127.0.0.1:{self.port}/metrics"
            with urllib.request.urlopen(url, timeout=2) as answer:
                text = answer.read().decode()
        except (urllib.error.URLError, OSError):
            return None
        found = re.search(rf"^{name}(?:\{{.*\}})? (\S+)$", text, re.MULTILINE)
        return float(found[1]) if found else None

    @property
    def text(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""


class Arena:
    """Everything that a run needs. `open`, then attack, then `close`."""

    def __init__(self, rules: dict[str, str], session_timeout_s: int) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="chaos-"))
        self.session_timeout_s = session_timeout_s
        self.keeper = Keeper()
        self.namespace = Namespace()
        self.kafka: Service = open_kafka("apache", self.keeper)
        self._store = KeptRedis(self.folder)
        self.redis = LocalService("redis", "Redis", self._store, self.keeper)
        self.http_port = free_port()
        self.env = self.namespace.env(
            self.kafka,
            self.redis,
            STREAM_HTTP_PORT=str(self.http_port),
            STREAM_KAFKA_SESSION_TIMEOUT=f"{session_timeout_s}s",
            **rules,
        )
        self.slots = {name: Slot(self, name) for name in ("w1", "w2", "w3")}
        self.server: StreamProcess | None = None
        self.exits: list[str] = []
        self.diary: list[str] = []
        self._began_s = time.monotonic()

    def note(self, text: str) -> None:
        line = f"{time.monotonic() - self._began_s:7.1f} {text}"
        self.diary.append(line)
        print(line, file=sys.stderr, flush=True)

    async def open(self, workers: int) -> None:
        await asyncio.gather(
            asyncio.to_thread(self.kafka.start), asyncio.to_thread(self.redis.start)
        )
        for slot in list(self.slots.values())[:workers]:
            slot.start()
        self.start_server()

    def attach(self, traffic: Traffic, limit: int) -> tuple[Feeder, Witness]:
        feeder = Feeder(self.kafka.bootstrap, self.namespace, traffic, limit)
        return feeder, Witness(self.http_port, feeder)

    def start_server(self) -> None:
        log = self.folder / "server.log"
        self.server = StreamProcess(("serve",), self.env, log, self.keeper)

    def mind(self) -> None:
        """Start again whoever ended and is wanted."""
        for slot in self.slots.values():
            if slot.wanted and slot.process is not None and not slot.process.running:
                self.note(f"{slot.name} ended ({slot.process.returncode}); started again")
                if slot.process.returncode != -signal.SIGKILL:
                    last = slot.text.strip().splitlines()[-1:]
                    self.exits.append(f"{slot.name} ended {slot.process.returncode}: {last}")
                slot.start()
        if self.server is not None and not self.server.running:
            self.exits.append(f"the server ended {self.server.returncode}")
            self.start_server()

    async def nap(self, seconds: float) -> None:
        """Let time pass, and mind the processes."""
        deadline_s = time.monotonic() + seconds
        while (left := deadline_s - time.monotonic()) > 0:
            self.mind()
            await asyncio.sleep(min(left, 0.05))

    # --- the store ---

    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.redis.url)

    def save_snapshot(self) -> None:
        """Keep what the store holds now, for a later rollback."""
        client = self.client()
        client.save()
        client.close()
        shutil.move(self._store.dump, self.folder / "kept.rdb")

    def roll_back(self) -> None:
        """Kill the store and start it with the snapshot kept, as a failover to an old copy."""
        self.redis.kill()
        shutil.copy(self.folder / "kept.rdb", self._store.dump)
        self.redis.start()
        self._store.dump.unlink()

    async def close(self) -> None:
        for slot in self.slots.values():
            slot.wanted = False
            if slot.process is not None:
                slot.process.clean_up()
        if self.server is not None:
            self.server.clean_up()
        await asyncio.to_thread(self.redis.close)
        await asyncio.to_thread(self.kafka.close)
        self.keeper.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def anew(self) -> int:
        """How often a worker has started itself anew (exec)."""
        return sum(slot.text.count("starting_anew") for slot in self.slots.values())

    def reasons(self) -> dict[str, int]:
        """Why workers started anew, and how often."""
        found: dict[str, int] = {}
        for slot in self.slots.values():
            for line in slot.text.splitlines():
                if "starting_anew" in line:
                    told = re.search(r'"why": "([^"]*)"', line)
                    why = re.sub(r"[0-9a-f]{6,}|\d+", "#", told[1] if told else line)[:160]
                    found[why] = found.get(why, 0) + 1
        return found

    def code(self, path: str, port: int | None = None) -> int:
        """The status that the server (or who listens on `port`) answers; 0 where nobody does."""
        try:
            url = f"http://127.0.0.1:{port or self.http_port}{path}"
            with urllib.request.urlopen(url, timeout=3) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def partitions(self) -> dict[str, dict[str, Any]]:
        """What the status says of each partition."""
        url = f"http://127.0.0.1:{self.http_port}/api/v1/status"
        with urllib.request.urlopen(url, timeout=3) as answer:
            found = json.loads(answer.read())["partitions"]
        return {f"{p['topic']}/{p['partition']}": p for p in found}
