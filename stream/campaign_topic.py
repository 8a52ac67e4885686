"""The topic `campaigns` as commands use it: read whole, one description changed, one removed.

Every fault is a UserError, in one line.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiokafka.errors import KafkaError

from stream.core.campaigns import Campaign, Change, apply, decode_campaign, encode_campaign
from stream.engine.compacted import CompactedTopic
from stream.engine.diagnosis import diagnose
from stream.errors import UserError
from stream.kafka_access import kafka_credentials
from stream.producer import quiet_client_log
from stream.settings import Settings
from stream.topic_plan import CAMPAIGNS


async def read_campaigns(settings: Settings) -> dict[bytes, bytes]:
    """The records of all campaigns, by key."""
    async with _opened(settings) as topic:
        entries, _ = await topic.read_on({})
    last = {entry.key: entry.value for entry in entries}
    return {key: value for key, value in last.items() if value is not None}


async def change_campaign(settings: Settings, key: bytes, change: Change) -> Campaign:
    """Lay a change over a campaign; again over what others have written in the meantime."""
    async with _opened(settings) as topic:
        entries, positions = await topic.read_on({})
        held = next((e.value for e in reversed(entries) if e.key == key), None)
        while True:
            campaign = read_campaign(key, held) if held is not None else Campaign()
            changed = _laid_over(change, campaign)
            sent = await topic.write(key, encode_campaign(changed))
            entries, positions = await topic.read_on(positions)
            others = [e for e in entries if e.key == key and e.offset < sent.offset]
            if not others:
                return changed
            held = others[-1].value


async def forget_campaign(settings: Settings, key: bytes) -> None:
    """Remove what is said of a campaign."""
    async with _opened(settings) as topic:
        await topic.write(key, None)


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[CompactedTopic]:
    """The topic. Raises UserError where it, or Kafka, is not there."""
    credentials = kafka_credentials(settings)
    name = settings.topic(CAMPAIGNS)
    topic = CompactedTopic(settings.kafka, name, credentials=credentials)
    quiet_client_log()
    try:
        async with topic:
            if not await topic.ends():
                raise UserError(f"topic '{name}' does not exist; `stream worker` creates it")
            yield topic
    except (KafkaError, OSError) as error:  # TimeoutError is one
        why = (await diagnose(error, settings.kafka, credentials)).text
        raise UserError(f"Kafka at {settings.kafka}: {why}; see `stream doctor`") from None


def _laid_over(change: Change, campaign: Campaign) -> Campaign:
    try:
        return apply(change, campaign)
    except ValueError as error:
        raise UserError(str(error)) from None


def read_campaign(key: bytes, raw: bytes) -> Campaign:
    """A campaign of its record."""
    try:
        return decode_campaign(raw)
    except ValueError as error:
        name = str(key, "utf-8", "replace")
        raise UserError(
            f"the record of campaign '{name}' cannot be read ({error}); replace it with: "
            f"stream campaign remove {name}, then set"
        ) from None
