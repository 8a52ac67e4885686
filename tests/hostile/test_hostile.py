"""Hostile records: each is counted or a dead letter, with the right reason and byte for byte."""

from collections import Counter
from collections.abc import Callable

import pytest

from stream.clock import wall_clock_ms
from tests.hostile.flood import letters, send
from tests.hostile.records import KINDS, Maker
from tests.support.namespaces import Namespace
from tests.support.processes import StreamProcess
from tests.support.services import Service
from tests.support.system import System

SEED = 20_261


def differences(found: dict, wanted: dict) -> dict:
    return {
        place: (found.get(place), wanted.get(place))
        for place in {*found, *wanted}
        if found.get(place) != wanted.get(place)
    }


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_every_hostile_record_is_counted_or_a_letter(
    stream_process: Callable[..., StreamProcess],
    namespace: Namespace,
    kafka: Service,
    redis_server: Service,
) -> None:
    await flood(System(stream_process, namespace, kafka, redis_server), 20_000, 120)


@pytest.mark.chaos_long
@pytest.mark.timeout(3_600)
async def test_a_million_hostile_records(
    stream_process: Callable[..., StreamProcess],
    namespace: Namespace,
    kafka: Service,
    redis_server: Service,
) -> None:
    await flood(System(stream_process, namespace, kafka, redis_server), 1_000_000, 1_800)


async def flood(system: System, hostile: int, patience_s: float) -> None:
    worker, server = system.worker(), system.server()
    await system.ready()
    kafka, topic = system.env["STREAM_KAFKA"], system.env["STREAM_TOPIC_PREFIX"] + "clicks"
    sent = await send(kafka, topic, Maker(SEED, wall_clock_ms()), hostile)
    assert set(sent.kinds) == {*KINDS, "sound"}
    await system.counted(sent.records, patience_s)
    assert worker.running
    assert server.running
    found = await letters(kafka, system.env["STREAM_TOPIC_PREFIX"] + "dead-letters")
    assert dict(list(differences(found, sent.letters).items())[:3]) == {}
    (row,) = system.get("/api/v1/query", metric="ctr", window="24h")["rows"]
    assert (row["numerator"], row["denominator"]) == (0, sent.counted)
    reasons = Counter(reason for _, reason in sent.letters.values())
    assert set(reasons) == {
        "malformed", "invalid", "unknown_type", "oversize", "future", "too_late",
    }  # fmt: skip
    print(f"{hostile} hostile records of {sent.records}: {dict(reasons)}")
