"""How long a task's results are kept: to the microsecond for who reads them, and dropped by the next round."""

from __future__ import annotations

import json

import psycopg
import pytest

from tests.sql.conftest import OpenWorker
from tests.sql.sessions import Session, Worker
from tests.sql.test_retention import close_the_chunk, freeze, pass_time, retain

LARGE = "(select jsonb_agg(n) from generate_series(1, 500) n)"


def declare(worker: Worker, task: str = "echo", **settings: object) -> None:
    worker.run(
        "select dtsched.register_worker(gen_random_uuid(), 'x', '{default}', array[%s], 1, '1 hour', '{}', %s::jsonb)",
        task,
        json.dumps({task: {"settings": settings}}),
    )


def completed(worker: Worker) -> tuple[int, int]:
    """A job with a small and one with a large result."""
    small, large = worker.insert(2)
    worker.claim()
    worker.run(
        f"select dtsched.finish(%s, %s, jsonb_build_array(1, {LARGE}))",
        worker.id,
        [worker.leases[small], worker.leases[large]],
    )
    return small, large


def seen(session: Session, job: int) -> tuple[str, bool, bool]:
    """Its state, whether there is a result, and whether it has expired."""
    rows = [
        session.rows("select state, result is not null, result_expired_at is not null from dtsched.job(%s)", job),
        session.rows(
            "select state, result is not null, result_expired_at is not null from dtsched.list_jobs(%s::jsonb)",
            json.dumps({"id": [str(job)]}),
        ),
    ]
    assert rows[0] == rows[1]
    return rows[0][0]  # type: ignore[return-value]


def test_a_result_is_there_until_its_ttl_has_passed_and_the_outcome_stays(worker: Worker):
    freeze(worker)
    declare(worker, result_ttl=60)
    jobs = completed(worker)
    pass_time(worker, "1 min - 1 us")
    worker.run("select dtsched.prune(p_all => true)")
    assert [seen(worker, job) for job in jobs] == [("completed", True, False)] * 2
    pass_time(worker, "1 us")
    assert [seen(worker, job) for job in jobs] == [("completed", False, True)] * 2  # before anybody has dropped it
    assert worker.value("select count(*) from dtsched.results") == 1
    assert worker.rows("select jobs, results from dtsched.prune(p_all => true)") == [(0, 2)]
    assert [seen(worker, job) for job in jobs] == [("completed", False, True)] * 2
    assert worker.column("select distinct result_expired_at - finished_at = '1 min' from dtsched.jobs") == [True]
    assert worker.value("select count(*) from dtsched.results") == 0


def test_what_has_expired_and_is_dropped_stays_expired_whatever_is_declared_later(worker: Worker):
    freeze(worker)
    declare(worker, result_ttl=0)
    small, _ = completed(worker)
    worker.run("select dtsched.prune(p_all => true)")
    declare(worker, result_ttl="forever")
    assert seen(worker, small) == ("completed", False, True)


def test_a_job_without_a_result_has_none_that_expired(worker: Worker):
    freeze(worker)
    declare(worker, result_ttl=0)
    (job,) = worker.insert()
    worker.claim()
    worker.finish(job)
    worker.run("select dtsched.prune(p_all => true)")
    assert seen(worker, job) == ("completed", False, False)


@pytest.mark.parametrize(
    ("of_task", "of_queue", "of_all", "after", "there"),
    [
        (60, 3600, 3600, "60 s", False),
        (3600, 60, 60, "60 s", True),
        ("forever", 60, 60, "60 s", True),
        (None, 60, 3600, "60 s", False),
        (None, None, 60, "60 s", False),
        (None, None, None, "6 days", True),
    ],
)
def test_what_the_task_says_goes_over_the_queue_and_that_over_all(
    worker: Worker, of_task: object, of_queue: float | None, of_all: float | None, after: str, there: bool
):
    freeze(worker)
    declare(worker, result_ttl=of_task)
    retain(worker, "default", results=of_queue)
    retain(worker, results=of_all)
    small, large = completed(worker)
    pass_time(worker, after)
    assert seen(worker, large)[1] is there
    worker.run("select dtsched.prune(p_all => true)")
    assert seen(worker, small)[1] is there


@pytest.mark.parametrize("by", ["task", "retention"])
def test_a_result_that_came_after_the_last_look_is_dropped_in_time(worker: Worker, by: str):
    worker.take_over_the_clock()
    declare(worker, result_ttl=3600 if by == "task" else None)
    if by == "retention":
        retain(worker, results=3600)
    job = worker.insert()[0]
    close_the_chunk(worker)  # looks, and sees a job that has not ended
    worker.run("update dtsched.workers set expires_at = dtsched.now() + interval '1 hour'")
    worker.claim()
    worker.run("select dtsched.finish(%s, %s, '[1]')", worker.id, [worker.leases[job]])
    worker.travel("1 hour 1 min")
    assert worker.rows("select results from dtsched.prune()") == [(1,)]
    assert seen(worker, job) == ("completed", False, True)


def test_a_ttl_that_is_declared_later_counts_for_what_has_ended_before(worker: Worker):
    worker.take_over_the_clock()
    declare(worker)
    completed(worker)
    close_the_chunk(worker)
    declare(worker, result_ttl=60)
    assert worker.rows("select results from dtsched.prune()") == [(2,)]


@pytest.mark.parametrize("ttl", [-1, 36600 * 86400 + 1, "soon", True])
def test_what_is_no_ttl_is_refused(open_worker: OpenWorker, ttl: object):
    worker = open_worker()
    with pytest.raises(psycopg.Error, match="result_ttl must be 0 to 36600 days") as caught:
        declare(worker, result_ttl=ttl)
    assert caught.value.sqlstate == "JQ001"


@pytest.mark.parametrize("ttl", [0, 36600 * 86400, "forever"])
def test_a_declared_ttl_is_visible(worker: Worker, ttl: object):
    declare(worker, result_ttl=ttl)
    assert worker.value("select settings -> 'result_ttl' from dtsched.list_tasks('echo')") == ttl
