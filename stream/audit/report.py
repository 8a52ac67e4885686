"""What an audit has found, as a person reads it."""

from collections.abc import Iterable, Iterator, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from stream.audit.auditor import Account, Auditor
from stream.audit.differences import LEDGER, REDIS, Difference
from stream.core.buckets import Size
from stream.errors import UserError
from stream.serve.times import format_time
from stream.settings import Settings
from stream.top import clean

ROWS_MAX = 200
_SIZES = {Size.S10: "10s", Size.M1: "1m", Size.H1: "1h", Size.D1: "1d"}


async def check_once(settings: Settings, share: float, console: Console) -> int:
    """Audit everything once and print what was found.

    Returns the exit code: 0 where all was compared and nothing is different, else 1.
    """
    auditor = Auditor(settings, share)
    accounts = await auditor.check_once()
    differences = [difference for account in accounts for difference in account.wrong]
    if differences:
        console.print(table_of(differences[:ROWS_MAX]))
        if len(differences) > ROWS_MAX:
            console.print(f"… and {len(differences) - ROWS_MAX:,} more")
    for line in remarks(accounts):
        console.print(Text(clean(line)), soft_wrap=True)
    console.print(Text(summary(accounts, auditor)), soft_wrap=True)
    return 1 if differences or any(account.unchecked for account in accounts) else 0


def table_of(differences: Iterable[Difference]) -> Table:
    """One row a figure."""
    table = Table("partition", "metric", "figure", "bucket", "labels", "expected", "found", "where")
    for column in table.columns:
        column.overflow = "fold"
    for column in table.columns[5:7]:
        column.justify = "right"
    for found in differences:
        figure = f"{found.figure} ({found.state})" if found.state else found.figure
        cells = (
            str(found.place),
            ", ".join(found.metrics) or "–",
            figure,
            spell_bucket(found.size, found.start_ms),
            " · ".join(found.labels),
            f"{found.expected:,}",
            f"{found.found:,}",
            found.where,
        )
        table.add_row(*(Text(clean(cell)) for cell in cells))
    return table


def remarks(accounts: Sequence[Account]) -> Iterator[str]:
    """What was not compared, or not all of it."""
    for account in accounts:
        name, recount = account.witness.names, account.witness.recount
        for where, why in sorted(account.unchecked.items()):
            yield f"{name}: {where} was not compared: {why}"
        if recount is not None and account.witness.coverage < 1 and LEDGER not in account.unchecked:
            yield (
                f"{name}: counted again from offset {recount.started_at:,} on "
                f"({account.witness.coverage:.1%} of its records); Kafka no longer holds all that "
                "lies before, so what the ledger had counted by then is taken as it is"
            )


def summary(accounts: Sequence[Account], auditor: Auditor) -> str:
    """One line for all."""
    cells = {
        where: int(auditor.meters.checked.labels(where)._value.get())  # noqa: SLF001
        for where in (LEDGER, REDIS)
    }
    records = sum(account.recounted for account in accounts)
    wrong = sum(len(account.wrong) for account in accounts)
    said = "no difference" if not wrong else f"{wrong:,} difference{'s' if wrong > 1 else ''}"
    return (
        f"{said}: {len(accounts)} partitions, {records:,} records counted again, "
        f"{cells[LEDGER]:,} cells of the ledger and {cells[REDIS]:,} in Redis compared"
    )


def spell_bucket(size: int, start_ms: int) -> str:
    """A bucket: its size, and its start in UTC."""
    if size == Size.ALL:
        return "all"
    return f"{_SIZES.get(Size(size), size)} from {format_time(start_ms)}"


def parse_share(text: str) -> float:
    """`5%` or `0.05` -> 0.05. Raises UserError."""
    number = text.strip().removesuffix("%")
    try:
        share = float(number) / (100 if text.strip().endswith("%") else 1)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise UserError(f"--share: '{text}' is no share; write one like 5%, at most 100%")
    return share
