"""Launches the whole way: described by commands, counted by a worker, told by a server."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from stream.campaign_topic import change_campaign, forget_campaign, read_campaigns
from stream.clock import wall_clock_ms
from stream.core.campaigns import Campaign, Change, Note, decode_campaign, format_instant
from stream.engine.kafka_admin import KafkaAdmin, TopicShape
from stream.engine.topics import COMPACTED_CONFIGS
from stream.errors import UserError
from stream.live.link import Link, reach
from stream.settings import load_settings
from tests.support.patience import eventually
from tests.support.ports import free_port
from tests.support.system import System

MINUTE, HOUR = 60_000, 3_600_000


@pytest.fixture
def system(kafka, redis_server, stream_process, namespace) -> System:
    return System(stream_process, namespace, kafka, redis_server)


@pytest.fixture
async def redis(redis_server) -> AsyncIterator[Any]:
    link = Link(redis_server.url)
    yield await reach(link)
    await link.close()


async def run(system: System, *args: str, code: int = 0) -> str:
    process = system.run(*args)
    assert await process.ended(30) == code, process.text
    return process.text


def events(start_ms: int, campaign: str, minutes: int) -> tuple[str, str]:
    """Clicks and sessions of a launch: three impressions, a click and a session a minute."""
    clicks, sessions = [], []
    for minute in range(minutes):
        at_ms = start_ms + minute * MINUTE
        who = {"campaign": campaign, "channel": "email", "variant": "AB"[minute % 2]}
        for n, kind in enumerate(("impression", "impression", "impression", "click")):
            visitor = {"visitor_id": f"{campaign}{minute}", "event_id": f"{campaign}{minute}{n}"}
            clicks.append({**who, **visitor, "type": kind, "timestamp": at_ms + n})
        for n, kind in enumerate(("page_view", "conversion")[: 1 + minute % 2]):
            visitor = {"visitor_id": f"{campaign}{minute}", "event_id": f"s{campaign}{minute}{n}"}
            sessions.append({**who, **visitor, "type": kind, "timestamp": at_ms + 500 + n})
    return lines_of(clicks), lines_of(sessions)


def lines_of(events: Sequence[dict[str, Any]]) -> str:
    return "".join(f"{json.dumps(event)}\n" for event in events)


async def send(system: System, folder: Path, launches: Sequence[tuple[int, str, int]]) -> None:
    texts = zip(*(events(*each) for each in launches), strict=True)
    for topic, parts in zip(("clicks", "sessions"), texts, strict=True):
        file = folder / f"{topic}.ndjson"
        file.write_text("".join(parts))
        await run(system, "replay", str(file), "--topic", topic)


async def campaign_of(system: System, name: str) -> Any:
    listed = system.get("/api/v1/campaigns")["campaigns"]
    return next((each for each in listed if each["campaign"] == name), None)


async def test_from_the_command_to_the_page(system, redis, namespace, tmp_path: Path) -> None:
    start_ms = wall_clock_ms() // MINUTE * MINUTE - 3 * HOUR
    at = format_instant(start_ms)
    system.worker()
    system.server()
    await system.ready()

    # Described.
    told = await run(
        system,
        *("campaign", "set", "spring", "--launch-at", at, "--name", "Spring sale"),
        *("--owner", "Ana", "--target", "conversions=50@24h", "--channels", "email,podcast"),
        *("--note", f"mail sent@{at}"),
    )
    assert f"launch    {at}" in told
    found = await eventually(lambda: campaign_of(system, "spring"), what="spring in the API")
    assert (found["name"], found["launch_at"], found["known"]) == (
        *("Spring sale", f"{at[:-1]}:00.000Z", "declared"),
    )

    # Counted: the launch says what the queries say, and a launch that nobody declared is found.
    autumn_ms = start_ms + 3 * MINUTE
    await send(system, tmp_path, [(start_ms, "spring", 40), (autumn_ms, "autumn", 6)])
    await system.counted(46 * 4 + 60 + 9)
    launch = system.get("/api/v1/launch/spring")
    over = {"from": launch["from"], "to": launch["to"], "campaign": "spring"}
    for metric in ("ctr", "conversion_rate", "bounce_rate"):
        [row] = system.get("/api/v1/query", metric=metric, **over)["rows"]
        total = launch["totals"][metric]
        assert (total["numerator"], total["denominator"]) == (row["numerator"], row["denominator"])
    assert (launch["totals"]["impressions"], launch["totals"]["conversions"]) == (120, 20)
    assert launch["tagging"]["silent"] == ["podcast"]
    assert launch["annotations"][0]["text"] == "mail sent"
    autumn = await eventually(
        lambda: _found(system, "autumn"), 40, what="the launch of autumn is found"
    )
    assert autumn["launch_at"] == f"{format_instant(autumn_ms)[:-1]}:00.000Z"
    assert autumn["known"] == "minute"

    # Redis emptied: workers write it again, and servers lose nothing meanwhile.
    mirror = f"{{{namespace.group}/campaigns}}:held"
    await eventually(lambda: redis.exists(mirror), what="the mirror is there")
    keys = [key async for key in redis.scan_iter(f"*{namespace.group}*")]
    await redis.delete(*keys)
    assert (await campaign_of(system, "spring"))["name"] == "Spring sale"
    await eventually(lambda: redis.hlen(mirror), 30, what="the mirror is written again")
    assert await redis.hkeys(mirror) == [b"spring"]
    again = await eventually(lambda: _found(system, "autumn"), 30)
    assert again == autumn

    # Removed: what was counted stays.
    await run(system, "campaign", "remove", "spring")
    await eventually(lambda: _nameless(system, "spring"), what="spring is forgotten")


async def _found(system: System, name: str) -> Any:
    found = await campaign_of(system, name)
    return found if found and found["launch_at"] else None


async def _nameless(system: System, name: str) -> bool:
    found = await campaign_of(system, name)
    return found is not None and not found["described"]


async def test_two_who_describe_a_campaign_at_once_both_have_their_way(kafka, namespace) -> None:
    settings = load_settings({"kafka": kafka.bootstrap, "topic_prefix": namespace.prefix})
    async with KafkaAdmin(kafka.bootstrap) as admin:
        await admin.create(TopicShape(settings.topic("campaigns"), 1, 1, COMPACTED_CONFIGS))
    changes = [Change(notes=(Note(1, "mail sent"),)), Change(owner="Ana")]
    for key in (b"spring", b"summer", b"autumn"):
        await asyncio.gather(*(change_campaign(settings, key, each) for each in changes))
        kept = decode_campaign((await read_campaigns(settings))[key])
        assert kept == Campaign(owner="Ana", notes=(Note(1, "mail sent"),))
    await forget_campaign(settings, b"spring")
    assert sorted(await read_campaigns(settings)) == [b"autumn", b"summer"]


async def test_without_the_topic_or_kafka_one_line_says_what_to_do(kafka, namespace) -> None:
    settings = load_settings({"kafka": kafka.bootstrap, "topic_prefix": namespace.prefix})
    with pytest.raises(UserError, match="does not exist; `stream worker` creates it"):
        await read_campaigns(settings)
    nowhere = load_settings({"kafka": f"127.0.0.1:{free_port()}"})
    with pytest.raises(UserError, match="nobody answers there; see `stream doctor`"):
        await read_campaigns(nowhere)
