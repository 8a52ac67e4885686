"""Servers that ask who comes: Kafka with TLS and SASL, Redis with TLS and an ACL.

Their certificates are made for the test run. What the users may do is what docs/operations.md says.
"""

import asyncio
import datetime as dt
import re
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import trustme
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.admin import CreateAclsRequest
from cryptography.hazmat.primitives import serialization

from tests.support.brokers import ApacheKafka
from tests.support.ports import free_port
from tests.support.stores import RedisServer

KAFKA_USER, KAFKA_PASSWORD = "stream", "kafka-Passwort-1c7d"
REDIS_PASSWORD = "redis-Passwort-9e2b"
AUDITOR = "auditor"
"""May do everything in Redis."""

_LISTENERS = """\
listeners=INSIDE://{host}:{port},SASL://{host}:{sasl},MUTUAL://{host}:{mutual},\
OLD://{host}:{expired},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=INSIDE://{host}:{port},SASL://{host}:{sasl},MUTUAL://{host}:{mutual},\
OLD://{host}:{expired}
listener.security.protocol.map=INSIDE:PLAINTEXT,SASL:SASL_SSL,MUTUAL:SSL,OLD:SSL,\
CONTROLLER:PLAINTEXT
inter.broker.listener.name=INSIDE
ssl.keystore.type=PEM
ssl.keystore.location={certificate}
ssl.truststore.type=PEM
ssl.truststore.location={authority}
listener.name.mutual.ssl.client.auth=required
listener.name.old.ssl.keystore.type=PEM
listener.name.old.ssl.keystore.location={expired_certificate}
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
listener.name.sasl.plain.sasl.jaas.config=\
org.apache.kafka.common.security.plain.PlainLoginModule required user_{user}="{password}";
listener.name.sasl.scram-sha-256.sasl.jaas.config=\
org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.sasl.scram-sha-512.sasl.jaas.config=\
org.apache.kafka.common.security.scram.ScramLoginModule required;
"""

_OPERATIONS = {
    "Read": 3, "Write": 4, "Create": 5, "Delete": 6, "Alter": 7, "Describe": 8,
    "DescribeConfigs": 10, "AlterConfigs": 11,
}  # fmt: skip
"""Their numbers in Kafka's protocol."""


@dataclass(frozen=True)
class Pair:
    """Files of a certificate and of its key."""

    certificate: Path
    key: Path


class Certificates:
    """Two authorities, and certificates by the first, in files of one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._authority, self._stranger = trustme.CA(), trustme.CA()

    @cached_property
    def authority(self) -> Path:
        """Who signs all of them."""
        return self._write("ca.pem", self._authority.cert_pem.bytes())

    @cached_property
    def stranger(self) -> Path:
        """Who signs none of them."""
        return self._write("stranger.pem", self._stranger.cert_pem.bytes())

    @cached_property
    def server(self) -> Pair:
        """For 127.0.0.1 and localhost."""
        return self._pair("server", self._authority.issue_cert("127.0.0.1", "localhost"))

    @cached_property
    def client(self) -> Pair:
        """For a client that shows who it is."""
        return self._pair("client", self._authority.issue_cert("stream-client"))

    @cached_property
    def other(self) -> Pair:
        """The same again: each key fits its own certificate only."""
        return self._pair("other", self._authority.issue_cert("stream-client"))

    @cached_property
    def expired(self) -> Pair:
        """A server's that was good until yesterday."""
        yesterday = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
        leaf = self._authority.issue_cert("127.0.0.1", not_after=yesterday)
        return self._pair("expired", leaf)

    def keystore(self, pair: Pair) -> Path:
        """Both in one file, the key as Kafka reads it (PKCS #8)."""
        key: Any = serialization.load_pem_private_key(pair.key.read_bytes(), None)
        raw = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return self._write(f"{pair.key.stem}-store.pem", raw + pair.certificate.read_bytes())

    def secret(self, name: str, text: str) -> Path:
        """A file that only we can read."""
        return self._write(name, text.encode() + b"\n")

    def _pair(self, name: str, leaf: trustme.LeafCert) -> Pair:
        chain = b"".join(each.bytes() for each in leaf.cert_chain_pems)
        return Pair(
            self._write(f"{name}.pem", chain),
            self._write(f"{name}.key", leaf.private_key_pem.bytes()),
        )

    def _write(self, name: str, raw: bytes) -> Path:
        path = self._folder / name
        path.write_bytes(raw)
        path.chmod(0o600)
        return path


