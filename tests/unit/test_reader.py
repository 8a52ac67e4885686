"""A picture that lies behind the one that is shown is not taken up; any other one is."""

import pytest

from stream.core.records import TopicPartition
from stream.live.feed import Cursor, Loaded
from stream.live.keys import PartitionKeys
from stream.live.picture import Picture
from stream.live.reader import _lies_behind, _Place
from tests.support.read_model import info_of

PLACE = TopicPartition("clicks", 0)


def loaded(ledger: bytes, epoch: int, through: int) -> Loaded:
    info = info_of("clicks", through=through)
    return Loaded(Picture(), info, Cursor(b"1-0", "fill", 1), ledger, epoch)


def shown(ledger: bytes, epoch: int, through: int) -> _Place:
    return _Place(PartitionKeys.of("g", PLACE), shown=(ledger, epoch, through))


@pytest.mark.parametrize(
    ("epoch", "through", "behind"),
    [
        (5, 99, True),  # rolled back a little
        (4, 120, True),  # a zombie wrote on, under an older claim
        (5, 100, False),  # the same once more
        (5, 101, False),
        (6, 100, False),  # the next owner, who has not counted on yet
        (6, 90, False),  # or had to begin before where the last one stood
    ],
)
def test_of_one_ledger_only_what_is_not_older_is_shown(
    epoch: int, through: int, behind: bool
) -> None:
    assert _lies_behind(loaded(b"ledger", epoch, through), shown(b"ledger", 5, 100)) is behind


def test_another_ledger_is_shown_however_far_it_is() -> None:
    """After a rebuild or a restore all is counted anew, under claims that begin anew."""
    assert not _lies_behind(loaded(b"new", 0, 0), shown(b"old", 5, 100))


def test_whatever_comes_first_is_shown() -> None:
    assert not _lies_behind(loaded(b"ledger", 0, 0), _Place(PartitionKeys.of("g", PLACE)))
