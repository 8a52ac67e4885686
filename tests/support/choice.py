"""Chooses the services of a run, starts each once, and can tell afterwards which were taken.

Outside CI a missing kind is passed over; in CI (`CI` set) only Docker may be missing.
"""

import os
from collections.abc import Callable

import pytest

from tests.support.brokers import KAFKA_KINDS, open_kafka
from tests.support.keeper import Keeper
from tests.support.services import MissingError, Service
from tests.support.stores import REDIS_KINDS, open_redis

Opener = Callable[[str, Keeper], Service]


def in_ci() -> bool:
    """Whether nothing but Docker may be missing."""
    return os.environ.get("CI", "").lower() not in ("", "0", "false")


class Choice:
    """The services of this run: one of each kind at most."""

    def __init__(self) -> None:
        self._keeper: Keeper | None = None
        self._open: dict[tuple[str, str], Service | MissingError] = {}

    @property
    def keeper(self) -> Keeper:
        """The thread that servers and processes are started from."""
        if self._keeper is None:
            self._keeper = Keeper()
        return self._keeper

    def kafka(self, kind: str) -> Service:
        """The broker of this kind, running; skips where there is none."""
        return self._take("kafka", kind, open_kafka)

    def redis(self, kind: str) -> Service:
        """The store of this kind, running; skips where there is none."""
        return self._take("redis", kind, open_redis)

    def best_kafka(self) -> Service:
        """Docker's where an engine answers, else Apache Kafka, else (not in CI) the embedded."""
        return self._best("kafka", KAFKA_KINDS, open_kafka)

    def best_redis(self) -> Service:
        """The same for the store."""
        return self._best("redis", REDIS_KINDS, open_redis)

    def revive(self) -> None:
        """Start again what a test has left dead."""
        for service in self._open.values():
            if not isinstance(service, MissingError) and not service.running:
                service.start()

    def close(self) -> None:
        for service in self._open.values():
            if not isinstance(service, MissingError):
                service.close()
        if self._keeper is not None:
            self._keeper.close()

    def summary(self) -> list[str]:
        """One line for each role: what was taken, what was missing and why."""
        lines = []
        for role in ("kafka", "redis"):
            kinds = {k: s for (r, k), s in self._open.items() if r == role}
            taken = [s.about for s in kinds.values() if not isinstance(s, MissingError)]
            missed = [f"{k} ({s})" for k, s in kinds.items() if isinstance(s, MissingError)]
            if kinds:
                tail = f"; not taken: {', '.join(missed)}" if missed else ""
                lines.append(f"{role}: {', '.join(taken) or 'none'}{tail}")
        return lines

    def _take(self, role: str, kind: str, opener: Opener) -> Service:
        service = self._look_up(role, kind, opener)
        if isinstance(service, MissingError):
            pytest.skip(str(service))
        service.start()
        return service

    def _best(self, role: str, kinds: tuple[str, ...], opener: Opener) -> Service:
        reasons = []
        for kind in kinds:
            service = self._look_up(role, kind, opener)
            if isinstance(service, MissingError):
                reasons.append(f"{kind}: {service}")
            elif kind == "embedded" and in_ci():
                break
            else:
                service.start()
                return service
        pytest.skip(f"no {role}: " + "; ".join(reasons))

    def _look_up(self, role: str, kind: str, opener: Opener) -> Service | MissingError:
        if (role, kind) not in self._open:
            try:
                self._open[role, kind] = opener(kind, self.keeper)
            except MissingError as error:
                self._open[role, kind] = error
        return self._open[role, kind]
