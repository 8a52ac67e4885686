"""What time it is. The core never asks: who folds or reads is given a time, or a clock."""

import time


def wall_clock_ms() -> int:
    """The machine's time in epoch milliseconds; it may step either way."""
    return time.time_ns() // 1_000_000
