"""A verdict for a person: tables on a terminal, plain columns elsewhere."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dtsched.torture.checker.exposures import ENOUGH, Exposed
from dtsched.torture.verdict import Verdict, verdict_of

WIDE = 400
"""Columns where there is no terminal: lines are not to be broken for a file."""

_STYLES = {"PASS": "green", "VIOLATION": "bold red", "INCONCLUSIVE": "yellow", "-": "dim"}


def show(verdict: Verdict, console: Console | None = None, *, details: int = 3) -> None:
    """`details`: of so many violations of each invariant, what they were, and the first record that shows it."""
    console = Console() if console is None else console
    if not console.is_terminal:
        console.width = WIDE
    console.print(_heading(verdict), highlight=False)
    _print(_invariants(verdict), console)
    if verdict.faults:
        _print(_faults(verdict), console)
    _violations(verdict, console, details)
    for line in left_out_in_words(verdict.left_out):
        console.print(escape(line), highlight=False)
    for what in verdict.missing:
        console.print(f"missing {escape(what)}", highlight=False)
    met = sum(one.is_met for one in verdict.sometimes)
    result = f"[{_STYLES[verdict.result]}]{verdict.result}[/]"
    console.print(f"sometimes {met}/{len(verdict.sometimes)}    VERDICT {result}", highlight=False)


def left_out_in_words(left_out: Mapping[str, str]) -> list[str]:
    """A line for each reason."""
    by_reason: defaultdict[str, list[str]] = defaultdict(list)
    for fault, reason in sorted(left_out.items()):
        by_reason[reason].append(fault)
    return [f"left out {', '.join(faults)}: {reason}" for reason, faults in by_reason.items()]


def _heading(verdict: Verdict) -> str:
    minutes, seconds = divmod(round(verdict.seconds), 60)
    postgres = f"PostgreSQL {verdict.postgres}  " if verdict.postgres else ""
    return (
        f"seed {verdict.seed}  {postgres}{verdict.mode}  {minutes}m{seconds:02}s  jobs {verdict.jobs:,}  "
        f"attempts {verdict.attempts:,}  faults {verdict.injected:,}"
    )


def _invariants(verdict: Verdict) -> Table:
    table = Table("inv", "meaning", box=None, pad_edge=False)
    table.add_column("checked", justify="right")
    table.add_column("violations", justify="right")
    table.add_column("verdict")
    table.add_column("note", overflow="fold")
    for finding in verdict.invariants:
        said = verdict_of(finding)
        notes = escape("; ".join(finding.notes))
        checked = f"{finding.checked:,}"
        table.add_row(
            finding.name, finding.meaning, checked, f"{finding.violated:,}", f"[{_STYLES[said]}]{said}[/]", notes
        )
    return table


def _faults(verdict: Verdict) -> Table:
    table = Table("fault", box=None, pad_edge=False)
    for name in ("n", "exposed", "dup", "lost"):
        table.add_column(name, justify="right")
    table.add_column("recover p50/p99/max")
    table.add_column("verdict")
    table.add_column("note", overflow="fold")
    for fault in verdict.faults:
        said = _said(fault)
        counts = (fault.injected, fault.exposed, fault.duplicated, fault.lost)
        recovery = "-" if fault.recovery is None else "/".join(f"{part:.1f}" for part in fault.recovery) + " s"
        notes = escape("; ".join(fault.notes))
        table.add_row(fault.fault, *(f"{count:,}" for count in counts), recovery, f"[{_STYLES[said]}]{said}[/]", notes)
    return table


def _print(table: Table, console: Console) -> None:
    """Without the blanks that fill the last column up, where a line ends as it likes."""
    if console.is_terminal:
        console.print(table)
        return
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        console.out(line.rstrip(), highlight=False)


def _said(fault: Exposed) -> str:
    return "VIOLATION" if fault.lost else "PASS" if fault.exposed >= ENOUGH else "INCONCLUSIVE"


def _violations(verdict: Verdict, console: Console, details: int) -> None:
    for finding in verdict.invariants:
        for violation in finding.violations[:details]:
            whose = "".join(_whose(job=violation.job, key=violation.key))
            console.print(f"[red]{finding.name}[/]{escape(whose)}: {escape(violation.what)}", highlight=False)
            for shown in violation.shown[:4]:
                console.print(f"    {escape(json.dumps(shown, default=str))}", highlight=False, soft_wrap=True)


def _whose(**names: object) -> Iterable[str]:
    return (f" {name} {value}" for name, value in names.items() if value is not None)