class SecuredKafka(ApacheKafka):
    """A plain listener for itself, one with SASL over TLS, one for certificates, one expired."""

    def __init__(self, jars: Path, certificates: Certificates) -> None:
        super().__init__(jars)
        self._certificates = certificates
        self.sasl, self.mutual, self.expired = free_port(), free_port(), free_port()

    def listeners(self, host: str, port: int, controller: int) -> str:
        return _LISTENERS.format(
            host=host,
            port=port,
            controller=controller,
            sasl=self.sasl,
            mutual=self.mutual,
            expired=self.expired,
            certificate=self._certificates.keystore(self._certificates.server),
            expired_certificate=self._certificates.keystore(self._certificates.expired),
            authority=self._certificates.authority,
            user=KAFKA_USER,
            password=KAFKA_PASSWORD,
        )

    def format_options(self) -> Sequence[str]:
        options: list[str] = []
        for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512"):
            options += ["--add-scram", f"{mechanism}=[name={KAFKA_USER},password={KAFKA_PASSWORD}]"]
        return options


async def grant(bootstrap: str, rule: str) -> None:
    """Do what a line of `kafka-acls.sh --add` would do, for its user on all hosts."""
    said = re.findall(r"--([a-z-]+) ([^-\s]\S*)", rule)
    options = dict(said)
    kind = next(kind for kind in ("topic", "group") if kind in options)
    pattern = 4 if options.get("resource-pattern-type") == "prefixed" else 3
    client = AIOKafkaClient(bootstrap_servers=bootstrap)
    await client.bootstrap()
    try:
        for name, value in said:
            if name == "operation":
                request = CreateAclsRequest(
                    {"topic": 2, "group": 3}[kind],
                    options[kind],
                    pattern,
                    options["allow-principal"],
                    "*",
                    _OPERATIONS[value],
                    3,
                )
                answer = await client.send(client.get_random_node(), request)
                assert [code for code, _ in answer.creation_responses] == [0], answer
    finally:
        await client.close()


class SecuredRedis(RedisServer):
    """Speaks TLS only, and knows no users but these, by their rules, and the auditor."""

    def __init__(self, certificates: Certificates, users: Mapping[str, Sequence[str]]) -> None:
        super().__init__()
        self._certificates = certificates
        self._users = users

    def command(self, host: str, port: int) -> Sequence[str]:
        pair = self._certificates.server
        plain = list(super().command(host, 0))
        rules = ["--user", "default", "off"]
        rules += ["--user", AUDITOR, "on", f">{REDIS_PASSWORD}", "~*", "&*", "+@all"]
        for name, rule in self._users.items():
            rules += ["--user", name, *rule]
        return [
            *plain,
            *("--tls-port", str(port)),
            *("--tls-cert-file", str(pair.certificate)),
            *("--tls-key-file", str(pair.key)),
            *("--tls-ca-cert-file", str(self._certificates.authority)),
            *("--tls-auth-clients", "no"),
            *rules,
        ]

    async def answers(self, host: str, port: int) -> bool:
        context = ssl.create_default_context(cafile=self._certificates.authority)
        reader, writer = await asyncio.open_connection(host, port, ssl=context)
        try:
            writer.write(b"PING\r\n")
            return (await reader.readline()).startswith((b"+PONG", b"-NOAUTH"))
        finally:
            writer.close()
