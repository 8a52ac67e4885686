"""A real Prometheus (Debian's) that scrapes what a test tells it to, and is asked."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType

import httpx
import pytest

from tests.support.ports import free_port

SCRAPE = "200ms"


@asynccontextmanager
async def prometheus(
    folder: Path,
    jobs: Mapping[str, str],
    rules: Sequence[Path] = (),
    *,
    interval: str = SCRAPE,
    external_labels: Mapping[str, str] = MappingProxyType({}),
) -> AsyncIterator[httpx.AsyncClient]:
    """Scrapes these jobs (name -> host:port) and itself; yields a client of its API."""
    if shutil.which("prometheus") is None:
        pytest.skip("prometheus is not installed")
    file, port = folder / "prometheus.json", free_port()
    config = {
        "global": {
            "scrape_interval": interval,
            "scrape_timeout": interval,
            "evaluation_interval": interval,
            "external_labels": dict(external_labels),
        },
        "rule_files": [str(path) for path in rules],
        "scrape_configs": [
            {"job_name": name, "static_configs": [{"targets": [target]}]}
            for name, target in {**jobs, "prometheus": f"127.0.0.1:{port}"}.items()
        ],
    }
    file.write_text(json.dumps(config))
    process = await asyncio.create_subprocess_exec(
        "prometheus",
        f"--config.file={file}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            yield client
    finally:
        process.terminate()
        await process.wait()


async def found(client: httpx.AsyncClient, query: str) -> list[dict[str, str]]:
    """Label sets that a query has values for just now; none while Prometheus does not answer."""
    try:
        answer = await client.get("/api/v1/query", params={"query": query})
    except httpx.TransportError:
        return []
    body = answer.json()
    if body["status"] != "success":
        if body["errorType"] == "bad_data":
            pytest.fail(f"{query}: {body['error']}")
        return []
    return [dict(one["metric"]) for one in body["data"]["result"]]
