"""deploy/kubernetes: valid by Kubernetes' own schemas, and true to the program it runs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import kubernetes_validate
import pytest
import yaml

from stream import __version__
from stream.settings import Settings

FOLDER = Path(__file__).parents[2] / "deploy" / "kubernetes"
VERSION = "1.37"
WORKLOADS = {"Deployment", "StatefulSet"}
OWN_KINDS = {"ServiceMonitor", "PrometheusRule"}
"""Of the Prometheus operator: Kubernetes has no schema of them."""


def documents() -> list[tuple[str, dict[str, Any]]]:
    return [
        (path.name, document)
        for path in sorted(FOLDER.glob("*.yaml"))
        if path.name != "kustomization.yaml"
        for document in yaml.safe_load_all(path.read_text())
    ]


def kustomization() -> dict[str, Any]:
    loaded = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
    assert isinstance(loaded, dict)
    return loaded


def settings() -> dict[str, str]:
    (made,) = kustomization()["configMapGenerator"]
    return dict(pair.split("=", 1) for pair in made["literals"])


def of_kind(*kinds: str) -> Iterator[dict[str, Any]]:
    yield from (document for _, document in documents() if document["kind"] in kinds)


def named(kind: str, name: str) -> dict[str, Any]:
    return next(one for one in of_kind(kind) if one["metadata"]["name"] == name)


def template(workload: dict[str, Any]) -> dict[str, Any]:
    found = workload["spec"]["template"]
    assert isinstance(found, dict)
    return found


def container(workload: dict[str, Any]) -> dict[str, Any]:
    (only,) = template(workload)["spec"]["containers"]
    assert isinstance(only, dict)
    return only


@pytest.mark.parametrize(
    "document",
    [pytest.param(d, id=f"{f}-{d['kind']}-{d['metadata']['name']}") for f, d in documents()],
)
def test_it_obeys_the_schema_of_its_kind(document: dict[str, Any]) -> None:
    if document["kind"] in OWN_KINDS:
        assert document["apiVersion"] == "monitoring.coreos.com/v1"
        return
    kubernetes_validate.validate(document, VERSION, strict=True)
    with pytest.raises(kubernetes_validate.ValidationError):  # the schema does say no
        kubernetes_validate.validate({**document, "specc": {}}, VERSION, strict=True)


def test_all_files_are_listed_and_there() -> None:
    files = {path.name for path in FOLDER.glob("*.yaml")} - {"kustomization.yaml"}
    assert set(kustomization()["resources"]) == files


def test_the_kinds_that_operators_expect_are_there() -> None:
    assert {document["kind"] for _, document in documents()} >= {
        "Deployment", "StatefulSet", "Service", "ServiceMonitor", "PodDisruptionBudget",
        "NetworkPolicy", "HorizontalPodAutoscaler",
    }  # fmt: skip


def test_what_selects_pods_finds_some() -> None:
    labels = [template(one)["metadata"]["labels"] for one in of_kind(*WORKLOADS)]
    for document in of_kind("Service", "PodDisruptionBudget", "NetworkPolicy", *WORKLOADS):
        spec = document["spec"]
        wanted = spec.get("podSelector", spec.get("selector"))
        wanted = wanted.get("matchLabels", wanted)
        assert any(wanted.items() <= have.items() for have in labels), document["metadata"]
    for monitor in of_kind("ServiceMonitor"):
        wanted = monitor["spec"]["selector"]["matchLabels"]
        services = [one["metadata"]["labels"] for one in of_kind("Service")]
        assert any(wanted.items() <= have.items() for have in services)


def test_ports_are_those_that_the_program_listens_on() -> None:
    for name, variable in (("worker", "STREAM_WORKER_PORT"), ("server", "STREAM_HTTP_PORT")):
        kind = "StatefulSet" if name == "worker" else "Deployment"
        (port,) = container(named(kind, f"engagement-{name}"))["ports"]
        assert str(port["containerPort"]) == settings()[variable]
        (offered,) = named("Service", f"engagement-{name}")["spec"]["ports"]
        assert offered["targetPort"] == port["name"]


def test_ports_that_are_named_are_there() -> None:
    ports = {p["name"] for one in of_kind(*WORKLOADS) for p in container(one)["ports"]}
    for workload in of_kind(*WORKLOADS):
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            if probe in container(workload):
                assert container(workload)[probe]["httpGet"]["port"] in ports
    offered = {p["name"] for one in of_kind("Service") for p in one["spec"]["ports"]}
    assert {e["port"] for one in of_kind("ServiceMonitor") for e in one["spec"]["endpoints"]} == (
        offered
    )


def test_settings_are_valid_and_secrets_are_mounted_where_they_say(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = settings()
    known = {f"STREAM_{name.upper()}" for name in Settings.model_fields}
    assert set(given) <= known
    for workload in of_kind(*WORKLOADS):
        mounts = {m["name"]: m["mountPath"] for m in container(workload)["volumeMounts"]}
        volumes = {v["name"]: v for v in template(workload)["spec"]["volumes"]}
        assert set(mounts) == set(volumes)
        assert given["STREAM_HTTP_TOKEN_FILE"].startswith(mounts["access"])
        if workload["kind"] == "StatefulSet":
            assert given["STREAM_ID_KEY_FILE"].startswith(mounts["id-key"])
        for volume in volumes.values():
            if "secret" in volume:  # the program refuses what others can read
                assert volume["secret"]["defaultMode"] & 0o007 == 0


def test_it_sets_what_compose_sets() -> None:
    services = yaml.safe_load((FOLDER.parents[1] / "docker-compose.yml").read_text())["services"]
    for part in ("worker", "server"):
        of_compose = {name for name in services[part]["environment"] if name.startswith("STREAM_")}
        assert of_compose - set(settings()) == {"STREAM_HTTP_OPEN"}, "Kubernetes has a token"


@pytest.mark.parametrize(
    ("workload", "addresses"),
    [
        ("engagement-worker", ("STREAM_KAFKA", "STREAM_REDIS_URL")),
        ("engagement-server", ("STREAM_REDIS_URL", "STREAM_ALERTMANAGER")),
    ],
)
def test_the_network_lets_out_to_what_is_set(workload: str, addresses: tuple[str, ...]) -> None:
    policy = named("NetworkPolicy", workload)
    open_ports = {port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]}
    for name in addresses:
        address = settings()[name]
        assert urlsplit(address if "//" in address else f"//{address}").port in open_ports, name


def test_secrets_come_from_the_words_at_the_top() -> None:
    words = (FOLDER / "kustomization.yaml").read_text()
    for workload in of_kind(*WORKLOADS):
        for volume in template(workload)["spec"]["volumes"]:
            if "secret" in volume:
                assert f"secret generic {volume['secret']['secretName']} " in words
    for monitor in of_kind("ServiceMonitor"):
        for endpoint in monitor["spec"]["endpoints"]:
            asked = endpoint["authorization"]["credentials"]
            assert f"secret generic {asked['name']} --from-literal={asked['key']}=" in words


def test_containers_may_do_as_little_as_possible() -> None:
    for workload in of_kind(*WORKLOADS):
        pod, only = template(workload)["spec"], container(workload)
        assert pod["securityContext"]["runAsNonRoot"]
        assert only["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert only["resources"]["limits"]["memory"]
        assert pod["automountServiceAccountToken"] is False


def test_the_image_has_our_version_and_the_autoscaler_knows_our_metric() -> None:
    (image,) = kustomization()["images"]
    assert image["newTag"] == __version__
    assert {container(one)["image"] for one in of_kind(*WORKLOADS)} == {image["name"]}
    (scaler,) = of_kind("HorizontalPodAutoscaler")
    target = scaler["spec"]["scaleTargetRef"]
    assert named(target["kind"], target["name"])
    assert scaler["spec"]["metrics"][0]["pods"]["metric"]["name"] == "stream_lag_records"
