"""Instants out of columns of text: what `parse_timestamp` says of them one by one.

Knows nothing of the calendar: each second that is written somewhere is parsed once.
"""

import re
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from stream.core.columns import WORD, Column, Words
from stream.core.events import parse_timestamp
from stream.core.memo import FEWER, UNKNOWN, Answers, Memo
from stream.core.shapes import Hole, window
from stream.core.texts import Bytes

_MILLISECONDS = re.compile(rb"[1-9]\d{12}")
"""From 2001 to 2286; other years have fewer digits, or more."""
_TEXT = re.compile(rb"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.(\d+))?([Zz]|[+-]\d\d:\d\d)")
_SECOND = len("2026-11-22T10:00:00")
_POWERS = 10.0 ** np.arange(12, -1, -1)
_THOUSANDTHS = np.array([100, 10, 1])


class Instants:
    """Reads the timestamps of a field that are written like a given one.

    Without any holes it cannot.
    """

    def __init__(self, name: str, text: bytes, *, quoted: bool) -> None:
        self._whole, self._fraction = f"{name} whole", f"{name} fraction"
        self._zone: str | None = None
        self.holes: Sequence[tuple[int, Hole]] = ()
        if not quoted and _MILLISECONDS.fullmatch(text):
            self.holes = [(0, Hole(self._whole, window(len(text)), size=len(text)))]
        elif quoted and (found := _TEXT.fullmatch(text)):
            self.holes = [(0, Hole(self._whole, window(_SECOND), size=_SECOND))]
            if found[1]:
                digits = len(found[1])
                self.holes += [(_SECOND + 1, Hole(self._fraction, window(digits), size=digits))]
            self._zone = found[2].decode()

    def read(self, columns: dict[str, Column]) -> Answers:
        """Epoch milliseconds of each record, UNKNOWN where there is none to be read."""
        if self._zone is None:
            digits = _digits(*columns[self._whole])
            at_ms = (digits @ _POWERS).astype(np.int64)
            at_ms[digits[:, 0] == 0] = UNKNOWN
            return _without_others(at_ms, digits)
        at_ms = self._memo.of(columns[self._whole].words)
        if self._fraction in columns:
            digits = _digits(*columns[self._fraction])
            cut = digits[:, :3].astype(np.int64)
            at_ms += cut @ _THOUSANDTHS[: cut.shape[1]]
            return _without_others(at_ms, digits)
        return at_ms

    @cached_property
    def _memo(self) -> Memo:
        return Memo(window(_SECOND) // WORD, self._parse, FEWER)

    def _parse(self, row: bytes) -> int:
        try:
            return parse_timestamp(row[:_SECOND].decode() + (self._zone or ""))
        except ValueError:
            return UNKNOWN


def _digits(words: Words, sizes: Answers) -> Bytes:
    """Digits of texts that are all of one size; what is none is 10 or more."""
    return words.view(np.uint8).reshape(len(words), -1)[:, : sizes[0]] - ord("0")


def _without_others(at_ms: Answers, digits: Bytes) -> Answers:
    """The same, UNKNOWN where there is something else among the digits."""
    if digits.max(initial=0) >= 10:
        at_ms[(digits >= 10).any(axis=1)] = UNKNOWN
    return at_ms
