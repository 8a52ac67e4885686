"""Faults that a person must hear of, told in one line, and what stands behind an error."""

from collections.abc import Iterator


class UserError(Exception):
    """A user's mistake or a broken surrounding: one clear line, then exit with `exit_code`."""

    exit_code: int = 1


class UsageError(UserError):
    """A command that was given what it cannot take."""

    exit_code = 2


def causes(error: BaseException) -> Iterator[BaseException]:
    """An error, what it was raised from or during, and so on; each once, even in a ring."""
    known: set[int] = set()
    seen: BaseException | None = error
    while seen is not None and id(seen) not in known:
        known.add(id(seen))
        yield seen
        seen = seen.__cause__ or seen.__context__
