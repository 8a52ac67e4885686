"""How the settings say to reach Kafka: the one place that makes its clients' credentials."""

from stream.engine.credentials import Credentials
from stream.secret_files import read_secret
from stream.settings import Settings
from stream.tls import client_context


def kafka_credentials(settings: Settings) -> Credentials | None:
    """TLS and sign-in for every Kafka client; None: a plain connection.

    Reads the files anew. Raises SettingsError, one line, where one cannot be used.
    """
    security = settings.kafka_security
    if security == "PLAINTEXT":
        return None
    context = password = None
    if security.endswith("SSL"):
        context = client_context(
            settings.kafka_ca, settings.kafka_cert, settings.kafka_key, "STREAM_KAFKA"
        )
    if settings.kafka_password_file is not None:
        password = read_secret(settings.kafka_password_file, "STREAM_KAFKA_PASSWORD_FILE")
    return Credentials(context, settings.kafka_user, password, settings.kafka_mechanism)
