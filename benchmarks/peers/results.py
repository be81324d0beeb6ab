"""What came of a comparison: figures round by round, medians, ratios to dtsched, and tables of them."""

import statistics
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from msgspec import Struct
from rich.console import Console
from rich.table import Table

from benchmarks.peers.catalogue import PEERS
from benchmarks.peers.measuring import Finished, PickedUp, Taken

OURS = "dtsched"
FINISH, SUBMIT, PICKUP = "finish", "submit", "pickup"


class Measured(Struct, frozen=True, kw_only=True):
    """`variant`: how many processes where jobs are finished, how many jobs a batch has where they are submitted."""

    what: str
    peer: str
    variant: int
    round: int
    outcome: Finished | Taken | PickedUp


class Lacking(Struct, frozen=True, kw_only=True):
    what: str
    peer: str
    why: str


class Row(Struct, frozen=True, kw_only=True):
    """`ratios` are the medians, over the rounds, of ours divided by its own: of p50 and p99, or of the one rate."""

    what: str
    peer: str
    variant: int
    jobs: int
    medians: list[float]
    lowest: list[float]
    highest: list[float]
    ratios: list[float]


class Results(Struct, kw_only=True):
    machine: dict[str, str]
    server: dict[str, str]
    systems: dict[str, dict[str, Any]] = {}
    measured: list[Measured] = []
    lacking: list[Lacking] = []
    rows: list[Row] = []

    def lacks(self, what: str, peer: str) -> bool:
        return any(lack.what == what and lack.peer == peer for lack in self.lacking)

    def summarize(self) -> None:
        self.rows = list(_rows(self.measured))


class Sheet(NamedTuple):
    """One table: a title, the names of its columns, and rows that may be shorter."""

    title: str
    columns: list[str]
    rows: list[list[str]]


def said_of(results: Results) -> str:
    """The machine and the server."""
    return "; ".join(f"{name} {value}" for name, value in (results.machine | results.server).items())


def sheets(results: Results) -> Iterator[Sheet]:
    for what in (FINISH, SUBMIT, PICKUP):
        for variant in _variants(what, results):
            yield _sheet(what, variant, results)


def print_tables(results: Results, console: Console) -> None:
    console.print(said_of(results), highlight=False)
    for sheet in sheets(results):
        table = Table(title=sheet.title, title_justify="left")
        for number, name in enumerate(sheet.columns):
            table.add_column(name, justify="right" if number else "left")
        for row in sheet.rows:
            table.add_row(*row)
        console.print(table)


def _variants(what: str, results: Results) -> list[int]:
    """One table for 2 processes and one for 1; batches of all sizes stand in one."""
    if not any(of.what == what for of in (*results.rows, *results.lacking)):
        return []
    return sorted({row.variant for row in results.rows if row.what == FINISH}, reverse=True) if what == FINISH else [0]


def _rows(measured: Sequence[Measured]) -> Iterator[Row]:
    for what, peer, variant in dict.fromkeys((one.what, one.peer, one.variant) for one in measured):
        ours = _by_round(_best(measured, what, OURS, variant))
        its = [one for one in measured if (one.what, one.peer, one.variant) == (what, peer, variant)]
        columns = list(zip(*(_figures(one) for one in its), strict=True))
        compared = [
            [mine / other for mine, other in zip(ours[one.round], _figures(one), strict=True)]
            for one in its
            if one.round in ours
        ]
        yield Row(
            what=what,
            peer=peer,
            variant=variant,
            jobs=its[0].outcome.jobs,
            medians=[statistics.median(column) for column in columns],
            lowest=[min(column) for column in columns],
            highest=[max(column) for column in columns],
            ratios=[statistics.median(column) for column in zip(*compared, strict=True)],
        )


def _best(measured: Sequence[Measured], what: str, peer: str, variant: int) -> list[Measured]:
    """Of the same processes; of whichever batch we are fastest with."""
    its = [one for one in measured if one.what == what and one.peer == peer]
    if what != SUBMIT:
        return [one for one in its if one.variant == variant]
    fastest = max(its, key=lambda one: _figures(one)[0], default=None)
    return [one for one in its if fastest is not None and one.variant == fastest.variant]


def _by_round(measured: Sequence[Measured]) -> dict[int, list[float]]:
    return {one.round: _figures(one) for one in measured}


def _figures(one: Measured) -> list[float]:
    outcome = one.outcome
    return [outcome.p50_ms, outcome.p99_ms] if isinstance(outcome, PickedUp) else [outcome.value]


def _sheet(what: str, variant: int, results: Results) -> Sheet:
    columns = ["system", "jobs", *(["a batch"] if what == SUBMIT else [])]
    for name in ["p50 ms", "p99 ms"] if what == PICKUP else ["jobs/s"]:
        columns += [name, "lowest to highest", f"{OURS} ÷ it"]
    rows: list[list[str]] = []
    for peer in PEERS:
        system = f"{peer} {results.systems.get(peer, {}).get('version', '')}".strip()
        for row in results.rows:
            if (row.what, row.peer) == (what, peer) and (what != FINISH or row.variant == variant):
                rows.append([system, f"{row.jobs:,}", *_cells(row)])
        for lack in results.lacking:
            if (lack.what, lack.peer) == (what, peer):
                rows.append([system, f"not measured: {lack.why}"])
    return Sheet(_title(what, variant), columns, rows)


def _title(what: str, variant: int) -> str:
    if what == FINISH:
        return f"no-op jobs finished by {variant} worker process{'es' if variant > 1 else ''}"
    return "jobs submitted in bulk by one client" if what == SUBMIT else "from commit to handler start, idle worker"


def _cells(row: Row) -> Iterator[str]:
    form = ".2f" if row.what == PICKUP else ",.0f"
    if row.what == SUBMIT:
        yield f"{row.variant:,}"
    for number, median in enumerate(row.medians):
        yield format(median, form)
        yield f"{row.lowest[number]:{form}} to {row.highest[number]:{form}}"
        yield f"{row.ratios[number]:.2f}" if row.ratios else ""
