"""Which launches a launch is compared with, and their profiles.

Those hardly change: they are read anew once a minute, and older ones every ten minutes.
"""

from itertools import islice

from stream.core.durations import HOUR_MS, MINUTE_MS
from stream.core.launches import LaunchId
from stream.launch.answer import Ask, Earlier, UnknownLaunchError
from stream.launch.cells import Reader
from stream.launch.profile import Profile
from stream.live.launch_book import Launch, LaunchBook
from stream.live.view import View

COMPARED = 5
LISTED = 50
_READINGS_KEPT = 64
_OLD_MS = 26 * HOUR_MS


class Comparison:
    """Chooses and reads launches."""

    def __init__(self, view: View, book: LaunchBook) -> None:
        self._view, self._book = view, book
        self._readings: dict[tuple[object, ...], Profile] = {}

    def choose(
        self, ask: Ask, launch: Launch, moment_ms: int, now_ms: int, horizon: int
    ) -> list[Earlier]:
        """Launches to compare with, the latest first; chosen are the last five or those asked for.

        Launches that have not yet come as far as is looked ahead (`horizon`, in minutes) say less:
        others are chosen first. Raises UnknownLaunchError.
        """
        every = self._book.all()
        before = [e for e in every if e.id.at_ms < launch.id.at_ms][::-1]
        if ask.compare is None:
            ripe_ms = moment_ms - horizon * MINUTE_MS
            ranked = sorted(before, key=lambda each: each.id.at_ms > ripe_ms)
            counted = (e.id for e in ranked[:LISTED] if self._is_counted(e, moment_ms, now_ms))
            chosen = set(islice(counted, COMPARED))
        else:
            chosen = {self._find(name, at_ms) for name, at_ms in ask.compare} - {launch.id}
        listed = {each.id for each in before[:LISTED]} | chosen
        return [
            self._describe(each, each.id in chosen, moment_ms)
            for each in reversed(every)
            if each.id in listed
        ]

    def profile(self, launch: LaunchId, moment_ms: int, now_ms: int) -> Profile:
        """What another launch had come to by a moment."""
        grain_ms = MINUTE_MS if moment_ms - launch.at_ms < _OLD_MS else 10 * MINUTE_MS
        moment, now = (ms // grain_ms * grain_ms for ms in (moment_ms, now_ms))
        key = (launch, moment, now, self._book.version, self._view.calendar.zone)
        known = self._readings.get(key)
        if known is None:
            if len(self._readings) >= _READINGS_KEPT:
                self._readings.clear()
            known = Reader(self._view, self._book, launch, moment, now).read().profile
            self._readings[key] = known
        return known

    def _is_counted(self, launch: Launch, moment_ms: int, now_ms: int) -> bool:
        """Whether anything is known of a launch: it may have been before all that was counted."""
        profile = self.profile(launch.id, moment_ms, now_ms)
        return bool(profile.total("impressions") or profile.total("sessions"))

    def _find(self, name: str, at_ms: int | None) -> LaunchId:
        if at_ms is None:
            current = self._book.current(name)
            if current is not None:
                return current.id
        elif any(each.id.at_ms == at_ms for each in self._book.launches(name)):
            return LaunchId(name, at_ms)
        raise UnknownLaunchError(f"there is no launch of '{name}' to compare with")

    def _describe(self, launch: Launch, chosen: bool, moment_ms: int) -> Earlier:
        known = max(0.0, (moment_ms - launch.id.at_ms) / MINUTE_MS)
        return Earlier(launch, self._book.describe(launch.id.campaign), chosen, known)
