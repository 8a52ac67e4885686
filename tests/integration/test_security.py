"""The whole system behind TLS, SASL and ACLs: it counts right, tells faults in one line each, and
shows neither a secret nor anybody's id.
"""

import asyncio
import base64
import json
import re
import ssl
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest
import redis
from aiokafka import AIOKafkaConsumer, TopicPartition

from stream.access import load_access
from stream.clock import wall_clock_ms
from stream.engine.kafka_admin import KafkaAdmin
from stream.settings import load_settings
from tests.support.brokers import fetch_kafka
from tests.support.choice import Choice
from tests.support.namespaces import Namespace
from tests.support.patience import eventually
from tests.support.ports import free_port
from tests.support.processes import StreamProcess
from tests.support.secured import (
    AUDITOR,
    KAFKA_PASSWORD,
    KAFKA_USER,
    REDIS_PASSWORD,
    Certificates,
    SecuredKafka,
    SecuredRedis,
    grant,
)
from tests.support.services import LocalService, MissingError
from tests.support.system import Start, System

TOKEN = "token-for-the-whole-system-4711"
WRONG = "wrong-Passwort-77aa"
SECRETS = (KAFKA_PASSWORD, REDIS_PASSWORD, TOKEN, WRONG)
VISITOR, TICKET, EVENT = "visitor-7f3a-known", "ticket-5d1c-known", "event-2b9e-"
GUIDE = Path(__file__).parents[2] / "docs" / "operations.md"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def group() -> Namespace:
    """The one whose keys the users of Redis may use."""
    return Namespace()


@pytest.fixture(scope="module")
def kafka(choice: Choice, made: Certificates, group: Namespace) -> Iterator[LocalService]:
    try:
        jars = fetch_kafka()
    except MissingError as error:
        pytest.skip(str(error))
    service = LocalService("apache", "Kafka, secured", SecuredKafka(jars, made), choice.keeper)
    service.start()
    rules = re.findall(r"kafka-acls\.sh .+", GUIDE.read_text())
    assert len(rules) == 2
    for rule in rules:
        told = rule.replace("PREFIX", group.prefix).replace("GROUP", group.group)
        choice.keeper.run(grant(service.bootstrap, told))
    yield service
    service.close()


@pytest.fixture(scope="module")
def store(choice: Choice, made: Certificates, group: Namespace) -> Iterator[LocalService]:
    found = re.findall(r"ACL SETUSER (\w+) on >PASSWORD (.+)", GUIDE.read_text())
    users = {
        name: ["on", f">{REDIS_PASSWORD}", *rule.replace("GROUP", group.group).split()]
        for name, rule in found
    }
    assert set(users) == {"worker", "server"}
    service = LocalService("redis", "Redis, secured", SecuredRedis(made, users), choice.keeper)
    service.start()
    yield service
    service.close()


def kafka_env(kafka: LocalService, made: Certificates, **more: str) -> dict[str, str]:
    server: Any = kafka.server
    return {
        "STREAM_KAFKA": f"127.0.0.1:{server.sasl}",
        "STREAM_KAFKA_SECURITY": "SASL_SSL",
        "STREAM_KAFKA_CA": str(made.authority),
        "STREAM_KAFKA_USER": KAFKA_USER,
        "STREAM_KAFKA_PASSWORD_FILE": str(made.secret("kafka.password", KAFKA_PASSWORD)),
        **more,
    }


def redis_env(store: LocalService, made: Certificates, user: str, **more: str) -> dict[str, str]:
    return {
        "STREAM_REDIS_URL": f"rediss://{user}@{store.address}/0",
        "STREAM_REDIS_CA": str(made.authority),
        "STREAM_REDIS_PASSWORD_FILE": str(made.secret("redis.password", REDIS_PASSWORD)),
        **more,
    }


def auditor(store: LocalService, made: Certificates) -> redis.Redis:
    url = f"rediss://{AUDITOR}:{REDIS_PASSWORD}@{store.address}/0"
    return redis.Redis.from_url(url, ssl_ca_certs=str(made.authority))


