"""Each bar of docs/performance.md that needs no other system: python -m benchmarks.check [ROW...], or make bench-check.

What is compared is measured in one run, in pairs; counts and times are read from the tables of a durable server. The
default is a tenth of the numbers that are promised, --share 1 is all of them and takes hours. Exit code 1 where a bar
is missed.
"""

import argparse
import sys
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks.bars import backlog, finishing, footprint, graphs, limits, submitting
from benchmarks.bars.ground import server
from benchmarks.bars.row import Figure, Row, Scale
from dtsched.cli.processes import termination_raises

ROWS: dict[str, Row] = {
    "ceiling": finishing.ceiling,
    "results": finishing.results,
    "claimers": finishing.claimers,
    "submitting": submitting.submitting,
    "backlog": backlog.behind,
    "pinned": backlog.pinned,
    "memory": backlog.memory,
    "limits": limits.limits,
    "graphs": graphs.graphs,
    "idle": footprint.idle,
    "wal": footprint.wal,
}


def main() -> int:
    given = _arguments()
    scale = Scale(rounds=given.rounds, jobs=given.jobs, share=given.share)
    console = Console(stderr=True, highlight=False)
    figures: list[Figure] = []
    with termination_raises(), server() as on:
        for name in given.rows or ROWS:
            console.print(f"[bold]{name}")
            figures += ROWS[name](on, scale, lambda line: console.print(f"  {line}"))
    if given.json:
        given.json.write_bytes(msgspec.json.format(msgspec.json.encode(figures)))
    Console(highlight=False).print(_table(figures))
    return 0 if all(figure.holds for figure in figures) else 1


def _table(figures: list[Figure]) -> Table:
    table = Table("what", "value", "of", "bar", "")
    for figure in figures:
        bar = f">= {figure.at_least:g}" if figure.at_least is not None else ""
        bar = f"<= {figure.at_most:g}" if figure.at_most is not None else bar
        verdict = ("holds" if figure.holds else "MISSED") if bar else ""
        table.add_row(figure.row, f"{figure.value:,.2f}", figure.of, bar, verdict)
    return table


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", choices=[*ROWS, []], metavar="ROW", help=", ".join(ROWS))
    parser.add_argument("--rounds", type=int, default=3, help="pairs for each ratio; default 3")
    parser.add_argument("--jobs", type=int, default=200_000, help="that are drained for a rate; default 200,000")
    parser.add_argument("--share", type=float, default=0.1, help="of the promised numbers; default 0.1")
    parser.add_argument("--json", type=Path, metavar="FILE")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
