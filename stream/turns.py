"""Turns of the event loop: what a coroutine does from one wait to the next; nothing else runs then.

Knows nothing of what they are for.
"""

import time
import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any, TypeVar

T = TypeVar("T")


@types.coroutine
def noting_turns(
    work: Coroutine[Any, Any, T], note: Callable[[float], None]
) -> Generator[Any, Any, T]:
    """Await `work`, and note the seconds of each of its turns."""
    go_on: Callable[[Any], Any] = work.send
    what: Any = None
    while True:
        began_s = time.perf_counter()
        try:
            waits_for = go_on(what)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        finally:
            note(time.perf_counter() - began_s)
        try:
            what = yield waits_for
            go_on = work.send
        except BaseException as error:  # noqa: BLE001 - a cancellation, mostly: it is for `work`
            go_on, what = work.throw, error
