"""Records of marks: what they hold comes back, and nobody reads an event id in them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.arrivals import sealing
from stream.core.columns import column_of
from stream.core.marks import KINDS, Mark, pack, pack_plain, unpack
from stream.core.pseudonyms import Pseudonyms

AT_MS, LABEL, SESSION = 1_760_000_000_123, 7, -5
UUID = "0f8fad5b-d9cb-469f-a165-70867728950e"
IDS = [
    UUID,
    UUID.upper(),
    UUID.replace("-", ""),
    UUID[:-1] + "g",
    "0f8fad5bd9cb-469fa165-70867728950e--",
    "e1",
    "x" * 64,
    "ü" * 64,
    "🎟" * 64,
]
SEAL = sealing(Pseudonyms(bytes(32)), b"i-visitor")


def mark(event_id, **fields):
    known = {"at_ms": AT_MS, "kind": KINDS["action"], "session": SESSION, "label": LABEL}
    return Mark(**(known | fields), event_id=event_id)


@pytest.mark.parametrize("event_id", IDS)
def test_a_record_is_read_as_it_was_written_and_does_not_show_its_id(event_id):
    marks = [
        mark(event_id),
        mark(event_id, at_ms=-1, kind=KINDS["conversion"], value_micros=-(10**18)),
        mark(event_id, label=2**31, session=0),
    ]
    packed = pack(marks, LABEL, SESSION, SEAL)
    assert unpack(packed, LABEL, SESSION, SEAL) == marks
    short = event_id.replace("-", "")
    shown = [event_id.encode(), event_id[:8].encode() if len(event_id) > 8 else b"?"]
    if all(digit in "0123456789abcdef" for digit in short) and len(short) == 32:
        shown.append(bytes.fromhex(short))
    assert not any(part in packed for part in shown)


@pytest.mark.parametrize(
    "event_ids",
    [
        [UUID],
        [UUID, IDS[3], UUID[::-1]],
        IDS[2:3] * 3,
        IDS,
        [UUID, UUID, UUID + "0"],
        [IDS[2], IDS[2] * 2, IDS[2]],
    ],
)
def test_many_records_at_once_are_those_one_by_one_unless_they_are_rare(event_ids):
    size = len(event_ids)
    at_ms, kinds = np.arange(size) + AT_MS, np.arange(size) % 5

    def masks():
        zeros = bytes(16)
        return b"".join(SEAL(zeros, at) for at in at_ms.tolist())

    records, is_rare = pack_plain(column_of(event_ids), at_ms, kinds, masks)
    for n, event_id in enumerate(event_ids):
        one = mark(event_id, at_ms=int(at_ms[n]), kind=int(kinds[n]))
        if not is_rare[n]:
            assert records[n] == pack([one], LABEL, SESSION, SEAL)
    assert not is_rare[0]


@st.composite
def alike(draw):
    """Event ids of one length, with a character here and there that is none of a UUID's."""
    usual, found = draw(st.sampled_from([UUID, IDS[2]])), []
    for _ in range(draw(st.integers(1, 4))):
        place, other = draw(st.integers(0, len(usual) - 1)), draw(st.sampled_from("0a-gA/:`ü"))
        found.append(draw(st.sampled_from([usual, usual[:place] + other + usual[place + 1 :]])))
    return found


@given(alike())
def test_of_ids_that_are_alike_those_are_rare_that_are_none_of_a_uuid(event_ids):
    at_ms, kinds = np.arange(len(event_ids)) + AT_MS, np.arange(len(event_ids)) % 5
    blank = bytes(16)
    records, is_rare = pack_plain(
        column_of(event_ids),
        at_ms,
        kinds,
        lambda: b"".join(SEAL(blank, at) for at in at_ms.tolist()),
    )
    for n, event_id in enumerate(event_ids):
        one = mark(event_id, at_ms=int(at_ms[n]), kind=int(kinds[n]))
        if is_rare[n]:
            assert event_id not in (UUID, IDS[2]) or not "".join(event_ids).isascii()
        else:
            assert unpack(records[n], LABEL, SESSION, SEAL) == [one]


@pytest.mark.parametrize(("event_id", "size"), [(UUID, 25), (IDS[2], 25), ("e1", 13)])
def test_a_record_is_as_small_as_what_it_holds(event_id, size):
    assert len(pack([mark(event_id)], LABEL, SESSION, SEAL)) == size
    assert len(pack([mark(event_id, label=9)], LABEL, SESSION, SEAL)) == size + 12
    assert len(pack([mark(event_id, value_micros=1)], LABEL, SESSION, SEAL)) == size + 8


def test_a_seal_opens_under_its_key_for_its_visitor_and_instant_only():
    sealed = SEAL(b"event-1", AT_MS)
    assert SEAL(sealed, AT_MS) == b"event-1"
    others = sealing(Pseudonyms(bytes(31)), b"i-visitor"), sealing(Pseudonyms(bytes(32)), b"i-v2")
    assert b"event-1" not in [SEAL(sealed, AT_MS + 1), *(seal(sealed, AT_MS) for seal in others)]
