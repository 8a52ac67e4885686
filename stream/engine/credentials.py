"""How a Kafka client signs in. Owns the translation to aiokafka's options, nothing else."""

import ssl
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Credentials:
    """TLS, SASL or both; without either the connection is plain."""

    ssl_context: ssl.SSLContext | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    mechanism: str = "SCRAM-SHA-512"


def client_options(credentials: Credentials | None) -> dict[str, Any]:
    """The options of any aiokafka client that signs in so."""
    if credentials is None:
        return {"security_protocol": "PLAINTEXT"}
    secure = credentials.ssl_context is not None
    options: dict[str, Any] = {
        "security_protocol": "SSL" if secure else "PLAINTEXT",
        "ssl_context": credentials.ssl_context,
    }
    if credentials.username is not None:
        options |= {
            "security_protocol": "SASL_SSL" if secure else "SASL_PLAINTEXT",
            "sasl_mechanism": credentials.mechanism,
            "sasl_plain_username": credentials.username,
            "sasl_plain_password": credentials.password,
        }
    return options
