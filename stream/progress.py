"""How far a long job has come, shown on a terminal, or not at all."""

import sys
from types import TracebackType
from typing import Protocol, Self

from rich import progress as bars
from rich.console import Console


class Progress(Protocol):
    """Told now and then how many lines are done and how far the file is read, in bytes."""

    def update(self, lines: int, position: int, size: int | None) -> None:
        """`size` is the file's length, None where it is unknown."""


class NoProgress:
    """Shows nothing."""

    def update(self, lines: int, position: int, size: int | None) -> None:
        """Nothing to show it on."""


class TerminalProgress:
    """A line on the terminal (standard error): bar, lines, lines a second, time to go."""

    def __init__(self, title: str, *, terminal: bool | None = None) -> None:
        self._bar = bars.Progress(
            bars.TextColumn(title),
            bars.BarColumn(),
            bars.TaskProgressColumn(),
            bars.TextColumn("{task.fields[lines]:,} lines, {task.fields[pace]:,.0f}/s"),
            bars.TimeRemainingColumn(),
            console=Console(file=sys.stderr, force_terminal=terminal),
            transient=True,
        )
        self._task = self._bar.add_task(title, total=None, lines=0, pace=0.0)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def update(self, lines: int, position: int, size: int | None) -> None:
        """Move the bar."""
        passed_s = self._bar.tasks[0].elapsed or 0.0
        self._bar.update(
            self._task,
            completed=position,
            total=size,
            lines=lines,
            pace=lines / passed_s if passed_s else 0.0,
        )
