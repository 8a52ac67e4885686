"""A launch as a sheet (CSV): a row for each launch, point and measure, to be read by programs too.

Knows the bodies; whoever opens it in a spreadsheet must not run what a campaign is called.
"""

import csv
import io

from stream.serve.launch.bodies import LaunchAnswer

MEDIA_TYPE = "text/csv; charset=utf-8"
HEADINGS = ("launch", "launch_at", "minute", "curve", "measure", "value", "median", "low", "high")
_RUNS = ("=", "+", "-", "@", "\t", "\r", "\n")


def sheet_of(answer: LaunchAnswer) -> str:
    """All lines: this launch's, with median and band beside it, then those of earlier ones."""
    out = io.StringIO()
    write = csv.writer(out, lineterminator="\r\n").writerow
    write(HEADINGS)
    minutes = answer.axis.minutes if answer.axis else []
    chosen = [each for each in answer.launches if each.chosen]
    for line in answer.lines:
        for i, minute in enumerate(minutes):
            values = (line.launch[i], line.median[i], line.low[i], line.high[i])
            if any(value is not None for value in values):
                start = (cell(answer.campaign), answer.launch_at, minute, answer.curve)
                write((*start, line.measure, *values))
    for number, launch in enumerate(chosen):
        for line in answer.lines:
            for minute, value in zip(minutes, line.earlier[number], strict=True):
                if value is not None:
                    start = (cell(launch.campaign), launch.launch_at, minute, answer.curve)
                    write((*start, line.measure, value))
    return out.getvalue()


def cell(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(_RUNS) else text
