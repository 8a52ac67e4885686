"""Active sessions: those that are open and had an interaction in the last five minutes."""

from stream.core.catalogue import LIVE, METRICS, SESSIONS
from stream.live.view import View
from stream.live.windows import Window

ACTIVE = SESSIONS.index["active"]
_WINDOW_MS = 300_000


def active_window(view: View, now_ms: int) -> Window | None:
    """The window whose field `ACTIVE` counts them."""
    return view.window(METRICS["conversion_rate"], _WINDOW_MS, LIVE, now_ms)


def active_sessions(view: View, now_ms: int) -> int:
    """How many there are."""
    window = active_window(view, now_ms)
    return 0 if window is None else int(window.counts.field(ACTIVE).sum())
