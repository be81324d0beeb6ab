"""The demo's pipeline: surveys every file of the installed Python's standard library, then adds the findings up."""

import asyncio
import hashlib
import os
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

from msgspec import Struct

from dtsched import App, Context, InvalidInput

LIBRARY = Path(sysconfig.get_path("stdlib")).resolve()
# installed by others, or written by Python itself while it runs
LEFT_OUT = {"site-packages", "dist-packages", "__pycache__"}

app = App()


class Finding(Struct, frozen=True):
    """Of one file; `path` is relative to the library."""

    path: str
    sha256: str
    bytes: int
    lines: int
    words: int


class Total(Struct, frozen=True):
    """Of all files; `sha256` is taken over their digests in the order of their paths."""

    files: int
    bytes: int
    lines: int
    words: int
    sha256: str


def library_files() -> Iterator[str]:
    """The readable files of the library, relative to it, in no particular order."""
    for folder, folders, names in os.walk(LIBRARY):
        folders[:] = [name for name in folders if name not in LEFT_OUT]
        for name in names:
            path = Path(folder, name)
            if path.is_file() and not path.is_symlink() and os.access(path, os.R_OK):
                yield str(path.relative_to(LIBRARY))


def examine(path: str) -> Finding:
    content = (LIBRARY / path).read_bytes()
    return Finding(
        path=path,
        sha256=hashlib.sha256(content).hexdigest(),
        bytes=len(content),
        lines=content.count(b"\n"),
        words=len(content.split()),
    )


def add_up(findings: Iterable[Finding]) -> Total:
    ordered = sorted(findings, key=lambda finding: finding.path)
    return Total(
        files=len(ordered),
        bytes=sum(finding.bytes for finding in ordered),
        lines=sum(finding.lines for finding in ordered),
        words=sum(finding.words for finding in ordered),
        sha256=hashlib.sha256("".join(finding.sha256 for finding in ordered).encode()).hexdigest(),
    )


@app.task(queue="survey")
def survey_file(path: str) -> Finding:
    if not (LIBRARY / path).resolve().is_relative_to(LIBRARY):
        raise InvalidInput(f"path must lead to a file of the standard library, not to {path!r}", field="path")
    return examine(path)


@app.task(queue="survey")
async def survey_total(ctx: Context) -> Total:
    """Of the files that this job's parents surveyed."""
    parents = await ctx.parents()
    return add_up(Finding(**parent.result) for parent in parents)


@app.task(queue="slow")
async def linger(seconds: float) -> None:
    """Holds its lease for a while: something to be busy with when the worker is killed."""
    await asyncio.sleep(seconds)


@app.task(queue="survey")
async def stumble(ctx: Context, failures: int) -> int:
    """Fails on its first attempts and then says which attempt succeeded."""
    if ctx.attempt <= failures:
        raise RuntimeError(f"stumbled on purpose, attempt {ctx.attempt} of {failures + 1}")
    return ctx.attempt


@app.task(queue="survey")
async def give_up() -> None:
    raise RuntimeError("fails every time, on purpose")


@app.task(queue="survey")
async def note(text: str) -> str:
    return text


@app.task(queue="survey")
async def probe() -> None:
    """Submitted alone, to see how soon an idle worker picks it up."""
