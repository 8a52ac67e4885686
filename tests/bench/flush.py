"""What flushing and folding do to one another while a worker counts a backlog at full speed.

The worker says it itself, in its metrics: how long each piece of a flush, of writing to Redis and
of a fold kept the event loop from all others, and how long after it was due a flush began.
"""

import urllib.request
from collections.abc import Iterable, Iterator

from prometheus_client.parser import text_string_to_metric_families

from tests.bench.stage import Picture, Stage
from tests.bench.traffic import Workload
from tests.support.patience import eventually
from tests.support.ports import free_port

WORKS = ("flush", "project", "fold")
_PIECES, _DELAYS = "stream_loop_blocked", "stream_flush_delay"
Samples = list[tuple[str, dict[str, str], float]]


async def measure(stage: Stage, work: Workload) -> dict[str, float]:
    """Milliseconds of pieces and delays: the 99th percentile and the longest of a run."""
    space, group, port = await stage.fill(work), stage.group(), free_port()
    picture = Picture(stage.redis.url, group, work.topic)
    worker = stage.start(
        space, group, "worker", cores=stage.cores(1).tested, STREAM_WORKER_PORT=str(port)
    )
    try:
        await eventually(lambda: picture.through() >= work.events, 300, what="all counted")
        return dict(told(scrape(port)))
    finally:
        worker.clean_up()
        picture.close()


def told(samples: Samples) -> Iterator[tuple[str, float]]:
    """What a worker's metrics say of the whole run."""
    for work in WORKS:
        own = [sample for sample in samples if sample[1].get("work") == work]
        yield from _spread(work, own, _PIECES)
    yield from _spread("delay", samples, _DELAYS)
    yield "flushes", value(samples, f"{_DELAYS}_seconds_count")


def _spread(name: str, samples: Samples, metric: str) -> Iterator[tuple[str, float]]:
    longest_s = value(samples, f"{metric}_max_seconds")
    p99_s = min(longest_s, quantile(samples, f"{metric}_seconds_bucket", 0.99))
    yield f"{name}_p99_ms", p99_s * 1000
    yield f"{name}_longest_ms", longest_s * 1000


def scrape(port: int) -> Samples:
    """A worker's samples: name, labels, value."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        families = text_string_to_metric_families(answer.read().decode())
    return [(s.name, s.labels, s.value) for family in families for s in family.samples]


def value(samples: Iterable[tuple[str, dict[str, str], float]], name: str) -> float:
    """The value of the one sample of this name."""
    (found,) = [sample[2] for sample in samples if sample[0] == name]
    return found


def quantile(samples: Samples, name: str, share: float) -> float:
    """A quantile of a histogram, as Prometheus guesses it: evenly within its bucket."""
    buckets = sorted((float(s[1]["le"]), s[2]) for s in samples if s[0] == name)
    wanted = share * buckets[-1][1]
    low = below = 0.0
    for high, count in buckets:
        if count >= wanted > 0:
            inside = (wanted - below) / (count - below)
            return low if high == float("inf") else low + (high - low) * inside
        low, below = high, count
    return 0.0
