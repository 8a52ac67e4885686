"""Waiting for something to become true."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

T = TypeVar("T")


@overload
async def eventually(
    predicate: Callable[[], Awaitable[T]],
    timeout_s: float = ...,
    *,
    interval_s: float = ...,
    what: str = ...,
) -> T: ...
@overload
async def eventually(
    predicate: Callable[[], T],
    timeout_s: float = ...,
    *,
    interval_s: float = ...,
    what: str = ...,
) -> T: ...
async def eventually(
    predicate: Callable[[], Any],
    timeout_s: float = 10.0,
    *,
    interval_s: float = 0.05,
    what: str = "",
) -> Any:
    """Call `predicate` (plain or async) until it returns something true, and return that.

    An AssertionError or OSError inside counts as "not yet". Fails with the last thing seen.
    """
    deadline_s = time.monotonic() + timeout_s
    while True:
        seen: object
        try:
            result = predicate()
            value = await result if inspect.isawaitable(result) else result
            if value:
                return value
            seen = value
        except (AssertionError, OSError) as error:
            seen = error
        if time.monotonic() >= deadline_s:
            told = what or getattr(predicate, "__name__", "it")
            raise AssertionError(f"{told} not within {timeout_s} s; last seen: {seen!r}")
        await asyncio.sleep(interval_s)
