"""The book of launches: what managers say of campaigns, and what is kept of launches past.

Filled from the mirrors of two compacted topics, by servers and by the worker that keeps them. Knows
nothing of Redis or of the cells of now.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from stream.core.campaigns import LONGEST_MS, Campaign, check_name, decode_campaign
from stream.core.durations import MINUTE_MS
from stream.core.launches import Head, Hour, LaunchId, decode_head, decode_hour, decode_key
from stream.live.mirror import News

_log = logging.getLogger(__name__)
NO_CAMPAIGN = Campaign()


@dataclass(frozen=True, slots=True)
class Launch:
    """A launch: declared by its manager, or found in the figures to within `grain_ms`."""

    id: LaunchId
    declared: bool
    grain_ms: int = MINUTE_MS


class LaunchBook:
    """All campaigns that were described, and all launches that are known."""

    def __init__(self) -> None:
        self.version = 0
        self.campaigns: dict[str, Campaign] = {}
        self._heads: dict[str, dict[int, Head]] = {}
        self._hours: dict[LaunchId, dict[int, bytes]] = {}
        self._decoded: dict[tuple[LaunchId, int], Hour | None] = {}
        self._listed: dict[str, list[Launch]] = {}

    # --- asking ---

    def describe(self, campaign: str) -> Campaign:
        """What its manager says of a campaign; nothing, if nobody has."""
        return self.campaigns.get(campaign, NO_CAMPAIGN)

    def names(self) -> set[str]:
        """Campaigns that were described or launched."""
        return {*self.campaigns, *self._heads, *(launch.campaign for launch in self._hours)}

    def launches(self, campaign: str) -> list[Launch]:
        """The launches of a campaign, earliest first; never two within a week.

        The declared one stands; of others so close, that of which more is kept.
        """
        if campaign not in self._listed:
            self._listed[campaign] = self._list(campaign)
        return self._listed[campaign]

    def current(self, campaign: str) -> Launch | None:
        """The launch that a campaign's page is about: the declared one, or else the last."""
        launches = self.launches(campaign)
        return next((launch for launch in launches if launch.declared), None) or (
            launches[-1] if launches else None
        )

    def all(self) -> list[Launch]:
        """Every launch, earliest first."""
        every = [launch for name in self.names() for launch in self.launches(name)]
        return sorted(every, key=lambda launch: (launch.id.at_ms, launch.id.campaign))

    def hours(self, launch: LaunchId) -> Mapping[int, bytes]:
        """The hours that are kept of a launch, as they were written."""
        return self._hours.get(launch, {})

    def kept(self) -> Iterable[LaunchId]:
        """Every launch of which anything is kept, hidden ones too."""
        found = {head.launch for heads in self._heads.values() for head in heads.values()}
        return found | self._hours.keys()

    def has_head(self, launch: LaunchId) -> bool:
        """Whether a launch was found, and that is kept."""
        return launch.at_ms in self._heads.get(launch.campaign, {})

    def hour(self, launch: LaunchId, number: int) -> Hour | None:
        """One hour that is kept; None: it is not, or cannot be read."""
        raw = self._hours.get(launch, {}).get(number)
        if raw is None:
            return None
        if (launch, number) not in self._decoded:
            self._decoded[launch, number] = _read(launch, number, raw)
        return self._decoded[launch, number]

    # --- filling ---

    def take_campaigns(self, news: News) -> None:
        """Take up what has changed of the descriptions."""
        if news.anew:
            self.campaigns.clear()
        for key, value in news.pairs.items():
            name = _name(key)
            if name is None:
                continue
            self.campaigns.pop(name, None)
            if value is not None:
                try:
                    self.campaigns[name] = decode_campaign(value)
                except ValueError as error:
                    _log.warning("campaign %r cannot be read: %s", name, error)
        self._turned()

    def take_launches(self, news: News) -> None:
        """Take up what has changed of what is kept."""
        if news.anew:
            self._heads.clear()
            self._hours.clear()
        for key, value in news.pairs.items():
            try:
                self._take(key, value)
            except ValueError as error:
                _log.warning("launch record %r cannot be read: %s", key[:200], error)
        self._turned()

    def _take(self, key: bytes, value: bytes | None) -> None:
        launch, number = decode_key(key)
        if number is None:
            heads = self._heads.setdefault(launch.campaign, {})
            heads.pop(launch.at_ms, None)
            if value is not None:
                heads[launch.at_ms] = decode_head(launch, value)
            elif not heads:
                del self._heads[launch.campaign]
            return
        hours = self._hours.setdefault(launch, {})
        hours.pop(number, None)
        if value is not None:
            hours[number] = value
        elif not hours:
            del self._hours[launch]

    def _turned(self) -> None:
        self._listed.clear()
        self._decoded.clear()
        self.version += 1

    def _list(self, campaign: str) -> list[Launch]:
        declared_ms = self.describe(campaign).launch_ms
        heads = self._heads.get(campaign, {})
        others = {at_ms for name, at_ms in self._hours if name == campaign} | heads.keys()
        ranked = sorted(others, key=lambda at: (-len(self.hours(LaunchId(campaign, at))), -at))
        kept: list[Launch] = []
        if declared_ms is not None:
            kept.append(Launch(LaunchId(campaign, declared_ms), declared=True))
        for at_ms in ranked:
            if all(abs(at_ms - launch.id.at_ms) >= LONGEST_MS for launch in kept):
                grain_ms = heads[at_ms].grain_ms if at_ms in heads else MINUTE_MS
                kept.append(Launch(LaunchId(campaign, at_ms), declared=False, grain_ms=grain_ms))
        return sorted(kept, key=lambda launch: launch.id.at_ms)


def _read(launch: LaunchId, number: int, raw: bytes) -> Hour | None:
    try:
        return decode_hour(launch, number, raw)
    except ValueError as error:
        _log.warning("hour %d of %r cannot be read: %s", number, launch, error)
        return None


def _name(key: bytes) -> str | None:
    try:
        return check_name("campaign", str(key, "utf-8"))
    except ValueError as error:
        _log.warning("campaign %r cannot be read: %s", key[:200], error)
        return None
