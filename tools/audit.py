"""Asks OSV which of the pinned dependencies have known weaknesses: `make audit`.

Findings fail it. Where OSV cannot be asked, it says so and passes: what a change has not touched
must not keep it from landing.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

LOCKS = Path(__file__).parents[1] / "requirements"
PATIENCE_S = 15
"""For each answer."""
_AWAY = re.compile(r"requests\.exceptions\.|ConnectionError|ServiceError|Timeout|HTTPError")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what was found; 0: nothing, or nobody could be asked; 1: weaknesses; 2: no audit."""
    parser = argparse.ArgumentParser(prog="python -m tools.audit", description=__doc__)
    parser.add_argument("--osv-url", help="another service that speaks OSV's language")
    parser.add_argument("locks", nargs="*", type=Path, help="default: all of requirements/")
    given = parser.parse_args(arguments)
    locks = given.locks or sorted(LOCKS.glob("*.lock"))
    dependencies: dict[tuple[str, str], dict[str, Any]] = {}
    for lock in locks:  # one by one: two of them may want different versions
        with tempfile.TemporaryDirectory() as folder:
            report = Path(folder, "report.json")
            done = _run(lock, given.osv_url, report)
            if not report.exists():
                found = _tell(dependencies.values()) if dependencies else 0
                return max(_explain(done.stderr), found)
            for each in json.loads(report.read_text())["dependencies"]:
                if "version" in each:
                    dependencies[each["name"], each["version"]] = each
    return _tell(dependencies.values())


def _explain(said: str) -> int:
    """Why there is no report."""
    last = next((line for line in reversed(said.splitlines()) if line.strip()), "no word")
    if _AWAY.search(said):
        print(f"OSV could not be asked, so nothing is known of weaknesses: {last[:200]}")
        return 0
    print(f"pip-audit failed: {last[:500]}", file=sys.stderr)
    return 2


def _run(lock: Path, osv_url: str | None, report: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "pip_audit", "--vulnerability-service", "osv"]
    command += ["--disable-pip", "--require-hashes", "--progress-spinner", "off"]
    command += ["--format", "json", "--output", str(report), "--timeout", str(PATIENCE_S)]
    command += ["--requirement", str(lock)]
    command += ["--osv-url", osv_url] if osv_url else []
    return subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603


def _tell(asked: Collection[dict[str, Any]]) -> int:
    found = list(_lines(asked))
    for line in found:
        print(line)
    print(f"{len(asked)} pinned dependencies asked about, {len(found)} known weakness(es)")
    return 1 if found else 0


def _lines(dependencies: Collection[dict[str, Any]]) -> Iterator[str]:
    for each in dependencies:
        for weakness in each["vulns"]:
            names = ", ".join([weakness["id"], *weakness["aliases"]])
            fixed = ", ".join(weakness["fix_versions"]) or "no version yet"
            yield f"{each['name']} {each['version']}: {names}; mended in {fixed}"


if __name__ == "__main__":
    sys.exit(main())
