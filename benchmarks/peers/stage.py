"""One temporary PostgreSQL for all systems, a fresh database for each measurement, and the programs that use it."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, LiteralString

import psutil
import psycopg
from psycopg import sql

from benchmarks.peers.catalogue import Peer
from benchmarks.peers.environments import ROOT, Environment

_LAY_SECONDS = 60
_SUBMIT_SECONDS = 300
_COUNT_SECONDS = 60
_END_SECONDS = 10
_DURABILITY = """
    select current_setting('fsync') = 'on'
        and current_setting('synchronous_commit') = 'on'
        and current_setting('full_page_writes') = 'on'
        and not exists (select from pg_catalog.pg_db_role_setting)
        and not exists (
            select from pg_catalog.pg_proc where proconfig::text ~ 'synchronous_commit=off'
        ) as durable,
        array(select relname::text from pg_catalog.pg_class where relpersistence = 'u' and relkind = 'r') as unlogged
"""


class Broken(Exception):
    """A system did not do what it was to do, so nothing is measured."""


@dataclass
class Stage:
    """A peer on a database of its own; its programs end with it. `said`: version and settings, by its own word."""

    peer: Peer
    environment: Environment
    dsn: str
    folder: Path
    database: "psycopg.Connection[tuple[Any, ...]]"
    said: dict[str, Any] = field(default_factory=dict[str, Any])
    workers: "list[subprocess.Popen[bytes]]" = field(default_factory=list["subprocess.Popen[bytes]"])

    def say(self, *words: object, seconds: float) -> dict[str, Any]:
        """What the program answers to these words."""
        try:
            done = subprocess.run(
                self._command(*words),
                cwd=self.environment.folder,
                env=self._variables(),
                capture_output=True,
                text=True,
                timeout=seconds,
            )
        except subprocess.TimeoutExpired as error:
            raise Broken(f"{words[0]} took more than {seconds} s") from error
        if done.returncode:
            raise Broken(f"{words[0]} ended with code {done.returncode}: {last_words(done.stderr)}")
        return json.loads(done.stdout.splitlines()[-1])

    def submit(self, count: int, batch: int) -> float:
        """How many seconds it took."""
        seconds = self.say("submit", count, batch, seconds=_SUBMIT_SECONDS)["seconds"]
        if (left := self.number(self.peer.left)) != count:
            raise Broken(f"{count:,} jobs were submitted, {left:,} are there")
        return seconds

    def start_worker(self) -> None:
        number = len(self.workers) + 1
        with (self.folder / f"worker-{number}.log").open("wb") as log:
            self.workers.append(
                subprocess.Popen(
                    self._command("work", self.folder / f"notes-{number}"),
                    cwd=self.environment.folder,
                    env=self._variables(),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,  # Ctrl-C reaches us alone, and we end them
                )
            )

    def require_workers(self) -> None:
        for number, worker in enumerate(self.workers, 1):
            if worker.poll() is not None:
                said = (self.folder / f"worker-{number}.log").read_text(errors="replace")
                raise Broken(f"a worker ended with code {worker.returncode}: {last_words(said)}")

    def noted(self) -> list[tuple[int, int]]:
        """Of each worker that has noted anything: when its first handler began (0: none yet), how many have run."""
        said = [file.read_text().split() for file in self.folder.glob("notes-?")]
        return [(int(first_ns), int(runs)) for first_ns, runs in (words for words in said if words)]

    def picked(self) -> list[tuple[int, int]]:
        """Which numbered jobs were picked up, and when."""
        lines = "".join(file.read_text() for file in self.folder.glob("notes-?.picked")).splitlines()
        return [(int(number), int(at_ns)) for number, at_ns in (line.split() for line in lines)]

    def number(self, query: LiteralString) -> int:
        try:
            (number,) = self.database.execute(query).fetchone() or (0,)
        except psycopg.errors.QueryCanceled as error:
            raise Broken(f"counting its jobs takes more than {_COUNT_SECONDS} s") from error
        return int(number)

    def settle(self) -> None:
        """What was loaded is known to the planner, and nobody pays for writing it out while he is measured."""
        self.database.execute("analyze")
        self.database.execute("checkpoint")

    def end(self) -> None:
        for worker in self.workers:
            worker.terminate()
        deadline = time.monotonic() + _END_SECONDS
        for worker in self.workers:
            with suppress(subprocess.TimeoutExpired):
                worker.wait(max(0.0, deadline - time.monotonic()))
            with suppress(ProcessLookupError):
                os.killpg(worker.pid, signal.SIGKILL)  # with the processes that it may have started
            worker.wait()

    def _command(self, *words: object) -> list[str]:
        return [*self.environment.program, *map(str, words)]

    def _variables(self) -> dict[str, str]:
        return {**os.environ, "PEER_DSN": self.dsn, "PYTHONPATH": str(ROOT)}


@contextmanager
def staged(peer: Peer, environment: Environment, server: str, folder: Path) -> Generator[Stage]:
    """With the schema laid, and seen to be durable now and in the end. Raises Broken."""
    folder.mkdir(parents=True)
    with ExitStack() as stack:
        dsn = stack.enter_context(_fresh_database(server))
        database = stack.enter_context(psycopg.connect(dsn, autocommit=True))
        database.execute("select set_config('statement_timeout', %s, false)", (f"{_COUNT_SECONDS}s",))
        stage = Stage(peer, environment, dsn, folder, database)
        stack.callback(stage.end)
        stage.said = stage.say("setup", seconds=_LAY_SECONDS)
        _require_durability(stage)
        yield stage
        _require_durability(stage)


@contextmanager
def _fresh_database(server: str) -> Generator[str]:
    name = "measured"
    with psycopg.connect(server, autocommit=True) as connection:
        drop = sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name))
        connection.execute(drop)
        connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        try:
            yield f"{server.rpartition('/')[0]}/{name}"
        finally:
            connection.execute(drop)


def _require_durability(stage: Stage) -> None:
    durable, unlogged = stage.database.execute(_DURABILITY).fetchone() or (False, [])
    forgetful = sorted(set(unlogged) - stage.peer.may_be_unlogged)
    if not durable or forgetful:
        raise Broken(f"nothing is measured on a database that may forget: {', '.join(forgetful) or 'its settings'}")


def last_words(said: str) -> str:
    return " ".join(said.split())[-300:] or "nothing"


def file_system(folder: Path) -> str:
    """Of the mount that holds it."""
    mounts = [mount for mount in psutil.disk_partitions(all=True) if folder.resolve().is_relative_to(mount.mountpoint)]
    return max(mounts, key=lambda mount: len(mount.mountpoint)).fstype
