"""Which events are repeats: the same id within the horizon, counted back from the clock."""

from tests.reference.model import Event


class Ids:
    """The ids seen, each with its latest event time."""

    def __init__(self, horizon_ms: int) -> None:
        self.horizon_ms = horizon_ms
        self.seen: dict[str, int] = {}

    def judge(self, event: Event, clock: int) -> str:
        """`counted`, `duplicate`, or `unchecked` for what is older than the horizon."""
        oldest = clock - self.horizon_ms
        if event.t < oldest:
            return "unchecked"
        if event.id in self.seen and self.seen[event.id] >= oldest:
            return "duplicate"
        return "counted"

    def remember(self, event: Event) -> None:
        """Note an event that is counted; a dead letter may be sent again under its id."""
        self.seen[event.id] = event.t
