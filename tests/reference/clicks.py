"""What clicks and impressions count: each by itself, no state."""

from collections.abc import Iterable
from dataclasses import dataclass

from tests.reference.model import DIMENSIONS, Dims, Event, Json, read_all


@dataclass(frozen=True)
class ClickTruth:
    """One counted impression or click."""

    t: int
    dims: Dims
    impressions: int
    clicks: int
    cost_micros: int

    def fields(self) -> dict[str, int]:
        """What it adds to its cells."""
        return {
            "impressions": self.impressions,
            "clicks": self.clicks,
            "cost_micros": self.cost_micros,
        }


def click_of(event: Event) -> ClickTruth:
    """The truth of one event."""
    return ClickTruth(
        event.t,
        event.dims(DIMENSIONS["clicks"]),
        int(event.type == "impression"),
        int(event.type == "click"),
        event.money("cost"),
    )


def clicks_of(events: Iterable[Json]) -> list[ClickTruth]:
    """All events of a partition, in any order; none of them a duplicate."""
    return [click_of(event) for event in read_all("clicks", events)]
