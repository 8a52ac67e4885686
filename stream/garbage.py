"""Garbage collection in processes that hold much and make few cycles."""

import gc

_YOUNG, _MIDDLE, _OLD = 10_000, 100, 20


def collect_nothing() -> None:
    """Call it before a process imports what it consists of, which is all kept."""
    gc.disable()


def collect_rarely() -> None:
    """Call it once that is imported; it is never looked through again.

    Nearly all that a worker or a server makes is freed by counting references. With Python's
    thresholds the collector would go through what is alive for every 700 objects more: that is a
    tenth of the time of a fold of tickets, and pauses that grow with the state.
    """
    gc.freeze()
    gc.set_threshold(_YOUNG, _MIDDLE, _OLD)
    gc.enable()
