"""The audit of dependencies: findings fail it, a service that cannot be asked does not."""

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.support.ports import free_port
from tools.audit import LOCKS, main

ADVISORY = {
    "id": "GHSA-test",
    "aliases": ["CVE-2026-0001"],
    "summary": "made up",
    "affected": [
        {
            "package": {"name": "redis", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "99.1"}]}],
        }
    ],
}


@contextmanager
def osv(answer: Callable[[str], Any]) -> Iterator[str]:
    """A service that speaks OSV's language; `answer` gets a package's name."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            found = answer(asked["package"]["name"])
            body = json.dumps(found).encode()
            self.send_response(500 if found is None else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1/query"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_every_lock_is_asked_about_and_a_finding_fails(capsys: pytest.CaptureFixture[str]) -> None:
    asked = set()

    def answer(name: str) -> Any:
        asked.add(name)
        return {"vulns": [ADVISORY]} if name == "redis" else {}

    with osv(answer) as url:
        assert main(["--osv-url", url]) == 1
    told = capsys.readouterr().out
    assert "redis " in told.splitlines()[0]
    assert "CVE-2026-0001, GHSA-test; mended in 99.1" in told.splitlines()[0]
    for lock in LOCKS.glob("*.lock"):
        pinned = re.findall(r"^([a-z0-9-]+)==\S+ \\$", lock.read_text(), re.MULTILINE)
        assert len(pinned) > 3
        assert set(pinned) <= asked, lock.name


def test_nothing_found_passes(capsys: pytest.CaptureFixture[str]) -> None:
    with osv(lambda _: {}) as url:
        assert main(["--osv-url", url, str(LOCKS / "build.lock")]) == 0
    assert capsys.readouterr().out.endswith("asked about, 0 known weakness(es)\n")


def test_a_service_that_does_not_answer_is_said_and_passes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lock = str(LOCKS / "build.lock")
    assert main(["--osv-url", f"http://127.0.0.1:{free_port()}/", lock]) == 0
    with osv(lambda _: None) as url:
        assert main(["--osv-url", url, lock]) == 0
    told = capsys.readouterr().out.splitlines()
    assert len(told) == 2
    assert all(line.startswith("OSV could not be asked") for line in told)


def test_a_lock_that_cannot_be_read_is_no_pass(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lock = tmp_path / "x.lock"
    lock.write_text("idna\n")
    with osv(lambda _: {}) as url:
        assert main(["--osv-url", url, str(lock)]) == 2
    assert "pip-audit failed" in capsys.readouterr().err
