"""What workers tell of running jobs: progress and lines, taken from whoever holds the lease and from nobody else."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from tests.sql.conftest import OpenSession, OpenWorker
from tests.sql.sessions import Session, Worker

FIRST = "the job has logged 10,000 lines: what follows is dropped"


def report(worker: Worker, *reports: Any) -> list[int]:
    return worker.column("select dtsched.report(%s, %s)", worker.id, json.dumps(reports))


def running(worker: Worker) -> tuple[int, int]:
    """A job that the worker runs, and its lease."""
    (job,) = worker.insert()
    assert worker.claim() == [job]
    return job, worker.leases[job]


def progress(session: Session, job: int) -> Any:
    return session.value("select progress from dtsched.job(%s)", job)


def lines(session: Session, job: int) -> list[tuple[Any, ...]]:
    return session.rows("select line, attempt, level, logger, message from dtsched.list_logs(%s)", job)


def test_the_latest_progress_is_what_a_job_shows(worker: Worker):
    job, lease = running(worker)
    before = worker.value("select dtsched.now()")
    assert report(worker, {"lease": lease, "progress": {"percent": 33.3333, "message": "1 of 3"}}) == [lease]
    assert progress(worker, job).keys() == {"percent", "message", "at"}
    assert (progress(worker, job)["percent"], progress(worker, job)["message"]) == (33.3, "1 of 3")
    at = worker.value("select (progress ->> 'at')::timestamptz from dtsched.job(%s)", job)
    assert before <= at <= worker.value("select dtsched.now()")
    assert worker.value("select progress -> 'percent' from dtsched.list_jobs()") == 33.3
    report(worker, {"lease": lease, "progress": {"message": "counting"}})
    assert (progress(worker, job)["percent"], progress(worker, job)["message"]) == (None, "counting")
    report(worker, {"lease": lease, "progress": {"percent": 100}})
    assert (progress(worker, job)["percent"], progress(worker, job)["message"]) == (100, None)
    worker.finish(job)
    assert progress(worker, job)["percent"] == 100


def test_lines_are_numbered_through_all_attempts_and_read_from_a_line_on(worker: Worker):
    job, lease = running(worker)
    assert report(worker, {"lease": lease, "lines": [{"message": "a"}, {"message": "b", "level": "error"}]}) == [lease]
    report(worker, {"lease": lease, "lines": [{"message": "c", "logger": "shop"}]})
    worker.finish_as("retry", job, delay=0)
    worker.claim()
    report(worker, {"lease": worker.leases[job], "lines": [{"message": "d"}]})
    assert lines(worker, job) == [
        (1, 1, "info", None, "a"),
        (2, 1, "error", None, "b"),
        (3, 1, "info", "shop", "c"),
        (4, 2, "info", None, "d"),
    ]
    assert worker.column("select message from dtsched.list_logs(%s, 1, 2)", job) == ["b", "c"]
    assert worker.column("select message from dtsched.list_logs(%s, 4)", job) == []
    assert worker.column("select message from dtsched.list_logs(%s, p_attempt => 2)", job) == ["d"]


def test_a_line_is_of_the_time_at_which_it_was_written_by_the_clock_of_the_database(worker: Worker):
    worker.take_over_the_clock()
    worker.travel("10 days")
    worker.renew()
    job, lease = running(worker)
    report(worker, {"lease": lease, "lines": [{"message": "then", "ago": 3600.5}, {"message": "now"}]})
    ages = worker.column("select round(extract(epoch from dtsched.now() - at), 1) from dtsched.list_logs(%s)", job)
    assert 3600.5 <= ages[0] < 3605
    assert 0 <= ages[1] < 5


def test_what_is_sent_twice_is_stored_once(worker: Worker):
    job, lease = running(worker)
    first = {"lease": lease, "lines": [{"message": "a", "seq": 1}, {"message": "b", "seq": 2}]}
    assert [report(worker, first), report(worker, first)] == [[lease], [lease]]
    report(worker, {"lease": lease, "lines": [{"message": "b", "seq": 2}, {"message": "c", "seq": 3}]})
    assert [line[-1] for line in lines(worker, job)] == ["a", "b", "c"]
    worker.finish_as("snooze", job, delay=0)  # the next attempt has the same number, and counts anew
    worker.claim()
    report(worker, {"lease": worker.leases[job], "lines": [{"message": "d", "seq": 1}]})
    assert [line[-1] for line in lines(worker, job)] == ["a", "b", "c", "d"]


def test_the_10_000th_line_says_that_what_follows_is_dropped(worker: Worker):
    job, lease = running(worker)
    assert report(worker, {"lease": lease, "lines": [{"message": "x"}] * 9_999}) == [lease]
    assert lines(worker, job)[-1][0] == 1000  # a page
    assert worker.rows("select line, level, message from dtsched.list_logs(%s, 9998)", job) == [(9999, "info", "x")]
    assert report(worker, {"lease": lease, "lines": [{"message": "y"}, {"message": "z"}]}) == [lease]
    assert report(worker, {"lease": lease, "lines": [{"message": "z"}]}) == [lease]
    last = worker.rows("select line, level, message from dtsched.list_logs(%s, 9999)", job)
    assert last == [(10_000, "warning", FIRST)]


def test_text_is_cut_and_a_line_of_4000_characters_is_not(worker: Worker):
    job, lease = running(worker)
    texts = ["ä" * 4000, "ä" * 4001]
    report(
        worker,
        {
            "lease": lease,
            "progress": {"message": "m" * 501},
            "lines": [{"message": text, "logger": "l" * 201} for text in texts],
        },
    )
    assert progress(worker, job)["message"] == "m" * 500
    assert [(len(line[3]), line[4]) for line in lines(worker, job)] == [(200, texts[0]), (200, "ä" * 3999 + "…")]


def test_a_late_report_of_a_lost_lease_changes_nothing(worker: Worker, open_worker: OpenWorker):
    job, lost = running(worker)
    said = {"lease": lost, "progress": {"percent": 50}, "lines": [{"message": "late"}]}
    worker.release(never_started=[job])
    assert report(worker, said) == []
    other = open_worker()
    assert other.claim() == [job]
    assert report(worker, said) == []
    other.finish(job)
    assert report(other, {"lease": other.leases[job], "progress": {"percent": 50}}) == []
    assert (progress(worker, job), lines(worker, job)) == (None, [])


def test_a_lease_is_reported_on_by_its_own_worker_alone(worker: Worker, open_worker: OpenWorker):
    job, lease = running(worker)
    other = open_worker()
    assert report(other, {"lease": lease, "progress": {"percent": 50}, "lines": [{"message": "x"}]}) == []
    assert worker.column("select dtsched.report(null, %s)", json.dumps([{"lease": lease, "progress": {}}])) == []
    assert worker.column("select dtsched.report(%s, %s)", uuid4(), json.dumps([{"lease": lease, "progress": {}}])) == []
    assert (progress(worker, job), lines(worker, job)) == (None, [])


def test_a_job_whose_row_somebody_holds_is_left_out_and_may_be_reported_again(
    worker: Worker, open_session: OpenSession
):
    jobs = worker.insert(2)
    worker.claim()
    said = [{"lease": worker.leases[job], "progress": {"percent": 1}, "lines": [{"message": "x"}]} for job in jobs]
    holder = open_session()
    holder.run("begin")
    holder.run("select from dtsched.jobs where id = %s for update", jobs[0])
    assert report(worker, *said) == [worker.leases[jobs[1]]]
    holder.run("rollback")
    assert report(worker, said[0]) == [worker.leases[jobs[0]]]
    assert [len(lines(worker, job)) for job in jobs] == [1, 1]


def test_a_finish_that_waits_for_a_report_comes_after_it_and_one_that_went_before_refuses_it(
    worker: Worker, open_session: OpenSession
):
    job, lease = running(worker)
    other = open_session()
    other.run("begin")
    said = json.dumps([{"lease": lease, "progress": {"percent": 7}}])
    assert other.column("select dtsched.report(%s, %s)", worker.id, said) == [lease]
    worker.run("set lock_timeout = '50ms'")
    with pytest.raises(psycopg.errors.LockNotAvailable):
        worker.finish(job)
    other.run("commit")
    worker.run("begin")
    assert worker.finish(job) == [lease]
    assert other.column("select dtsched.report(%s, %s)", worker.id, said) == []  # neither waited for, nor overtaken
    worker.run("commit")
    assert progress(worker, job)["percent"] == 7


def test_an_attempt_begins_without_the_progress_of_the_last_one_and_retry_clears_it(worker: Worker):
    job, lease = running(worker)
    report(worker, {"lease": lease, "progress": {"percent": 40}})
    worker.finish_as("retry", job, delay=0)
    assert progress(worker, job)["percent"] == 40  # how far it came
    worker.claim()
    assert progress(worker, job) is None
    report(worker, {"lease": worker.leases[job], "progress": {"percent": 60}})
    worker.finish_as("fail", job)
    assert progress(worker, job)["percent"] == 60
    assert worker.value("select dtsched.retry(%s)", job) == "retried"
    assert progress(worker, job) is None


def test_lines_are_deleted_with_their_job(worker: Worker):
    job, lease = running(worker)
    report(worker, {"lease": lease, "lines": [{"message": "x"}]})
    worker.finish(job)
    assert worker.value("select dtsched.delete(%s)", job) == "deleted"
    assert worker.value("select count(*) from dtsched.job_logs") == 0


def test_a_line_of_a_job_that_is_not_there_is_found_by_check(session: Session):
    session.run("""insert into dtsched.job_logs (job_id, line, attempt, lease_id, at, level, message)
        values (77, 1, 1, 1, now(), 'info', 'x')""")
    assert session.rows("select * from dtsched.check()") == [
        ("a log line belongs to a job", 77, "there is no such job")
    ]
    session.run("delete from dtsched.job_logs")


LINE = '[{"lease": 1, "lines": [%s]}]'


REFUSED = (
    ("{}", "reports must be an array of objects, not {}"),
    ("[5]", 'a report must be an object like {"lease": 1, "progress": {"percent": 40}}, not 5'),
    ("[{}]", "lease must be the id of a lease, not null"),
    ('[{"lease": "1"}]', 'lease must be the id of a lease, not "1"'),
    ('[{"lease": 1.5}]', "lease must be the id of a lease, not 1.5"),
    ('[{"lease": 1}, {"lease": 1}]', "lease 1 is named twice: send one report for each lease"),
    (
        '[{"lease": 1, "line": 2}]',
        'a report has no other members than lease, progress and lines: {"line": 2}',
    ),
    (
        '[{"lease": 1, "progress": 40}]',
        'progress must be an object like {"percent": 40, "message": "40 of 100"}, not 40',
    ),
    (
        '[{"lease": 1, "progress": {"done": 4}}]',
        'progress has no other members than percent and message: {"done": 4}',
    ),
    ('[{"lease": 1, "progress": {"message": 4}}]', "message must be text, not 4"),
    (
        '[{"lease": 1, "progress": {"percent": 100.1}}]',
        "percent must be a number from 0 to 100, or null, not 100.1",
    ),
    ('[{"lease": 1, "progress": {"percent": -1}}]', "percent must be a number from 0 to 100, or null, not -1"),
    ('[{"lease": 1, "progress": {"percent": "4"}}]', 'percent must be a number from 0 to 100, or null, not "4"'),
    ('[{"lease": 1, "lines": {}}]', "lines must be an array of objects, not {}"),
    (LINE % '"x"', 'a line must be an object like {"level": "info", "message": "text"}, not "x"'),
    (LINE % "{}", "message must be text, not null"),
    (
        LINE % '{"message": "x", "level": "INFO"}',
        'level must be debug, info, warning, error or critical, not "INFO"',
    ),
    (LINE % '{"message": "x", "logger": 1}', "logger must be text, not 1"),
    (LINE % '{"message": "x", "ago": -1}', "ago must be 0 to 366 days in seconds, not -1"),
    (LINE % '{"message": "x", "ago": "1"}', 'ago must be 0 to 366 days in seconds, not "1"'),
    (LINE % '{"message": "x", "seq": 0}', "seq must be a whole number from 1 to 999999999, not 0"),
    (
        LINE % '{"message": "x", "at": 0}',
        'a line has no other members than message, level, logger, ago and seq: {"at": 0}',
    ),
)


def test_what_is_no_report_is_refused_in_a_sentence(session: Session):
    for reports, told in REFUSED:
        with pytest.raises(psycopg.Error) as refused:
            session.run("select dtsched.report(%s, %s)", uuid4(), reports)
        assert (refused.value.sqlstate, refused.value.diag.message_primary) == ("JQ001", told)


def test_the_bounds_and_nulls_of_a_report_are_taken(worker: Worker):
    job, lease = running(worker)
    whole = {"message": "x", "level": None, "logger": None, "ago": 366 * 86400, "seq": 999_999_999}
    assert report(worker, {"lease": lease, "progress": {"percent": 0, "message": None}, "lines": [whole]}) == [lease]
    assert report(worker, {"lease": lease, "progress": None, "lines": None}) == [lease]
    assert progress(worker, job)["percent"] == 0
    assert report(worker) == []


def test_progress_is_written_in_place(worker: Worker):
    """Updates that are HOT touch no index; jobs leaves room for them."""
    jobs = worker.insert(50)
    worker.claim()

    def updates() -> tuple[int, int]:
        worker.run("select pg_stat_force_next_flush()")
        (row,) = worker.rows(
            "select sum(n_tup_upd), sum(n_tup_hot_upd) from pg_stat_user_tables where relname like 'jobs\\_%%'"
        )
        return row

    before = updates()
    for percent in range(20):
        report(
            worker, *({"lease": worker.leases[job], "progress": {"percent": percent, "message": "m"}} for job in jobs)
        )
    after = updates()
    assert after[0] - before[0] == 1000
    assert (after[1] - before[1]) / (after[0] - before[0]) > 0.9, after
