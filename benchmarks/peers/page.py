"""The tables of a comparison in Markdown, and into docs/performance.md, which has a place for them.

    python -m benchmarks.peers.page build/compare.json                              # to be read
    python -m benchmarks.peers.page --into docs/performance.md build/compare.json   # put into that file

The file is what `python -m benchmarks.compare --json FILE` has left.
"""

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from benchmarks.peers.results import Results, Sheet, said_of, sheets

_PLACE = re.compile(r"(<!-- compared -->\n).*?(<!-- /compared -->)", re.DOTALL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--into", type=Path, metavar="FILE", help="with <!-- compared --> and <!-- /compared --> in it")
    parser.add_argument("results", type=Path)
    given = parser.parse_args()
    text = "\n".join(page(msgspec.json.decode(given.results.read_bytes(), type=Results)))
    if given.into is None:
        print(text)
        return
    filled, places = _PLACE.subn(lambda place: f"{place[1]}{text}\n{place[2]}", given.into.read_text())
    if places != 1:
        raise SystemExit(f"{given.into} has {places} places for the tables: one is needed")
    given.into.write_text(filled)


def page(results: Results) -> Iterator[str]:
    yield f"{said_of(results)}."
    for sheet in sheets(results):
        yield ""
        yield from _table(sheet)
    yield ""
    yield "How each was set up:"
    yield ""
    for name, said in results.systems.items():
        yield f"* {name} {said.get('version', '')}: {said.get('settings', '')}"


def _table(sheet: Sheet) -> Iterator[str]:
    yield f"**{sheet.title}**"
    yield ""
    yield _row(sheet.columns)
    yield "|---|" + "---:|" * (len(sheet.columns) - 1)
    for row in sheet.rows:
        yield _row([*row, *[""] * (len(sheet.columns) - len(row))])


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    main()
