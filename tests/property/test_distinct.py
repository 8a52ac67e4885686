"""Rows of a column are told apart as a dict of texts tells them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core import distinct
from stream.core.columns import Draft, column_of

TEXTS = st.lists(
    st.one_of(st.text("ab", max_size=3), st.text("aä\x01 ", min_size=6, max_size=20)), max_size=60
)


@given(TEXTS, st.booleans())
def test_equal_rows_have_one_number_and_their_first_place(texts, clash):
    with pytest.MonkeyPatch.context() as patch:
        if clash:
            few = np.uint64(60)
            patch.setattr(distinct, "keys_of", lambda rows: rows[:, 0] % np.uint64(3) << few)
        firsts, numbers = distinct.distinct(column_of(texts).words)
    known = [texts[place] for place in firsts.tolist()]
    assert len(set(known)) == len(known)
    assert [known[number] for number in numbers.tolist()] == texts
    assert firsts.tolist() == [texts.index(text) for text in known]


@given(st.lists(TEXTS.filter(bool), max_size=4), st.randoms(use_true_random=False))
def test_a_draft_holds_what_was_put_in_however_wide(parts, chance):
    texts = [text for part in parts for text in part]
    order = np.array(chance.sample(range(len(texts)), len(texts)), np.intp)
    draft, at = Draft(len(texts)), 0
    for part in parts:
        draft.put(order[at : at + len(part)], column_of(part))
        at += len(part)
    column = draft.column()
    held = [text.encode() for text in texts]
    assert [column.text(place) for place in order.tolist()] == held
    assert column.take(order).texts() == held
