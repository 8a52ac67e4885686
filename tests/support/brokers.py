"""Kafka-compatible brokers for tests: Apache Kafka from Maven, Tansu embedded, or a container."""

import asyncio
import base64
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError

from stream.demo.broker import EmbeddedBroker
from stream.demo.local import LocalServer
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

KAFKA_VERSION = "4.1.0"
KAFKA_KINDS = ("docker", "apache", "embedded")
_POM = Path(__file__).parent / "kafka" / "pom.xml"

_LISTENERS = """\
listeners=PLAINTEXT://{host}:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://{host}:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
"""
_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
log.dirs={logs}
auto.create.topics.enable=false
num.partitions=1
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
broker.session.timeout.ms=4000
message.max.bytes=16777216
"""


def open_kafka(kind: str, keeper: Keeper) -> Service:
    """A broker of this kind, not yet started. Raises MissingError."""
    openers: dict[str, Callable[[Keeper], Service]] = {
        "docker": lambda _: _docker_kafka(),
        "apache": _apache_kafka,
        "embedded": _embedded_kafka,
    }
    return openers[kind](keeper)


def _embedded_kafka(keeper: Keeper) -> Service:
    server = EmbeddedBroker()
    try:
        server.command("127.0.0.1", 0)
    except UserError as error:
        raise MissingError(str(error)) from error
    return LocalService("embedded", "embedded (Tansu)", server, keeper)


def _apache_kafka(keeper: Keeper) -> Service:
    server = ApacheKafka(fetch_kafka())
    return LocalService("apache", f"Apache Kafka {KAFKA_VERSION}", server, keeper)


def _docker_kafka() -> Service:
    require_docker()
    port = free_port()
    return _DockerKafka(
        f"apache/kafka:{KAFKA_VERSION}",
        9092,
        port,
        {
            "KAFKA_NODE_ID": "1",
            "KAFKA_PROCESS_ROLES": "broker,controller",
            "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
            "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
            "KAFKA_LISTENERS": "PLAINTEXT://:9092,CONTROLLER://localhost:9093",
            "KAFKA_ADVERTISED_LISTENERS": f"PLAINTEXT://127.0.0.1:{port}",
            "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
            "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
            "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
            "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
            "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
            "KAFKA_GROUP_MIN_SESSION_TIMEOUT_MS": "1000",
            "KAFKA_MESSAGE_MAX_BYTES": "16777216",
        },
    )


class _DockerKafka(DockerService):
    def start(self) -> None:
        super().start()
        asyncio.run(_wait_for_cluster(self.address))


class ApacheKafka(LocalServer):
    """One node, broker and controller in one; its log outlives restarts, until `forget`."""

    what = f"Apache Kafka {KAFKA_VERSION}"
    start_timeout_s = 60.0
    stop_timeout_s = 20.0

    def __init__(self, jars: Path) -> None:
        super().__init__()
        self._jars = jars
        self._home = Path(tempfile.mkdtemp(prefix="test-kafka-"))

    def command(self, host: str, port: int) -> Sequence[str]:
        properties = self._home / "server.properties"
        if not properties.exists():
            controller = free_port()
            properties.write_text(
                self.listeners(host, port, controller)
                + _PROPERTIES.format(controller=controller, logs=self._home / "logs")
            )
            cluster_id = base64.urlsafe_b64encode(b"\0" + uuid.uuid4().bytes[1:]).decode()[:22]
            self._format(cluster_id, properties)
        return [*self._java("-Xmx512m", "-Xms256m"), "kafka.Kafka", str(properties)]

    async def answers(self, host: str, port: int) -> bool:
        _, writer = await asyncio.open_connection(host, port)
        writer.close()
        return await _lists_itself(f"{host}:{port}")

    def listeners(self, host: str, port: int, controller: int) -> str:
        """Where it listens, in its own words."""
        return _LISTENERS.format(host=host, port=port, controller=controller)

    def format_options(self) -> Sequence[str]:
        """What its storage is told when it is made."""
        return ()

    def forget(self) -> None:
        shutil.rmtree(self._home, ignore_errors=True)

    def _format(self, cluster_id: str, properties: Path) -> None:
        done = subprocess.run(
            [
                *self._java("-Xmx128m"),
                "kafka.tools.StorageTool",
                *("format", "-t", cluster_id, "-c", str(properties)),
                *self.format_options(),
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        if done.returncode:
            properties.unlink()
            raise RuntimeError(f"kafka.tools.StorageTool: {done.stdout}{done.stderr}")

    def _java(self, *options: str) -> list[str]:
        return [
            "java",
            *options,
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            *("-cp", f"{self._jars}/*"),
        ]


async def _wait_for_cluster(bootstrap: str) -> None:
    for _ in range(600):
        if await _lists_itself(bootstrap):
            return
        await asyncio.sleep(0.1)
    raise RuntimeError(f"Kafka on {bootstrap} did not answer within 60 s")


async def _lists_itself(bootstrap: str) -> bool:
    client = AIOKafkaClient(bootstrap_servers=bootstrap, request_timeout_ms=2_000)
    try:
        await client.bootstrap()
        return bool(client.cluster.brokers())
    except KafkaError:
        return False
    finally:
        await client.close()


def _require_java() -> None:
    if shutil.which("java") is None:
        raise MissingError("java 17 is not installed")
    done = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False)
    found = re.search(r'version "(\d+)', done.stderr)
    if found is None or int(found[1]) < 17:
        raise MissingError(f"java 17 is needed, found: {done.stderr.partition(chr(10))[0]}")


def cache_folder() -> Path:
    """Where downloads for tests are kept from run to run."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base) / "engagement-tests"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def fetch_kafka() -> Path:
    """The folder of Kafka's jars, fetched by Maven once. Raises MissingError."""
    _require_java()
    digest = hashlib.sha256(_POM.read_bytes()).hexdigest()[:12]
    jars = cache_folder() / f"kafka-{KAFKA_VERSION}-{digest}"
    with (cache_folder() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not jars.is_dir():
            _run_maven(jars)
    return jars


def _run_maven(jars: Path) -> None:
    if shutil.which("mvn") is None:
        raise MissingError("maven is not installed, and Apache Kafka was not fetched before")
    with tempfile.TemporaryDirectory(dir=jars.parent) as folder:
        command = ["mvn", "--quiet", "--batch-mode", "--strict-checksums", f"--file={_POM}"]
        command += ["dependency:copy-dependencies", "-DincludeScope=runtime"]
        command += [f"-DoutputDirectory={folder}/jars"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
        if done.returncode:
            first = next((line for line in done.stdout.splitlines() if "ERROR" in line), "")
            raise MissingError(f"maven could not fetch Apache Kafka: {first}")
        Path(folder, "jars").rename(jars)
