"""A real database, dumped and read again, is judged as one that nothing was wrong with; spoiled, it is not."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from pathlib import Path
from time import time
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from dtsched.errors import InvalidInput
from dtsched.torture.clocks import Pair
from dtsched.torture.history import Recorder, recording
from dtsched.torture.plan import Plan
from dtsched.torture.state import dump, load
from dtsched.torture.verdict import check
from tests.sql.sessions import Worker
from tests.torture.story import digest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "history").mkdir()
    Plan(
        seed=1,
        minutes=0.1,
        mode="single",
        workers=1,
        apis=0,
        lease_seconds=5.0,
        baseline_seconds=1.0,
        windows=[],
        left_out={"F26": "not root"},
    ).save(tmp_path)
    return tmp_path


@pytest.fixture
def worker(database: str) -> Generator[Worker]:
    with contextlib.closing(Worker(database)) as worker:
        worker.run("select dtsched.trace(true)")
        yield worker


def submit(worker: Worker, record: Recorder, key: str) -> int:
    args = {"name": key, "payload": None}
    record("submit", "invoke", key=key, digest=digest(args), kind="plain", expect=["completed"])
    job: int = worker.value("select dtsched.submit('echo', jsonb_build_object('name', %s::text))", key)
    record("submit", "ok", key=key, job=job, created=True)
    return job


def handle(worker: Worker, record: Recorder, jobs: list[int]) -> None:
    """Each returns a result of the size that the last digit of its name says, in kilobytes."""
    attempts = dict(worker.rows("select id, attempt from dtsched.jobs"))
    names = dict(worker.rows("select id, args ->> 'name' from dtsched.jobs"))
    for job in jobs:
        result = {"quoted": 'a"b\\c\n\x01ü', "long": "x" * (1000 * int(names[job][-1]))}
        fields: dict[str, Any] = {"key": names[job], "job": job, "lease": worker.leases[job], "attempt": attempts[job]}
        args = digest({"name": names[job], "payload": None})
        record("start", "ok", **fields, digest=args)
        record("end", "ok", **fields, outcome="return", result=digest(result))
        finish = "select dtsched.finish(%s, %s, jsonb_build_array(%s::jsonb))"
        worker.run(finish, worker.id, [worker.leases[job]], Jsonb(result))


def test_a_run_of_a_few_jobs_passes_from_its_files_alone(worker: Worker, database: str, folder: Path) -> None:
    with recording(folder / "history", "worker") as record:
        jobs = [submit(worker, record, f"plain-a-{number}") for number in range(5)]
        handle(worker, record, worker.claim())
    dump(database, folder)
    verdict = check(folder, digest=digest)

    assert [finding.name for finding in verdict.invariants if finding.violated] == []
    assert (verdict.result, verdict.jobs, verdict.attempts) == ("PASS", 5, 5)
    checked = {finding.name: finding.checked for finding in verdict.invariants}
    assert (checked["S1"], checked["S3"], checked["S4"], checked["S7"], checked["S16"]) == (5, 5, 5, 15, 10)
    assert verdict.left_out == {"F26": "not root"}
    assert verdict.postgres is not None
    assert sorted(job.id for job in load(folder).jobs) == jobs


def test_a_row_that_is_deleted_by_hand_is_missed(worker: Worker, database: str, folder: Path) -> None:
    with recording(folder / "history", "worker") as record:
        jobs = [submit(worker, record, f"plain-a-{number}") for number in range(2)]
        handle(worker, record, worker.claim())
    worker.run("select dtsched.trace(false)")
    worker.run("delete from dtsched.jobs where id = %s", jobs[0])
    dump(database, folder)

    violated = {finding.name for finding in check(folder, digest=digest).invariants if finding.violated}
    assert {"S1", "S7"} <= violated


def test_a_job_that_is_completed_by_hand_while_it_runs_has_no_lease_for_it(
    worker: Worker, database: str, folder: Path
) -> None:
    with recording(folder / "history", "worker") as record:
        submit(worker, record, "plain-a-1")
        worker.claim()
        worker.run("update dtsched.jobs set state = 'completed', finished_at = dtsched.now() where state = 'running'")
    dump(database, folder)

    violated = {finding.name for finding in check(folder, digest=digest).invariants if finding.violated}
    assert violated == {"S4", "S7", "L1"}  # and dtsched.check() finds a lease of a job that does not run


def test_what_the_tables_say_comes_back_as_it_was(worker: Worker, database: str, folder: Path) -> None:
    worker.run("create schema torture")
    worker.run("create table torture.outbox (key text primary key, job_id bigint)")
    parent = worker.value("select dtsched.submit('echo', key => 'a')")
    child = worker.value("select dtsched.submit('echo', depends_on => %s)", [parent])
    worker.run("insert into torture.outbox (key, job_id) values ('outbox-a-1', %s)", parent)
    worker.run("select dtsched.set_limit('crane', 3)")
    worker.run("select dtsched.set_queue('default', '{\"limit\": 7, \"key_limit\": 2}')")
    worker.claim()
    dump(database, folder, [Pair(ns=1, at=2.0)])
    kept = load(folder)

    row = next(job for job in kept.jobs if job.id == child)
    assert (row.depends_on, row.policies, row.state) == ([parent], ["cancel"], "blocked")
    assert [(event.kind, event.job_id, event.who) for event in kept.lease_events] == [("granted", parent, "claim")]
    assert [(event.from_state, event.to_state) for event in kept.job_events if event.job_id == parent] == [
        (None, "ready"),
        ("ready", "running"),
    ]
    assert kept.job_events[-1].xid == kept.lease_events[-1].xid
    assert [(key.key, key.job_id) for key in kept.keys] == [("a", parent)]
    assert [twin.key for twin in kept.outbox] == ["outbox-a-1"]
    assert [(limit.limit_key, limit.concurrency) for limit in kept.limits] == [("crane", 3)]
    assert [(queue.limit, queue.key_limit) for queue in kept.queues if queue.name == "default"] == [(7, 2)]
    assert [lease.job_id for lease in kept.leases] == [parent]
    assert len(kept.workers) == 1
    assert kept.pairs[0] == Pair(ns=1, at=2.0)
    assert all(abs(pair.at - time()) < 60 and pair.error_seconds < 1 for pair in kept.pairs[1:])
    assert kept.problems == []
    assert kept.effects == []


def test_a_table_that_a_run_did_not_have_is_empty(folder: Path) -> None:
    assert load(folder).outbox == []
    assert load(folder).server is None


def test_a_part_of_a_run_is_not_judged(worker: Worker, database: str, folder: Path) -> None:
    with pytest.raises(InvalidInput, match=r"has not come to its end.*no jobs"):
        check(folder, digest=digest)

    dump(database, folder)
    (folder / "state" / "clocks.ndjson").rename(folder / "clocks")
    with pytest.raises(InvalidInput, match=r"has not come to its end.*no clocks"):
        check(folder, digest=digest)

    (folder / "clocks").rename(folder / "state" / "clocks.ndjson")
    assert check(folder, digest=digest).result == "INCONCLUSIVE"
    (folder / "history" / "worker-1.ndjson").write_bytes(b"garbage\n")
    with pytest.raises(InvalidInput, match=r"cannot be read: worker-1.ndjson"):
        check(folder, digest=digest)

    (folder / "history" / "worker-1.ndjson").write_bytes(b"what a full disk has cut")
    (folder / "state" / "server.ndjson").write_bytes(b'{"vers')
    with pytest.raises(InvalidInput, match=r"server.ndjson cannot be read"):
        check(folder, digest=digest)

    (folder / "plan.json").unlink()
    with pytest.raises(InvalidInput, match=r"there is no plan.json"):
        check(folder, digest=digest)
