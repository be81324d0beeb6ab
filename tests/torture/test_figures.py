"""The figures of runs as rows of a table, by themselves and in a document."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from dtsched.errors import InvalidInput
from dtsched.torture import figures
from dtsched.torture.checker.exposures import Exposed
from dtsched.torture.verdict import judge
from tests.torture.story import Story

DOCUMENT = """What was measured.

| fault | done | must hold | struck | jobs | again | lost | seconds |
|---|---|---|---:|---:|---:|---:|---:|
| F01 | killed, or `a \\| b` | nothing | 9 | 9 | 9 | 9 | 9 / 9 / 9 |
| F07G | held | nothing | | | | | |
| F19 | stopped | nothing |  |  |  |  |  |

<!-- runs -->
* an old one
<!-- /runs -->
The end.
"""


def exposed(fault: str, *, jobs: int = 20, recovery: tuple[float, float, float] | None = None) -> Exposed:
    return Exposed(
        fault=fault,
        planned=5,
        injected=5,
        exposed=jobs,
        duplicated=1,
        lost=0,
        recovery=recovery,
        notes=["acked_lost 3"],
    )


def run(folder: Path, *faults: Exposed) -> str:
    """A kept one."""
    folder.mkdir()
    msgspec.structs.replace(judge(Story().run()), faults=list(faults), postgres="15.1", jobs=1234).save(folder)
    return str(folder)


def test_of_several_runs_numbers_are_sums_and_the_longest_times_count(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = run(tmp_path / "one", exposed("F19"), exposed("F01", jobs=1000, recovery=(5.0, 6.0, 7.04)))
    two = run(tmp_path / "two", exposed("F01", recovery=(4.0, 6.5, 6.5)))

    assert figures.main([one, two]) == 0

    rows = capsys.readouterr().out.splitlines()
    assert rows[2:4] == ["| F01 | 10 | 1,020 | 2 | 0 | 5.0 / 6.5 / 7.0 |", "| F19 | 5 | 20 | 1 | 0 | - |"]
    assert sum(row.startswith("* seed 42, PostgreSQL 15.1, storm, 0 minutes: 1,234 jobs") for row in rows) == 2
    assert "seed 42 F19: acked_lost 3" in rows


def test_they_are_put_into_the_rows_of_a_document_and_nothing_else_is_changed(tmp_path: Path) -> None:
    document = tmp_path / "reliability.md"
    document.write_text(DOCUMENT)
    kept = run(tmp_path / "one", exposed("F01", recovery=(5.0, 6.0, 7.0)), exposed("F07G"))

    figures.main(["--into", str(document), kept])

    before, after = DOCUMENT.splitlines(), document.read_text().splitlines()
    assert after[:4] == before[:4]
    assert after[4:7] == [
        "| F01 | killed, or `a \\| b` | nothing | 5 | 20 | 1 | 0 | 5.0 / 6.0 / 7.0 |",
        "| F07G | held | nothing | 5 | 20 | 1 | 0 | - |",
        "| F19 | stopped | nothing | - | - | - | - | - |",
    ]
    assert after[8] == "<!-- runs -->"
    assert after[9].startswith("* seed 42, PostgreSQL 15.1")
    assert after[10:] == before[10:]


def test_they_may_be_put_in_twice(tmp_path: Path) -> None:
    kept = run(tmp_path / "one", exposed("F01"))
    verdicts = [figures.verdict_in(Path(kept))]
    once = figures.filled(DOCUMENT, verdicts)

    assert figures.filled(once, verdicts) == once


@pytest.mark.parametrize("content", [None, b"", b"{}"])
def test_a_folder_without_a_verdict_of_this_version_is_refused_with_what_makes_one(
    tmp_path: Path, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / "verdict.json").write_bytes(content)

    with pytest.raises(InvalidInput, match="dtsched torture --check-only"):
        figures.main([str(tmp_path)])


@pytest.mark.parametrize("arguments", [[], ["--into"], ["--into", "reliability.md"]])
def test_no_run_is_no_figure(arguments: list[str]) -> None:
    with pytest.raises(InvalidInput, match="name the folders"):
        figures.main(arguments)
