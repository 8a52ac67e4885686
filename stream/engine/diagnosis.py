"""Why Kafka cannot be used: asks once more, by hand, and puts the answer into words.

aiokafka says only that it could not connect; whether nobody listens there or somebody refused us
stays in its log. A refusal does not pass by itself, so a command ends with it.
"""

import asyncio
import ssl
from typing import NamedTuple

from aiokafka.conn import collect_hosts, create_conn
from aiokafka.errors import (
    AuthenticationFailedError,
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.metadata import MetadataRequest

from stream.engine.credentials import Credentials, client_options
from stream.errors import causes

PATIENCE_S = 3.0
_NOT_ALLOWED = (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    TopicAuthorizationFailedError,
)


class Diagnosis(NamedTuple):
    """Why, and whether somebody refused us (or else nobody answers)."""

    text: str
    refused: bool


NOBODY = Diagnosis("nobody answers there", refused=False)


async def diagnose(
    error: BaseException, bootstrap: str, credentials: Credentials | None
) -> Diagnosis:
    """Put a client's fault into words; one that says nothing is looked into with a connection."""
    told = explain(error)
    if told is not None:
        return told
    if not isinstance(error, (KafkaConnectionError, OSError)):
        return Diagnosis(_words(error), refused=False)
    found = NOBODY
    for host, port, _ in collect_hosts(bootstrap, randomize=False):
        seen = await _try(host, port, credentials)
        if seen.refused:
            return seen
        found = found if seen is NOBODY else seen
    return found


async def _try(host: str, port: int, credentials: Credentials | None) -> Diagnosis:
    try:
        async with asyncio.timeout(PATIENCE_S):
            connection = await create_conn(
                host,
                port,
                client_id="stream-doctor",
                request_timeout_ms=round(PATIENCE_S * 1000),
                **client_options(credentials),
            )
            try:
                await connection.send(MetadataRequest([]))
            finally:
                connection.close()
    except (KafkaConnectionError, ConnectionResetError, ConnectionAbortedError) as error:
        return explain(error) or _hung_up(error, credentials)
    except (KafkaError, OSError, ValueError) as error:
        return explain(error) or NOBODY
    return Diagnosis("it has just come back", refused=False)


def explain(error: BaseException) -> Diagnosis | None:
    """What an error says of a refusal, or one that stands behind it; None: nothing."""
    for fault in causes(error):
        text = _explain(fault)
        if text is not None:
            return Diagnosis(text, refused=True)
    return None


def _explain(error: BaseException) -> str | None:
    match error:
        case ssl.SSLCertVerificationError():
            return f"its certificate is not trusted: {error.verify_message} (STREAM_KAFKA_CA)"
        case ssl.SSLError(reason=reason) if reason and "ALERT" in reason:
            return f"it refuses our TLS: {_spell(reason)} (STREAM_KAFKA_CERT)"
        case ssl.SSLError():
            return "it speaks no TLS there (STREAM_KAFKA_SECURITY, or another port)"
        case SaslAuthenticationFailed() | AuthenticationFailedError():
            return "it refuses name or password (STREAM_KAFKA_USER, STREAM_KAFKA_PASSWORD_FILE)"
        case UnsupportedSaslMechanismError():
            return "it does not take STREAM_KAFKA_MECHANISM"
        case IllegalSaslStateError():
            return "it asks for no name and password there (STREAM_KAFKA_SECURITY)"
        case _ if isinstance(error, _NOT_ALLOWED):
            return f"this user may not do that: {_words(error)}"
    return None


def _hung_up(error: Exception, credentials: Credentials | None) -> Diagnosis:
    """Somebody answers, and ends the connection at our first word; a start or end may do so too."""
    wanted = "TLS"
    if credentials is not None and credentials.ssl_context is not None:
        shook_hands = isinstance(error, KafkaConnectionError)
        wanted = "a name and password" if shook_hands else "no TLS"
    text = f"it hangs up at once; does it want {wanted}? (STREAM_KAFKA_SECURITY)"
    return Diagnosis(text, refused=False)


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _spell(reason: str) -> str:
    return reason.partition("ALERT_")[2].replace("_", " ").lower()
