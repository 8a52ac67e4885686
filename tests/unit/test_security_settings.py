"""Settings of who may do what: those that belong together, and that no secret is repeated."""

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from stream.access import check_exposure, is_loopback, load_access
from stream.cli import app
from stream.kafka_access import kafka_credentials
from stream.redis_access import link_to_redis, show_redis
from stream.settings import Settings, SettingsError, load_settings

SECRET = "Pa55-w0rd"


def faults(**options: object) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load_settings(options)
    return str(caught.value).splitlines()


def secret_file(tmp_path: Path, text: str = SECRET) -> Path:
    path = tmp_path / "secret"
    path.write_text(text)
    path.chmod(0o600)
    return path


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"kafka_security": "SASL_SSL"}, ["KAFKA_PASSWORD_FILE", "KAFKA_USER"]),
        ({"kafka_user": "me"}, ["KAFKA_USER"]),
        ({"kafka_password_file": "/x"}, ["KAFKA_PASSWORD_FILE"]),
        ({"kafka_ca": "/x"}, ["KAFKA_CA"]),
        ({"kafka_security": "SSL", "kafka_cert": "/x"}, ["KAFKA_KEY"]),
        ({"kafka_security": "SSL", "kafka_key": "/x"}, ["KAFKA_KEY"]),
        ({"redis_ca": "/x"}, ["REDIS_CA"]),
        ({"redis_url": "rediss://h", "redis_cert": "/x"}, ["REDIS_KEY"]),
        ({"redis_url": "redis://:p@h", "redis_password_file": "/x"}, ["REDIS_PASSWORD_FILE"]),
        ({"http_tls_cert": "/x"}, ["HTTP_TLS_KEY"]),
        ({"http_tls_key": "/x"}, ["HTTP_TLS_KEY"]),
        ({"kafka_security": "TLS", "kafka_user": "me"}, ["KAFKA_SECURITY"]),
    ],
)
def test_settings_that_would_do_nothing_or_not_enough_are_refused(
    options: dict[str, object], named: list[str]
) -> None:
    assert [line.split(":")[0] for line in faults(**options)] == [f"STREAM_{n}" for n in named]


@pytest.mark.parametrize(
    "url",
    [
        f"http://:{SECRET}@host",
        f"redis://:{SECRET}/more@host:6379/0",
        f"redis://:{SECRET}#more@host:6379",
        f"{SECRET}",
        f"redis://host:{SECRET}/0",
    ],
)
def test_a_url_that_is_none_is_refused_without_being_shown(url: str) -> None:
    [line] = faults(redis_url=url)
    assert line.startswith("STREAM_REDIS_URL: is no URL of Redis")
    assert SECRET not in line


def test_a_password_in_the_place_of_its_file_is_not_shown() -> None:
    [line] = faults(kafka_password_file=SECRET)
    assert SECRET not in line


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (f"redis://:{SECRET}@host:6379/0", "redis://host:6379/0"),
        (f"rediss://user:{SECRET}@host/0?password={SECRET}", "rediss://host/0"),
        (f"redis://user:{SECRET}@ho@st/0", "redis://st/0"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    settings = load_settings({"redis_url": url})
    assert show_redis(settings) == shown
    assert SECRET not in repr(settings)


def test_credentials_are_made_of_files_and_do_not_show_them(tmp_path: Path) -> None:
    settings = load_settings(
        {
            "kafka_security": "sasl_plaintext",
            "kafka_user": "me",
            "kafka_password_file": secret_file(tmp_path),
            "kafka_mechanism": "scram-sha-256",
        }
    )
    made = kafka_credentials(settings)
    assert made is not None
    assert (made.username, made.password) == ("me", SECRET)
    assert (made.mechanism, made.ssl_context) == ("SCRAM-SHA-256", None)
    assert SECRET not in repr(made) + repr(settings)
    assert kafka_credentials(load_settings()) is None


def test_a_missing_password_file_is_told_where_it_is_needed(tmp_path: Path) -> None:
    settings = load_settings({"redis_password_file": tmp_path / "none"})
    with pytest.raises(SettingsError, match=r"STREAM_REDIS_PASSWORD_FILE: .*none: No such file"):
        link_to_redis(settings)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "::1", "localhost"])
def test_this_machine_may_listen_to_itself_unguarded(host: str) -> None:
    assert is_loopback(host)
    check_exposure(load_settings(), host, "STREAM_HTTP_HOST", None)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "example", "::ffff:10.0.0.1"])
def test_what_others_can_reach_is_guarded_or_said_to_be_open(host: str, tmp_path: Path) -> None:
    def check(settings: Settings) -> None:
        check_exposure(settings, host, "STREAM_WORKER_HOST", load_access(settings))

    with pytest.raises(SettingsError) as caught:
        check(load_settings())
    [line] = str(caught.value).splitlines()
    assert line.startswith(f"STREAM_WORKER_HOST: others can reach {host}")
    assert "STREAM_HTTP_OPEN=true" in line
    check(load_settings({"http_open": "true"}))
    check(load_settings({"http_token_file": secret_file(tmp_path, "t" * 32)}))


def test_docker_compose_says_that_its_network_is_open_and_nothing_else_lets_it_start() -> None:
    compose = yaml.safe_load((Path(__file__).parents[2] / "docker-compose.yml").read_text())
    for part, setting in (("worker", "worker_host"), ("server", "http_host")):
        given = {
            name.removeprefix("STREAM_").lower(): value
            for name, value in compose["services"][part]["environment"].items()
        }
        assert given[setting] == "0.0.0.0"
        check_exposure(load_settings(given), given[setting], setting, None)
        del given["http_open"]
        with pytest.raises(SettingsError):
            check_exposure(load_settings(given), given[setting], setting, None)


def test_the_workers_of_docker_compose_share_one_key_that_outlives_them() -> None:
    compose = yaml.safe_load((Path(__file__).parents[2] / "docker-compose.yml").read_text())
    worker = compose["services"]["worker"]
    key = Path(worker["environment"]["STREAM_ID_KEY_FILE"])
    [volume] = [each for each in worker["volumes"] if each.split(":")[1] == str(key.parent)]
    assert volume.split(":")[0] in compose["volumes"]
    dockerfile = (Path(__file__).parents[2] / "deploy" / "Dockerfile").read_text()
    assert f"--owner=stream --mode=0700 {key.parent}" in dockerfile, "or the volume is root's"


@pytest.mark.parametrize("command", ["worker", "serve", "doctor", "rebuild", "simulate"])
def test_neither_help_nor_wrong_settings_show_a_secret(command: str) -> None:
    url = f"redis://user:{SECRET}@host:6379/0"
    env = {"STREAM_REDIS_URL": url, "STREAM_KAFKA_PASSWORD_FILE": SECRET}
    helped = CliRunner().invoke(app, [command, "--help"], env=env)
    assert helped.exit_code == 0
    assert "--kafka-security" in helped.output or command == "serve"
    assert SECRET not in helped.output
    refused = CliRunner().invoke(app, [command], env={**env, "STREAM_PARTITIONS": "none"})
    assert isinstance(refused.exception, SettingsError)
    assert "STREAM_PARTITIONS" in str(refused.exception)
    assert SECRET not in str(refused.exception) + refused.output