class SecuredSystem(System):
    """Every connection over TLS, every one signed in; the server by another user of Redis."""

    def __init__(
        self,
        start: Start,
        group: Namespace,
        kafka: LocalService,
        store: LocalService,
        made: Certificates,
    ) -> None:
        self.worker_port = free_port()
        self._context = ssl.create_default_context(cafile=made.authority)
        super().__init__(
            start,
            group,
            kafka,
            store,
            **kafka_env(kafka, made),
            **redis_env(store, made, "worker"),
            STREAM_HTTP_HOST="0.0.0.0",
            STREAM_WORKER_HOST="0.0.0.0",
            STREAM_HTTP_TOKEN_FILE=str(made.secret("token", TOKEN)),
            STREAM_HTTP_TLS_CERT=str(made.server.certificate),
            STREAM_HTTP_TLS_KEY=str(made.server.key),
            STREAM_HTTP_CA=str(made.authority),
            STREAM_WORKER_PORT=str(self.worker_port),
        )
        self._server_env = {**self.env, **redis_env(store, made, "server")}

    def worker(self, name: str = "w1") -> StreamProcess:
        return self._start("worker", env={**self.env, "STREAM_WORKER_ID": name})

    def server(self) -> StreamProcess:
        return self._start("serve", env=self._server_env)

    def text(self, port: int, path: str) -> str:
        request = urllib.request.Request(
            f"https://127.0.0.1:{port}{path}", headers={"Authorization": f"Bearer {TOKEN}"}
        )
        with urllib.request.urlopen(request, timeout=5, context=self._context) as answer:
            return str(answer.read().decode())

    def get(self, path: str, **parameters: str) -> Any:
        query = "&".join(f"{name}={value}" for name, value in parameters.items())
        return json.loads(self.text(self.http_port, f"{path}?{query}"))


def write_events(folder: Path) -> Mapping[str, Path]:
    """A little of everything, by one visitor and about one ticket; the last line is bad."""
    now_ms = wall_clock_ms()
    common = {"timestamp": now_ms, "campaign": "spring", "channel": "mail"}
    events: dict[str, list[dict[str, Any]]] = {
        "clicks": [
            {**common, "type": kind, "visitor_id": VISITOR}
            for kind in ("impression", "impression", "impression", "impression", "click")
        ],
        "sessions": [
            {**common, "type": kind, "visitor_id": VISITOR} for kind in ("page_view", "conversion")
        ],
        "tickets": [
            {"timestamp": now_ms - 9, "type": "opened", "ticket_id": TICKET, "team": "billing"},
            {"timestamp": now_ms, "type": "resolved", "ticket_id": TICKET, "team": "billing"},
            {"timestamp": now_ms, "type": "no such type", "ticket_id": TICKET},
        ],
    }
    files = {}
    for topic, rows in events.items():
        lines = [
            json.dumps({"event_id": f"{EVENT}{topic}-{number}", **row})
            for number, row in enumerate(rows)
        ]
        files[topic] = folder / f"{topic}.ndjson"
        files[topic].write_text("\n".join(lines))
    return files


async def records_of(kafka: LocalService, topic: str) -> list[tuple[bytes, bytes]]:
    """All keys and values of a topic, read where nobody asks who comes."""
    async with KafkaAdmin(kafka.bootstrap) as admin:
        partitions = range((await admin.topics())[topic].partitions)
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        places = [TopicPartition(topic, n) for n in partitions]
        consumer.assign(places)
        ends = await consumer.end_offsets(places)
        found: list[tuple[bytes, bytes]] = []
        for place in places:
            while await consumer.position(place) < ends[place]:
                fetched = (await consumer.getmany(place, timeout_ms=200)).get(place, ())
                found += [(record.key or b"", record.value or b"") for record in fetched]
        return found
    finally:
        await consumer.stop()


