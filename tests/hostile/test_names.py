"""Hostile and countless names: shown as they are, harmless, and bounded in memory."""

import json
import subprocess
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from urllib.parse import quote

import pytest
import redis
from prometheus_client.parser import text_string_to_metric_families

from stream.clock import wall_clock_ms
from stream.core.buckets import Calendar
from stream.core.catalogue import OTHER
from stream.core.partition import Partition
from stream.core.records import RecordBatch
from stream.core.rules import Rules
from stream.producer import Producer
from tests.support.namespaces import Namespace
from tests.support.patience import eventually
from tests.support.play import PSEUDONYMS, cells, write
from tests.support.processes import StreamProcess
from tests.support.services import Service
from tests.support.system import System

NAMES = (
    'quote"in it',
    "back\\slash and \\n",
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"}) or vector(1) #',
    "a:b{c}/d|e,f",
    "\u202eright to left\u2066",
    "عربى",
    "🙂 " * 60,
    "=1+1",
    "../../etc/passwd",
    "%00%0a",
    "{{7*7}} ${jndi}",
    "'; DROP TABLE x;--",
    "x" * 128,
)


def event(number: int, at_ms: int, campaign: str) -> bytes:
    return json.dumps(
        {"event_id": f"e{number}", "type": "impression", "timestamp": at_ms, "campaign": campaign}
    ).encode()


async def send(system: System, values: Iterator[bytes]) -> int:
    producer = Producer(system.env["STREAM_KAFKA"])
    await producer.start(30)
    topic, sent = system.env["STREAM_TOPIC_PREFIX"] + "clicks", 0
    await producer.open(topic)
    for sent, value in enumerate(values, 1):
        producer.add(topic, str(sent).encode(), value)
        if sent % 1_000 == 0:
            await producer.submit_full()
    await producer.flush()
    await producer.stop()
    return sent


def fetch(system: System, path: str) -> str:
    url = f"http://127.0.0.1:{system.http_port}{path}"
    with urllib.request.urlopen(url, timeout=200) as answer:
        return str(answer.read().decode())


@pytest.fixture
def system(
    stream_process: Callable[..., StreamProcess],
    namespace: Namespace,
    kafka: Service,
    redis_server: Service,
) -> System:
    made = System(stream_process, namespace, kafka, redis_server)
    made.worker()
    made.server()
    return made


@pytest.mark.slow
async def test_hostile_names_are_shown_as_they_are_everywhere(system: System) -> None:
    await system.ready()
    now_ms = wall_clock_ms()
    await send(system, (event(n, now_ms, name) for n, name in enumerate(NAMES)))
    await system.counted(len(NAMES))
    assert system.rows("ctr", "campaign") == dict.fromkeys(NAMES, (0, 1))
    for name in NAMES:
        assert system.rows("ctr", "campaign", campaign=name) == {name: (0, 1)}
        page = fetch(system, f"/launch/{quote(name, safe='')}")
        assert "<script>alert" not in page
        assert "onerror" not in page
    await eventually(lambda: exported(fetch(system, "/metrics")) == set(NAMES), 30)
    text = fetch(system, "/metrics")
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert done.stderr + done.stdout == ""


def exported(text: str) -> set[str]:
    """The campaigns that `/metrics` names, as any reader of the format would read them."""
    return {
        sample.labels["campaign"]
        for family in text_string_to_metric_families(text)
        if family.name == "engagement_ctr_ratio"
        for sample in family.samples
        if sample.labels["level"] == "campaign"
    }


def test_beyond_the_cap_names_fold_into_other_and_totals_stay_right() -> None:
    cap, names = 1_000, 20_000
    rules = Rules(max_label_sets=cap)
    partition, now_ms = Partition("clicks", rules, Calendar(), PSEUDONYMS), 1_700_000_000_000
    for start in range(0, names, 2_000):
        values: list[bytes | None] = [
            event(n, now_ms, f"campaign {n}") for n in range(start, start + 2_000)
        ]
        keys: list[bytes | None] = [None] * 2_000
        partition.fold(
            RecordBatch(
                "clicks", 0, start, start + 2_000, range(start, start + 2_000), values, keys,
                [now_ms] * 2_000,
            )
        )  # fmt: skip
    assert partition.sizes()["label_sets"] <= cap + 1
    ledger: dict[bytes, bytes] = {}
    write(partition, ledger, 0)
    live, _ = cells(partition, "clicks")
    by_size: Counter[int] = Counter()
    for (size, _, _), values_of in live.items():
        by_size[size] += values_of.get("impressions", 0)
    assert set(by_size.values()) == {names}
    folded = [labels for (_, _, labels) in live if labels[0] == OTHER]
    assert folded


@pytest.mark.chaos_long
@pytest.mark.timeout(1_800)
async def test_a_million_names_through_the_real_pipeline(
    system: System, redis_server: Service
) -> None:
    await system.ready()
    now_ms, names = wall_clock_ms(), 1_000_000
    halves = []
    for start in (0, names // 2):
        more = range(start, start + names // 2)
        await send(system, (event(n, now_ms, f"campaign {n}") for n in more))
        await system.counted(start + names // 2, 900)
        with redis.Redis.from_url(redis_server.url) as client:
            halves.append(int(client.info("memory")["used_memory"]))
    answer = system.get("/api/v1/query", metric="ctr", window="24h")
    assert answer["rows"][0]["denominator"] == names
    lines = fetch(system, "/metrics").splitlines()
    samples = [line for line in lines if line.startswith("engagement_")]
    assert len(samples) < 60_000
    print(f"Redis: {halves[0] >> 20} MiB after half of the names, {halves[1] >> 20} after all")
    assert halves[1] < 1.5 * halves[0]
