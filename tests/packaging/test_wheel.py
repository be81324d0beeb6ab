"""What pip installs is whole: every module and every file that is read at run time, under one top-level name."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PLACES = {"dtsched": "dtsched", "schema": "dtsched/schema", "workers": "dtsched/workers"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The names of the files in it. Built from a copy, as a build leaves folders of its own in the checkout."""
    checkout = tmp_path_factory.mktemp("checkout")
    for name in (*PLACES, "pyproject.toml"):
        subprocess.run(["cp", "-R", ROOT / name, checkout], check=True)
    build = [sys.executable, "-c", "from setuptools import build_meta; print(build_meta.build_wheel('.'))"]
    built = subprocess.run(build, cwd=checkout, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
    with zipfile.ZipFile(checkout / built) as archive:
        return set(archive.namelist())


@pytest.mark.parametrize("place", PLACES)
def test_every_file_of_the_checkout_is_in_the_wheel(wheel: set[str], place: str) -> None:
    files = [path.relative_to(ROOT / place) for path in (ROOT / place).rglob("*") if path.is_file()]
    wanted = {f"{PLACES[place]}/{path}" for path in files if "__pycache__" not in path.parts and path.suffix != ".md"}
    assert wanted
    assert wanted - wheel == set()


def test_one_top_level_package_is_installed(wheel: set[str]) -> None:
    assert {name.split("/")[0] for name in wheel if ".dist-info/" not in name} == {"dtsched"}


def test_the_installed_package_finds_its_schema_and_its_workers() -> None:
    program = """
import importlib.resources, dtsched.workers.builtin
print(*(file.name for file in importlib.resources.files("dtsched.schema").joinpath("functions").iterdir()))
"""
    found = subprocess.run([sys.executable, "-I", "-c", program], cwd="/", check=True, capture_output=True, text=True)
    assert set(found.stdout.split()) == {file.name for file in (ROOT / "schema" / "functions").iterdir()}
