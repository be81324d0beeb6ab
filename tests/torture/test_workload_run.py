"""The workload with real processes: a worker, one over HTTP and a submitter that writes down what it was told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest

from dtsched.torture.app import SCHEDULE
from dtsched.torture.app import app as torture_app
from dtsched.torture.behaviour import behaviour, kind_of
from dtsched.torture.digests import digest
from dtsched.torture.history import Record, read
from dtsched.torture.hostile import UNKNOWN_TASK
from dtsched.torture.outbox import LAY
from dtsched.torture.workload import MIX
from tests.support.rest import serving
from tests.support.servers import Databases

SEED = 42
SLOW = ("long", "multiplying", "overrunning")
JOBS = 250
RATE = 100
PATIENCE_SECONDS = 60.0


class Row(NamedTuple):
    id: int
    state: str
    args: dict[str, Any]
    result: Any
    task: str


@dataclass
class Ran:
    """A run that is over."""

    records: Sequence[Record]
    rows: Mapping[int, Row]
    outbox: Mapping[str, int]
    effects: Counter[int]
    ticks: Mapping[datetime, int | None]
    problems: Sequence[object]
    codes: Mapping[str, int]

    def of(self, op: str, *phases: str) -> list[Record]:
        return [record for record in self.records if record.op == op and (not phases or record.phase in phases)]

    @cached_property
    def submitted(self) -> Mapping[str, Record]:
        return {record.key or "": record for record in reversed(self.of("submit", "invoke"))}

    @cached_property
    def told(self) -> Mapping[str, list[Record]]:
        told: defaultdict[str, list[Record]] = defaultdict(list)
        for record in self.of("submit", "ok", "fail", "info"):
            told[record.key or ""].append(record)
        return told

    @cached_property
    def named(self) -> Mapping[str, list[Row]]:
        named: defaultdict[str, list[Row]] = defaultdict(list)
        for row in self.rows.values():
            named[row.args["name"]].append(row)
        return named

    def is_contended(self, key: str) -> bool:
        """Others want its key: its job may be theirs, or have become theirs."""
        unique = self.submitted[key].note.get("unique")
        return unique is not None and unique["key"] != key


@contextmanager
def member(folder: Path, dsn: str, *arguments: str, **more: str) -> Generator[subprocess.Popen[bytes]]:
    given = {name: value for name, value in os.environ.items() if not name.startswith("DTSCHED_")}
    of_run = {"DTSCHED_TORTURE_DIR": str(folder), "DTSCHED_TORTURE_SEED": str(SEED), "DTSCHED_DSN": dsn}
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", *arguments],
        env={**given, **of_run, **more},
        cwd=folder,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def worker(folder: Path, dsn: str) -> Any:
    settings = ("--lease", "5s", "--poll", "1s", "--grace", "5s", "-q", "default:20")
    return member(folder, dsn, "dtsched", "worker", "-A", "dtsched.torture.app:app", *settings)


def submitter(folder: Path, dsn: str, kinds: Sequence[str], *, rate: float, url: str = "") -> Any:
    arguments = ("--rate", str(rate), "--kinds", ",".join(kinds))
    return member(folder, dsn, "dtsched.torture.submitter", *arguments, DTSCHED_URL=url)


def stop(process: subprocess.Popen[bytes]) -> int:
    process.send_signal(signal.SIGTERM)
    return process.wait(30)


def until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def count_told(folder: Path, phase: str = "ok", *, again: bool = False) -> int:
    """How many submissions have ended so; `again`: of those that were sent again."""
    return sum(
        record.op == "submit" and record.phase == phase and (not again or "again" in record.note)
        for record in read(folder / "history")
    )


def until_ended(connection: psycopg.Connection) -> None:
    """What waits for its time need not."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        left = connection.execute(
            "select id, state from dtsched.jobs "
            "where state not in ('completed', 'failed', 'cancelled') and task not in ('tick', %s)",
            [UNKNOWN_TASK],
        ).fetchall()
        if not left:
            return
        assert time.monotonic() < deadline, left
        waiting = [job for job, state in left if state == "scheduled"]
        connection.execute("select dtsched.run_now(%s::bigint[])", [waiting])
        time.sleep(0.1)


