"""What all programs on systems in Python have in common; needs the standard library alone. program.mjs is its twin.

    python -m benchmarks.peers.adapters.on_SYSTEM setup                   # lays the schema, says version and settings
    python -m benchmarks.peers.adapters.on_SYSTEM submit COUNT BATCH      # jobs without arguments; says how long
    python -m benchmarks.peers.adapters.on_SYSTEM work NOTES              # until SIGTERM
    python -m benchmarks.peers.adapters.on_SYSTEM pickup PAUSES           # single jobs, after so many seconds each

The database is named by the variable PEER_DSN: a command line can be read by every user of the machine. What handlers
note goes to two files: how many have run and when the first began to NOTES, and to NOTES.picked when each numbered job
was picked up. A thread writes them every 20 ms, so that no job pays for a file.
"""

import asyncio
import json
import os
import sys
import threading
import time
from collections.abc import Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol, TypeVar

TICK_SECONDS = 0.02
T = TypeVar("T")


class Submitter(Protocol):
    async def many(self, count: int) -> None:
        """Jobs without arguments, in one call of the system's."""
        ...

    async def one(self, number: int) -> None:
        """A job that notes when it was picked up. Returns when it is committed."""
        ...


class Adapter(Protocol):
    package: str
    settings: str

    async def setup(self, dsn: str) -> None: ...

    def submitter(self, dsn: str) -> AbstractAsyncContextManager[Submitter]: ...

    async def work(self, dsn: str) -> None:
        """Runs one worker for ever."""
        ...


class Run(Protocol):
    def __call__(self, main: Coroutine[Any, Any, T], /) -> T: ...


class Notes:
    def __init__(self) -> None:
        self._first_ns = 0
        self._runs = 0
        self._picked: list[str] = []

    def run(self) -> None:
        """Said by the handler of jobs without arguments."""
        if not self._runs:
            self._first_ns = time.time_ns()
        self._runs += 1

    def pick(self, number: int) -> None:
        """Said by the handler of numbered jobs."""
        self._picked.append(f"{number} {time.time_ns()}\n")

    def keep_in(self, file: Path) -> None:
        threading.Thread(target=self._write_for_ever, args=(file,), daemon=True, name="notes").start()

    def _write_for_ever(self, file: Path) -> None:
        counts = os.open(file, os.O_WRONLY | os.O_CREAT, 0o600)
        picked = os.open(f"{file}.picked", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        written, before, parent = 0, "", os.getppid()
        while os.getppid() == parent:
            said = f"{self._first_ns:020} {self._runs:020}\n"
            if said != before:
                os.pwrite(counts, said.encode(), 0)
                before = said
            if news := self._picked[written:]:
                os.write(picked, "".join(news).encode())
                written += len(news)
            time.sleep(TICK_SECONDS)
        os._exit(1)  # whoever measured us is gone


notes = Notes()
"""The handlers' own: some systems import them by name, a second time beside the module that is run."""


def main(adapter: Adapter, *, run: Run = asyncio.run) -> None:
    """`run` may be another event loop's, where a system's own command line has that."""
    command, *arguments = sys.argv[1:]
    dsn = os.environ["PEER_DSN"]
    if command == "work":
        notes.keep_in(Path(arguments[0]))
        run(adapter.work(dsn))
    elif command == "setup":
        asyncio.run(adapter.setup(dsn))
        _say({"version": version(adapter.package), "settings": adapter.settings})
    elif command == "submit":
        _say({"seconds": run(_submit(adapter, dsn, count=int(arguments[0]), batch=int(arguments[1])))})
    elif command == "pickup":
        pauses = json.loads(Path(arguments[0]).read_text())
        _say({"committed_ns": asyncio.run(_submit_singly(adapter, dsn, pauses))})
    else:
        raise SystemExit(f"setup, submit, work and pickup there are, not {command}")


def _say(what: object) -> None:
    print(json.dumps(what), flush=True)


async def _submit(adapter: Adapter, dsn: str, *, count: int, batch: int) -> float:
    async with adapter.submitter(dsn) as submitter:
        began = time.perf_counter()
        for start in range(0, count, batch):
            await submitter.many(min(batch, count - start))
        return time.perf_counter() - began


async def _submit_singly(adapter: Adapter, dsn: str, pauses: Sequence[float]) -> list[int]:
    committed: list[int] = []
    async with adapter.submitter(dsn) as submitter:
        for number, pause in enumerate(pauses):
            await asyncio.sleep(pause)
            await submitter.one(number)
            committed.append(time.time_ns())
    return committed
