"""States of partitions, made and taken up under the rules and the key of the settings."""

from collections.abc import Mapping

from stream.core.buckets import Calendar
from stream.core.partition import Partition
from stream.core.pseudonyms import OtherKeyError, Pseudonyms
from stream.core.records import TopicPartition
from stream.errors import UserError
from stream.id_key import load_id_key
from stream.settings import Settings


class Cores:
    """Makes states that may be compared with one another. Raises SettingsError."""

    def __init__(self, settings: Settings) -> None:
        self.rules = settings.rules()
        self._calendar = Calendar(self.rules.timezone)
        self._id_key = load_id_key(settings.id_key_file)
        self.pseudonyms = Pseudonyms(self._id_key.key)

    def new(self, topic: str) -> Partition:
        """The state before the first record; `topic` has no prefix."""
        return Partition(topic, self.rules, self._calendar, self.pseudonyms)

    def load(self, place: TopicPartition, entries: Mapping[bytes, bytes]) -> Partition:
        """The state that a ledger holds. Raises UserError where it is of no use."""
        core = self.new(place.topic)
        try:
            core.load(entries)
        except OtherKeyError as error:
            raise UserError(
                f"{place}: {error}: copy the key file of the worker that "
                f"was first to {self._id_key.path} (STREAM_ID_KEY_FILE), or run `stream rebuild` "
                "to count all topics again"
            ) from None
        except ValueError as error:
            raise UserError(
                f"{place}: {error}; go back to the rules it was made "
                "with, or run `stream rebuild` to count all topics again"
            ) from None
        return core
