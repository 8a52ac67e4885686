"""The alerts of deploy/prometheus/rules once more: for Grafana, and for the Prometheus operator.

They are written out of the one set of rules, so that nobody keeps three. Grafana asks the same
Prometheus, where the recording rules run.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "prometheus" / "rules"
GRAFANA = ROOT / "deploy" / "grafana" / "provisioning" / "alerting" / "engagement.yml"
OPERATOR = ROOT / "deploy" / "kubernetes" / "rules.yaml"
_SOURCE = "prometheus"
_PAST_S = 600

_HEAD = "# Written by `make docs` out of deploy/prometheus/rules; change those.\n"


def groups() -> list[dict[str, Any]]:
    """The rule groups, in the order of their files."""
    found: list[dict[str, Any]] = []
    for path in sorted(RULES.glob("*.yml")):
        found += yaml.safe_load(path.read_text())["groups"]
    return found


def files() -> dict[Path, str]:
    """What is to be written, and where."""
    return {GRAFANA: _text(_for_grafana()), OPERATOR: _text(_for_operator())}


def _for_operator() -> dict[str, Any]:
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "engagement"},
        "spec": {"groups": groups()},
    }


def _for_grafana() -> dict[str, Any]:
    return {
        "apiVersion": 1,
        "groups": [
            {
                "orgId": 1,
                "name": group["name"],
                "folder": "Engagement",
                "interval": group.get("interval", "1m"),
                "rules": list(_rules(group)),
            }
            for group in groups()
            if any("alert" in rule for rule in group["rules"])
        ],
    }


def _rules(group: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for rule in group["rules"]:
        if "alert" not in rule:
            continue
        made: dict[str, Any] = {
            "uid": "engagement-" + hashlib.sha256(rule["alert"].encode()).hexdigest()[:12],
            "title": rule["alert"],
            "condition": "C",
            "data": [_query(rule["expr"]), _is_there(), _threshold()],
            "noDataState": "OK",
            "execErrState": "Error",
            "for": rule.get("for", "0s"),
            "labels": rule.get("labels", {}),
            "annotations": {
                name: text
                for name, text in rule["annotations"].items()
                if not name.endswith("_url")
            },
        }
        if "keep_firing_for" in rule:
            made["keepFiringFor"] = rule["keep_firing_for"]
        yield made


def _query(expression: str) -> dict[str, Any]:
    return {
        "refId": "A",
        "datasourceUid": _SOURCE,
        "relativeTimeRange": {"from": _PAST_S, "to": 0},
        "model": {"refId": "A", "expr": expression, "instant": True, "range": False},
    }


def _is_there() -> dict[str, Any]:
    """A Prometheus alert fires for whatever its expression yields, be it 0."""
    there = "is_number($A) || is_nan($A) || is_inf($A)"
    return {
        "refId": "B",
        "datasourceUid": "__expr__",
        "model": {"refId": "B", "type": "math", "expression": there},
    }


def _threshold() -> dict[str, Any]:
    return {
        "refId": "C",
        "datasourceUid": "__expr__",
        "model": {
            "refId": "C",
            "type": "threshold",
            "expression": "B",
            "conditions": [{"evaluator": {"type": "gt", "params": [0]}}],
        },
    }


def _text(document: dict[str, Any]) -> str:
    return _HEAD + yaml.dump(document, sort_keys=False, width=100, allow_unicode=True)
