"""The auditor: which partitions are looked at when, and what is said of what was found.

A partition of a topic holds all records of a random share of its keys (visitors, tickets), so to
audit some partitions is to count a random share of the keys again. A difference counts only once it
has been seen in two looks.
"""

import asyncio
import math
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import structlog
from aiokafka.errors import KafkaError
from redis.exceptions import RedisError

from stream.audit.differences import LEDGER, REDIS, Difference
from stream.audit.meters import AuditMeters
from stream.audit.witness import Findings, Names, Witness
from stream.core.catalogue import SOURCES
from stream.core.records import TopicPartition
from stream.cores import Cores
from stream.engine.kafka_admin import KafkaAdmin
from stream.engine.scanner import Scanner
from stream.errors import UserError
from stream.kafka_access import kafka_credentials
from stream.live.look import PictureGlance
from stream.redis_access import link_to_redis
from stream.settings import Settings
from stream.signals import wait_at_most
from stream.topic_plan import ledger_topic

log = structlog.get_logger(__name__)

TURN_S = 600.0
"""How long a partition is under audit at least, where only a share of them is at a time."""
PASS_BUDGET_S = 20.0
LOOK_AGAIN_S = 1.0
PATIENCE_S = 20.0
"""How long a single check waits for what cannot be compared yet, as while Redis is filled."""


@dataclass(slots=True)
class Account:
    """One partition under audit and what is known of it. `wrong` was seen twice."""

    witness: Witness
    since_s: float
    seen: dict[tuple[object, ...], Difference] = field(default_factory=dict)
    wrong: list[Difference] = field(default_factory=list)
    unchecked: dict[str, str] = field(default_factory=dict)
    recounted: int = 0
    looks: int = 0

    @property
    def is_doubtful(self) -> bool:
        """Whether something was seen that has not been seen a second time."""
        return len(self.seen) > len(self.wrong)


