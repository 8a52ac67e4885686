"""Stopping in good order: signals become an event, and work and waits end once it is set."""

import asyncio
import signal
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stop_on_signals() -> Iterator[asyncio.Event]:
    """An event that the first Ctrl-C or SIGTERM sets; the next one ends the program as usual.

    Inside a running loop, in the main thread.
    """
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def let_go() -> None:
        for number in SIGNALS:
            loop.remove_signal_handler(number)

    def first() -> None:
        stop.set()
        let_go()

    for number in SIGNALS:
        loop.add_signal_handler(number, first)
    try:
        yield stop
    finally:
        let_go()


async def wait_at_most(event: asyncio.Event, timeout_s: float) -> None:
    """Wait until the event is set, or so long."""
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        return


async def finishes(
    work: Coroutine[Any, Any, object], stop: asyncio.Event, patience_s: float = 0.0
) -> bool:
    """Await `work`; once `stop` is set, only `patience_s` longer. False where it was cut off."""
    working = asyncio.create_task(work)
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait({working}, timeout=patience_s)
        if not working.done():
            return False
        working.result()
        return True
    finally:
        working.cancel()
        stopping.cancel()
        await asyncio.gather(working, stopping, return_exceptions=True)
