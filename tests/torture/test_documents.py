"""What the documents say of faults and attacks, held to the code."""

from __future__ import annotations

import re
from pathlib import Path

from dtsched.torture.catalogue import CATALOGUE
from dtsched.torture.checker.invariants import INVARIANTS

ROOT = Path(__file__).parent.parent.parent
_BAR = re.compile(r"(?<!\\)\|")


def rows(document: str, number: str) -> list[list[str]]:
    """Of its tables those whose first cell is such a number, by cells."""
    lines = (ROOT / document).read_text().splitlines()
    return [[cell.strip() for cell in _BAR.split(line)[1:-1]] for line in lines if re.match(rf"\| {number} \|", line)]


def test_each_fault_has_its_row_of_figures() -> None:
    found = rows("docs/reliability.md", r"F\d\dG?")
    assert [row[0] for row in found] == list(CATALOGUE)
    assert {len(row) for row in found} == {8}


def test_the_catalogue_names_the_class_that_injects_each_fault() -> None:
    injected = {
        number: set(re.findall(r"`(\w+)`", row[5])) for row in rows("docs/faults.md", r"F\d\d") for number in row[:1]
    }
    for number, fault in CATALOGUE.items():
        assert fault.__name__ in injected[number[:3]]
    assert injected.keys() - {number[:3] for number in CATALOGUE} == {"F50"}


def test_each_attack_is_one_that_a_test_tries() -> None:
    attacks = rows("SECURITY.md", r"A\d\d [^|]+")
    assert [row[0][:3] for row in attacks] == [f"A{number:02}" for number in range(1, 21)]
    for row in attacks:
        files = re.findall(r"test_\w+\.py", row[3])
        assert all(list((ROOT / "tests").rglob(file)) for file in files), row
        assert files or row[0].startswith("A11 "), row


def test_each_test_and_page_that_is_named_is_there() -> None:
    for document in ("docs/reliability.md", "docs/faults.md", "SECURITY.md", "README.md"):
        text = (ROOT / document).read_text()
        for file in re.findall(r"`(tests/[\w/]+(?:\.py)?)`", text):
            assert (ROOT / file).exists(), f"{document}: {file}"
        for link in re.findall(r"\]\(([\w./-]+)", text):
            assert (ROOT / document).parent.joinpath(link).exists(), f"{document}: {link}"


def test_there_are_as_many_faults_and_invariants_as_the_pages_say() -> None:
    text = (ROOT / "docs/reliability.md").read_text()
    assert f"the [{len(CATALOGUE)} faults below]" in text
    assert f"[{len(INVARIANTS)} invariants]" in text