def over(folder: Path, connection: psycopg.Connection, codes: Mapping[str, int]) -> Ran:
    jobs = connection.execute(
        "select job.id, job.state, job.args, coalesce(stored.result, job.result), job.task "
        "from dtsched.jobs job left join dtsched.results stored on stored.job_id = job.id"
    ).fetchall()
    return Ran(
        records=list(read(folder / "history")),
        rows={row[0]: Row(*row) for row in jobs},
        outbox=dict(connection.execute("select key, job_id from torture.outbox").fetchall()),
        effects=Counter(job for (job,) in connection.execute("select job_id from torture.effects").fetchall()),
        ticks=dict(
            connection.execute("select tick, job_id from dtsched.ticks where schedule = %s", [SCHEDULE]).fetchall()
        ),
        problems=connection.execute("select * from dtsched.check()").fetchall(),
        codes=codes,
    )  # fmt: skip


@pytest.fixture(scope="module")
def ran(databases: Databases, template: str, tmp_path_factory: pytest.TempPathFactory) -> Generator[Ran]:
    name = databases.clone(template)
    dsn = databases.dsn(name)
    folder = tmp_path_factory.mktemp("workload")
    kinds = [kind for kind in MIX if kind not in SLOW]
    with psycopg.connect(dsn, autocommit=True) as connection, serving(dsn) as url, ExitStack() as members:
        at_work = members.enter_context(worker(folder, dsn))
        over_http = members.enter_context(member(folder, dsn, "dtsched.torture.http_worker", DTSCHED_URL=url))
        submitting = members.enter_context(submitter(folder, dsn, kinds, rate=RATE, url=url))
        until(lambda: count_told(folder) >= JOBS)
        codes = {"submitter": stop(submitting)}
        until_ended(connection)
        connection.execute("select dtsched.pause_schedule(%s)", [SCHEDULE])
        codes |= {"worker": stop(at_work), "http_worker": stop(over_http)}
        yield over(folder, connection, codes)
    databases.drop(name)


def test_everybody_ends_in_order_when_told_to(ran: Ran) -> None:
    assert ran.codes == {"submitter": 0, "worker": 0, "http_worker": 0}
    assert ran.problems == []


def test_every_job_that_was_submitted_is_there_once_and_no_other(ran: Ran) -> None:
    assert len(ran.submitted) >= JOBS
    assert not ran.of("submit", "info")
    for key, told in ran.told.items():
        written = [record for record in told if record.phase == "ok"]
        count = len(ran.named.get(key, []))
        if ran.is_contended(key):
            assert count <= 1, key
            assert all(record.job in ran.rows for record in written), key
        else:
            assert count == (1 if written else 0), (key, told)
    assert ran.named.keys() - ran.submitted.keys() <= {"cron"}


def test_every_job_has_ended_in_a_state_that_was_expected(ran: Ran) -> None:
    for key, rows in ran.named.items():
        if key != "cron":
            assert rows[0].state in ran.submitted[key].note["expect"], (rows[0], ran.submitted[key].note)
    states = Counter(row.state for row in ran.rows.values())
    assert states["completed"] > states["failed"] > 0


def test_what_has_to_be_refused_was_and_what_has_to_be_accepted_was(ran: Ran) -> None:
    for key, invoke in ran.submitted.items():
        must = invoke.note.get("must")
        if must is not None:
            assert {record.phase for record in ran.told[key]} == {"ok" if must == "accept" else "fail"}, invoke


