"""Faults that a person must hear of, told in one line."""


class UserError(Exception):
    """A user's mistake or a broken surrounding: one clear line, then exit with `exit_code`."""

    exit_code: int = 1
