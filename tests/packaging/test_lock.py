"""A20: what is installed is what was locked, to the byte, and bandit finds what the project bans."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "requirements.lock").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PIN = re.compile(r"^([a-z0-9.-]+)==(\S+)( ; .*?)? \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.MULTILINE)


def test_a20_every_line_of_the_lock_is_a_version_with_its_hashes() -> None:
    pinned = {found[1] for found in PIN.finditer(LOCK)}
    assert PIN.sub("", LOCK).strip() == ""
    assert len(pinned) > 50
    groups = (PROJECT["project"]["dependencies"], PROJECT["dependency-groups"]["dev"])
    asked_for = {re.split(r"[\[>=<; ]", asked)[0] for group in groups for asked in group}
    assert asked_for <= pinned


def test_a20_whatever_installs_insists_on_hashes() -> None:
    """But for this checkout itself, which is installed without its dependencies and builds with what is installed."""
    for name in ("Makefile", "Dockerfile"):
        lines = [line for line in (ROOT / name).read_text().replace("\\\n", " ").splitlines() if line[:1] != "#"]
        installs = [part for line in lines for part in line.split("&&") if re.search(r"pip\S* .*\binstall\b", part)]
        assert installs
        assert [part for part in installs if not re.search("--require-hashes|--no-deps|build/(images|uv)/", part)] == []


def test_a20_a_package_with_other_bytes_is_not_installed(tmp_path: Path) -> None:
    wheel = tmp_path / "innocent-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("innocent.py", "")
        archive.writestr("innocent-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: innocent\nVersion: 1.0\n")
        archive.writestr(
            "innocent-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("innocent-1.0.dist-info/RECORD", "")
    honest = sha256(wheel.read_bytes()).hexdigest()
    assert install(tmp_path, f"innocent==1.0 --hash=sha256:{honest}") == (0, "")
    assert "DO NOT MATCH THE HASHES" in install(tmp_path, f"innocent==1.0 --hash=sha256:{'0' * 64}")[1]
    assert "Hashes are required" in install(tmp_path, "innocent==1.0")[1]


def install(folder: Path, requirement: str) -> tuple[int, str]:
    """As the Makefile does, but from this folder."""
    (folder / "lock").write_text(requirement)
    ended = subprocess.run(
        [sys.executable, "-m", "pip", "--isolated", "install", "--quiet", "--require-hashes", "--requirement", "lock",
         "--no-index", "--find-links", ".", "--no-deps", "--target", "installed", "--upgrade"],
        cwd=folder, text=True, capture_output=True, check=False, env={"PIP_CONFIG_FILE": "/dev/null", "PATH": ""},
    )  # fmt: skip
    return ended.returncode, ended.stderr


BANNED = [
    "import pickle\npickle.loads(b'')",
    "import yaml\nyaml.load('')",
    "import marshal\nmarshal.loads(b'')",
    "import subprocess\nsubprocess.run('ls', shell=True)",
    "import os\nos.system('ls ' + input())",
    "eval(input())",
    "exec(input())",
    "import hashlib\nhashlib.md5(b'')",
    "import ssl\nssl._create_unverified_context()",
    "import httpx\nhttpx.get('https://localhost', verify=False)",
    "import tempfile\ntempfile.mktemp()",
    "import socket\nsocket.socket().bind(('0.0.0.0', 1))",
    "import xml.etree.ElementTree as tree\ntree.parse('x')",
    "try:\n    print()\nexcept Exception:\n    pass",
]


def test_what_bandit_is_not_told_to_pass_over_it_finds(tmp_path: Path) -> None:
    for number, code in enumerate(BANNED):
        (tmp_path / f"code_{number}.py").write_text(code)
    arguments = ["--quiet", "--configfile", str(ROOT / "pyproject.toml"), "--recursive", str(tmp_path)]
    ended = subprocess.run([sys.executable, "-m", "bandit", *arguments], text=True, capture_output=True, check=False)
    found = {int(number) for number in re.findall(r"code_(\d+)\.py:", ended.stdout)}
    assert [code for number, code in enumerate(BANNED) if number not in found] == []
    assert ended.returncode == 1
