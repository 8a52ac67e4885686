"""The bytes of visitors, read by thousands or one by one."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stream.core.rows import ROW, Rows, read_rows, write_rows
from stream.core.visitor_forms import assemble, rows_now, split

SMALL = st.integers(0, (1 << 32) - 1)
NUMBERS = st.tuples(
    st.integers(0, 1 << 62), *[SMALL] * 5, st.integers(0, 1 << 62), *[SMALL] * 4,
    st.integers(-(1 << 62), 1 << 62), SMALL, st.integers(0, 3),
)  # fmt: skip
PAST, MARKS = st.binary(max_size=65), st.binary(max_size=40)


def texts(rows: list[tuple[int, ...]]) -> list[bytes]:
    return write_rows(np.array(rows, ROW))


QUIET = NUMBERS.map(lambda row: assemble(texts([row])[0], b"", 0, b""))
PLAIN = st.builds(
    lambda row, past, count, marks: assemble(texts([row])[0], past, count, marks),
    NUMBERS, PAST, st.integers(1, 100), MARKS,
)  # fmt: skip
GENERAL = st.binary(max_size=100).map(lambda raw: b"\2" + raw)


@given(st.lists(st.one_of(QUIET, PLAIN, GENERAL), min_size=1, max_size=30))
def test_rows_of_many_are_those_of_each(raws: list[bytes]) -> None:
    parts = [split(raw) for raw in raws]
    wanted: Rows = read_rows([b"" if part is None else part[0] for part in parts])
    rows, general = rows_now(raws)
    assert rows.tolist() == wanted.tolist()
    assert general.tolist() == [number for number, part in enumerate(parts) if part is None]
