"""How long a key is held, and what becomes of the job that holds it when another one is submitted with it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, NamedTuple

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.sql.conftest import OpenSession, OpenWorker
from tests.sql.parallel import Started, wait_until_blocked
from tests.sql.sessions import Session, Worker

MICROSECOND = timedelta(microseconds=1)
INSERT = "insert into dtsched.jobs (task, key) values ('echo', 'k') returning id"
UNFINISHED = ("blocked", "scheduled", "ready", "running")


class Submitted(NamedTuple):
    id: int
    created: bool
    outcome: str


def submit_all(session: Session, *jobs: dict[str, Any]) -> list[Submitted]:
    rows = session.rows(
        "select id, created, outcome from dtsched.submit_many(%s)",
        Jsonb([{"task": "echo", "key": "k", **job} for job in jobs]),
    )
    return [Submitted._make(row) for row in rows]


def submit(session: Session, **job: Any) -> Submitted:
    return submit_all(session, job)[0]


def freeze_the_clock(session: Session) -> datetime:
    session.run("create table public.clock as select clock_timestamp() as at")
    session.run("""
        create or replace function dtsched.now() returns timestamptz language sql volatile security definer
        as $$ select at from public.clock $$
        """)
    return session.value("select dtsched.now()")


def set_clock(session: Session, at: datetime) -> None:
    session.run("update public.clock set at = %s", at)


def end(worker: Worker, job: int) -> None:
    assert job in worker.claim()
    worker.finish(job)


def job(session: Session, job_id: int) -> dict[str, Any]:
    return session.value("select to_jsonb(job) from dtsched.jobs job where id = %s", job_id)


def holder(session: Session) -> int | None:
    found = session.column("select job_id from dtsched.keys where key = 'k'")
    return found[0] if found else None


# how long


def test_a_key_for_a_time_is_held_to_its_last_microsecond_though_its_job_has_ended(worker: Worker):
    start = freeze_the_clock(worker)
    first = submit(worker, key_for=600)
    end(worker, first.id)
    set_clock(worker, start + timedelta(minutes=10) - MICROSECOND)
    assert submit(worker) == (first.id, False, "kept")
    with pytest.raises(psycopg.errors.UniqueViolation):
        worker.run(INSERT)
    set_clock(worker, start + timedelta(minutes=10))
    second = submit(worker)
    assert (second.created, second.outcome) == (True, "created")
    assert holder(worker) == second.id


def test_a_plain_insert_takes_a_key_whose_time_is_over_and_not_before(worker: Worker):
    start = freeze_the_clock(worker)
    end(worker, submit(worker, key_for=600).id)
    set_clock(worker, start + timedelta(minutes=10) - MICROSECOND)
    with pytest.raises(psycopg.errors.UniqueViolation):
        worker.run(INSERT)
    set_clock(worker, start + timedelta(minutes=10))
    assert worker.value(INSERT) == holder(worker)


@pytest.mark.parametrize("ahead", [-MICROSECOND, timedelta()])
def test_a_job_that_ends_within_its_keys_time_keeps_it_and_one_that_ends_later_frees_it(
    worker: Worker, ahead: timedelta
):
    start = freeze_the_clock(worker)
    first = submit(worker, key_for=600)
    set_clock(worker, start + timedelta(minutes=10) + ahead)
    end(worker, first.id)
    assert holder(worker) == (first.id if ahead else None)


def test_a_key_whose_time_is_over_is_held_while_its_job_is_unfinished(worker: Worker):
    start = freeze_the_clock(worker)
    first = submit(worker, key_for=1)
    set_clock(worker, start + timedelta(minutes=1))
    assert submit(worker) == (first.id, False, "kept")
    with pytest.raises(psycopg.errors.UniqueViolation):
        worker.run(INSERT)
    worker.run("select dtsched.free_expired_keys()")
    assert submit(worker) == (first.id, False, "kept")
    end(worker, first.id)
    assert holder(worker) is None


@pytest.mark.parametrize("way", ["complete", "fail", "cancel"])
def test_a_kept_key_is_held_until_its_job_is_deleted_however_it_ended(worker: Worker, way: str):
    start = freeze_the_clock(worker)
    first = submit(worker, key_for="kept")
    if way == "cancel":
        worker.run("select dtsched.cancel(%s)", first.id)
    else:
        worker.claim()
        worker.finish(first.id) if way == "complete" else worker.finish_as("fail", first.id)
    set_clock(worker, start + timedelta(days=10_000))
    worker.run("select dtsched.free_expired_keys()")
    assert submit(worker) == (first.id, False, "kept")
    assert worker.value("select dtsched.delete(%s)", first.id) == "deleted"
    assert submit(worker).created


def test_sql_says_key_for_as_an_interval_or_in_a_word(session: Session):
    start = freeze_the_clock(session)
    for text, until in (("10 minutes", start + timedelta(minutes=10)), ("unfinished", None)):
        found = session.value("select dtsched.submit('echo', key => %s, key_for => %s)", text, text)
        assert session.rows("select key_until from dtsched.jobs where id = %s", found) == [(until,)]
        assert session.rows("select until from dtsched.keys where key = %s", text) == [(until,)]
    session.run("select dtsched.submit('echo', key => 'k', key_for => 'kept')")
    assert session.value("select until = 'infinity' from dtsched.keys where key = 'k'")


def test_a_plain_insert_says_until_when_by_key_until(worker: Worker):
    start = freeze_the_clock(worker)
    until = start + timedelta(minutes=10)
    (first,) = worker.column(
        "insert into dtsched.jobs (task, key, key_until) values ('echo', 'k', %s) returning id", until
    )
    end(worker, first)
    set_clock(worker, until - MICROSECOND)
    assert submit(worker).id == first
    set_clock(worker, until)
    assert submit(worker).id != first


def test_whoever_may_only_submit_says_until_when_and_reads_the_key_in_the_refusal(session: Session):
    session.run("set role dtsched_submit")
    held = session.value(
        "insert into dtsched.jobs (task, key, key_until) values ('echo', 'a key', 'infinity') returning id"
    )
    with pytest.raises(psycopg.errors.UniqueViolation) as refusal:
        session.run("insert into dtsched.jobs (task, key) values ('echo', 'a key')")
    assert refusal.value.diag.message_primary == f'the key "a key" is held by job {held}'
    assert refusal.value.diag.message_detail == "Key (key)=(a key) already exists."
    assert refusal.value.diag.constraint_name == "keys_pkey"
    session.run("reset role")


def test_of_many_keys_in_one_insert_the_one_that_is_held_is_named(session: Session):
    session.run("select dtsched.submit('echo', key => 'b', key_for => 'kept')")
    for keys in (["a", "b", "c"], ["a", "c", "a"]):
        with pytest.raises(psycopg.errors.UniqueViolation, match=f'the key "{max(set(keys), key=keys.count)}"|"b"'):
            session.run("insert into dtsched.jobs (task, key) select 'echo', unnest(%s::text[])", keys)
    assert session.states() == {"ready": 1}


def test_expired_keys_are_freed_a_few_at_a_time_and_those_of_unfinished_jobs_are_met_once(worker: Worker):
    start = freeze_the_clock(worker)
    jobs = [submit(worker, key=f"k{n}", key_for=n + 1).id for n in range(4)]
    kept = submit(worker, key="kept", key_for="kept").id
    worker.claim()
    worker.finish(*jobs[1:], kept)
    set_clock(worker, start + timedelta(seconds=4) - MICROSECOND)
    freed = [worker.value("select dtsched.free_expired_keys(2)") for _ in range(3)]
    assert freed == [2, 1, 0]
    assert worker.rows("select key, until is null from dtsched.keys order by key") == [
        ("k0", True),
        ("k3", False),
        ("kept", False),
    ]
    set_clock(worker, start + timedelta(seconds=4))
    assert worker.value("select dtsched.free_expired_keys()") == 1
    worker.finish(jobs[0])
    assert worker.column("select key from dtsched.keys") == ["kept"]


def test_expired_keys_are_found_by_their_index(session: Session):
    session.run("""
        insert into dtsched.keys (key, job_id, until)
        select 'k' || n, -n, case when n % 2 = 0 then 'infinity'::timestamptz end from generate_series(1, 20000) n
        """)
    session.run("analyze dtsched.keys")
    session.run("load 'auto_explain'")
    notices: list[str] = []
    session.connection.add_notice_handler(lambda notice: notices.append(notice.message_primary or ""))
    session.run("set auto_explain.log_min_duration = 0")
    session.run("set auto_explain.log_nested_statements = on")
    session.run("set auto_explain.log_level = notice")
    session.run("select dtsched.free_expired_keys()")
    session.run("set auto_explain.log_min_duration = -1")
    plans = "\n".join(notices)
    assert "keys_until_idx" in plans
    assert "Seq Scan" not in plans
    session.run("delete from dtsched.keys")


def test_a_sweep_passes_by_a_key_whose_job_is_ending(open_session: OpenSession, worker: Worker):
    """It would take the job for unfinished, and leave a key that nobody frees any more."""
    start = freeze_the_clock(worker)
    first = submit(worker, key_for=60)
    worker.claim()
    worker.run("begin")
    worker.finish(first.id)
    set_clock(sweeper := open_session(), start + timedelta(minutes=1))
    assert sweeper.value("select dtsched.free_expired_keys()") == 0
    worker.run("commit")
    assert sweeper.value("select dtsched.free_expired_keys()") == 1
    assert holder(worker) is None


def test_a_job_that_still_has_its_key_is_retried_with_it(worker: Worker):
    first = submit(worker, key_for=600)
    worker.claim()
    worker.finish_as("fail", first.id)
    assert worker.value("select dtsched.retry(%s)", first.id) == "retried"
    assert submit(worker) == (first.id, False, "kept")
    end(worker, first.id)
    assert submit(worker) == (first.id, False, "kept")


def test_a_retry_that_is_refused_leaves_the_job_its_key(worker: Worker):
    parent = submit(worker, key="parent")
    child = submit(worker, depends_on=[parent.id], key_for="kept")
    worker.claim()
    worker.finish_as("fail", parent.id)
    assert worker.value("select dtsched.retry(%s)", child.id) == "parents"
    assert holder(worker) == child.id


def test_a_key_whose_time_is_over_goes_to_a_retry_or_to_a_submission_but_not_to_both(
    open_session: OpenSession, worker: Worker
):
    start = freeze_the_clock(worker)
    first = submit(worker, key_for=60)
    worker.claim()
    worker.finish_as("fail", first.id)
    set_clock(worker, start + timedelta(minutes=1))
    session = open_session()
    worker.run("begin")
    worker.run("select from dtsched.keys for update")
    found: list[Submitted] = []
    submitting = Started(lambda: found.append(submit(session)))
    wait_until_blocked(open_session(), session)  # has seen that the job has ended
    assert worker.value("select dtsched.retry(%s)", first.id) == "retried"
    worker.run("commit")
    submitting.join()
    assert found == [(first.id, False, "kept")]


def test_a_job_whose_key_is_being_taken_is_not_deleted_meanwhile(open_session: OpenSession, worker: Worker):
    start = freeze_the_clock(worker)
    first = submit(worker, key_for=60)
    end(worker, first.id)
    set_clock(worker, start + timedelta(minutes=1))
    taker = open_session()
    taker.run("begin")
    assert submit(taker).created
    assert worker.value("select dtsched.delete(%s)", first.id) == "busy"
    taker.run("rollback")
    assert worker.value("select dtsched.delete(%s)", first.id) == "deleted"


def test_a_kept_key_of_a_job_whose_row_is_gone_is_free(worker: Worker):
    first = submit(worker, key_for="kept")
    end(worker, first.id)
    worker.run("delete from dtsched.jobs where id = %s", first.id)
    worker.run("update dtsched.tallies set jobs = 0")
    assert submit(worker).created


def test_what_depends_on_a_kept_key_depends_on_the_job_that_has_ended(worker: Worker):
    first = submit(worker, key_for="kept")
    end(worker, first.id)
    child = submit(worker, key=None, depends_on=["k"])
    assert job(worker, child.id)["depends_on"] == [first.id]
    assert worker.state(child.id) == "ready"


# replace

NEW = {
    "task": "other",
    "args": {"n": 2},
    "queue": "mail",
    "priority": 9,
    "max_attempts": 2,
    "timeout": 90,
    "limit_key": "smtp",
    "tags": ["new"],
    "backoff": {"kind": "fixed"},
    "deadline": "2090-01-01T00:00:00Z",
    "correlation_id": "two",
    "key_for": "kept",
}


def test_replacing_a_waiting_job_gives_it_all_the_new_values_and_its_attempts_back(worker: Worker):
    first = submit(worker, args={"n": 1}, tags=["old"], key_for=60)
    worker.claim()
    worker.finish_as("retry", first.id, delay=60)
    assert submit(worker, **NEW, on_conflict="replace") == (first.id, False, "replaced")
    replaced = job(worker, first.id)
    expected = {**NEW, "timeout": "00:01:30", "deadline": "2090-01-01T00:00:00+00:00"}
    del expected["key_for"]
    assert {name: replaced[name] for name in expected} == expected
    assert [replaced[name] for name in ("state", "attempt", "error", "started_at", "worker_id", "key_until")] == [
        "ready",
        0,
        None,
        None,
        None,
        "infinity",
    ]
    assert worker.value("select count(*) from dtsched.jobs") == 1


def test_what_a_replacement_leaves_out_goes_back_to_the_default(session: Session):
    first = submit(session, **NEW)
    submit(session, on_conflict="replace")
    plain = job(session, submit(session, key="other").id)
    replaced = job(session, first.id)
    different = {name for name in plain if plain[name] != replaced[name]}
    assert different == {"id", "key", "created_at"}


def test_debounced_work_runs_once_after_the_last_submission(worker: Worker):
    worker.take_over_the_clock()
    first = submit(worker, args={"n": 1}, delay=60, on_conflict="replace")
    worker.travel("50 s")
    assert submit(worker, args={"n": 2}, delay=60, on_conflict="replace") == (first.id, False, "replaced")
    worker.travel("50 s")
    worker.run("select dtsched.promote()")
    assert worker.claim() == []
    worker.travel("10 s")
    worker.run("select dtsched.promote()")
    assert worker.claim() == [first.id]
    assert job(worker, first.id)["args"] == {"n": 2}


def test_a_ready_job_that_is_replaced_by_a_later_one_waits_and_the_other_way_round(worker: Worker):
    first = submit(worker)
    submit(worker, delay=60, on_conflict="replace")
    assert worker.state(first.id) == "scheduled"
    assert worker.claim() == []
    submit(worker, on_conflict="replace")
    assert worker.claim() == [first.id]


def test_a_ready_job_that_is_replaced_keeps_its_place(worker: Worker):
    first = submit(worker)
    (second,) = worker.insert()
    submit(worker, args={"n": 2}, on_conflict="replace")
    assert worker.value("select count(*) from dtsched.ready") == 2
    assert worker.claim(1) + worker.claim(1) == [first.id, second]


def test_a_blocked_job_that_is_replaced_goes_on_waiting_for_its_parents(worker: Worker):
    (parent,) = worker.insert()
    child = submit(worker, depends_on=[parent])
    assert submit(worker, queue="mail", args={"n": 2}, on_conflict="replace").outcome == "replaced"
    assert worker.state(child.id) == "blocked"
    end(worker, parent)
    assert worker.claim(queue="mail") == [child.id]


def test_a_job_that_is_replaced_into_another_queue_is_not_run_from_the_old_one(worker: Worker):
    first = submit(worker)
    submit(worker, queue="mail", on_conflict="replace")
    assert worker.claim() == []
    assert worker.claim(queue="mail") == [first.id]


def test_a_parked_job_that_is_replaced_by_one_of_a_known_task_runs(open_worker: OpenWorker):
    worker = open_worker(tasks=["echo"])
    first = worker.value("insert into dtsched.jobs (task, key) values ('nobody', 'k') returning id")
    assert worker.claim() == []
    submit(worker, on_conflict="replace")
    assert worker.claim() == [first]


def test_replacing_a_running_job_makes_a_new_one_and_lets_it_end_its_attempt(worker: Worker):
    first = submit(worker, args={"n": 1}, on_conflict="replace")
    worker.claim()
    second = submit(worker, args={"n": 2}, on_conflict="replace")
    assert (second.created, second.outcome) == (True, "superseded")
    assert holder(worker) == second.id
    assert worker.rows("select gave_up_key, cancel_requested_at from dtsched.leases") == [(True, None)]
    worker.finish(first.id)
    assert worker.state(first.id) == "completed"
    assert submit(worker, args={"n": 3}, on_conflict="replace") == (second.id, False, "replaced")


@pytest.mark.parametrize("way", ["retry", "snooze", "released", "crashed"])
def test_a_job_that_has_given_its_key_up_does_not_run_again(worker: Worker, way: str):
    first = submit(worker)
    worker.claim()
    second = submit(worker, on_conflict="replace")
    match way:
        case "released":
            worker.release(never_started=[first.id])
        case "crashed":
            worker.release(started=[first.id])
        case _:
            worker.finish_as(way, first.id)
    assert worker.state(first.id) == "cancelled"
    assert holder(worker) == second.id
    assert worker.value("select dtsched.retry(%s)", first.id) == "key_held"


def test_a_job_that_has_given_its_key_up_and_fails_has_failed(worker: Worker):
    first = submit(worker)
    worker.claim()
    submit(worker, on_conflict="replace")
    worker.finish_as("fail", first.id)
    assert worker.state(first.id) == "failed"


def test_a_job_that_has_ended_and_keeps_its_key_is_not_replaced(worker: Worker):
    first = submit(worker, key_for=600)
    end(worker, first.id)
    assert submit(worker, on_conflict="replace") == (first.id, False, "kept")


# reject


@pytest.mark.parametrize("state", ["ready", "running", "ended"])
def test_rejecting_names_the_key_and_its_holder_and_writes_nothing(worker: Worker, state: str):
    first = submit(worker, key_for="kept")
    if state != "ready":
        worker.claim()
    if state == "ended":
        worker.finish(first.id)
    with pytest.raises(psycopg.Error) as refusal:
        submit_all(worker, {"key": "free"}, {"on_conflict": "reject"})
    assert refusal.value.sqlstate == "JQ003"
    words = "has ended and keeps its key" if state == "ended" else f"is {state}"
    assert refusal.value.diag.message_primary == (
        f'job 2: the key "k" is held by job {first.id}, which {words}: wait until it is free, or submit with '
        "on_conflict keep, replace or supersede"
    )
    assert worker.value("select count(*) from dtsched.jobs") == 1
    assert worker.column("select key from dtsched.keys") == ["k"]


def test_rejecting_makes_the_job_of_a_free_key(session: Session):
    assert submit(session, on_conflict="reject").outcome == "created"


# supersede


@pytest.mark.parametrize("values", [{}, {"delay": 60}, {"depends_on": True}])
def test_superseding_a_waiting_job_cancels_it_with_what_depends_on_it(worker: Worker, values: dict[str, Any]):
    (parent,) = worker.insert(queue="other")
    first = submit(worker, **({**values, "depends_on": [parent]} if "depends_on" in values else values))
    child = submit(worker, key="child", depends_on=[first.id])
    second = submit(worker, on_conflict="supersede")
    assert (second.created, second.outcome) == (True, "superseded")
    assert [worker.state(one) for one in (first.id, child.id, second.id)] == ["cancelled", "cancelled", "ready"]
    assert holder(worker) == second.id
    assert worker.claim() == [second.id]


def test_superseding_a_running_job_tells_its_worker_and_its_end_leaves_the_new_one_the_key(
    open_session: OpenSession, worker: Worker
):
    listener = open_session()
    listener.run("listen dtsched_cancel")
    first = submit(worker, key_for="kept")
    worker.claim()
    second = submit(worker, on_conflict="supersede")
    assert [notice.payload for notice in listener.connection.notifies(timeout=5, stop_after=1)] == [str(worker.id)]
    assert second.outcome == "superseded"
    assert worker.claim() == [second.id]
    worker.finish(first.id)
    assert worker.state(first.id) == "cancelled"
    assert holder(worker) == second.id
    worker.finish(second.id)
    assert holder(worker) is None


def test_superseding_a_job_that_has_ended_takes_its_key_over(worker: Worker):
    first = submit(worker, key_for="kept")
    end(worker, first.id)
    second = submit(worker, on_conflict="supersede")
    assert (second.created, second.outcome) == (True, "superseded")
    assert holder(worker) == second.id
    assert worker.value("select dtsched.delete(%s)", first.id) == "deleted"
    assert holder(worker) == second.id


def test_a_superseded_job_is_retried_only_once_its_key_is_free(worker: Worker):
    first = submit(worker, key_for=600)
    second = submit(worker, on_conflict="supersede")
    assert worker.value("select dtsched.retry(%s)", first.id) == "key_held"
    end(worker, second.id)
    assert worker.value("select dtsched.retry(%s)", first.id) == "retried"
    assert holder(worker) == first.id


def test_a_job_may_depend_on_the_one_whose_key_it_takes(worker: Worker):
    first = submit(worker)
    worker.claim()
    second = submit(worker, depends_on=[first.id], on_conflict="supersede")
    assert worker.state(second.id) == "blocked"
    worker.finish(first.id)
    assert worker.state(second.id) == "cancelled"


# batches


def test_jobs_of_one_batch_with_one_key_come_one_after_another(session: Session):
    answers = submit_all(
        session,
        {"args": {"n": 1}},
        {"args": {"n": 2}},
        {"args": {"n": 3}, "on_conflict": "replace"},
        {"args": {"n": 4}, "on_conflict": "supersede", "key_for": "kept"},
        {"args": {"n": 5}},
    )
    assert [answer.outcome for answer in answers] == ["created", "kept", "replaced", "replaced", "kept"]
    assert len({answer.id for answer in answers}) == 1
    assert [answer.created for answer in answers] == [True, False, False, False, False]
    assert job(session, answers[0].id)["args"] == {"n": 4}
    assert session.value("select until = 'infinity' from dtsched.keys")


def test_a_batch_on_a_waiting_job_replaces_it_by_the_last_and_supersedes_it_once(session: Session):
    first = submit(session)
    twice = [{"args": {"n": n}, "on_conflict": "replace"} for n in (1, 2)]
    assert submit_all(session, *twice) == [(first.id, False, "replaced")] * 2
    assert job(session, first.id)["args"] == {"n": 2}
    replaced, new, again = submit_all(session, *twice[:1], *[{"on_conflict": "supersede"}] * 2)
    assert (replaced.id, replaced.outcome) == (first.id, "replaced")
    assert (new.outcome, again) == ("superseded", (new.id, False, "replaced"))
    assert session.states() == {"cancelled": 1, "ready": 1}


def test_a_batch_on_a_running_job_makes_one_new_one(worker: Worker):
    first = submit(worker)
    worker.claim()
    kept, new, replaced = submit_all(worker, {}, {"on_conflict": "replace"}, {"on_conflict": "replace"})
    assert [kept, new.outcome, replaced] == [(first.id, False, "kept"), "superseded", (new.id, False, "replaced")]
    assert worker.states() == {"running": 1, "ready": 1}


def test_rejecting_holds_for_jobs_of_the_same_batch(session: Session):
    with pytest.raises(psycopg.Error, match='job 2: the key "k" is held by job 1 of the batch'):
        submit_all(session, {}, {"on_conflict": "reject"})
    assert session.states() == {}


# bad input


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"key_for": 0}, "key_for must be unfinished, kept, or over 0 and at most 366 days, in seconds, not 0"),
        ({"key_for": 366 * 86400 + 1}, "key_for must be unfinished, kept, or over 0 and at most 366 days"),
        ({"key_for": "forever"}, 'in seconds, not "forever"'),
        ({"key_for": 60, "key": None}, "key_for needs a key"),
        ({"on_conflict": "merge"}, 'on_conflict must be keep, replace, reject or supersede, not "merge"'),
        ({"on_conflict": ["keep"]}, "on_conflict must be"),
        ({"on_conflict": "replace", "key": None}, "on_conflict needs a key"),
        ({"on_conflict": "replace", "depends_on": [1]}, "leave depends_on out"),
    ],
)
def test_what_cannot_be_meant_is_refused(session: Session, fields: dict[str, Any], says: str):
    with pytest.raises(psycopg.Error) as refusal:
        submit(session, **fields)
    assert refusal.value.sqlstate == "JQ001"
    assert says in (refusal.value.diag.message_primary or "")
    assert session.states() == {}
