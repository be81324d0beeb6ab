"""Data goes to stdout, talk to stderr; tables are drawn on a terminal and tab-separated elsewhere."""

import sys
from collections.abc import Iterable, Sequence

import click
import msgspec

from dtsched.logs import printable


def say(message: str) -> None:
    click.echo(printable(message), err=True)


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
    for line in aligned(fields):
        click.echo(line)


def aligned(fields: Iterable[tuple[str, str]]) -> list[str]:
    """`name  value` lines."""
    pairs = [(printable(name), printable(value)) for name, value in fields]
    width = max(len(name) for name, _ in pairs)
    return [f"{name:<{width}}  {value}" for name, value in pairs]
