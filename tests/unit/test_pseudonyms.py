"""Ids are kept as keyed hashes: the same under one key, unlinkable under another."""

import pytest

from stream.core.pseudonyms import ID_BYTES, Pseudonyms

KEY, OTHER = bytes(range(32)), bytes(range(1, 33))


def test_an_id_has_one_pseudonym_under_one_key():
    assert Pseudonyms(KEY).of("v1") == Pseudonyms(KEY).of("v1")
    assert Pseudonyms(KEY).of("v1") != Pseudonyms(KEY).of("v2")


def test_under_another_key_everything_differs():
    ours, theirs = Pseudonyms(KEY), Pseudonyms(OTHER)
    assert ours.of("v1") != theirs.of("v1")
    assert ours.fingerprint != theirs.fingerprint


def test_a_pseudonym_neither_holds_the_id_nor_tells_the_key():
    ours = Pseudonyms(KEY)
    assert len(ours.of("a very long id " * 8)) == ID_BYTES
    assert b"v1" not in ours.of("v1")
    assert bytes.fromhex(ours.fingerprint) not in KEY


@pytest.mark.parametrize("size", [0, 15, 65])
def test_a_key_that_is_too_short_or_too_long_is_refused(size):
    with pytest.raises(ValueError, match=f"has {size}"):
        Pseudonyms(bytes(size))


def test_ledgers_of_earlier_versions_are_understood():
    ours = Pseudonyms(KEY)
    assert ours.of("v1").hex() == "195c5b33cf2ab13af3692c61"
    assert ours.fingerprint == "0b8c4f410b81"
