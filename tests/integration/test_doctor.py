"""`stream doctor` against real servers, with and without what it looks for."""

from dataclasses import asdict
from pathlib import Path

from stream.checks import Mark
from stream.clock import wall_clock_ms
from stream.core.catalogue import SOURCES
from stream.doctor import examine, run_doctor
from stream.engine.kafka_admin import KafkaAdmin
from stream.engine.topics import ensure_topics
from stream.live.link import Link
from stream.live.projection import Projection
from stream.live.rows import About
from stream.settings import Settings, load_settings
from stream.topic_plan import plan_topics
from tests.support.namespaces import Namespace
from tests.support.ports import free_port
from tests.support.services import Service
from tests.support.views import HandMade


def settings_for(kafka: Service, store: Service, namespace: Namespace) -> Settings:
    return load_settings(
        {
            "kafka": kafka.bootstrap,
            "redis_url": store.url,
            "group": namespace.group,
            "topic_prefix": namespace.prefix,
            "partitions": 1,
        }
    )


async def wrong_things(settings: Settings) -> list[str]:
    return [finding.text for finding in await examine(settings) if finding.mark is Mark.BAD]


async def test_nothing_answers(namespace: Namespace, tmp_path: Path) -> None:
    settings = load_settings(
        {
            "kafka": f"127.0.0.1:{free_port()}",
            "redis_url": f"redis://:secret@127.0.0.1:{free_port()}/0",
        }
    )
    findings = await examine(settings)
    assert [finding.mark for finding in findings] == [Mark.BAD, Mark.BAD]
    assert "does not answer" in findings[0].text
    assert "does not answer" in findings[1].text
    assert "secret" not in findings[1].text


async def test_nothing_has_run_yet(
    kafka: Service, redis_server: Service, namespace: Namespace
) -> None:
    wrong = await wrong_things(settings_for(kafka, redis_server, namespace))
    assert sum("is missing" in text for text in wrong) == 9
    assert any("has written to Redis yet" in text for text in wrong)


async def test_all_is_well_while_workers_are_heard(
    kafka: Service, redis_server: Service, namespace: Namespace
) -> None:
    settings = settings_for(kafka, redis_server, namespace)
    async with KafkaAdmin(settings.kafka) as admin:
        await ensure_topics(admin, plan_topics(settings))
    rules = settings.rules()
    about = About(rules.definition_id, asdict(rules), dict.fromkeys(SOURCES, 1))
    made, link = HandMade(wall_clock_ms()), Link(settings.redis_url)
    pushed = {}
    for topic in SOURCES:
        pushed[topic] = Projection(link, settings.group, topic, 0, about=about)
        await pushed[topic].push(1, 0, 0, {}, made.info(topic), lambda: ())
    assert await wrong_things(settings) == []
    assert await run_doctor(settings, wait=True, timeout_s=5) == 0

    paused = made.info("clicks", status="paused")
    await pushed["clicks"].push(1, 0, 0, {}, paused, lambda: ())
    assert await wrong_things(settings) == [
        "partition clicks/0 is paused: most of its records cannot be read"
    ]
    silent = settings.model_copy(update={"kafka_session_timeout": 0})
    assert any("has had no worker for" in text for text in await wrong_things(silent))
    await link.close()
