"""Replay: the lines of a file become records of one topic, in order, unchanged.

A line is looked at only as far as needed: whether it is a JSON object, what its key is, and, when
paced by event time, its timestamp. What its event means is the worker's business.
"""

import asyncio
import contextlib
import time
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from stream.errors import UserError
from stream.kafka_access import kafka_credentials
from stream.ndjson import Chunk, Source
from stream.pace import Pace, by_event_time, by_rate
from stream.partitioner import KEY_FIELDS
from stream.producer import RECORD_BYTES_MAX, Producer, Say, quiet_client_log, silent
from stream.progress import NoProgress, Progress, TerminalProgress
from stream.settings import Settings
from stream.signals import finishes, stop_on_signals, wait_at_most

OnBad = Literal["stop", "skip", "send"]
SLICE = 1_000
"""Lines handled without letting anything else run."""
EARLY_S = 0.01
"""A line may go so much too early, so that fast paces do not sleep for every line."""
STOP_PATIENCE_S = 2.0


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """What to send, where to, and how fast.

    `file` is NDJSON, plain or gzip; `-` is standard input. `rate` is lines a second; `speed` is
    event seconds a second, by the events' timestamps; neither: as fast as it goes. `on_bad` is what
    happens at a line that is no JSON object.
    """

    file: str
    topic: str
    topic_prefix: str = ""
    rate: float | None = None
    speed: float | None = None
    on_bad: OnBad = "stop"


@dataclass(slots=True)
class ReplayReport:
    """How far it came. `sent` were acknowledged by Kafka; `bad` were skipped, or sent as they are.

    Blank lines count in `lines` only. `through` is the last line up to which all is sent.
    """

    lines: int = 0
    sent: int = 0
    bad: int = 0
    first_bad: str | None = None
    bytes: int = 0
    seconds: float = 0.0
    through: int = 0
    interrupted: bool = False

    @property
    def summary(self) -> str:
        """One line for a person."""
        pace = f"{self.sent / self.seconds:,.0f}/s" if self.seconds > 0 else "at once"
        parts = [f"{self.sent:,} of {self.lines:,} lines sent in {self.seconds:.1f} s ({pace})"]
        if self.interrupted:
            all_sent = f"all up to line {self.through:,} are sent"
            parts.append(f"interrupted, {all_sent if self.through else 'the rest unacknowledged'}")
        if self.bad:
            parts.append(f"{self.bad:,} bad, the first: {self.first_bad}")
        return "; ".join(parts)


class _Line(msgspec.Struct):
    """What is read of a line; any of it may be missing or of a wrong type."""

    event_id: Any = None
    visitor_id: Any = None
    ticket_id: Any = None
    timestamp: Any = None


def check(options: ReplayOptions) -> None:
    """Raise UserError where options are wrong or contradict each other."""
    if options.topic not in KEY_FIELDS:
        known = ", ".join(KEY_FIELDS)
        raise UserError(f"'{options.topic}' is not a topic of events; choose from {known}")
    if options.rate is not None and options.speed is not None:
        raise UserError("--rate and --speed contradict each other: give one of them")
    for name, value in (("rate", options.rate), ("speed", options.speed)):
        if value is not None and not value > 0:
            raise UserError(f"--{name} must be more than 0")


async def replay(
    options: ReplayOptions,
    producer: Producer,
    progress: Progress,
    stop: asyncio.Event | None = None,
) -> ReplayReport:
    """Send the file to a started producer, until its end or until `stop` is set.

    Raises UserError at a bad line (unless told otherwise: `on_bad`), once all before it is sent,
    and where file or topic cannot be used.
    """
    check(options)
    source = Source(options.file)
    return await _Replay(options, producer, progress, source, stop or asyncio.Event()).run()


async def run_replay(
    options: ReplayOptions, settings: Settings, *, terminal: bool, say: Say = silent
) -> ReplayReport:
    """The same for a person: connects, shows progress on a terminal, ends in order on Ctrl-C."""
    check(options)
    quiet_client_log()
    producer = Producer(settings.kafka, credentials=kafka_credentials(settings), say=say)
    with stop_on_signals() as stop, contextlib.ExitStack() as stack:
        try:
            if not await finishes(producer.start(), stop):
                return ReplayReport(interrupted=True)
            progress: Progress = NoProgress()
            if terminal:
                progress = stack.enter_context(TerminalProgress(options.topic))
            return await replay(options, producer, progress, stop)
        finally:
            await producer.stop()


