"""The figures of kept runs as rows of a table in Markdown, and into docs/reliability.md, which has such a table.

    python -m dtsched.torture.figures DIR...                              rows, and what faults told of themselves
    python -m dtsched.torture.figures --into docs/reliability.md DIR...   the same, put into that file

What is read is each DIR/verdict.json, as `dtsched torture` has left it. Of several runs, numbers are sums, and of what
took time the longest of each figure counts.
"""

import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from dtsched.errors import InvalidInput
from dtsched.torture.checker.exposures import Exposed
from dtsched.torture.verdict import Verdict

CELLS = ("struck", "jobs", "again", "lost", "seconds until they went on: p50 / p99 / max")
"""What stands in the last columns of a row."""

_NOT_RUN = ("-",) * len(CELLS)
_BAR = re.compile(r"(?<!\\)\|")
_ROW = re.compile(r"\| (F\d\dG?) \|")
_RUNS = re.compile(r"(<!-- runs -->\n).*?(<!-- /runs -->)", re.DOTALL)


def main(arguments: list[str]) -> int:
    into = arguments[:1] == ["--into"]
    document = Path(arguments[1]) if into and len(arguments) > 1 else None
    folders = [Path(folder) for folder in arguments[2 * into :]]
    if not folders:
        raise InvalidInput("name the folders of one or more runs that were kept (dtsched torture --dir)", field="dir")
    verdicts = [verdict_in(folder) for folder in folders]
    if document is not None:
        document.write_text(filled(document.read_text(), verdicts))
    for line in told(verdicts):
        print(line)
    return 0


def verdict_in(folder: Path) -> Verdict:
    file = folder / "verdict.json"
    try:
        return msgspec.json.decode(file.read_bytes(), type=Verdict)
    except FileNotFoundError:
        raise InvalidInput(f"there is no {file}: dtsched torture --check-only {folder} makes it", field="dir") from None
    except msgspec.DecodeError as error:
        raise InvalidInput(
            f"{file} is of another version ({error}): dtsched torture --check-only {folder} makes it anew", field="dir"
        ) from error


def told(verdicts: Sequence[Verdict]) -> Iterator[str]:
    """The rows, and then what the faults have noted, run by run."""
    yield f"| fault | {' | '.join(CELLS)} |"
    yield "|---|" + "---:|" * len(CELLS)
    for fault, cells in cells_of(verdicts).items():
        yield f"| {fault} | {' | '.join(cells)} |"
    yield ""
    yield from runs(verdicts)
    for verdict in verdicts:
        for one in verdict.faults:
            for note in one.notes:
                yield f"seed {verdict.seed} {one.fault}: {note}"


def cells_of(verdicts: Sequence[Verdict]) -> Mapping[str, Sequence[str]]:
    """Of each fault that was planned in any of them, by number."""
    found: defaultdict[str, list[Exposed]] = defaultdict(list)
    for verdict in verdicts:
        for one in verdict.faults:
            found[one.fault].append(one)
    return {fault: _cells(found[fault]) for fault in sorted(found)}


def _cells(times: Sequence[Exposed]) -> Sequence[str]:
    counts = [
        sum(one.injected for one in times),
        sum(one.exposed for one in times),
        sum(one.duplicated for one in times),
        sum(one.lost for one in times),
    ]
    recoveries = [one.recovery for one in times if one.recovery is not None]
    worst = [max(figures) for figures in zip(*recoveries, strict=True)]
    return [*(f"{count:,}" for count in counts), " / ".join(f"{seconds:.1f}" for seconds in worst) or "-"]


def runs(verdicts: Sequence[Verdict]) -> Iterator[str]:
    """A line for each run, with what it came to."""
    for verdict in verdicts:
        violations = sum(finding.violated for finding in verdict.invariants)
        yield (
            f"* seed {verdict.seed}, PostgreSQL {verdict.postgres or '?'}, {verdict.mode}, "
            f"{verdict.seconds / 60:.0f} minutes: {verdict.jobs:,} jobs, {verdict.attempts:,} attempts, "
            f"{verdict.injected:,} faults, {violations:,} violations, {verdict.result}"
        )


def filled(document: str, verdicts: Sequence[Verdict]) -> str:
    """With the figures in the last cells of the rows of faults; what was in none of the runs has dashes there."""
    cells = cells_of(verdicts)

    def row(line: str) -> str:
        if (found := _ROW.match(line)) is None:
            return line
        before = _BAR.split(line)[: -1 - len(CELLS)]
        return "|".join([*before, *(f" {cell} " for cell in cells.get(found[1], _NOT_RUN))]) + "|\n"

    said = "".join(f"{line}\n" for line in runs(verdicts))
    return _RUNS.sub(lambda found: found[1] + said + found[2], "".join(map(row, document.splitlines(keepends=True))))


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except InvalidInput as error:
        sys.exit(f"error: {error}")
