"""Free ports on loopback."""

import random
import socket

_FIRST, _LAST = 20_000, 31_999  # below the range the kernel gives to clients, so a restart finds
_random = random.SystemRandom()  # its port free again


def free_port() -> int:
    """A port that nobody listens on just now."""
    for _ in range(200):
        port = _random.randint(_FIRST, _LAST)
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError(f"no free port between {_FIRST} and {_LAST}")
