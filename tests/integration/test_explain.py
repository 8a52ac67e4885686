"""What stands behind a number, asked of a running system."""

import json

import pytest
from aiokafka import AIOKafkaProducer

from stream.clock import wall_clock_ms
from tests.support.system import System


@pytest.fixture
def system(kafka, redis_server, stream_process, namespace):
    return System(stream_process, namespace, kafka, redis_server)


async def test_a_figure_says_its_cells_its_offsets_and_what_was_left_out(system, namespace, kafka):
    system.worker()
    system.server()
    await system.ready()
    now_ms = wall_clock_ms()
    events = [("a", "impression"), ("b", "impression"), ("b", "impression"), ("c", "click")]
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, acks="all")
    await producer.start()
    for name, kind in events:
        event = {"event_id": name, "type": kind, "timestamp": now_ms, "campaign": "spring"}
        await producer.send_and_wait(
            namespace.topic("clicks"), json.dumps(event).encode(), partition=1
        )
    await producer.send_and_wait(namespace.topic("clicks"), b"rubbish", partition=1)
    await producer.stop()
    await system.counted(5)

    found = system.get("/api/v1/explain", metric="ctr", window="1h", campaign="spring")
    assert (found["numerator"], found["denominator"]) == (1, 2)
    assert found["formula"] == "(clicks) / (impressions)"
    assert found["fields"] == {"clicks": 1, "impressions": 2}
    assert found["left_out"] == {"unchecked": 0, "duplicates": 1, "late": 0}
    assert sum(layer["cells"] for layer in found["cells"]) == 1
    spans = {p["partition"]: (p["first_offset"], p["last_offset"]) for p in found["partitions"]}
    assert spans == {0: (None, None), 1: (0, 3), 2: (None, None), 3: (None, None)}
    tally = {p["partition"]: p["tally"] for p in found["partitions"]}[1]
    assert tally == {"counted": 3, "duplicate": 1, "dead_letter": 1, "malformed": 1}
    assert found["rules"]["allowed_lateness_ms"] == 600_000

    url = f"http://127.0.0.1:{system.http_port}"
    told = system.run("explain", "ctr", "--campaign", "spring", "--url", url)
    assert await told.ended(15) == 0, told.text
    assert "ctr = 0.5   (1 / 2, live)" in told.text
    assert "partition 1 (live): offsets 0 to 3" in told.text
    assert "1 duplicates, 0 late" in told.text

    wrong = system.run("explain", "ctr", "--team", "x", "--url", url)
    assert await wrong.ended(15) == 1
    assert wrong.text.startswith("stream: team: ")
    away = system.run("explain", "ctr", "--url", "http://127.0.0.1:1")
    assert await away.ended(15) == 1
    assert "is `stream serve` running?" in away.text
