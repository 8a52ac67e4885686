"""Texts: byte strings in one buffer behave as a list of them would."""

import pytest

from stream.core.columns import column_of
from stream.core.texts import Texts

HELD = [b"a", None, b"", b"bcd", None]


def test_texts_are_what_they_were_made_of():
    texts = Texts.of(HELD)
    assert list(texts) == HELD
    assert [texts[i] for i in range(len(texts))] == HELD
    assert Texts.of(texts) is texts


@pytest.mark.parametrize("part", [slice(1, 3), slice(3, None), slice(0, 0), slice(None, None, 2)])
def test_a_slice_is_one_of_the_list(part):
    assert list(Texts.of(HELD)[part]) == HELD[part]


@pytest.mark.parametrize("ends", [b"", b"a longer text behind them"])
@pytest.mark.parametrize("last", [b"an id of some length", b"an id of same length"])
def test_texts_differ_from_a_column_where_their_bytes_do(ends, last):
    others = ["a", "a", "", "bcd", "bcd", "bcd", "\u00e4", "an id of some length"]
    texts = [b"a", None, b"", b"bcd", b"bce", b"bcde", b"\xc3\xa4", last]
    held = Texts.of([*texts, ends])[: len(texts)]
    unlike = [text != other.encode() for text, other in zip(texts, others, strict=True)]
    assert held.differ(column_of(others)).tolist() == unlike
    assert held[:0].differ(column_of([])).tolist() == []
