"""docker-compose.yml, the image and what is mounted into containers: do they fit together?"""

import json
import re
import shutil
import subprocess
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from stream import __version__

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "docker-compose.yml"
DOCKERFILE = ROOT / "deploy" / "Dockerfile"


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded = yaml.safe_load(COMPOSE.read_text())
    assert isinstance(loaded, dict)
    return loaded


@pytest.fixture(scope="module")
def services(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return dict(compose["services"])


def test_it_obeys_the_compose_specification(compose: dict[str, Any]) -> None:
    vendored = "check_jsonschema/builtin_schemas/vendor/compose-spec.json"  # never imported
    schema = json.loads(
        Path(str(distribution("check-jsonschema").locate_file(vendored))).read_text()
    )
    validator = jsonschema.validators.validator_for(schema)(schema)
    faults = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(compose)]
    assert faults == []
    broken = {**compose, "services": {"x": {"image": 7, "imagee": "y"}}}
    assert list(validator.iter_errors(broken)) != []  # the schema does say no


def test_docker_compose_reads_it() -> None:
    if shutil.which("docker") is None:
        pytest.skip("docker: not installed")
    has_plugin = subprocess.run(
        ["docker", "compose", "version"], capture_output=True, check=False, timeout=30
    )
    if has_plugin.returncode:
        pytest.skip("docker: the compose plugin is not installed")
    command = ["docker", "compose", "--file", str(COMPOSE), "config", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, done.stderr


def test_all_parts_are_there(services: dict[str, dict[str, Any]]) -> None:
    assert set(services) == {
        "kafka", "redis", "worker", "server", "prometheus", "alertmanager", "grafana",
    }  # fmt: skip


def test_images_are_pinned(services: dict[str, dict[str, Any]]) -> None:
    images = [service["image"] for service in services.values()]
    images += re.findall(r"^FROM (\S+)", DOCKERFILE.read_text(), re.MULTILINE)
    assert [image for image in images if not re.search(r":v?\d+\.\d+\.\d+", image)] == []


def test_our_image_has_our_version(services: dict[str, dict[str, Any]]) -> None:
    assert {services[name]["image"] for name in ("worker", "server")} == {
        f"engagement-stream:{__version__}"
    }


def test_ports_are_open_to_this_machine_only(services: dict[str, dict[str, Any]]) -> None:
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert len(ports) == 6
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_every_service_tells_its_health(services: dict[str, dict[str, Any]]) -> None:
    without = {name for name, service in services.items() if "healthcheck" not in service}
    assert without == {"server"}  # whose image has one
    assert "HEALTHCHECK" in DOCKERFILE.read_text()


def test_what_a_service_waits_for_exists(services: dict[str, dict[str, Any]]) -> None:
    for service in services.values():
        assert set(service.get("depends_on", {})) <= set(services)


def test_volumes_are_declared_and_mounted_files_exist(compose: dict[str, Any]) -> None:
    used = set()
    for service in compose["services"].values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (ROOT / source).is_dir(), source
            else:
                used.add(source)
    assert used == set(compose["volumes"])


def test_the_image_is_built_from_files_that_docker_is_given() -> None:
    given = [
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"
    ]
    for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE.read_text(), re.MULTILINE):
        for source in sources.split():
            assert (ROOT / source).exists(), source
            assert any(Path(source).match(pattern) for pattern in given), source


def test_the_image_does_not_run_as_root() -> None:
    users = re.findall(r"^USER (\S+)", DOCKERFILE.read_text(), re.MULTILINE)
    assert users
    assert users[-1] not in ("root", "0")


def test_grafana_finds_its_dashboards_and_its_source(services: dict[str, dict[str, Any]]) -> None:
    folder = ROOT / "deploy" / "grafana" / "provisioning"
    [provider] = yaml.safe_load((folder / "dashboards" / "engagement.yml").read_text())["providers"]
    mounts = {v.split(":")[1] for v in services["grafana"]["volumes"]}
    assert provider["options"]["path"] in mounts
    [source] = yaml.safe_load((folder / "datasources" / "prometheus.yml").read_text())[
        "datasources"
    ]
    assert source["url"] == "http://prometheus:9090"
    for dashboard in (ROOT / "deploy" / "grafana" / "dashboards").glob("*.json"):
        asked = set(re.findall(r'"uid": "(prometheus\w*)"', dashboard.read_text()))
        assert asked <= {source["uid"]}, dashboard.name


def test_prometheus_scrapes_what_compose_runs(services: dict[str, dict[str, Any]]) -> None:
    settings = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text())
    targets = {
        (name, str(found["port"]))
        for job in settings["scrape_configs"]
        for found in job.get("dns_sd_configs", [])
        for name in found["names"]
    }
    environment = services["server"]["environment"]
    assert targets == {
        ("server", environment["STREAM_HTTP_PORT"]),
        ("worker", environment["STREAM_WORKER_PORT"]),
    }


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("promtool", ["check", "config", "deploy/prometheus/prometheus.yml"]),
        ("amtool", ["check-config", "deploy/alertmanager/alertmanager.yml"]),
    ],
)
def test_the_tools_of_prometheus_accept_its_files(tool: str, arguments: list[str]) -> None:
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")
    done = subprocess.run(
        [tool, *arguments], cwd=ROOT, capture_output=True, text=True, check=False, timeout=30
    )
    assert done.returncode == 0, done.stdout + done.stderr
