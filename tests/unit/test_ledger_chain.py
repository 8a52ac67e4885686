"""Which records of a log count, and which logs are refused."""

from collections.abc import Iterable, Mapping

import msgspec
import pytest

from stream.engine import ledger_records
from stream.engine.ledger_chain import CUT_ANYWHERE, CUT_INSIDE, NO_LEDGER, Chain
from stream.engine.ledger_records import FORMAT, Kind, Mark, encode_claim, encode_flush

A, B = b"owner-a", b"owner-b"
BEGINS, ENDS, NONE = Mark.ROUND_BEGINS, Mark.ROUND_ENDS, Mark.NONE


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_records, "MAX_PART_ENTRIES", 2)


def flush(
    nonce: bytes,
    version: int,
    from_: int,
    next_: int,
    entries: Mapping[bytes, bytes | None],
    mark: Mark = NONE,
) -> list[bytes]:
    return list(encode_flush(nonce, version, from_, next_, entries, mark))


def letters(text: str, value: bytes = b"1") -> dict[bytes, bytes | None]:
    return {letter.encode(): value for letter in text}


def read(records: Iterable[bytes | None], start: int = 0) -> Chain:
    chain = Chain()
    for offset, record in enumerate(records, start):
        chain.apply(offset, record)
    return chain


def test_an_empty_log_is_an_empty_state() -> None:
    chain = read([encode_claim(A)])
    assert (chain.entries, chain.next, chain.version, chain.owner) == ({}, None, 0, A)
    assert chain.fault is None


def test_flushes_add_up() -> None:
    log = [encode_claim(A)]
    log += flush(A, 1, 100, 110, letters("abc"))
    log += flush(A, 2, 110, 120, {b"a": None, b"b": b"2"})
    chain = read(log)
    assert chain.entries == {b"b": b"2", b"c": b"1"}
    assert (chain.next, chain.version, chain.position, chain.ignored) == (120, 2, 4, 0)


def test_half_a_flush_counts_for_nothing() -> None:
    log = [encode_claim(A), *flush(A, 1, 0, 10, letters("a"))]
    log += flush(A, 2, 10, 20, letters("bcd"))[:1]
    assert read(log).entries == {b"a": b"1"}


def test_half_a_flush_is_void_once_another_claims() -> None:
    first, second = flush(A, 1, 0, 10, letters("abc"))
    chain = read([encode_claim(A), first, encode_claim(B), second])
    assert (chain.entries, chain.next) == ({}, None)


def test_half_a_flush_is_no_part_of_the_next_owners() -> None:
    first, _ = flush(A, 1, 0, 10, letters("abc"))
    chain = read([encode_claim(A), first, encode_claim(B), *flush(B, 1, 0, 10, letters("xyz"))])
    assert chain.entries == letters("xyz")


def test_a_part_sent_twice_does_not_void_its_flush() -> None:
    one, two, three = flush(A, 1, 0, 10, letters("abcde"))
    for log in ([one, one, two, two, three, three], [one, two, one, three]):
        chain = read([encode_claim(A), *log])
        assert chain.entries == letters("abcde")
        assert chain.next == 10


def test_a_claim_sent_twice_does_not_void_the_flush_around_it() -> None:
    one, two = flush(A, 1, 0, 10, letters("abc"))
    assert read([encode_claim(A), one, encode_claim(A), two]).entries == letters("abc")


def test_an_old_flush_sent_again_does_not_bring_old_values_back() -> None:
    old = flush(A, 1, 10, 10, letters("a", b"old"))
    new = flush(A, 2, 10, 10, letters("a", b"new"))
    chain = read([encode_claim(A), *old, *new, *old])
    assert chain.entries == {b"a": b"new"}
    assert chain.ignored == 1