class _Replay:
    def __init__(
        self,
        options: ReplayOptions,
        producer: Producer,
        progress: Progress,
        source: Source,
        stop: asyncio.Event,
    ) -> None:
        self._options, self._producer, self._progress = options, producer, progress
        self._source, self._stop = source, stop
        self._topic = options.topic_prefix + options.topic
        self._keys = KEY_FIELDS[options.topic]
        self._decode = msgspec.json.Decoder(_Line).decode
        self._pace = _pace(options)
        self._began_s = time.monotonic()
        self._acked_before = producer.acked
        self._position = 0
        self._at_end = False
        self.report = ReplayReport()

    async def run(self) -> ReplayReport:
        stopping = asyncio.create_task(self._end_input_on_stop())
        try:
            await finishes(self._feed(), self._stop, STOP_PATIENCE_S)
            self.report.interrupted = not self._at_end
        finally:
            stopping.cancel()
            self._show()
        return self.report

    async def _end_input_on_stop(self) -> None:
        await self._stop.wait()
        self._source.end()

    async def _feed(self) -> None:
        await self._producer.open(self._topic)
        self._began_s = time.monotonic()
        try:
            async with contextlib.aclosing(self._source.chunks()) as chunks:
                async for chunk in chunks:
                    await self._feed_chunk(chunk)
                    self._position = chunk.position
                    self._show()
                    if self._stop.is_set():
                        break
                    if self._source.waiting:
                        await self._producer.submit()
                else:
                    self._at_end = not self._stop.is_set()
        except UserError:
            await self._producer.flush()  # what stands before a bad line is sent
            raise
        await self._producer.flush()
        self.report.through = self.report.lines

    async def _feed_chunk(self, chunk: Chunk) -> None:
        for start in range(0, len(chunk.lines), SLICE):
            if self._stop.is_set():
                return
            lines, first = chunk.lines[start : start + SLICE], chunk.first + start
            if self._pace is None:
                self._send(lines, first)
            else:
                await self._send_paced(self._pace, lines, first)
            await self._producer.submit_full()
            self._show()
            await asyncio.sleep(0)

    def _send(self, lines: list[bytes], first: int) -> None:
        add, topic, read, report = self._producer.add, self._topic, self._read, self.report
        for number, line in enumerate(lines, first):
            event = read(line, number)
            if event is not None:
                add(topic, self._key(event), line)
                report.bytes += len(line)
            report.lines = number

    async def _send_paced(self, pace: Pace, lines: list[bytes], first: int) -> None:
        for number, line in enumerate(lines, first):
            event = self._read(line, number)
            if event is not None:
                due_s = pace(event.timestamp)
                if due_s is not None:
                    await self._wait_until(self._began_s + due_s)
                if self._stop.is_set():
                    return
                self._producer.add(self._topic, self._key(event), line)
                self.report.bytes += len(line)
            self.report.lines = number

    async def _wait_until(self, due_s: float) -> None:
        if due_s - time.monotonic() <= EARLY_S:
            return
        await self._producer.submit()
        while (rest_s := due_s - time.monotonic()) > 0 and not self._stop.is_set():
            await wait_at_most(self._stop, min(rest_s, 1.0))
            self._show()

    def _read(self, line: bytes, number: int) -> _Line | None:
        """The line's event; None for a line that is not sent. UserError ends it all."""
        try:
            event = self._decode(line)
            if not line.isascii():
                line.decode()
            if len(line) <= RECORD_BYTES_MAX:
                return event
            why, can_be_sent = f"{len(line):,} bytes are more than Kafka takes", False
        except (msgspec.DecodeError, UnicodeDecodeError) as fault:
            if not line or line.isspace():
                return None
            why, can_be_sent = _why(fault), len(line) <= RECORD_BYTES_MAX
        return self._bad(f"line {number:,}: {why}", can_be_sent)

    def _bad(self, what: str, can_be_sent: bool) -> _Line | None:
        if self._options.on_bad == "stop":
            raise UserError(
                f"{self._source.name}, {what}; all lines before it were sent "
                "(--skip-bad leaves such lines out, --send-bad sends them as they are)"
            )
        self.report.bad += 1
        self.report.first_bad = self.report.first_bad or what
        return _Line() if self._options.on_bad == "send" and can_be_sent else None

    def _key(self, event: _Line) -> bytes | None:
        for name in self._keys:
            value = getattr(event, name)
            if value and isinstance(value, str):
                return value.encode("utf-8", "surrogatepass")
        return None

    def _show(self) -> None:
        self.report.sent = self._producer.acked - self._acked_before
        self.report.seconds = time.monotonic() - self._began_s
        self._progress.update(self.report.lines, self._position, self._source.size)


def _pace(options: ReplayOptions) -> Pace | None:
    if options.rate is not None:
        return by_rate(options.rate)
    if options.speed is not None:
        return by_event_time(options.speed)
    return None


def _why(fault: Exception) -> str:
    if isinstance(fault, UnicodeDecodeError):
        return "not UTF-8"
    return f"not a JSON object: {fault}"
