"""Which topics the settings ask for, by their full names."""

from stream.core.catalogue import SOURCES
from stream.engine.topics import Plan
from stream.settings import Settings

DEAD_LETTERS = "dead-letters"
CAMPAIGNS = "campaigns"


def ledger_topic(settings: Settings, source: str) -> str:
    """The ledger of a source topic; each group counts for itself."""
    return settings.topic(f"{settings.group}-ledger-{source}")


def launches_topic(settings: Settings) -> str:
    """What launches have come to; each group counts for itself."""
    return settings.topic(f"{settings.group}-launches")


def plan_topics(settings: Settings) -> Plan:
    """All topics."""
    return Plan(
        ledgers={settings.topic(name): ledger_topic(settings, name) for name in SOURCES},
        dead_letters=settings.topic(DEAD_LETTERS),
        partitions=settings.partitions,
        replication=settings.replication,
        dead_letters_ms=settings.dead_letters_retention,
        compacted=(settings.topic(CAMPAIGNS), launches_topic(settings)),
    )
