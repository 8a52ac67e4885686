"""Aimed kills: makes a worker of a chaos run end, or stop, at a chosen point of its work.

Python imports this by itself in a process that has its folder on PYTHONPATH; the product knows
nothing of it. The points are calls between the worker's parts. A point is armed from outside by
writing `POINT SKIP SIGNAL` into the file that CHAOS_AIM names; who passes that point the
(SKIP + 1)-th time takes the file away and sends itself the signal; 0 raises an exception there.
"""

import asyncio
import importlib.abc
import importlib.util
import os
import sys
from functools import wraps
from pathlib import Path

AIM = os.environ.get("CHAOS_AIM")


def passing(point: str) -> int | None:
    """The signal that is due at this point, if any."""
    try:
        wanted, skip, number = Path(str(AIM)).read_text().split()
    except (OSError, ValueError):
        return None
    if wanted != point:
        return None
    if int(skip) > 0:
        Path(str(AIM)).write_text(f"{wanted} {int(skip) - 1} {number}")
        return None
    Path(str(AIM)).unlink(missing_ok=True)
    return int(number)


def strike(point: str) -> None:
    number = passing(point)
    if number == 0:
        raise RuntimeError(f"struck at {point}")
    if number is not None:
        os.kill(os.getpid(), number)


def strike_soon(point: str) -> None:
    """In the midst of what begins now: 1 ms later, from the event loop."""
    number = passing(point)
    if number is not None:
        asyncio.get_running_loop().call_later(0.001, os.kill, os.getpid(), number)


def around(owner, name, before=None, after=None, act=strike):
    """Make a coroutine method pass a point before it begins, or after it has ended well."""
    method = getattr(owner, name)

    @wraps(method)
    async def wrapped(*args, **kwargs):
        if before:
            act(before)
        result = await method(*args, **kwargs)
        if after:
            act(after)
        return result

    setattr(owner, name, wrapped)


def patch() -> None:
    from stream.engine.faust import FaustApp, _ConsumerThread
    from stream.engine.kafka_log import KafkaLog
    from stream.engine.ledger import Ledger
    from stream.live.projection import Projection
    from stream.worker import Worker

    around(Ledger, "flush", before="before-ledger", after="after-ledger")
    around(Ledger, "_append", after="after-append")
    around(KafkaLog, "append", before="in-send", act=strike_soon)
    around(KafkaLog, "read", before="in-recovery")
    around(KafkaLog, "read", before="in-recovery-read", act=strike_soon)
    around(Projection, "_take_step", before="before-redis", after="after-redis")
    around(Projection, "_call", after="in-rewrite")
    around(FaustApp, "commit", before="before-commit", after="after-commit")
    around(FaustApp, "set_positions", before="before-seek")
    around(_ConsumerThread, "fetch", before="in-fetch")
    revoke = Worker.revoke

    @wraps(revoke)
    def revoked(self, partitions):
        strike("in-revoke")
        revoke(self, partitions)
        strike("after-revoke")

    setattr(Worker, "revoke", revoked)  # noqa: B010 - said to be a method, not a variable


class Hook(importlib.abc.MetaPathFinder):
    """Patches once the worker's module has been read."""

    def find_spec(self, name, path, target=None):
        if name != "stream.worker":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.loader is not None
        run = spec.loader.exec_module

        def run_and_patch(module):
            run(module)
            patch()

        setattr(spec.loader, "exec_module", run_and_patch)  # noqa: B010
        return spec


if AIM:
    sys.meta_path.insert(0, Hook())
