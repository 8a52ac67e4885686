"""Where the simulator's records go: Kafka, one NDJSON stream, or a folder of files to replay."""

import asyncio
import base64
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Protocol

import msgspec

from stream.demo.faults import Record
from stream.errors import UserError
from stream.producer import Producer
from stream.signals import finishes
from stream.topic_plan import CAMPAIGNS

TOPICS = ("clicks", "sessions", "tickets")
STOP_PATIENCE_S = 2.0
"""How long the last acknowledgements are waited for once somebody wants to stop."""


class Sink(Protocol):
    """Where records go. `resent` of them may have been written twice."""

    @property
    def resent(self) -> int:
        """Records sent again after a lost answer."""

    def add(self, record: Record) -> None:
        """Take a record."""

    def describe(self, campaign: str, value: bytes) -> None:
        """Take what is said of a campaign."""

    async def submit(self) -> None:
        """Hand on what was taken; waits while the other side is behind."""

    async def finish(self, stop: asyncio.Event) -> bool:
        """Wait until all has arrived, a little only once `stop` is set; whether it has."""

    async def close(self) -> None:
        """Let go of everything."""


class KafkaSink:
    """Records go to the three topics, keyed as the contract says."""

    def __init__(self, producer: Producer, prefix: str) -> None:
        self._producer, self._prefix = producer, prefix

    @property
    def resent(self) -> int:
        """Records sent again after a lost answer."""
        return self._producer.resent

    def add(self, record: Record) -> None:
        """Take a record."""
        self._producer.add(self._prefix + record.topic, record.key.encode(), record.value)

    def describe(self, campaign: str, value: bytes) -> None:
        """Take what is said of a campaign."""
        self._producer.add(self._prefix + CAMPAIGNS, campaign.encode(), value)

    async def submit(self) -> None:
        """Hand on what was taken; waits while Kafka is behind."""
        await self._producer.submit()

    async def finish(self, stop: asyncio.Event) -> bool:
        """Wait for the last acknowledgements."""
        return await finishes(self._producer.flush(), stop, STOP_PATIENCE_S)

    async def close(self) -> None:
        """Disconnect."""
        await self._producer.stop()


class _Files:
    """What the sinks that write files share."""

    resent = 0

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def describe(self, campaign: str, value: bytes) -> None:
        """Files hold events only."""

    async def submit(self) -> None:
        """Nothing waits."""

    async def finish(self, stop: asyncio.Event) -> bool:  # noqa: ARG002 - nothing to wait for
        """Write out the rest."""
        await self.close()
        return True

    async def close(self) -> None:
        """Close the files."""
        self._stack.close()


class StreamSink(_Files):
    """One stream of NDJSON: `{"at", "topic", "key", "value"}` a line, `at` in milliseconds.

    `value` is the record's JSON object, or null for a null value; a value that is no JSON object
    stands as `base64` instead.
    """

    def __init__(self, file: IO[bytes], stack: ExitStack) -> None:
        super().__init__(stack)
        self._file = file
        self._encode = msgspec.json.Encoder().encode
        self._decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode

    def add(self, record: Record) -> None:
        """Write a record."""
        line: dict[str, object] = {"at": record.at_ms, "topic": record.topic, "key": record.key}
        if record.value is None:
            line["value"] = None
        else:
            try:
                self._decode(record.value)
                line["value"] = msgspec.Raw(record.value)
            except (msgspec.DecodeError, UnicodeDecodeError):
                line["base64"] = base64.b64encode(record.value).decode()
        self._file.write(self._encode(line) + b"\n")


class FolderSink(_Files):
    """One file a topic, the raw values a line each, as `stream replay` reads them.

    A null value is written as the text `null`, which is as malformed.
    """

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        super().__init__(stack)
        folder.mkdir(parents=True, exist_ok=True)
        self._files = {
            topic: stack.enter_context((folder / f"{topic}.ndjson").open("wb")) for topic in TOPICS
        }

    def add(self, record: Record) -> None:
        """Write a record."""
        value = b"null" if record.value is None else record.value
        self._files[record.topic].write(value + b"\n")


def open_file(out: str) -> Sink:
    """A sink for `-` (standard output), a folder (is one, or ends in `/`), or else a file."""
    stack = ExitStack()
    try:
        if out == "-":
            return StreamSink(stack.enter_context(open(1, "wb", closefd=False)), stack)
        if out.endswith("/") or Path(out).is_dir():
            return FolderSink(Path(out), stack)
        return StreamSink(stack.enter_context(Path(out).open("wb")), stack)
    except OSError as fault:
        stack.close()
        raise UserError(f"{out}: {fault.strerror}") from fault
