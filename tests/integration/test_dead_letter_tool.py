"""`stream dead-letters`: looking through dead letters, and sending each back once."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from stream.clock import wall_clock_ms
from stream.core.records import Drop, Reason, RecordBatch
from stream.engine.dead_letters import DeadLetters
from stream.engine.kafka_admin import KafkaAdmin, TopicShape
from stream.engine.scanner import Scanner
from stream.engine.topics import DEAD_LETTER_CONFIGS, SOURCE_CONFIGS
from stream.letters.box import LetterBox
from stream.letters.choice import Choice
from stream.letters.letter import SENT, Letter
from stream.letters.sending import Sender
from stream.partitioner import partition_of
from tests.support.patience import eventually
from tests.support.system import System

ESCAPE = b"\x1b]0;owned\x07\x1b[2J"
PARTITIONS = 2
Send = Callable[..., Awaitable[Any]]


def click(number: int, at_ms: int, **more: object) -> bytes:
    event = {"event_id": f"e{number}", "type": "impression", "timestamp": at_ms} | more
    return json.dumps(event).encode()


class Office:
    """A cluster's topics, and letters that are put into them without a worker."""

    def __init__(self, kafka, namespace, stream_process):
        self.kafka, self.namespace, self._process = kafka, namespace, stream_process
        self.clicks, self.letters = namespace.topic("clicks"), namespace.topic("dead-letters")

    async def open(self) -> None:
        async with KafkaAdmin(self.kafka.bootstrap) as admin:
            await admin.create(TopicShape(self.clicks, PARTITIONS, 1, SOURCE_CONFIGS))
            await admin.create(TopicShape(self.letters, PARTITIONS, 1, DEAD_LETTER_CONFIGS))

            async def there() -> bool:
                return {self.clicks, self.letters} <= set(await admin.topics())

            await eventually(there)

    async def put(self, offset: int, reason: Reason, value: bytes | None, key=b"v1") -> None:
        """As a worker sets a record of partition 0 aside."""
        letters = DeadLetters(self.kafka.bootstrap, self.letters, prefix=self.namespace.prefix)
        await letters.start()
        batch = RecordBatch("clicks", 0, offset, offset + 1, [offset], [value], [key], [0])
        letters.send(batch, [Drop(offset, reason, "detail \x1b[31m")])
        await letters.flushed("clicks", 0)
        await letters.stop()

    async def run(self, *args: str, code: int = 0) -> str:
        env = {
            "STREAM_KAFKA": self.kafka.bootstrap,
            "STREAM_TOPIC_PREFIX": self.namespace.prefix,
            "COLUMNS": "200",
        }
        process = self._process("dead-letters", *args, env=env)
        assert await process.ended(40) == code, process.text
        return process.text

    async def records(self, topic: str) -> list[Any]:
        found: list[Any] = []
        async with Scanner(self.kafka.bootstrap) as scanner:
            for number, (begin, end) in (await scanner.bounds(topic, range(PARTITIONS))).items():
                async for run in scanner.read(topic, number, begin, end):
                    found += run
        return found

    @asynccontextmanager
    async def sender(self, send: Send) -> AsyncIterator[tuple[Sender, LetterBox]]:
        """A sender whose records go through `send`, which is given a producer first."""
        async with (
            Scanner(self.kafka.bootstrap) as scanner,
            Scanner(self.kafka.bootstrap) as source,
            AIOKafkaProducer(bootstrap_servers=self.kafka.bootstrap, acks="all") as producer,
        ):
            box = LetterBox(scanner, self.letters, PARTITIONS)
            topics = {self.clicks: ("clicks", PARTITIONS)}
            yield Sender(box, source, topics, partial(send, producer)), box


@pytest.fixture
async def office(kafka, namespace, stream_process):
    made = Office(kafka, namespace, stream_process)
    await made.open()
    return made


async def test_letters_are_counted_once_and_cannot_steer_the_terminal(office):
    now_ms = wall_clock_ms()
    await office.put(5, Reason.MALFORMED, b'{"' + ESCAPE + b"\xff", key=ESCAPE)
    await office.put(5, Reason.MALFORMED, b'{"' + ESCAPE + b"\xff", key=ESCAPE)  # as after a crash
    await office.put(6, Reason.INVALID, click(6, now_ms, campaign=[ESCAPE.decode()]))
    await office.put(7, Reason.OVERSIZE, None, key=None)
    listed = await office.run("list")
    assert "│ malformed │       1 │" in listed
    assert "│ oversize  │       1 │" in listed
    assert "3/" not in listed
    lines = (await office.run("list", "--json")).splitlines()
    assert [json.loads(line)["reason"] for line in lines] == ["malformed", "invalid", "oversize"]
    assert json.loads(lines[0])["value_base64"]
    shown = await office.run("show", "0/0")
    assert "malformed" in shown
    assert "\\x1b]0;owned\\x07" in shown
    pretty = await office.run("show", "0/2")
    assert '  "event_id": "e6",\n' in pretty
    for text in (listed, shown, pretty, *lines):
        assert not any(c < " " and c != "\n" for c in text)
    assert await office.run("list", "--since", "2999-01-01T00:00:00Z") == "no dead letters\n"
    wrong = await office.run("show", "1/9", code=1)
    assert wrong == f"stream: there is no dead letter at 1/9 of {office.letters}\n"


