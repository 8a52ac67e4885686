"""What time it is at the brokers, as far as it can be vouched for. Never ahead of them.

A broker's answer says it now and then; in between, this machine's steady clock carries it on. The
wall clock is asked only where no broker says the time, and only once: whatever it does afterwards
(a step by hours, there or back) settles nothing too early.
"""

import time
from collections.abc import Callable

from stream.clock import wall_clock_ms

FAST = 10_000
"""A steady clock gains less than one part in so many."""


class BrokerClock:
    """A broker's time, at first by the wall clock."""

    def __init__(
        self,
        stamp: tuple[int, float] | None = None,
        *,
        wall_ms: Callable[[], int] = wall_clock_ms,
        steady_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._steady_s = steady_s
        self._at_ms, self._since_s = stamp or (wall_ms(), steady_s())

    def hear(self, stamp: tuple[int, float] | None) -> None:
        """Take a broker's time (ms), and the steady clock (s) when it had been told."""
        if stamp is not None:
            self._at_ms, self._since_s = stamp

    def now_ms(self) -> int:
        """The brokers' time is this or later."""
        passed_ms = int((self._steady_s() - self._since_s) * 1000)
        return self._at_ms + passed_ms - passed_ms // FAST
