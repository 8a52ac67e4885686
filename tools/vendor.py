"""Brings what browsers are sent and others wrote from npm into stream/serve/pages/vendor.

    python -m tools.vendor                   the recorded versions again
    python -m tools.vendor uplot=1.6.33      another version of one

A package is taken only if its hash is the one that npm names for it; what was taken is recorded in
vendor/record.json, and a test compares the files with it. They are sent as they are.
"""

import base64
import hashlib
import io
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

VENDOR = Path(__file__).parents[1] / "stream" / "serve" / "pages" / "vendor"
RECORD = VENDOR / "record.json"
PACKAGES = {
    "uplot": {
        "uplot.js": "dist/uPlot.esm.js",
        "uplot.css": "dist/uPlot.min.css",
        "uplot.LICENSE": "LICENSE",
    },
    "@fontsource-variable/inter": {
        "inter.woff2": "files/inter-latin-wght-normal.woff2",
        "inter.LICENSE": "LICENSE",
    },
}
"""What is taken of each package: our name of a file, and its own."""


def main() -> None:
    """Fetch, check, write."""
    record = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    asked = dict(word.rsplit("=", 1) for word in sys.argv[1:])
    for package, files in PACKAGES.items():
        version = asked.get(package) or record[package]["version"]
        about = npm("view", f"{package}@{version}", "dist.integrity", "license", "--json")
        contents = unpack(fetch(package, version, about["dist.integrity"]), files)
        for file, content in contents.items():
            (VENDOR / file).write_bytes(content)
        record[package] = {
            "version": version,
            "licence": about["license"],
            "integrity": about["dist.integrity"],
            "sha256": {file: sha256(content) for file, content in contents.items()},
        }
    RECORD.write_text(json.dumps(record, indent=2) + "\n")


def npm(*words: str) -> Any:
    """What npm answers, as JSON."""
    done = subprocess.run(["npm", *words], capture_output=True, text=True, check=True)  # noqa: S603, S607
    return json.loads(done.stdout)


def fetch(package: str, version: str, integrity: str) -> bytes:
    """The package's archive. Ends in one line where it is not the one that npm describes."""
    with tempfile.TemporaryDirectory() as folder:
        [packed] = npm("pack", f"{package}@{version}", "--json", "--pack-destination", folder)
        archive = Path(folder, str(packed["filename"])).read_bytes()
    check(package, archive, integrity)
    return archive


def check(package: str, archive: bytes, integrity: str) -> None:
    """End in one line where an archive has another hash than npm names."""
    found = "sha512-" + base64.b64encode(hashlib.sha512(archive).digest()).decode()
    if found != integrity:
        raise SystemExit(f"{package}: npm names {integrity}, the package has {found}")


def unpack(archive: bytes, files: dict[str, str]) -> dict[str, bytes]:
    """The files that are wanted, by our names."""
    contents = {}
    with tarfile.open(fileobj=io.BytesIO(archive)) as held:
        for ours, theirs in files.items():
            member = held.extractfile(f"package/{theirs}")
            if member is None:
                raise SystemExit(f"{theirs} is not a file of the package")
            contents[ours] = member.read()
    return contents


def sha256(content: bytes) -> str:
    """Hash of a file, as it is recorded."""
    return hashlib.sha256(content).hexdigest()


if __name__ == "__main__":
    main()
