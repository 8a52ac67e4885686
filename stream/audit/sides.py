"""Sides: a state's cells by what they count, whatever numbers their label sets have in it."""

from collections.abc import Callable, Iterable

from stream.audit.differences import Cell, decode_labels
from stream.core.cells import SPAN_LABEL, cell_key, parse_cell_key, parse_label_key

_LABEL, _CELL = b"l", b"c"


class Side:
    """A state of which `get` gives the entries; numbers of label sets are its own."""

    def __init__(self, get: Callable[[bytes], bytes | None]) -> None:
        self.get = get
        self._names: dict[int, tuple[str, ...]] = {}
        self._numbers: dict[tuple[str, ...], int] = {}

    def learn(self, keys: Iterable[bytes]) -> set[Cell]:
        """Take up entries that changed; the cells among them."""
        keys = list(keys)
        for key in keys:
            if key[:1] == _LABEL and (raw := self.get(key)) is not None:
                number, names = parse_label_key(key), decode_labels(raw)
                self._names[number] = names
                self._numbers[names] = number
        return {self._cell(key) for key in keys if key[:1] == _CELL}

    def key(self, cell: Cell) -> bytes | None:
        """The key of a cell's entry; None where the label set is not known."""
        if cell.labels is None:
            return cell_key(cell.size, cell.start_ms, SPAN_LABEL)
        number = self._numbers.get(cell.labels)
        return None if number is None else cell_key(cell.size, cell.start_ms, number)

    def raw(self, cell: Cell) -> bytes | None:
        """The bytes of a cell; None where it has none."""
        key = self.key(cell)
        return None if key is None else self.get(key)

    def _cell(self, key: bytes) -> Cell:
        size, start_ms, number = parse_cell_key(key)
        if number == SPAN_LABEL:
            return Cell(size, start_ms, None)
        return Cell(size, start_ms, self._names.get(number, (f"(label {number})",)))
