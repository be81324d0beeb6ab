"""What every process of a run writes down, before and after each act, outside the database.

A file is opened with O_APPEND and each record is one write, so that it survives a SIGKILL of who wrote it; on one
machine CLOCK_MONOTONIC puts the records of all processes into one order. An act whose outcome is not known ends in
`info`: it may have happened.
"""

import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from heapq import merge
from operator import attrgetter
from pathlib import Path
from sys import intern
from time import monotonic_ns
from typing import Any, Literal
from uuid import uuid4

import msgspec
from msgspec import Struct

Op = Literal[
    "submit",  # a job of `key`; note: see workload.py; ok: `job` is its id, note.created
    "cancel",  # ok: note.outcome as dtsched.cancel() says
    "retry",  # by hand; ok: note.outcome
    "start",  # ok: a handler has begun, with what it was given: `digest` of its args
    "end",  # ok: a handler is about to return; note.outcome: return, raise, retry, snooze, cancelled
    "effect",  # ok: a handler did something that cannot be undone
    "finish",  # of a worker over HTTP: ok: accepted; fail: refused (note.status)
    # invoke: injected; note: fault, window (its number in the plan), jobs (in flight then), overlaps (a handler may be
    # started beside one that still runs), began_ns where it took a while. ok: healed; note: how often it did what,
    # struck: how many acts it has met, where that is not told by jobs, and jobs, where they are known only then. fail:
    # could not be injected or healed. info: what it tells of itself, also before its invoke: figures; forgets: since
    # and until when (ns) what the database said yes to may be forgotten; moved: since and until when (ns) the clock
    # that decides, dtsched.now(), differed from the server's own, and by how many seconds; `tried`, so many forbidden
    # acts, and `accepted`, a list of those that were let through; `wrong`, a list of what it has seen and must not be
    "fault",
    "exit",  # ok: a process has ended; note: name, code, expected (a fault or the run's end wanted it)
    "pulse",  # ok: note: counts from the tables, a few times a second
    "phase",  # ok: note.name: baseline, storm, heal, drain, check
]
Phase = Literal["invoke", "ok", "fail", "info"]
Role = Literal["runner", "submitter", "worker", "http_worker", "sql"]


class Record(Struct, frozen=True, omit_defaults=True, kw_only=True, gc=False):
    """`ns` of CLOCK_MONOTONIC; `process` is a UUID, new at each start. `key` is the job's name from its submitter's own
    counting, `job` its id, `lease` and `attempt` those of the handler that writes."""

    ns: int
    process: str
    role: Role
    op: Op
    phase: Phase
    key: str | None = None
    job: int | None = None
    lease: int | None = None
    attempt: int | None = None
    digest: str | None = None
    note: dict[str, Any] = {}


class Recorder:
    """One process's file. Threads may share it."""

    def __init__(self, folder: Path, role: Role) -> None:
        self.process = str(uuid4())
        self._role: Role = role
        self._encode = msgspec.json.Encoder().encode
        self._file = os.open(
            folder / f"{role}-{self.process}.ndjson", os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600
        )

    def __call__(
        self,
        op: Op,
        phase: Phase,
        *,
        key: str | None = None,
        job: int | None = None,
        lease: int | None = None,
        attempt: int | None = None,
        digest: str | None = None,
        **note: object,
    ) -> None:
        record = Record(
            ns=monotonic_ns(),
            process=self.process,
            role=self._role,
            op=op,
            phase=phase,
            key=key,
            job=job,
            lease=lease,
            attempt=attempt,
            digest=digest,
            note=note,
        )
        os.write(self._file, self._encode(record) + b"\n")

    def close(self) -> None:
        os.close(self._file)


@contextmanager
def recording(folder: Path, role: Role) -> Generator[Recorder]:
    recorder = Recorder(folder, role)
    try:
        yield recorder
    finally:
        recorder.close()


def read(folder: Path) -> Iterator[Record]:
    """All records of a run, in the order in which they were written."""
    return merge(*(_read_one(path) for path in sorted(folder.glob("*.ndjson"))), key=attrgetter("ns"))


def recent(folder: Path, role: Role, *, bytes_each: int = 4 << 20) -> list[Record]:
    """The last that each process of this role has written, while it goes on to write."""
    found: list[Record] = []
    decode = msgspec.json.Decoder(Record).decode
    for path in folder.glob(f"{role}-*.ndjson"):
        with path.open("rb") as file:
            file.seek(skipped := max(0, path.stat().st_size - bytes_each))
            lines = file.read().splitlines(keepends=True)[1 if skipped else 0 :]
        found += [decode(line) for line in lines if line.endswith(b"\n")]
    return sorted(found, key=attrgetter("ns"))


def _read_one(path: Path) -> Iterator[Record]:
    decode = msgspec.json.Decoder(Record).decode
    with path.open("rb") as lines:
        for line in lines:
            if line.endswith(b"\n"):  # a full disk may have cut the last one
                try:
                    record = decode(line)
                except msgspec.DecodeError as error:
                    raise msgspec.DecodeError(f"{path.name}: {error}") from error
                msgspec.structs.force_setattr(record, "process", intern(record.process))  # one, and not one a line
                yield record
