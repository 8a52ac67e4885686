"""Texts: byte strings in one buffer behave as a list of them would."""

import pytest

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
