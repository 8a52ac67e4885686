"""`stream doctor`: says what is wrong or cannot be reached, and can wait until all is well.

Knows how to ask and to show; what is asked is `checks`'.
"""

import asyncio
import time

from rich.console import Console
from rich.text import Text

from stream.checks import Finding, Mark, check_kafka, check_redis, failed
from stream.producer import quiet_client_log
from stream.settings import Settings
from stream.top import clean

_STYLES = {Mark.GOOD: "green", Mark.NOTE: "yellow", Mark.BAD: "bold red"}
_PAUSE_S = 1.0


async def run_doctor(settings: Settings, *, wait: bool = False, timeout_s: float = 120.0) -> int:
    """Look at everything once, or with `wait` until nothing is wrong or the time is over.

    Prints one line per finding and returns the exit code: 0 if nothing is wrong, else 1.
    """
    quiet_client_log()
    console = Console()
    until_s = time.monotonic() + timeout_s
    findings = await examine(settings)
    while wait and failed(findings) and time.monotonic() + _PAUSE_S < until_s:
        await asyncio.sleep(_PAUSE_S)
        findings = await examine(settings)
    for finding in findings:
        console.print(line(finding), soft_wrap=True)
    wrong = sum(finding.mark is Mark.BAD for finding in findings)
    if wrong:
        waited = f" after {timeout_s:g} s" if wait else ""
        console.print(Text(f"{wrong} thing(s) wrong{waited}", "bold red"))
    return 1 if wrong else 0


async def examine(settings: Settings) -> list[Finding]:
    """All findings, Kafka's first."""
    kafka, redis = await asyncio.gather(check_kafka(settings), check_redis(settings))
    return [*kafka, *redis]


def line(finding: Finding) -> Text:
    """One finding as it is printed."""
    text = Text.assemble((finding.mark.value, _STYLES[finding.mark]), " ", clean(finding.text))
    if finding.advice:
        text.append(f" → {finding.advice}", "dim")
    return text