class Auditor:
    """Audits a share (0 to 1] of the partitions."""

    def __init__(self, settings: Settings, share: float = 1.0) -> None:
        self.meters = AuditMeters()
        self.accounts: dict[TopicPartition, Account] = {}
        self._settings, self._share = settings, share
        self._cores = Cores(settings)
        self._link = link_to_redis(settings)
        self._credentials = kafka_credentials(settings)
        self._last_s: dict[TopicPartition, float] = {}

    def is_ready(self) -> bool:
        """Whether every partition under audit was looked at."""
        return bool(self.accounts) and all(a.looks for a in self.accounts.values())

    async def run(self, stop: asyncio.Event, every_s: float) -> None:
        """Audit until `stop` is set. What is away is waited for."""
        while not stop.is_set():
            try:
                async with self._connected() as (ledger, source):
                    await self._go_round(ledger, source, stop, every_s)
            except (KafkaError, RedisError, OSError, UserError) as error:  # TimeoutError is one
                log.warning("audit_waits", error=str(error)[:300] or repr(error))
                await wait_at_most(stop, every_s)

    async def check_once(self) -> list[Account]:
        """Audit every partition of the share to its end; what cannot be compared is tried again.

        Each is looked at twice at least: a Redis that stays behind its ledger shows in the second
        look.
        """
        loop = asyncio.get_running_loop()
        async with self._connected() as (ledger, source):
            self._choose(await self._partitions())
            open_ = list(self.accounts.values())
            for account in open_:
                await self._look(account, ledger, source, math.inf)
            until_s = loop.time() + PATIENCE_S
            while open_:
                await asyncio.sleep(LOOK_AGAIN_S)
                for account in open_:
                    await self._look(account, ledger, source, math.inf)
                is_late = loop.time() > until_s
                open_ = [a for a in open_ if a.is_doubtful or (a.unchecked and not is_late)]
        return list(self.accounts.values())

    async def _go_round(
        self, ledger: Scanner, source: Scanner, stop: asyncio.Event, every_s: float
    ) -> None:
        while not stop.is_set():
            self._choose(await self._partitions())
            budget_s = PASS_BUDGET_S / max(1, len(self.accounts))
            for account in list(self.accounts.values()):
                await self._look(account, ledger, source, budget_s)
                if stop.is_set():
                    return
            busy = any(a.is_doubtful or a.witness.lag for a in self.accounts.values())
            await wait_at_most(stop, min(LOOK_AGAIN_S, every_s) if busy else every_s)

    async def _look(
        self, account: Account, ledger: Scanner, source: Scanner, budget_s: float
    ) -> None:
        place = account.witness.names.place
        findings = await account.witness.look(ledger, source, budget_s)
        account.looks += 1
        self._judge(account, findings)
        self._show(place, account, findings)

    def _judge(self, account: Account, findings: Findings) -> None:
        """What is seen for the second time counts; what could not be compared stays as it was."""
        unchecked, known = findings.unchecked, {d.key for d in account.wrong}
        held = [d for d in account.wrong if d.where in unchecked]
        doubts = {key: d for key, d in account.seen.items() if d.where in unchecked}
        account.wrong = [*held, *(d for d in findings.differences if d.key in account.seen)]
        account.seen = doubts | {d.key: d for d in findings.differences}
        account.unchecked = unchecked
        for difference in account.wrong:
            if difference.key not in known:
                _tell(difference)

    def _show(self, place: TopicPartition, account: Account, findings: Findings) -> None:
        labels = place.topic, str(place.partition)
        for where in (LEDGER, REDIS):
            wrong = sum(difference.where == where for difference in account.wrong)
            self.meters.difference.labels(*labels, where).set(wrong)
            self.meters.checked.labels(where).inc(findings.cells[where])
        if account.witness.recount is not None:
            records = account.witness.recount.records
            self.meters.recounted.labels(place.topic).inc(max(0, records - account.recounted))
            account.recounted = records
        self.meters.lag.labels(*labels).set(account.witness.lag)
        self.meters.coverage.labels(*labels).set(account.witness.coverage)
        if not findings.unchecked:
            self.meters.compared(place)

    def _choose(self, places: list[TopicPartition]) -> None:
        """Take up partitions, at random those that have waited longest; give up whose turn is over.

        One in which something is wrong, or that has not been counted through yet, stays.
        """
        now_s = asyncio.get_running_loop().time()
        wanted = max(1, math.ceil(self._share * len(places))) if places else 0
        for place, account in list(self.accounts.items()):
            is_over = now_s - account.since_s > TURN_S and not (account.seen or account.unchecked)
            if place not in places or (is_over and wanted < len(places)):
                del self.accounts[place]
                self._last_s[place] = now_s
                self.meters.gave_up(place)
        waiting = [place for place in places if place not in self.accounts]
        random.shuffle(waiting)
        waiting.sort(key=lambda place: self._last_s.get(place, 0.0))
        for place in waiting[: max(0, wanted - len(self.accounts))]:
            glance = PictureGlance(self._link, self._settings.group, place)
            names = Names(
                place,
                self._settings.topic(place.topic),
                ledger_topic(self._settings, place.topic),
            )
            self.accounts[place] = Account(Witness(names, self._cores, glance), now_s)
            self.meters.took_up(place)

    async def _partitions(self) -> list[TopicPartition]:
        """All partitions that have a ledger. Raises UserError where there is none."""
        async with KafkaAdmin(self._settings.kafka, credentials=self._credentials) as admin:
            shapes = await admin.topics()
        found = []
        for topic in SOURCES:
            source = shapes.get(self._settings.topic(topic))
            ledger = shapes.get(ledger_topic(self._settings, topic))
            if source is not None and ledger is not None:
                found += [TopicPartition(topic, number) for number in range(ledger.partitions)]
        if not found:
            raise UserError(
                f"there is no ledger of group {self._settings.group} in Kafka at "
                f"{self._settings.kafka}: start `stream worker`"
            )
        return found

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[tuple[Scanner, Scanner]]:
        """A scanner for the ledgers, and one for the source topics."""
        kafka, credentials = self._settings.kafka, self._credentials
        try:
            async with (
                Scanner(kafka, credentials=credentials) as ledger,
                Scanner(kafka, credentials=credentials, committed=True) as source,
            ):
                yield ledger, source
        finally:
            await self._link.close()


def _tell(difference: Difference) -> None:
    log.error(
        "audit_difference",
        where=difference.where,
        partition=str(difference.place),
        size=difference.size,
        start_ms=difference.start_ms,
        labels="|".join(difference.labels),
        state=difference.state,
        figure=difference.figure,
        expected=difference.expected,
        found=difference.found,
    )