def test_a_zombie_is_ignored() -> None:
    log = [encode_claim(A), *flush(A, 1, 0, 10, letters("a")), encode_claim(B)]
    log += flush(A, 2, 10, 20, letters("a", b"zombie"))
    log += flush(B, 2, 10, 20, letters("b"))
    assert read(log).entries == letters("ab")


def test_a_claim_that_lands_again_late_gives_its_holder_no_outdated_flush() -> None:
    log = [encode_claim(A), encode_claim(B), *flush(B, 1, 10, 10, letters("a", b"settled"))]
    log += [encode_claim(A), *flush(A, 1, 10, 20, letters("a", b"outdated"))]
    assert read(log).entries == {b"a": b"settled"}


@pytest.mark.parametrize(("from_", "next_"), [(0, 20), (11, 20), (10, 9), (9, 10)])
def test_the_state_is_continued_where_it_stands_and_never_backwards(from_: int, next_: int) -> None:
    log = [encode_claim(A), *flush(A, 1, 0, 10, letters("a"))]
    chain = read([*log, *flush(A, 2, from_, next_, letters("b"))])
    assert (chain.next, chain.entries) == (10, letters("a"))


def test_a_missing_record_ends_the_chain() -> None:
    log = [encode_claim(A), *flush(A, 1, 0, 10, letters("a"))]
    log += [*flush(A, 3, 20, 30, letters("c")), *flush(A, 4, 30, 40, letters("d"))]
    chain = read(log)
    assert (chain.next, chain.ignored) == (10, 2)


# --- a log that was cut ---------------------------------------------------------------------------


def rounds() -> list[bytes]:
    """Two rounds; the second begins at offset 3 and ends at 6."""
    log = [encode_claim(A)]
    log += flush(A, 1, 0, 10, letters("ab"), BEGINS)
    log += flush(A, 2, 10, 20, letters("c"), ENDS)
    log += flush(A, 3, 20, 30, letters("cde", b"2"), BEGINS)
    log += flush(A, 4, 30, 40, {b"a": b"3"})
    log += flush(A, 5, 40, 50, {b"b": b"3"}, ENDS)
    return [*log, encode_claim(B)]


def test_a_log_cut_where_a_round_began_stands_for_the_same_state() -> None:
    whole, cut = read(rounds()), read(rounds()[3:], start=3)
    assert cut.fault is None
    assert cut.entries == whole.entries == letters("cde", b"2") | letters("ab", b"3")
    for name in ("next", "version", "owner", "position"):
        assert getattr(cut, name) == getattr(whole, name)


@pytest.mark.parametrize("start", [2, 4, 5, 6, 7])
def test_a_log_cut_anywhere_else_is_refused(start: int) -> None:
    assert read(rounds()[start:], start).fault == CUT_ANYWHERE


def test_a_log_cut_inside_its_only_snapshot_is_refused() -> None:
    assert read(rounds()[3:6], start=3).fault == CUT_INSIDE


def test_a_round_that_nobody_ended_is_no_snapshot() -> None:
    log = [*flush(A, 3, 20, 30, letters("a"), BEGINS), encode_claim(B)]
    log += flush(B, 4, 30, 40, letters("b"), BEGINS | ENDS)
    assert read(log, start=5).fault == CUT_INSIDE


def test_a_round_may_begin_and_end_in_one_flush() -> None:
    chain = read(flush(A, 3, 20, 30, letters("abc"), BEGINS | ENDS), start=5)
    assert (chain.fault, chain.entries, chain.next) == (None, letters("abc"), 30)


def test_a_cut_below_the_position_begins_the_state_anew() -> None:
    chain = read(flush(A, 1, 0, 10, letters("x"), BEGINS)[:1], start=2)
    for offset, record in enumerate(rounds()[3:], 7):
        chain.apply(offset, record)
    assert chain.fault is None
    assert chain.entries == read(rounds()).entries