def contents_of(store: redis.Redis) -> bytes:
    """Everything in Redis, names and values, in one."""
    read: dict[Any, Any] = {
        b"string": store.get,
        b"hash": store.hgetall,
        b"set": store.smembers,
        b"stream": store.xrange,
        b"zset": lambda key: store.zrange(key, 0, -1),
    }
    return b"\n".join(
        key + repr(read[store.type(key)](key)).encode() for key in store.scan_iter(count=1_000)
    )


async def test_behind_tls_sasl_and_acls_it_counts_right_and_shows_no_id_and_no_secret(
    kafka: LocalService,
    store: LocalService,
    made: Certificates,
    group: Namespace,
    stream_process: Start,
    tmp_path: Path,
) -> None:
    system = SecuredSystem(stream_process, group, kafka, store, made)
    parts = [system.worker(), system.server()]
    await system.ready()
    files = write_events(tmp_path)
    for topic, file in files.items():
        parts.append(system.run("replay", str(file), "--topic", topic))
        assert await parts[-1].ended(60) == 0
    await system.counted(10)

    assert system.rows("ctr", "campaign") == {"spring": (1, 4)}
    assert system.rows("conversion_rate", "campaign") == {"spring": (1, 1)}
    assert system.rows("fcr", "team") == {"billing": (1, 1)}

    asked = [
        system.run("doctor"),
        system.run("resume", "clicks/0"),
        system.run("top", "--once", "--url", f"https://127.0.0.1:{system.http_port}"),
        system.run("explain", "fcr", "--url", f"https://127.0.0.1:{system.http_port}"),
    ]
    for process in asked:
        assert await process.ended(60) == 0, process.text
    assert "fcr = 1" in asked[3].text
    parts += asked
    pages = "".join(
        system.text(system.http_port, path)
        for path in ("/metrics", "/api/v1/status", "/api/v1/explain?metric=fcr&window=1h")
    ) + system.text(system.worker_port, "/metrics")
    admin = auditor(store, made)
    held = contents_of(admin)
    denied = admin.acl_log()
    admin.close()
    for process in parts[:2]:
        process.terminate()
        assert await process.ended(60) == 0

    assert denied == [], "docs/operations.md grants too little"
    told = "".join(process.text for process in parts)
    assert "credentials_in_the_clear" not in told
    assert [secret for secret in SECRETS if secret in told + pages] == []
    ledgers = [
        pair
        for topic in ("clicks", "sessions", "tickets")
        for pair in await records_of(kafka, f"{group.prefix}{group.group}-ledger-{topic}")
    ]
    assert b"spring" in held
    assert any(b"spring" in value for _, value in ledgers)
    for name in (VISITOR, TICKET, EVENT):
        assert name not in told
        assert name not in pages
        assert name.encode() not in held
    for name in (VISITOR, TICKET):
        assert [value for key, value in ledgers if name.encode() in key + value] == []
    letters = await records_of(kafka, group.topic("dead-letters"))
    assert [TICKET.encode() in value for _, value in letters] == [True]

    stranger = made.secret("another.key", "cd" * 32)
    other = stream_process("worker", env={**system.env, "STREAM_ID_KEY_FILE": str(stranger)})
    assert await other.ended(60) == 1
    [line] = [line for line in other.text.splitlines() if line.startswith("stream: ")]
    assert "the ledger's ids were hashed with another key" in line
    assert f"to {stranger} (STREAM_ID_KEY_FILE), or run `stream rebuild`" in line


async def test_dead_letters_are_kept_for_two_weeks(
    kafka: LocalService, made: Certificates, group: Namespace, stream_process: Start
) -> None:
    name = group.topic("dead-letters")
    async with KafkaAdmin(kafka.bootstrap) as admin:
        assert (await admin.configs([name]))[name]["retention.ms"] == str(14 * 86_400_000)
    env = {**kafka_env(kafka, made), "STREAM_TOPIC_PREFIX": group.prefix}
    doctor = stream_process("doctor", env={**env, "STREAM_DEAD_LETTERS_RETENTION": "3d"})
    await doctor.ended(60)
    assert f"! topic {name} keeps raw records for 14d, not for 3d" in doctor.text


