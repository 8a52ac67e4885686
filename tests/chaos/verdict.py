"""The verdict: what is shown, stored and set aside, against the judge's own count.

Reads the HTTP API, Redis and the dead-letter topic, nothing else. A difference is the number of
counts that are wrong, added up over everything that is compared.
"""

import asyncio
import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import msgspec
import redis
from aiokafka import AIOKafkaConsumer

from stream.clock import wall_clock_ms
from tests.chaos.feeder import Feeder
from tests.chaos.witness import Witness
from tests.support.namespaces import Namespace

Counts = Counter[tuple[str, str]]
QUERIES = {
    ("ctr", "campaign"): ("clicks", "impressions"),
    ("bounce_rate", "campaign"): ("bounced", "sessions"),
    ("conversion_rate", "campaign"): ("converted", "sessions"),
    ("pages_per_session", "campaign"): ("page_views", "sessions"),
    ("session_duration", "campaign"): ("duration_ms", "sessions"),
    ("fcr", "team"): ("first_contact", "resolved"),
    ("first_response_time", "team"): ("first_response_ms", "answered"),
    ("first_resolution_time", "team"): ("first_resolution_ms", "resolved"),
}
REDIS_FIELDS = {
    "clicks": {"impressions": 0, "clicks": 1},
    "sessions": {"sessions": 0, "page_views": 1, "duration_ms": 2, "converted": 10},
    "tickets": {"resolved": 0, "answered": 13},
}
"""Where the fields stand in a cell, spelled out once more."""
NO_LABELS = b"\xff\xff\xff\xff"
"""Under it stands which offsets a bucket came from; no cell."""


@dataclass
class Verdict:
    """What was compared and how far it is off."""

    compared: int = 0
    difference: int = 0
    faults: list[str] = field(default_factory=list)
    letters: int = 0
    repeated_letters: int = 0

    def equal(self, what: str, shown: Counts, wanted: Counts) -> None:
        for key in sorted(shown.keys() | wanted.keys()):
            self.compared += 1
            off = abs(shown[key] - wanted[key])
            if off:
                self.difference += off
                self.faults.append(f"{what} {key}: {shown[key]}, should be {wanted[key]}")


def compare_api(
    verdict: Verdict, witness: Witness, truth: Counts, state: str, start_ms: int
) -> None:
    """All metrics by label over the whole time of the run."""
    whole = {"window": "30d"}
    if state == "settled":  # a long window would end at the last whole hour that has settled
        whole = {"from": _rfc3339(start_ms - 60_000), "to": _rfc3339(wall_clock_ms() + 60_000)}
    for (metric, label), names in QUERIES.items():
        if state == "settled" and metric == "ctr":
            continue
        query = urlencode({"metric": metric, "by": label, "state": state, **whole})
        code, body = witness.get(f"/api/v1/query?{query}")
        if code != 200:
            verdict.difference += 1
            verdict.faults.append(f"{metric} {state}: {code} {body[:200]!r}")
            continue
        shown: Counts = Counter()
        for row in json.loads(body)["rows"]:
            for name, part in zip(names, ("numerator", "denominator"), strict=True):
                scale = 1000 if name.endswith("_ms") else 1
                shown[name, row["labels"][label]] = round(row[part] * scale)
        wanted = Counter({key: n for key, n in truth.items() if key[0] in names})
        verdict.equal(f"API {metric} {state}", shown, wanted)


def _rfc3339(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat()


def compare_redis(verdict: Verdict, url: str, namespace: Namespace, truth: Counts) -> None:
    """The cells of every partition, bucket size by bucket size: each holds the whole run."""
    client = redis.Redis.from_url(url)
    try:
        shown = {size: Counter[tuple[str, str]]() for size in range(5)}
        for topic, fields in REDIS_FIELDS.items():
            for partition in range(16):
                _add_partition(client, f"{{{namespace.group}/{topic}/{partition}}}:", fields, shown)
    finally:
        client.close()
    clicks = {"impressions", "clicks"}
    for size, found in shown.items():
        # The bucket without end has plain totals only, and those at other indexes.
        names = clicks if size == 0 else {*clicks, *(name for name, _ in found)}
        counts = Counter({key: n for key, n in found.items() if key[0] in names})
        wanted = Counter({key: n for key, n in truth.items() if key[0] in names})
        verdict.equal(f"Redis size {size}", counts, wanted)


def _add_partition(
    client: Any, prefix: str, fields: dict[str, int], shown: dict[int, Counts]
) -> None:
    labels = {
        number: msgspec.msgpack.decode(raw)
        for number, raw in client.hgetall(prefix + "labels").items()
    }
    place = 1 if prefix.split("/")[1] == "tickets" else 0
    for name in client.smembers(prefix + "buckets"):
        size = int(name.split(b":")[0])
        for number, raw in client.hgetall(prefix.encode() + name).items():
            if number == NO_LABELS:
                continue
            live = msgspec.msgpack.decode(raw)[0]
            for field_name, index in fields.items():
                if n := live.get(index, 0):
                    shown[size][field_name, labels[number][place]] += n


async def compare_letters(
    verdict: Verdict, bootstrap: str, namespace: Namespace, feeder: Feeder
) -> None:
    """Every bad record is there, with reason and bytes, at least once, and no other record."""
    found: Counter[tuple[str, int, int]] = Counter()
    consumer = AIOKafkaConsumer(
        namespace.topic("dead-letters"), bootstrap_servers=bootstrap, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        places = consumer.assignment()
        ends = await consumer.end_offsets(places)
        left = {place for place, end in ends.items() if end}
        while left:
            async with asyncio.timeout(20):
                batches = await consumer.getmany(timeout_ms=500)
            for place, records in batches.items():
                for record in records:
                    _judge_letter(verdict, record, feeder, found)
                if records and records[-1].offset >= ends[place] - 1:
                    left.discard(place)
    finally:
        await consumer.stop()
    missing = feeder.letters.keys() - found.keys()
    verdict.compared += len(feeder.letters)
    verdict.difference += len(missing)
    verdict.faults += [f"no dead letter for {key}" for key in sorted(missing)[:5]]
    verdict.letters = len(found)
    verdict.repeated_letters = sum(found.values()) - len(found)


def _judge_letter(
    verdict: Verdict, record: Any, feeder: Feeder, found: Counter[tuple[str, int, int]]
) -> None:
    headers = {name: value.decode() for name, value in record.headers}
    key = headers["topic"], int(headers["partition"]), int(headers["offset"])
    found[key] += 1
    wanted = feeder.letters.get(key)
    if wanted != (headers["reason"], record.value):
        verdict.difference += 1
        verdict.faults.append(
            f"dead letter {key}: {headers['reason']} ({headers['detail']}), "
            f"wanted {wanted and wanted[0]}"
        )
