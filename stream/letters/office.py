"""The office: connects to Kafka and does what each of the commands about dead letters asks for."""

import asyncio
import shlex
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, UnsupportedVersionError

from stream.core.catalogue import SOURCES
from stream.engine.credentials import client_options
from stream.engine.dead_letters import MAX_RECORD_BYTES
from stream.engine.kafka_admin import KafkaAdmin, TopicShape
from stream.engine.scanner import Scanner
from stream.errors import UserError
from stream.kafka_access import kafka_credentials
from stream.letters.box import LetterBox
from stream.letters.choice import Choice
from stream.letters.display import visible
from stream.letters.letter import SENT, Identity, Letter, Mark
from stream.letters.sending import Edit, Headers, Report, Sender
from stream.settings import Settings
from stream.topic_plan import DEAD_LETTERS

EDIT_S = 30.0


class Listing:
    """What a list shows: letters by (topic, reason), and the last ones."""

    def __init__(self, most: int) -> None:
        self.counts: dict[tuple[str, str], Counter[str]] = {}
        self.last: deque[tuple[Letter, bool]] = deque(maxlen=most)

    def add(self, letter: Letter, *, sent: bool) -> None:
        """Count a letter."""
        counts = self.counts.setdefault((letter.source.topic, letter.reason), Counter())
        counts["all"] += 1
        counts["sent"] += sent
        counts["first"] = min(letter.at_ms, counts["first"] or letter.at_ms)
        counts["last"] = max(letter.at_ms, counts["last"])
        self.last.append((letter, sent))


async def list_letters(
    settings: Settings, choice: Choice, most: int, each: Callable[[Letter, bool], None] | None
) -> Listing:
    """Count the chosen letters, each once; `each` is told of every one, and whether it was sent."""
    listing = Listing(most)
    async with _box(settings) as (box, _):
        sent = {m.source async for m in box.all() if isinstance(m, Mark) and m.kind == SENT}
        seen: set[Identity] = set()
        async for letter in box.all(choice.since_ms):
            if isinstance(letter, Mark) or letter.source in seen or not choice.takes(letter):
                continue
            seen.add(letter.source)
            listing.add(letter, sent=letter.source in sent)
            if each is not None:
                each(letter, letter.source in sent)
    return listing


async def find_letter(settings: Settings, partition: int, offset: int) -> tuple[Letter, bool]:
    """One letter, and whether it was sent back."""
    async with _box(settings) as (box, _):
        letter = await box.find(partition, offset)
        (_, end) = (await box.scanner.bounds(box.topic, [partition]))[partition]
        marks = [m async for m in box.stretch(partition, offset, end) if isinstance(m, Mark)]
        return letter, any(m.source == letter.source and m.kind == SENT for m in marks)


async def send_letters(
    settings: Settings, choice: Choice, edit: Edit | None, *, again: bool, dry_run: bool
) -> Report:
    """Send the chosen letters back to their source topics."""
    credentials = kafka_credentials(settings)
    async with (
        _box(settings) as (box, shapes),
        Scanner(settings.kafka, credentials=credentials) as source,
        _producer(settings) as producer,
    ):
        topics = {
            full: (name, shapes[full].partitions)
            for name in SOURCES
            if (full := settings.topic(name)) in shapes
        }

        async def send(
            topic: str, partition: int, key: bytes | None, value: bytes | None, headers: Headers
        ) -> Awaitable[Any]:
            sending: Awaitable[Any] = await producer.send(
                topic, value, key=key, partition=partition, headers=headers
            )
            return sending

        sender = Sender(box, source, topics, send, again=again, dry_run=dry_run)
        return await sender.run(choice, edit)


def editor(command: str) -> Edit:
    """An edit by a shell command: the record is its input, its output is what is sent."""

    async def edit(value: bytes) -> bytes:
        process = await asyncio.create_subprocess_shell(
            command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(EDIT_S):
                out, err = await process.communicate(value)
        except TimeoutError:
            process.kill()
            await process.wait()
            raise UserError(f"{shlex.quote(command)} took longer than {EDIT_S:g} s") from None
        if process.returncode:
            said = err.decode(errors="replace").strip().splitlines()[:1]
            tail = f": {visible(said[0])}" if said else ""
            raise UserError(f"{shlex.quote(command)} ended with {process.returncode}{tail}")
        return out.removesuffix(b"\n")

    return edit


@asynccontextmanager
async def _box(settings: Settings) -> AsyncIterator[tuple[LetterBox, dict[str, TopicShape]]]:
    credentials, topic = kafka_credentials(settings), settings.topic(DEAD_LETTERS)
    async with KafkaAdmin(settings.kafka, credentials=credentials) as admin:
        shapes = await admin.topics()
    if topic not in shapes:
        raise UserError(f"there is no topic {topic} in Kafka at {settings.kafka}")
    async with Scanner(settings.kafka, credentials=credentials) as scanner:
        yield LetterBox(scanner, topic, shapes[topic].partitions), shapes


@asynccontextmanager
async def _producer(settings: Settings) -> AsyncIterator[Any]:
    """A producer that writes each record once, where the broker can tell."""
    producer: Any = None
    for idempotent in (True, False):
        producer = AIOKafkaProducer(
            bootstrap_servers=settings.kafka,
            acks="all",
            enable_idempotence=idempotent,
            max_request_size=MAX_RECORD_BYTES,
            **client_options(kafka_credentials(settings)),
        )
        try:
            await producer.start()
            break
        except (UnsupportedVersionError, KafkaError):
            await producer.stop()
            if not idempotent:
                raise
    try:
        yield producer
    finally:
        await producer.stop()
