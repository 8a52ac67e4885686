"""Files for TLS: which can be used, and one clear line about those that cannot."""

import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from stream.kafka_access import kafka_credentials
from stream.redis_access import link_to_redis
from stream.settings import SettingsError, load_settings
from stream.sign_in import sign_in
from stream.tls import load_server_tls
from tests.support.secured import Certificates, Pair


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


def load(certificate: Path, key: Path) -> ssl.SSLContext | None:
    return load_server_tls(load_settings({"http_tls_cert": certificate, "http_tls_key": key}))


def refusal(certificate: Path, key: Path) -> str:
    with pytest.raises(SettingsError) as caught:
        load(certificate, key)
    [line] = str(caught.value).splitlines()
    return line


def write(path: Path, raw: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(raw)
    path.chmod(mode)
    return path


def test_a_certificate_and_its_key_make_a_server(made: Certificates) -> None:
    context = load(made.server.certificate, made.server.key)
    assert context is not None
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert load_server_tls(load_settings()) is None


def test_a_key_of_another_certificate_is_refused(made: Certificates) -> None:
    line = refusal(made.server.certificate, made.other.key)
    assert line == (
        f"STREAM_HTTP_TLS_KEY: {made.other.key} does not belong to the certificate "
        f"{made.server.certificate}"
    )


def test_files_in_each_others_place_are_told(made: Certificates) -> None:
    pair = made.server
    assert refusal(pair.key, pair.certificate).endswith(
        "server.key holds no certificate in PEM form"
    )
    assert refusal(pair.certificate, made.authority).endswith("ca.pem holds no key in PEM form")


def test_missing_broken_and_open_files_are_told(made: Certificates, tmp_path: Path) -> None:
    pair, none = made.server, tmp_path / "none"
    assert "STREAM_HTTP_TLS_CERT" in refusal(none, pair.key)
    assert "STREAM_HTTP_TLS_KEY" in refusal(pair.certificate, none)
    broken = write(tmp_path / "b", pair.certificate.read_bytes()[:200])
    assert "cannot be used" in refusal(broken, pair.key)
    everybodys = write(tmp_path / "k", pair.key.read_bytes(), 0o644)
    assert "can be read by others" in refusal(pair.certificate, everybodys)


def test_a_locked_key_is_told_and_nobody_is_asked(made: Certificates, tmp_path: Path) -> None:
    key = serialization.load_pem_private_key(made.server.key.read_bytes(), None)
    locked = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"password"),
    )
    path = write(tmp_path / "locked", locked)
    assert "locked with a password" in refusal(made.server.certificate, path)


def test_every_client_tells_a_wrong_authority_by_its_own_setting(tmp_path: Path) -> None:
    wrong = write(tmp_path / "ca", b"no certificate")
    told = []
    for ask, options in (
        (kafka_credentials, {"kafka_security": "SSL", "kafka_ca": wrong}),
        (link_to_redis, {"redis_url": "rediss://h", "redis_ca": wrong}),
        (sign_in, {"http_ca": wrong}),
    ):
        with pytest.raises(SettingsError) as caught:
            ask(load_settings(options))
        told.append(str(caught.value).split(":")[0])
    assert told == ["STREAM_KAFKA_CA", "STREAM_REDIS_CA", "STREAM_HTTP_CA"]


def test_a_client_trusts_only_its_authority_and_looks_at_the_name(made: Certificates) -> None:
    credentials = kafka_credentials(
        load_settings(
            {
                "kafka_security": "SSL",
                "kafka_ca": made.authority,
                "kafka_cert": made.client.certificate,
                "kafka_key": made.client.key,
            }
        )
    )
    assert credentials is not None
    context = credentials.ssl_context
    assert context is not None
    assert len(context.get_ca_certs()) == 1
    assert (context.check_hostname, context.verify_mode) == (True, ssl.CERT_REQUIRED)


def test_a_clients_key_must_fit_as_well(made: Certificates) -> None:
    mixed = Pair(made.client.certificate, made.other.key)
    for prefix, more, ask in (
        ("kafka", {"kafka_security": "SSL"}, kafka_credentials),
        ("redis", {"redis_url": "rediss://h"}, link_to_redis),
    ):
        options = {f"{prefix}_cert": mixed.certificate, f"{prefix}_key": mixed.key, **more}
        with pytest.raises(SettingsError, match=f"STREAM_{prefix.upper()}_KEY: .* does not belong"):
            ask(load_settings(options))
