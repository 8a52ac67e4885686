"""The whole way, on every broker and store: what was sent is what the API says, to the last one."""

import json
from pathlib import Path

import pytest

from stream.clock import wall_clock_ms
from tests.support.system import System, check_against_truth

PAIRS = [("apache", "redis"), ("embedded", "embedded"), ("docker", "docker")]


@pytest.fixture(params=PAIRS, ids="+".join)
def system(request, choice, stream_process, namespace):
    kafka, redis = request.param
    return System(stream_process, namespace, choice.kafka(kafka), choice.redis(redis))


async def test_what_was_sent_is_what_the_api_says(system, tmp_path: Path):
    truth_file = tmp_path / "truth.json"
    worker, server = system.worker(), system.server()
    await system.ready()
    sender = system.run(
        *("simulate", "--seed", "7", "--speed", "0", "--count", "40000", "--rate", "200"),
        *("--scenario", "mixed", "--backfill", "10m", "--truth", str(truth_file)),
    )
    assert await sender.ended(60) == 0, sender.text
    truth = json.loads(truth_file.read_text())
    await system.counted(truth["records"])
    check_against_truth(system, truth)
    status = system.get("/api/v1/status")
    assert {p["status"] for p in status["partitions"]} == {"live"}
    worker.terminate()
    server.terminate()
    assert await worker.ended(15) == 0
    assert await server.ended(15) == 0


async def test_a_worker_killed_again_and_again_counts_every_record_once(system, tmp_path: Path):
    truth_file = tmp_path / "truth.json"
    worker = system.worker()
    system.server()
    await system.ready()
    sender = system.run(
        *("simulate", "--seed", "11", "--speed", "8", "--count", "60000", "--rate", "400"),
        *("--start", str(wall_clock_ms() - 3_600_000), "--truth", str(truth_file)),
    )
    for killed_at in (5_000, 20_000, 40_000):
        await system.counted(killed_at)
        worker.kill()
        worker = system.worker()
    assert await sender.ended(90) == 0, sender.text
    truth = json.loads(truth_file.read_text())
    await system.counted(truth["records"], timeout_s=90)
    check_against_truth(system, truth)
