"""64-bit hashes of many short texts at once.

Owns the hash, which ledgers keep: a text has the same one for ever, whoever asks and whatever other
texts are beside it. Knows nothing of what is hashed. It spreads well, but a foe can construct
collisions.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stream.core.columns import WORD, Sizes, Words, column_of

Hashes = NDArray[np.uint64]

_STEP = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_ODD = [np.uint64((0x9E3779B97F4A7C15 * (2 * n + 1)) % (1 << 64)) for n in range(256)]
_HALF, _LESS = np.uint64(32), np.uint64(29)


def hash_texts(texts: Sequence[str]) -> Hashes:
    """The hash of each text, by its UTF-8 bytes."""
    return hash_words(*column_of(texts))


def hash_words(words: Words, sizes: Sizes) -> Hashes:
    """The hash of each row of words of which `sizes` bytes count; never zero.

    How many words a row is filled up with makes no difference.
    """
    state = sizes.astype(np.uint64) * _STEP
    shortest = int(sizes.min()) if len(sizes) else 0
    spare = np.empty_like(state)
    for number, column in enumerate(np.ascontiguousarray(words.T)):
        before = state if shortest > number * WORD else state.copy()
        state ^= column
        state *= _STEP
        _fold(state, _HALF, spare)
        if before is not state:
            np.copyto(state, before, where=sizes <= number * WORD)
    for factor in _MIX:
        _fold(state, _LESS, spare)
        state *= factor
    _fold(state, _HALF, spare)
    state[state == 0] = 1
    return state


def keys_of(words: Words) -> Hashes:
    """A quicker hash of each row, for tables in memory; not to be kept."""
    state = np.zeros(len(words), np.uint64)
    for column, factor in zip(np.ascontiguousarray(words.T), _ODD, strict=False):
        state += column * factor
    state ^= state >> _HALF
    state *= _STEP
    return state


def _fold(state: Hashes, by: np.uint64, spare: Hashes) -> None:
    """Mix the upper bits into the lower ones."""
    np.right_shift(state, by, out=spare)
    state ^= spare