Faults = Mapping[str, dict[str, str]]
"""What is changed of a right environment, by what is said of it."""


def kafka_faults(kafka: LocalService, made: Certificates) -> Faults:
    server: Any = kafka.server
    sasl = f"127.0.0.1:{server.sasl}"
    wrong = str(made.secret("wrong.password", WRONG))
    return {
        f"Kafka at {sasl} refuses us: it refuses name or password": {
            "STREAM_KAFKA_PASSWORD_FILE": wrong
        },
        "its certificate is not trusted: unable to get local issuer certificate": {
            "STREAM_KAFKA_CA": str(made.stranger)
        },
        "its certificate is not trusted: certificate has expired": {
            "STREAM_KAFKA": f"127.0.0.1:{server.expired}"
        },
        "it refuses our TLS: bad certificate": {"STREAM_KAFKA": f"127.0.0.1:{server.mutual}"},
        "does it want no TLS?": {"STREAM_KAFKA": kafka.bootstrap},
        "STREAM_KAFKA_PASSWORD_FILE: /nowhere": {"STREAM_KAFKA_PASSWORD_FILE": "/nowhere"},
    }


def redis_faults(store: LocalService, made: Certificates) -> Faults:
    return {
        f"Redis at rediss://{store.address}/0 refuses us: it refuses name or password": {
            "STREAM_REDIS_PASSWORD_FILE": str(made.secret("wrong.password", WRONG))
        },
        "its certificate is not trusted: self-signed certificate in certificate chain": {
            "STREAM_REDIS_CA": str(made.stranger)
        },
        f"Redis at rediss://{store.address}/0 refuses us: it refuses name or password ": {
            "STREAM_REDIS_URL": f"rediss://worker:{WRONG}@{store.address}/0",
            "STREAM_REDIS_PASSWORD_FILE": "",
        },
        "STREAM_REDIS_PASSWORD_FILE: /none": {"STREAM_REDIS_PASSWORD_FILE": "/none"},
    }


def check_told(process: StreamProcess, what: str) -> None:
    """One line says it, and nothing else than lines is said."""
    assert "Traceback" not in process.text
    assert len([line for line in process.text.splitlines() if what in line]) == 1, process.text
    assert [secret for secret in SECRETS if secret in process.text] == []


async def test_doctor_tells_every_refusal_in_a_line(
    kafka: LocalService, store: LocalService, made: Certificates, stream_process: Start
) -> None:
    right = {**kafka_env(kafka, made), **redis_env(store, made, "worker")}
    pairs = list(
        zip_longest(
            kafka_faults(kafka, made).items(),
            redis_faults(store, made).items(),
            fillvalue=("", dict[str, str]()),
        )
    )
    doctors = [
        stream_process("doctor", env={**right, **of_kafka[1], **of_redis[1]})
        for of_kafka, of_redis in pairs
    ]
    for doctor, told in zip(doctors, pairs, strict=True):
        assert await doctor.ended(60) == 1
        for what, _ in told:
            if what:
                check_told(doctor, what)


