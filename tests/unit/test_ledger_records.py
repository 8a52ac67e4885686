"""The form of the ledger's records."""

from collections.abc import Mapping

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.engine import ledger_records
from stream.engine.ledger_records import (
    FORMAT,
    FlushPart,
    Kind,
    Mark,
    claimant,
    decode_claim,
    decode_head,
    decode_part,
    encode_claim,
    encode_flush,
    writer,
)

NONCE = b"nonce-of-one"


def parts_of(entries: Mapping[bytes, bytes | None]) -> list[FlushPart]:
    parts = [decode_part(record) for record in encode_flush(NONCE, 7, 10, 20, entries)]
    return [part for part in parts if part is not None]


def test_a_claim_names_its_holder() -> None:
    record = encode_claim(NONCE)
    claim = decode_claim(record)
    assert claim is not None
    assert (claim.nonce, claim.fresh) == (NONCE, False)
    assert claimant(record) == writer(record) == NONCE


def test_a_fresh_claim_says_so() -> None:
    claim = decode_claim(encode_claim(NONCE, fresh=True))
    assert claim is not None
    assert claim.fresh


def test_a_flush_says_whose_it_is_and_where_it_leads() -> None:
    (record,) = encode_flush(NONCE, 7, 10, 20, {b"a": b"1", b"b": None}, Mark.ROUND_BEGINS)
    part = decode_part(record)
    assert part is not None
    assert (part.nonce, part.version, part.from_, part.next) == (NONCE, 7, 10, 20)
    assert (part.index, part.count, part.mark) == (0, 1, Mark.ROUND_BEGINS)
    assert (part.puts, part.deletes) == ({b"a": b"1"}, [b"b"])
    assert claimant(record) is None
    assert writer(record) == NONCE


def test_a_flush_without_entries_is_one_record() -> None:
    (part,) = parts_of({})
    assert (part.puts, part.deletes, part.count) == ({}, [], 1)


@given(
    entries=st.dictionaries(st.binary(max_size=4), st.none() | st.binary(max_size=9)),
    most=st.integers(1, 5),
    most_bytes=st.integers(1, 30),
)
def test_parts_hold_all_entries_within_their_limits(
    entries: dict[bytes, bytes | None], most: int, most_bytes: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ledger_records, "MAX_PART_ENTRIES", most)
        patch.setattr(ledger_records, "MAX_PART_BYTES", most_bytes)
        parts = parts_of(entries)
    found: dict[bytes, bytes | None] = {}
    for index, part in enumerate(parts):
        assert (part.index, part.count) == (index, len(parts))
        keys = [*part.puts, *part.deletes]
        assert len(keys) <= most
        size = sum(map(len, keys)) + sum(map(len, part.puts.values()))
        assert size <= most_bytes or len(keys) == 1
        found |= part.puts
        found |= dict.fromkeys(part.deletes)
    assert found == entries


def test_the_head_is_readable_in_every_format() -> None:
    record = msgspec.msgpack.encode([FORMAT + 5, Kind.CLAIM, NONCE, "what", {"comes": "next"}])
    head = decode_head(record)
    assert head is not None
    assert (head.format, head.kind, head.nonce) == (FORMAT + 5, Kind.CLAIM, NONCE)
    assert claimant(record) == NONCE


@pytest.mark.parametrize("record", [None, b"", b"{}", b'{"event_id":"1"}', b"\x93\x01"])
def test_what_is_no_ledger_record_has_no_head(record: bytes | None) -> None:
    assert decode_head(record) is None
    assert claimant(record) is None
    assert writer(record) is None


def test_damaged_records_are_told_from_sound_ones() -> None:
    head_only = msgspec.msgpack.encode([FORMAT, Kind.FLUSH, NONCE])
    assert decode_part(head_only) is None
    assert decode_claim(msgspec.msgpack.encode([FORMAT, Kind.CLAIM, NONCE, "yes"])) is None
