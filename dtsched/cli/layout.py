"""Tables that fit the terminal: columns that may be cut share what the others leave, and some are left out."""

from collections.abc import Sequence
from typing import NamedTuple

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dtsched.logs import printable

GAP = 2
NARROWEST = 5
STATE_STYLES = {"completed": "green", "failed": "red", "cancelled": "yellow", "running": "cyan"}


class Column(NamedTuple):
    """A flexible one is cut with an ellipsis where the terminal is too narrow; from_width is where it first shows."""

    name: str
    flexible: bool = False
    from_width: int = 0


def terminal_width(*, err: bool = False) -> int:
    return Console(stderr=err).width


def draw(columns: Sequence[Column], rows: Sequence[Sequence[str]], *, width: int, err: bool = False) -> None:
    Console(width=width, stderr=err).print(table(columns, rows, width=width))


def table(columns: Sequence[Column], rows: Sequence[Sequence[str]], *, width: int) -> Table:
    shown = [number for number, column in enumerate(columns) if column.from_width <= width]
    cells = [[printable(row[number]) for number in shown] for row in rows]
    chosen = [columns[number] for number in shown]
    drawn = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, GAP - 1, 0, 0))
    for column, size in zip(chosen, widths(chosen, cells, width), strict=True):
        drawn.add_column(column.name, width=size, no_wrap=True, overflow="ellipsis")
    for row in cells:
        drawn.add_row(*(Text(cell, style=STATE_STYLES.get(cell, "")) for cell in row))
    return drawn


def widths(columns: Sequence[Column], cells: Sequence[Sequence[str]], width: int) -> list[int]:
    """The widest flexible column gives way first."""
    sizes = [
        max(map(cell_len, [column.name, *(row[number] for row in cells)])) for number, column in enumerate(columns)
    ]
    sizes = [min(size, width) if column.flexible else size for column, size in zip(columns, sizes, strict=True)]
    flexible = [number for number, column in enumerate(columns) if column.flexible]
    excess = sum(sizes) + GAP * (len(sizes) - 1) - width
    for _ in range(excess):
        widest = max(flexible, key=lambda number: sizes[number])
        if sizes[widest] <= NARROWEST:
            break
        sizes[widest] -= 1
    return sizes
