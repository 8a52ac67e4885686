"""Ids are kept as keyed hashes: the same under one key, unlinkable under another."""

import pytest

from stream.core.pseudonyms import ID_BYTES, Pseudonyms

SEALED = "dd2015b81ecd", "702f0e2bc669", "a0be"
KEY, OTHER = bytes(range(32)), bytes(range(1, 33))


def test_an_id_has_one_pseudonym_under_one_key():
    assert Pseudonyms(KEY).of(b"v1") == Pseudonyms(KEY).of(b"v1")
    assert Pseudonyms(KEY).of(b"v1") != Pseudonyms(KEY).of(b"v2")


def test_under_another_key_everything_differs():
    ours, theirs = Pseudonyms(KEY), Pseudonyms(OTHER)
    assert ours.of(b"v1") != theirs.of(b"v1")
    assert ours.fingerprint != theirs.fingerprint


def test_a_pseudonym_neither_holds_the_id_nor_tells_the_key():
    ours = Pseudonyms(KEY)
    assert len(ours.of(b"a very long id " * 8)) == ID_BYTES
    assert b"v1" not in ours.of(b"v1")
    assert bytes.fromhex(ours.fingerprint) not in KEY


@pytest.mark.parametrize("size", [16, 64])
def test_a_key_may_have_16_to_64_bytes(size):
    assert len(Pseudonyms(bytes(size)).of(b"v1")) == ID_BYTES


@pytest.mark.parametrize("size", [0, 15, 65])
def test_a_key_that_is_too_short_or_too_long_is_refused(size):
    with pytest.raises(ValueError, match=f"has {size}"):
        Pseudonyms(bytes(size))


def test_ledgers_of_earlier_versions_are_understood():
    ours = Pseudonyms(KEY)
    assert ours.of(b"v1").hex() == "195c5b33cf2ab13af3692c61"
    assert ours.fingerprint == "0b8c4f410b81"
    sealed = ours.seal(bytes(130), b"place")
    assert (sealed[:6].hex(), sealed[64:70].hex(), sealed[128:].hex()) == SEALED


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 128, 129, 256])
def test_no_part_of_a_sealed_text_is_left_as_it_was(size):
    ours, text = Pseudonyms(KEY), bytes(n % 251 for n in range(size))
    sealed = ours.seal(text, b"place")
    assert ours.seal(sealed, b"place") == text
    assert sum(a == b for a, b in zip(sealed, text, strict=True)) <= size // 16
    assert len({sealed[at : at + 8] for at in range(0, size, 8)}) == -(-size // 8)
    zeros = ours.seal(bytes(size), b"place")
    assert len({zeros[at : at + 64] for at in range(0, size, 64)}) == -(-size // 64)