def test_a_resumed_chain_moves_only_when_somebody_flushed() -> None:
    chain = Chain.resumed(9, A, 4, 40)
    chain.apply(9, encode_claim(B))
    assert (chain.version, chain.fault) == (4, None)
    for offset, record in enumerate(flush(B, 5, 40, 40, {}), 10):
        chain.apply(offset, record)
    assert chain.version == 5


# --- what cannot be read -----------------------------------------------------------------------


def foreign(kind: int, format_: int = FORMAT + 1, nonce: bytes = A) -> bytes:
    return msgspec.msgpack.encode([format_, kind, nonce, "unknown", "to", "us"])


@pytest.mark.parametrize(("format_", "age"), [(FORMAT - 1, "older"), (FORMAT + 1, "newer")])
def test_a_flush_of_another_format_is_refused(format_: int, age: str) -> None:
    chain = read([encode_claim(A), foreign(Kind.FLUSH, format_), encode_claim(B)])
    assert chain.fault is not None
    assert age in chain.fault
    assert str(format_) in chain.fault


def test_a_claim_of_another_format_takes_the_partition_and_no_more() -> None:
    log = [encode_claim(A), *flush(A, 1, 0, 10, letters("a")), foreign(Kind.CLAIM, nonce=B)]
    chain = read([*log, *flush(A, 2, 10, 20, letters("b"))])
    assert (chain.fault, chain.owner, chain.entries) == (None, B, letters("a"))


def test_a_flush_of_another_format_by_a_zombie_is_ignored() -> None:
    assert read([encode_claim(A), foreign(Kind.FLUSH, nonce=B)]).fault is None


def test_a_kind_that_is_not_known_is_refused() -> None:
    assert read([encode_claim(A), foreign(9, FORMAT)]).fault is not None


@pytest.mark.parametrize("record", [None, b"", b'{"event_id": "1"}'])
def test_what_is_no_ledger_is_refused(record: bytes | None) -> None:
    assert read([encode_claim(A), record]).fault == NO_LEDGER


def test_a_damaged_flush_is_refused() -> None:
    damaged = msgspec.msgpack.encode([FORMAT, Kind.FLUSH, A])
    assert read([encode_claim(A), damaged]).fault == NO_LEDGER


def test_after_a_fault_nothing_counts() -> None:
    log = [encode_claim(A), foreign(9, FORMAT), *flush(A, 1, 0, 10, letters("a"))]
    assert read(log).entries == {}


def test_foreign_records_in_a_ledger_are_passed_over_and_counted() -> None:
    one, two = flush(A, 1, 0, 10, letters("abc"))
    chain = read([encode_claim(A), one, None, b"", two, b"?"])
    assert (chain.fault, chain.entries, chain.foreign) == (None, letters("abc"), 3)


def test_a_cut_log_that_begins_with_a_foreign_record_is_refused() -> None:
    assert read([b"?", *rounds()[3:]], start=2).fault == CUT_ANYWHERE


# --- a fresh start -----------------------------------------------------------------------------


def test_a_fresh_claim_voids_the_state_and_every_fault() -> None:
    log = [encode_claim(A), *flush(A, 1, 0, 10, letters("a")), b"?"]
    log += [encode_claim(B, fresh=True)]
    chain = read([*log, *flush(B, chain_version(log) + 1, 5, 6, letters("b"))])
    assert (chain.entries, chain.next, chain.fault) == (letters("b"), 6, None)


def test_a_fresh_claim_makes_a_version_greater_than_any_before() -> None:
    log = [encode_claim(A)]
    for version in range(1, 4):
        log += flush(A, version, version, version + 1, {})
    assert chain_version([*log, encode_claim(B, fresh=True)]) > 3


def test_a_log_may_begin_with_a_fresh_claim() -> None:
    assert read([encode_claim(A, fresh=True)], start=8).fault is None


def test_a_log_cut_at_a_plain_claim_is_refused() -> None:
    assert read([encode_claim(A)], start=8).fault == CUT_ANYWHERE


def chain_version(log: Iterable[bytes]) -> int:
    return read(log).version
