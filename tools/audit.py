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
from collections.abc import Iterator, Sequence
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
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        done = _run(locks, given.osv_url, report)
        if report.exists():
            return _tell(json.loads(report.read_text()))
    last = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "no word")
    if _AWAY.search(done.stderr):
        print(f"OSV could not be asked, so nothing is known of weaknesses: {last[:200]}")
        return 0
    print(f"pip-audit failed: {last[:500]}", file=sys.stderr)
    return 2


def _run(
    locks: Sequence[Path], osv_url: str | None, report: Path
) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "pip_audit", "--vulnerability-service", "osv"]
    command += ["--disable-pip", "--require-hashes", "--progress-spinner", "off"]
    command += ["--format", "json", "--output", str(report), "--timeout", str(PATIENCE_S)]
    command += [word for lock in locks for word in ("--requirement", str(lock))]
    command += ["--osv-url", osv_url] if osv_url else []
    return subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603


def _tell(report: dict[str, Any]) -> int:
    asked = [each for each in report["dependencies"] if "version" in each]
    found = list(_lines(asked))
    for line in found:
        print(line)
    print(f"{len(asked)} pinned dependencies asked about, {len(found)} known weakness(es)")
    return 1 if found else 0


def _lines(dependencies: Sequence[dict[str, Any]]) -> Iterator[str]:
    for each in dependencies:
        for weakness in each["vulns"]:
            names = ", ".join([weakness["id"], *weakness["aliases"]])
            fixed = ", ".join(weakness["fix_versions"]) or "no version yet"
            yield f"{each['name']} {each['version']}: {names}; mended in {fixed}"


if __name__ == "__main__":
    sys.exit(main())
