"""Asks a part on this machine whether it works: `python -m stream.probe PORT`, for containers.

Over TLS where STREAM_HTTP_TLS_CERT is set; whose certificate it is does not matter here. Exit code
1: no good answer. Loads nothing of the rest, for it runs every few seconds.
"""

import http.client
import os
import ssl
import sys
import urllib.request

PATIENCE_S = 3.0


def works(port: int, *, tls: bool) -> bool:
    """Whether `/healthz` answers 200, and soon."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    url = f"{'https' if tls else 'http'}://127.0.0.1:{port}/healthz"
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE_S, context=context) as answer:  # noqa: S310
            return bool(answer.status == 200)
    except (OSError, http.client.HTTPException):
        return False


if __name__ == "__main__":
    sys.exit(not works(int(sys.argv[1]), tls=bool(os.environ.get("STREAM_HTTP_TLS_CERT"))))
