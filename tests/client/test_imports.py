"""What importing the package loads: a program that only asks for help or names an error needs neither driver nor web
framework."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import dtsched

HEAVY = ("psycopg", "psycopg_pool", "litestar", "sqlalchemy", "alembic", "uvicorn", "click", "rich")


def loaded_by(program: str) -> list[str]:
    report = (
        f"import sys\n{program}\nimport json; print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    )
    ended = subprocess.run([sys.executable, "-P", "-c", report], capture_output=True, text=True, check=True)
    return json.loads(ended.stdout)


@pytest.mark.parametrize(
    "program",
    ["import dtsched", "from dtsched import InvalidInput, NewJob, Retry, Snooze, Context", "import dtsched.tasks"],
)
def test_importing_loads_neither_driver_nor_web_framework(program: str) -> None:
    assert loaded_by(program) == []


def test_an_app_loads_the_driver_and_nothing_heavier() -> None:
    assert loaded_by("from dtsched import App; App()") == ["psycopg", "psycopg_pool"]


def test_every_name_is_there_and_no_other() -> None:
    for name in dtsched.__all__:
        assert getattr(dtsched, name).__name__ == name
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        print(dtsched.Nothing)  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownArgumentType]: it is to be missing
