"""A table of a command's own columns: fitted to the terminal, whole and tab-separated elsewhere."""

import sys
from collections.abc import Sequence

from dtsched.cli.layout import Column, draw, terminal_width
from dtsched.cli.output import print_table


def show_table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    if sys.stdout.isatty():
        draw(columns, rows, width=terminal_width())
    else:
        print_table([column.name for column in columns], rows)
