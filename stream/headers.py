"""Headers of every HTTP answer, the server's and the worker's: what a browser may do with it.

Nothing but what comes from the same origin is run, shown or asked; nobody frames it.
"""

from collections.abc import Mapping

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "font-src 'self'; connect-src 'self'; worker-src 'self'; manifest-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
HSTS = {"Strict-Transport-Security": "max-age=31536000"}
"""Over TLS only: come back over TLS, for a year."""


def headers_of(*, tls: bool) -> dict[str, str]:
    """All of them."""
    return {**HEADERS, **(HSTS if tls else {})}