async def test_a_command_that_is_refused_ends_with_a_line(
    kafka: LocalService,
    store: LocalService,
    made: Certificates,
    stream_process: Start,
    tmp_path: Path,
) -> None:
    of_kafka, of_redis = kafka_env(kafka, made), redis_env(store, made, "worker")
    wrong = {"STREAM_KAFKA_PASSWORD_FILE": str(made.secret("wrong.password", WRONG))}
    closed = {"STREAM_REDIS_PASSWORD_FILE": str(made.secret("wrong.password", WRONG))}
    file = tmp_path / "empty.ndjson"
    file.write_text("{}\n")
    refused = "it refuses name or password"
    started = [
        (stream_process("replay", str(file), "--topic", "clicks", env=of_kafka | wrong), refused),
        (stream_process("simulate", env=of_kafka | wrong), refused),
        (stream_process("rebuild", "--yes", env=of_kafka | of_redis | wrong), refused),
        (stream_process("resume", "clicks/0", env=of_redis | closed), refused),
        (
            stream_process("resume", "clicks/0", env=redis_env(store, made, "server")),
            "no permissions",
        ),
    ]
    for process, what in started:
        assert await process.ended(60) == 1
        check_told(process, what)
        assert len(process.text.splitlines()) == 1


async def test_a_service_that_is_refused_says_why_and_tries_again(
    kafka: LocalService, store: LocalService, made: Certificates, stream_process: Start
) -> None:
    wrong = str(made.secret("wrong.password", WRONG))
    ports = {"STREAM_HTTP_PORT": str(free_port()), "STREAM_WORKER_PORT": str(free_port())}
    worker = stream_process(
        "worker",
        env={
            **kafka_env(kafka, made, STREAM_KAFKA_PASSWORD_FILE=wrong),
            **redis_env(store, made, "worker"),
            **ports,
        },
    )
    server = stream_process(
        "serve",
        env={**redis_env(store, made, "server", STREAM_REDIS_PASSWORD_FILE=wrong), **ports},
    )

    def told(process: StreamProcess, what: str) -> bool:
        return process.running and process.text.count(what) >= 2

    await eventually(lambda: told(worker, "it refuses name or password"), 60)
    await eventually(lambda: told(server, "it refuses name or password"), 60)
    for process in (worker, server):
        process.terminate()
        assert await process.ended(60) == 0
        assert "Traceback" not in process.text
        assert WRONG not in process.text


async def test_what_cannot_be_guarded_as_told_does_not_start(
    made: Certificates, stream_process: Start, tmp_path: Path
) -> None:
    pair, open_file = made.server, tmp_path / "open"
    open_file.write_text(TOKEN)
    open_file.chmod(0o644)
    tls = {
        "STREAM_HTTP_TLS_CERT": str(pair.certificate),
        "STREAM_HTTP_TLS_KEY": str(made.other.key),
    }
    cases: list[tuple[str, dict[str, str], str]] = [
        ("serve", {"STREAM_HTTP_HOST": "0.0.0.0"}, "STREAM_HTTP_HOST: others can reach 0.0.0.0"),
        ("worker", {"STREAM_WORKER_HOST": "::"}, "STREAM_WORKER_HOST: others can reach ::"),
        ("serve", {"STREAM_HTTP_TOKEN_FILE": str(open_file)}, "can be read by others"),
        ("serve", {"STREAM_HTTP_TOKEN_FILE": TOKEN}, "STREAM_HTTP_TOKEN_FILE: No such file"),
        ("worker", tls, "does not belong to the certificate"),
        ("worker", {"STREAM_ID_KEY_FILE": str(open_file)}, "can be read by others"),
    ]
    key = {"STREAM_ID_KEY_FILE": str(made.secret("id.key", "ab" * 32))}  # none is made anew
    started = [(stream_process(command, env=key | env), what) for command, env, what in cases]
    for process, what in started:
        assert await process.ended(60) == 2
        check_told(process, what)
        assert len(process.text.splitlines()) == 1


async def test_a_password_for_the_users_file_is_never_shown(
    stream_process: Start, tmp_path: Path
) -> None:
    done = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "stream", "password", "anna"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    line = (await done.communicate(f"{WRONG}\n".encode()))[0].decode()
    assert WRONG not in line
    path = tmp_path / "users"
    path.write_text(line)
    path.chmod(0o600)
    access = load_access(load_settings({"http_users_file": path}))
    assert access is not None
    header = "Basic " + base64.b64encode(f"anna:{WRONG}".encode()).decode()
    assert access.decide(header)
