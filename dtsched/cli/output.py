"""Data goes to stdout, talk to stderr; tables are drawn on a terminal and tab-separated elsewhere."""

import re
import sys
from collections.abc import Iterable, Sequence

import click
import msgspec

# C0, DEL, C1, bidirectional and line separators: a job's name or error must not move the cursor or forge a line
UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def say(message: str) -> None:
    click.echo(printable(message), err=True)


def printable(text: str) -> str:
    """The text on one line, its control characters written as escapes."""
    return UNPRINTABLE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def print_json(value: object) -> None:
    """One JSON document, indented for a reader and on one line for a program."""
    document = msgspec.json.encode(value)
    if sys.stdout.isatty():
        document = msgspec.json.format(document, indent=2)
    click.echo(document)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    cells = [[printable(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        draw_table(columns, cells)
        return
    for row in [list(columns), *cells]:
        click.echo("\t".join(row))


def draw_table(columns: Sequence[str], cells: list[list[str]]) -> None:
    # imported here: programs that read our output need none of it
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, box=SIMPLE_HEAD, pad_edge=False)
    for row in cells:
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)


def print_fields(fields: Iterable[tuple[str, str]]) -> None:
    """Aligned `name  value` lines."""
    pairs = [(name, printable(value)) for name, value in fields]
    width = max(len(name) for name, _ in pairs)
    for name, value in pairs:
        click.echo(f"{name:<{width}}  {value}")
