"""The parameters of one request, before anything is known of what they mean."""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from stream.serve.problems import ParameterError

Pairs = Sequence[tuple[str, str]]
"""Names and values in the order of the query string."""
T = TypeVar("T")


class Given:
    """Values by name; unknown parameters, and single ones given twice, are refused at once."""

    def __init__(self, pairs: Pairs, single: tuple[str, ...], repeated: tuple[str, ...]) -> None:
        known = (*single, *repeated)
        self._values: dict[str, list[str]] = {}
        for name, value in pairs:
            if name not in known:
                raise ParameterError(name, f"unknown parameter; there are {', '.join(known)}")
            self._values.setdefault(name, []).append(value)
        for name in single:
            if len(self._values.get(name, ())) > 1:
                raise ParameterError(name, "given more than once")

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def every(self, name: str) -> list[str]:
        """All values of a parameter, none if it was not given."""
        return self._values.get(name, [])

    def one(self, name: str) -> str:
        """The value of a required parameter."""
        if name not in self._values:
            raise ParameterError(name, "is required")
        return self._values[name][0]

    def parsed(self, name: str, parse: Callable[[str], T]) -> T:
        """The value of a required parameter, through a parser whose ValueError is the answer."""
        try:
            return parse(self.one(name))
        except ValueError as error:
            raise ParameterError(name, str(error)) from None

    def choice(self, name: str, choices: Iterable[str], default: str | None = None) -> str:
        """One out of several; required where there is no default."""
        if default is not None and name not in self._values:
            return default
        value = self.one(name)
        if value not in choices:
            raise ParameterError(name, f"'{value}' is not one of {', '.join(choices)}")
        return value