async def test_letters_are_sent_back_edited_once_and_where_they_belong(office):
    now_ms = wall_clock_ms()
    for offset in range(4):
        value = click(offset, now_ms, campaign=offset or None, variant="\x1b")
        await office.put(offset, Reason.INVALID, value, key=b"v%d" % offset)
    await office.put(9, Reason.LATE, click(9, now_ms))
    await office.put(10, Reason.MALFORMED, b"rubbish")
    edit = ["--edit", r"""sed -e 's/"campaign": \([0-9]\)/"campaign": "\1"/' -e 's/.u001b/x/'"""]
    dry = await office.run("send", "--all", "--dry-run", *edit)
    *_, left, last = dry.splitlines()
    assert left.startswith("1 left out, malformed: they would come back (e.g. 0/5: no UTF-8 JSON")
    assert last == "5 would be sent"
    assert await office.records(office.clicks) == []
    sent = await office.run("send", "--reason", "invalid", *edit)
    assert sent == "4 were sent\n"
    again = await office.run("send", "--all", *edit)
    assert again.splitlines()[-2:] == [
        "4 left out, were sent before (--again sends them once more)",
        "1 were sent",
    ]
    unedited = await office.run("send", "--reason", "late", "--again")
    assert unedited.splitlines() == [
        "1 left out, late: unedited, they would come back (e.g. 0/4)",
        "0 were sent",
    ]
    records = await office.records(office.clicks)
    assert len(records) == 5
    for record in records:
        assert record.partition == partition_of(record.key, PARTITIONS)
    found = {json.loads(r.value)["event_id"]: json.loads(r.value).get("campaign") for r in records}
    assert found == {"e0": None, "e1": "1", "e2": "2", "e3": "3", "e9": None}
    assert "│ invalid   │       4 │         4 │" in await office.run("list")


async def test_an_edit_may_leave_out_and_may_stop(office):
    now_ms = wall_clock_ms()
    for offset in range(3):
        await office.put(offset, Reason.FUTURE, click(offset, now_ms))
    left = await office.run("send", "0/1", "--edit", "true")
    assert left == "1 left out, left out by the edit (e.g. 0/1)\n0 were sent\n"
    stopped = await office.run(
        "send", "--all", "--edit", "echo 'no \x1b[31m way' >&2; exit 3", code=1
    )
    assert stopped.startswith("stream: stopped at 0/0: ")
    assert stopped.endswith(" ended with 3: no \\x1b[31m way (0 were sent)\n")
    assert await office.run("send", "0/1", "0/2") == "2 were sent\n"
    ahead = click(7, now_ms + 3_600_000)
    await office.put(7, Reason.FUTURE, ahead)
    assert "1 left out, future: they would come back" in await office.run("send", "--all")


class BrokenOffError(Exception):
    """The run ends here, as if it had been killed."""


@pytest.mark.parametrize("where", ["before", "after"])
async def test_a_run_that_was_cut_off_may_be_repeated(office, where):
    """Killed between the mark and the record, or between the record and the second mark."""
    now_ms = wall_clock_ms()
    for offset in range(3):
        await office.put(offset, Reason.FUTURE, click(offset, now_ms))

    async def send(producer, topic, partition, key, value, headers):
        if topic == office.clicks and where == "before":
            raise BrokenOffError
        if ("reason", SENT.encode()) in headers:
            raise BrokenOffError
        return await producer.send(topic, value, key=key, partition=partition, headers=headers)

    async with office.sender(send) as (sender, _):
        with pytest.raises(BrokenOffError):
            await sender.run(Choice(), None)
    told = await office.run("send", "--all")
    assert told.splitlines()[-1] == ("3 were sent" if where == "before" else "0 were sent")
    values = sorted(record.value for record in await office.records(office.clicks))
    assert values == [click(n, now_ms) for n in range(3)]
    again = await office.run("send", "--all")
    assert again.startswith("3 left out, were sent before")


async def test_two_who_send_at_once_do_not_send_twice(office):
    now_ms = wall_clock_ms()
    for offset in range(3):
        await office.put(offset, Reason.FUTURE, click(offset, now_ms))
    told: list[str] = []

    async def send(producer, topic, partition, key, value, headers):
        if not told:  # both have looked; the other one is faster
            told.append(await office.run("send", "--all"))
        return await producer.send(topic, value, key=key, partition=partition, headers=headers)

    async with office.sender(send) as (sender, box):
        with pytest.raises(Exception, match="somebody else"):
            await sender.run(Choice(), None)
        letters = [x async for x in box.all() if isinstance(x, Letter)]
    assert told == ["3 were sent\n"]
    assert len(letters) == len(await office.records(office.clicks)) == 3


async def test_what_is_sent_back_counts_once_even_beyond_the_dedupe_horizon(
    kafka, redis_server, stream_process, namespace
):
    system = System(
        stream_process, namespace, kafka, redis_server,
        STREAM_ALLOWED_LATENESS="1s", STREAM_DEDUPE_HORIZON="2s", STREAM_PARTITIONS="1",
    )  # fmt: skip
    system.worker()
    system.server()
    await system.ready()
    now_ms = wall_clock_ms()
    topic = namespace.topic("clicks")
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap) as producer:
        await producer.send_and_wait(topic, click(1, now_ms))  # it sets the clock
        for number in range(2, 5):
            bad = click(number, now_ms - 60_000, campaign=7)
            await producer.send_and_wait(topic, bad, key=b"k")
        await system.counted(4)
        for _ in range(2):
            edit = """sed 's/: 7}/: "7"}/'"""
            sent = system.run("dead-letters", "send", "--all", "--edit", edit)
            assert await sent.ended(30) == 0, sent.text
        await producer.send_and_wait(topic, click(9, now_ms))
    await system.counted(8)
    assert system.rows("ctr", "campaign") == {"(not set)": (0, 2), "7": (0, 3)}
