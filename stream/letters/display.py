"""Dead letters in a terminal: nothing that somebody put into a record can steer it."""

import base64
import json
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from stream.letters.letter import Letter
from stream.letters.sending import Report
from stream.serve.times import format_time

DETAIL_CHARACTERS = 60


def visible(text: str) -> str:
    """A text whose control characters, and others that are not seen, are written out."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def visible_bytes(raw: bytes | None) -> str:
    """The same for bytes; those that are no UTF-8 are written out too."""
    return "(none)" if raw is None else visible(raw.decode("utf-8", "backslashreplace"))


def lines_of(letter: Letter, *, sent: bool) -> Iterator[str]:
    """One letter whole: its headers, its key and its value."""
    source = letter.source
    yield f"dead letter  {letter.position}, {format_time(letter.at_ms)}" + (
        ", was sent back" if sent else ""
    )
    yield f"reason       {visible(letter.reason)}: {visible(letter.detail)}"
    yield f"record       {visible(source.topic)}/{source.partition} at offset {source.offset}"
    yield f"key          {visible_bytes(letter.key)}"
    if letter.value is None:
        yield "value        (none)"
        return
    yield f"value        {len(letter.value):,} bytes"
    try:
        pretty = json.dumps(json.loads(letter.value), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        yield visible_bytes(letter.value)
    else:
        yield from map(visible, pretty.splitlines())


def as_json(letter: Letter, *, sent: bool) -> str:
    """One letter as a line of JSON; key and value are texts, or base64 under other names."""
    found: dict[str, Any] = {
        "letter": letter.position,
        "at": format_time(letter.at_ms),
        "reason": letter.reason,
        "detail": letter.detail,
        "topic": letter.source.topic,
        "partition": letter.source.partition,
        "offset": letter.source.offset,
        "sent": sent,
    }
    for name, raw in (("key", letter.key), ("value", letter.value)):
        try:
            found[name] = None if raw is None else raw.decode()
        except UnicodeDecodeError:
            found[f"{name}_base64"] = base64.b64encode(raw or b"").decode()
    return json.dumps(found)


def report_lines(report: Report, *, dry_run: bool) -> Iterator[str]:
    """What came of sending letters back; of a dry run also what would be sent."""
    for parcel in report.parcels if dry_run else ():
        letter = parcel.letter
        yield (
            f"{letter.position} to {visible(letter.source.topic)}/{parcel.target}: "
            f"{visible_bytes(parcel.value)}"
        )
    for cause, count in sorted(report.left_out.items()):
        yield f"{count:,} left out, {visible(cause)} (e.g. {visible(report.examples[cause])})"
    if report.before:
        yield f"{report.before:,} left out, were sent before (--again sends them once more)"
    yield f"{report.sent:,} {'would be' if dry_run else 'were'} sent"


def count_table(counts: Mapping[tuple[str, str], Counter[str]]) -> Table:
    """Letters by topic and reason; `counts` has `all`, `sent`, and times in `first` and `last`."""
    table = Table("topic", "reason", "letters", "sent back", "first", "last")
    for column in table.columns[2:4]:
        column.justify = "right"
    for (topic, reason), n in sorted(counts.items()):
        times = (format_time(n["first"]), format_time(n["last"]))
        cells = (visible(topic), visible(reason), f"{n['all']:,}", f"{n['sent']:,}", *times)
        table.add_row(*map(Text, cells))
    return table


def letter_table(letters: deque[tuple[Letter, bool]]) -> Table:
    """One row a letter."""
    table = Table("letter", "at", "record", "reason", "detail", "sent")
    for letter, sent in letters:
        source = letter.source
        detail = visible(letter.detail)
        cut = detail if len(detail) <= DETAIL_CHARACTERS else detail[:DETAIL_CHARACTERS] + "…"
        record = f"{visible(source.topic)}/{source.partition}@{source.offset}"
        cells = (letter.position, format_time(letter.at_ms), record, visible(letter.reason), cut)
        table.add_row(*map(Text, (*cells, "yes" if sent else "")))
    return table