def test_handlers_were_given_what_was_submitted_and_jobs_have_what_they_returned(ran: Ran) -> None:
    starts = ran.of("start")
    assert {record.role for record in starts} == {"worker", "http_worker"}
    for start in starts:
        if (start.key or "") in ran.submitted:
            assert start.digest == ran.submitted[start.key or ""].digest, start
    returned = {record.lease: record for record in ran.of("end") if record.note["outcome"] == "return"}
    last = {record.job: record.lease for record in starts}
    for row in ran.rows.values():
        if row.state == "completed":
            assert digest(row.result) == returned[last[row.id]].note["result"], row


def test_every_attempt_did_what_it_was_to_do(ran: Ran) -> None:
    ends = {record.lease: record for record in ran.of("end")}
    outcomes = {"return": {"return"}, "raise": {"raise"}, "fail": {"raise"}, "retry": {"retry"},
                "snooze": {"snooze", "return"}, "sleep": {"snooze", "return"}}  # fmt: skip
    seen: set[str] = set()
    for start in ran.of("start"):
        told = behaviour(SEED, start.key or "", start.attempt or 0)
        outcome = ends[start.lease].note["outcome"]
        assert outcome in outcomes[told.act] | {"cancelled"}, start
        assert outcome != "cancelled" or kind_of(start.key or "") in ("cancelled", "unique"), start
        seen.add(outcome)
    assert {"return", "raise", "retry", "snooze"} <= seen


def test_an_outbox_has_a_row_for_each_of_its_jobs_and_for_no_other(ran: Ran) -> None:
    jobs = {key: rows[0].id for key, rows in ran.named.items() if kind_of(key) == "outbox"}
    assert len(jobs) > 0
    assert ran.outbox == jobs


def test_what_is_written_in_the_completing_transaction_is_there_once(ran: Ran) -> None:
    jobs = [row.id for row in ran.rows.values() if row.task == "complete_in"]
    assert jobs
    assert ran.effects == Counter(jobs)


def test_every_second_has_its_tick_and_every_tick_a_job(ran: Ran) -> None:
    assert max(ran.ticks) - min(ran.ticks) == timedelta(seconds=len(ran.ticks) - 1)
    jobs = [job for job in ran.ticks.values() if job is not None]
    assert len(jobs) == len(set(jobs)) == len(ran.ticks)
    started = {record.job for record in ran.of("start") if record.key == "cron"}
    assert started == {job for job in jobs if ran.rows[job].state == "completed"} != set()


def test_a_worker_over_http_is_answered_what_becomes_of_each_attempt(ran: Ran) -> None:
    finished = ran.of("finish", "ok")
    started = [record.lease for record in ran.of("start") if record.role == "http_worker"]
    assert {record.lease for record in finished} == set(started)
    assert {record.note["state"] for record in finished} >= {"completed"}


def test_a_submitter_whose_connections_are_ended_in_mid_submit_tells_the_truth(
    databases: Databases, template: str, tmp_path: Path
) -> None:
    """No answer is no refusal: what it does not know is there once or not at all; what it sends again is there once."""
    name = databases.clone(template)
    dsn = databases.dsn(name)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("insert into dtsched.tasks (name) select unnest(%s::text[])", [list(torture_app.registry)])
        connection.execute(LAY)
        with submitter(tmp_path, dsn, ["plain", "outbox", "unique"], rate=200) as submitting:

            def is_enough() -> bool:
                connection.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() "
                    "and application_name = 'dtsched torture submitter' and state = 'active'"
                )
                return count_told(tmp_path, "info") > 5 and count_told(tmp_path, again=True) > 0

            until(is_enough)
            code = stop(submitting)
        ran = over(tmp_path, connection, {"submitter": code})
    databases.drop(name)
    assert code == 0
    unknown = 0
    for key, told in ran.told.items():
        phases = [record.phase for record in told]
        count = len(ran.named.get(key, []))
        if ran.is_contended(key):
            continue
        assert count == 1 if "ok" in phases else count <= 1 if "info" in phases else count == 0, (key, told)
        unknown += "info" in phases
    assert unknown > 0
    assert any(record.note.get("again") for record in ran.of("submit", "ok"))
    written = {key for key in ran.named if kind_of(key) == "outbox"}
    assert written == set(ran.outbox)
