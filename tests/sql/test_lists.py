"""Lists: filters, pages of bounded work, and where the candidates are read from."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.types.json import Jsonb

from tests.sql.conftest import OpenWorker
from tests.sql.sessions import Session, Worker


def listed(session: Session, wanted: dict[str, Any], *, before: int | None = None, limit: int = 100) -> list[int]:
    rows = session.rows("select id from dtsched.list_jobs(%s, %s, %s)", Jsonb(wanted), before, limit)
    return [row[0] for row in rows if row[0] is not None]


def submit(session: Session, **columns: Any) -> int:
    given = {"task": "echo", **columns}
    names = sql.SQL(", ").join(map(sql.Identifier, given))
    holes = sql.SQL(", ").join(sql.Placeholder() * len(given))
    statement = sql.SQL("insert into dtsched.jobs ({}) values ({}) returning id").format(names, holes)
    row = session.connection.execute(statement, list(given.values())).fetchone()
    assert row is not None
    return row[0]


def in_every_state(worker: Worker) -> dict[str, int]:
    completed, failed, running = worker.insert(3)
    worker.claim()
    worker.finish(completed)
    worker.finish_as("fail", failed)
    jobs = {"completed": completed, "failed": failed, "running": running, "ready": submit(worker)}
    jobs["scheduled"] = worker.value("select dtsched.submit('echo', delay => '1 hour')")
    jobs["blocked"] = submit(worker, depends_on=[running])
    jobs["cancelled"] = submit(worker)
    worker.run("select dtsched.cancel(%s)", jobs["cancelled"])
    return jobs


def test_each_state_lists_its_own_jobs(worker: Worker):
    jobs = in_every_state(worker)
    assert {state: listed(worker, {"state": [state]}) for state in jobs} == {
        state: [job] for state, job in jobs.items()
    }
    assert listed(worker, {"state": ["pending"]}) == sorted(
        (jobs[state] for state in ("ready", "scheduled", "blocked")), reverse=True
    )
    assert listed(worker, {"state": ["completed", "running"]}) == [jobs["running"], jobs["completed"]]
    assert listed(worker, {"state": ["failed", "cancelled"]}) == [jobs["cancelled"], jobs["failed"]]
    assert listed(worker, {}) == sorted(jobs.values(), reverse=True)


def test_a_parked_job_is_listed_as_ready(open_worker: OpenWorker):
    worker = open_worker(tasks=["another"])
    (job,) = worker.insert()
    assert worker.claim() == []
    assert listed(worker, {"state": ["ready"]}) == [job]


@pytest.mark.parametrize(
    ("columns", "wanted"),
    [
        ({"queue": "mail"}, {"queue": ["mail", "post"]}),
        ({"task": "send"}, {"task": ["send"]}),
        ({"key": "k"}, {"key": ["k"]}),
        ({"limit_key": "l"}, {"limit_key": ["l"]}),
        ({"tags": ["a", "b"]}, {"tag": ["b", "c"]}),
        ({"priority": 9}, {"priority": ["9"]}),
        ({"correlation_id": "c"}, {"correlation_id": ["c"]}),
        ({"error": "Timeout: after 3 s"}, {"error": ["timeOUT"]}),
        ({"error": "100% of it_"}, {"error": ["0% of it_"]}),
        ({"args": Jsonb({"user": {"id": 42}})}, {"args": [{"path": ["user", "id"], "value": "42"}]}),
        ({"args": Jsonb({"user": ["x", "y"]})}, {"args": [{"path": ["user", "1"], "value": "y"}]}),
        ({"args": Jsonb({"on": True})}, {"args": [{"path": ["on"], "value": "true"}]}),
        ({"created_at": "2020-01-01T00:00:00Z"}, {"until": "2020-01-01T00:00:00.000001Z"}),
        ({"created_at": "2100-01-01T00:00:00Z"}, {"since": "2100-01-01T00:00:00Z"}),
        ({"created_at": "2020-01-01T00:00:00Z"}, {"until": {"seconds_ago": 3600}}),
    ],
)
def test_each_member_of_a_filter_finds_what_fits_it_alone(
    session: Session, columns: dict[str, Any], wanted: dict[str, Any]
):
    submit(session)
    job = submit(session, **columns)
    submit(session)
    assert listed(session, wanted) == [job]


def test_jobs_are_found_by_their_worker_by_name_and_id(worker: Worker):
    (job,) = worker.insert()
    worker.claim()
    worker.insert()
    assert listed(worker, {"worker": ["test"]}) == listed(worker, {"worker": [str(worker.id)]}) == [job]
    assert listed(worker, {"worker": ["nobody"]}) == []


def test_all_members_must_fit(session: Session):
    submit(session, queue="mail")
    both = submit(session, queue="mail", task="send")
    assert listed(session, {"queue": ["mail"], "task": ["send"]}) == [both]
    assert listed(session, {"queue": ["mail"], "task": ["send"], "state": ["failed"]}) == []


def test_ids_are_listed_newest_first_and_only_those_there_are(session: Session):
    jobs = session.insert(3)
    assert listed(session, {"id": [str(jobs[0]), str(jobs[2]), "999999"]}) == [jobs[2], jobs[0]]


def test_pages_follow_one_another_without_gaps(session: Session):
    jobs = session.insert(250)
    pages = [listed(session, {"queue": ["default"]}, limit=100)]
    while len(pages[-1]) == 100:
        pages.append(listed(session, {"queue": ["default"]}, before=pages[-1][-1], limit=100))
    assert [job for page in pages for job in page] == jobs[::-1]
    assert [len(page) for page in pages] == [100, 100, 50]


def test_a_page_has_at_most_200_jobs(session: Session):
    session.insert(201)
    assert len(listed(session, {}, limit=1000)) == 200


def test_a_search_gives_up_after_100_000_jobs_and_says_where_it_goes_on(session: Session):
    (needle,) = session.insert(task="needle")
    session.insert(100_001)
    wanted = Jsonb({"task": ["needle"]})
    rows = session.rows("select id, scanned_to from dtsched.list_jobs(%s)", wanted)
    assert rows == [(None, needle + 2)]
    assert listed(session, {"task": ["needle"]}, before=rows[0][1]) == [needle]


def test_a_failed_job_is_found_at_once_behind_any_number_of_others(worker: Worker):
    (failed,) = worker.insert()
    worker.claim()
    worker.finish_as("fail", failed)
    worker.insert(100_001)
    assert worker.rows('select id, scanned_to from dtsched.list_jobs(\'{"state": ["failed"]}\')') == [(failed, None)]


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ({"stat": ["failed"]}, 'a filter has no member "stat": known are state, queue, task'),
        (
            {"state": ["failed", "faild"]},
            "state must be one of blocked, scheduled, ready, running, ",
        ),
        ({"id": ["x"]}, 'id and workflow must be ids, not "x"'),
        ({"id": ["9223372036854775808"]}, 'id and workflow must be ids, not "9223372036854775808"'),
        ({"workflow": ["1", "1.5"]}, 'id and workflow must be ids, not "1.5"'),
        (["failed"], 'a filter must be an object like {"state": ["failed"]}, not ["failed"]'),
        ("failed", 'a filter must be an object like {"state": ["failed"]}, not "failed"'),
    ],
)
def test_what_a_filter_cannot_be_is_refused(session: Session, wanted: Any, says: str):
    with pytest.raises(psycopg.Error) as refused:
        session.run("select dtsched.list_jobs(%s)", Jsonb(wanted))
    assert refused.value.sqlstate == "JQ001"
    assert str(refused.value).startswith(says)


def test_a_single_value_need_not_be_an_array(session: Session):
    session.insert()
    job = submit(session, queue="mail")
    assert listed(session, {"state": "ready", "queue": "mail", "id": job, "key": None}) == [job]


def test_the_attempts_of_a_job_are_listed_newest_first(worker: Worker):
    (job,) = worker.insert()
    for outcome in ("retry", "fail"):
        worker.claim()
        worker.finish_as(outcome, job, delay=0)
    attempts = worker.rows("select attempt, outcome, error_type, message from dtsched.list_attempts(%s)", job)
    assert attempts == [(2, "fail", "ValueError", "told to"), (1, "retry", "ValueError", "told to")]
