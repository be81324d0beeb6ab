"""What a job remembers: steps, sleeps and waits for events, under the lease of whoever runs it."""

from __future__ import annotations

from typing import Any, LiteralString

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.sql.conftest import OpenSession, OpenWorker
from tests.sql.parallel import Started, wait_until_blocked
from tests.sql.sessions import Row, Session, Worker

FOR_EVER = "9999-12-31 00:00:00+00"


def record(worker: Worker, job: int, name: str, result: object) -> Row:
    """(what is remembered, whether that is this result)."""
    statement: LiteralString = "select result, created from dtsched.record_step(%s, %s, %s, %s)"
    (row,) = worker.rows(statement, worker.id, worker.leases[job], name, Jsonb(result))
    return row


def sleep(worker: Worker, job: int, seconds: float, name: str = "sleep:1") -> bool:
    statement: LiteralString = "select dtsched.start_sleep(%s, %s, %s, %s)"
    return worker.value(statement, worker.id, worker.leases[job], name, seconds)


def ask(worker: Worker, job: int, event: str, seconds: float | None = None, *, step: str = "wait") -> Row:
    """(outcome, payload)."""
    statement: LiteralString = "select outcome, payload from dtsched.await_event(%s, %s, %s, %s, %s)"
    (row,) = worker.rows(statement, worker.id, worker.leases[job], step, event, seconds)
    return row


def park(worker: Worker, job: int, step: str = "wait") -> bool:
    """Whether it was accepted."""
    others = Jsonb([{"lease": worker.leases[job], "outcome": "snooze", "wait": step}])
    return bool(worker.column("select dtsched.finish(%s, '{}', null, %s)", worker.id, others))


def emit(session: Session, event: str, payload: object = None) -> Row:
    """(created, woken)."""
    (row,) = session.rows("select created, woken from dtsched.emit(%s, %s)", event, Jsonb(payload))
    return row


def claimed(worker: Worker) -> int:
    (job,) = worker.insert()
    assert worker.claim() == [job]
    return job


def waiting(worker: Worker, event: str = "paid", seconds: float | None = None) -> int:
    """A job that is parked for that event."""
    job = claimed(worker)
    assert ask(worker, job, event, seconds) == ("wait", None)
    assert park(worker, job)
    return job


def steps(session: Session, job: int) -> list[Row]:
    return session.rows("select name, kind, state, result from dtsched.list_steps(%s)", job)


def refusal(call: Any) -> tuple[str | None, str | None, str | None]:
    """SQLSTATE, field and sentence."""
    with pytest.raises(psycopg.Error) as caught:
        call()
    return caught.value.sqlstate, caught.value.diag.column_name, caught.value.diag.message_primary


def test_what_a_step_returned_is_remembered_and_the_first_to_write_wins(worker: Worker, session: Session):
    job = claimed(worker)
    assert session.column("select dtsched.recall_step(%s, 'charge')", job) == []
    assert record(worker, job, "charge", {"id": 7}) == ({"id": 7}, True)
    assert record(worker, job, "charge", {"id": 8}) == ({"id": 7}, False)
    assert record(worker, job, "nothing", None) == (None, True)
    assert session.column("select dtsched.recall_step(%s, 'charge')", job) == [{"id": 7}]
    assert session.column("select dtsched.recall_step(%s, 'nothing')", job) == [None]
    assert session.column("select dtsched.begun_steps(%s) order by 1", job) == ["charge", "nothing"]


def test_the_next_attempt_on_another_worker_remembers(open_worker: OpenWorker):
    one, other = open_worker(), open_worker()
    job = claimed(one)
    record(one, job, "charge", 7)
    one.finish_as("retry", job, delay=0)
    assert other.claim() == [job]
    assert record(other, job, "charge", 8) == (7, False)


def test_only_who_holds_the_lease_can_record_and_wait(open_worker: OpenWorker):
    one, other = open_worker(), open_worker()
    job = claimed(one)
    other.leases[job] = one.leases[job]
    assert refusal(lambda: record(other, job, "charge", 7))[0] == "JQ006"
    one.release(started=[job])
    for call in (lambda: record(one, job, "charge", 7), lambda: sleep(one, job, 1), lambda: ask(one, job, "paid")):
        assert refusal(call) == (
            "JQ006",
            None,
            f"lease {one.leases[job]} is not held any more: its job was taken back, or has ended",
        )
    assert steps(one, job) == []


def test_a_step_that_is_being_recorded_keeps_its_job_from_being_rescued_until_it_is_committed(
    open_worker: OpenWorker, session: Session
):
    lost, witness = open_worker(), open_worker()
    job = claimed(lost)
    session.run("update dtsched.workers set expires_at = dtsched.now() - interval '1 s' where id = %s", lost.id)
    session.run(
        "update dtsched.workers set unbroken_since = dtsched.now() - interval '1 day' where id = %s", witness.id
    )
    lost.run("begin")
    record(lost, job, "charge", 7)
    assert witness.rescue() == []
    lost.run("commit")
    assert witness.rescue() == [job]


def test_a_step_is_rolled_back_with_the_transaction_that_has_its_effects(worker: Worker):
    job = claimed(worker)
    worker.run("begin")
    record(worker, job, "charge", 7)
    worker.run("rollback")
    assert steps(worker, job) == []


def test_a_sleep_gives_the_slot_back_until_exactly_its_end_and_costs_no_attempt(worker: Worker):
    worker.take_over_the_clock()
    job = claimed(worker)
    assert not sleep(worker, job, 60)
    assert park(worker, job, "sleep:1")
    (until,) = worker.column("select until from dtsched.steps")
    state = "select state, attempt, run_at, error from dtsched.jobs where id = %s"
    assert worker.rows(state, job) == [("scheduled", 0, until, None)]
    assert worker.rows("select * from dtsched.attempts") == []
    worker.travel("59 s")
    worker.run("select dtsched.promote()")
    assert worker.claim() == []
    worker.travel("1 s")
    worker.run("select dtsched.promote()")
    assert worker.claim() == [job]
    assert sleep(worker, job, 60)
    assert worker.value("select attempt from dtsched.jobs where id = %s", job) == 1


def test_the_end_of_a_sleep_is_not_put_off_by_an_attempt_that_was_lost_and_is_remembered(worker: Worker):
    worker.take_over_the_clock()
    job = claimed(worker)
    assert not sleep(worker, job, 60)
    worker.release(started=[job])
    worker.travel("59 s")
    assert worker.claim() == [job]
    assert not sleep(worker, job, 60)
    worker.travel("1 s")
    assert sleep(worker, job, 60)
    worker.travel("-1 hour")
    assert sleep(worker, job, 60)


def test_a_sleep_whose_time_came_before_it_was_parked_is_ready_at_once(worker: Worker):
    worker.take_over_the_clock()
    job = claimed(worker)
    assert not sleep(worker, job, 60)
    worker.travel("60 s")
    assert park(worker, job, "sleep:1")
    assert worker.state(job) == "ready"


def test_an_event_that_was_emitted_before_is_told_at_once_and_remembered(worker: Worker, session: Session):
    job = claimed(worker)
    assert emit(session, "paid", {"amount": 5}) == (True, 0)
    assert emit(session, "paid", {"amount": 6}) == (False, 0)
    assert ask(worker, job, "paid") == ("event", {"amount": 5})
    session.run("delete from dtsched.events")
    assert ask(worker, job, "paid") == ("event", {"amount": 5})
    assert steps(session, job) == [("wait", "event", "done", {"amount": 5})]


def test_an_emit_wakes_all_who_wait_for_it_and_nobody_else(worker: Worker, session: Session):
    jobs = [waiting(worker), waiting(worker, seconds=60)]
    other = waiting(worker, "refunded")
    assert worker.rows("select state, run_at from dtsched.jobs where id = %s", other) == [
        ("scheduled", worker.value("select %s::timestamptz", FOR_EVER))
    ]
    assert emit(session, "paid", 5) == (True, 2)
    assert worker.claim() == jobs
    assert [ask(worker, job, "paid") for job in jobs] == [("event", 5)] * 2
    assert session.column("select job_id from dtsched.scheduled") == [other]
    assert session.column("select job_id from dtsched.event_waits") == [other]
    assert worker.rows("select max(attempt) from dtsched.jobs where id = any (%s)", jobs) == [(1,)]


def test_a_wait_times_out_exactly_at_its_end_and_remembers_that(worker: Worker, session: Session):
    worker.take_over_the_clock()
    job = waiting(worker, seconds=60)
    worker.travel("59 s")
    worker.run("select dtsched.promote()")
    assert worker.claim() == []
    worker.travel("1 s")
    worker.run("select dtsched.promote()")
    assert worker.claim() == [job]
    assert ask(worker, job, "paid", 60) == ("timeout", None)
    assert emit(session, "paid") == (True, 0)
    assert ask(worker, job, "paid", 60) == ("timeout", None)


def test_an_event_that_comes_after_the_timeout_but_before_the_job_has_asked_is_not_missed(
    worker: Worker, session: Session
):
    worker.take_over_the_clock()
    job = waiting(worker, seconds=60)
    worker.travel("61 s")
    worker.run("select dtsched.promote()")
    assert emit(session, "paid", 5) == (True, 0)
    assert worker.claim() == [job]
    assert ask(worker, job, "paid", 60) == ("event", 5)


def test_an_event_that_is_emitted_between_the_question_and_the_parking_wakes_the_job(worker: Worker, session: Session):
    job = claimed(worker)
    assert ask(worker, job, "paid") == ("wait", None)
    assert emit(session, "paid") == (True, 0)
    assert park(worker, job)
    assert worker.state(job) == "ready"


def test_an_event_whose_emit_commits_after_the_parking_wakes_the_job(worker: Worker, session: Session):
    job = claimed(worker)
    assert ask(worker, job, "paid") == ("wait", None)
    session.run("begin")
    assert emit(session, "paid") == (True, 0)
    assert park(worker, job)
    session.run("commit")
    assert worker.state(job) == "scheduled"
    assert worker.value("select dtsched.deliver_events()") == 1
    assert worker.state(job) == "ready"
    worker.run("select dtsched.deliver_events()")
    assert worker.column("select due from dtsched.events") == [False]


def test_who_asks_while_an_emit_has_not_ended_is_told_to_ask_again(worker: Worker, session: Session):
    job = claimed(worker)
    session.run("begin")
    emit(session, "paid", 5)
    assert ask(worker, job, "paid") == ("busy", None)
    assert steps(worker, job) == []
    session.run("rollback")
    assert ask(worker, job, "paid") == ("wait", None)


def test_an_emit_waits_for_who_is_asking_and_then_sees_the_wait(
    worker: Worker, session: Session, open_session: OpenSession
):
    job = claimed(worker)
    worker.run("begin")
    assert ask(worker, job, "paid") == ("wait", None)
    emitting = Started(lambda: emit(session, "paid"))
    wait_until_blocked(open_session(), session)
    worker.run("commit")
    emitting.join()
    assert park(worker, job)
    assert worker.state(job) == "ready"


def test_an_emit_under_repeatable_read_that_cannot_see_the_wait_leaves_it_to_the_workers(
    worker: Worker, session: Session
):
    session.run("begin isolation level repeatable read")
    session.run("select count(*) from dtsched.jobs")
    job = waiting(worker)
    assert emit(session, "paid") == (True, 0)
    session.run("commit")
    assert worker.value("select dtsched.deliver_events()") == 1
    assert worker.state(job) == "ready"


def test_a_parked_job_whose_row_somebody_holds_is_woken_later(worker: Worker, session: Session):
    job = waiting(worker)
    worker.run("begin")
    worker.run("select from dtsched.jobs for update")
    assert emit(session, "paid") == (True, 0)
    worker.run("commit")
    assert session.value("select dtsched.deliver_events()") == 1
    assert worker.claim() == [job]


def test_an_emit_in_a_users_transaction_wakes_with_its_commit(worker: Worker, session: Session):
    job = waiting(worker)
    session.run("begin")
    assert emit(session, "paid") == (True, 1)
    session.run("rollback")
    assert worker.state(job) == "scheduled"
    assert emit(session, "paid") == (True, 1)


def test_a_job_that_waits_for_its_next_attempt_is_not_woken_by_an_event(worker: Worker, session: Session):
    job = claimed(worker)
    assert ask(worker, job, "paid") == ("wait", None)
    worker.finish_as("retry", job, delay=60)
    assert emit(session, "paid", 5) == (True, 0)
    assert worker.state(job) == "scheduled"
    assert session.column("select due from dtsched.events") == [False]
    session.run("select dtsched.run_now(%s)", job)
    assert worker.claim() == [job]
    assert ask(worker, job, "paid") == ("event", 5)


def test_run_now_ends_a_sleep_and_lets_a_wait_time_out(worker: Worker):
    sleeper = claimed(worker)
    sleep(worker, sleeper, 3600)
    park(worker, sleeper, "sleep:1")
    waiter = waiting(worker)
    worker.run("select dtsched.run_now(%s)", [sleeper, waiter])
    assert worker.claim() == [sleeper, waiter]
    assert sleep(worker, sleeper, 3600)
    assert ask(worker, waiter, "paid") == ("timeout", None)


def test_reschedule_moves_the_end_of_a_wait_and_the_event_still_wakes_it(worker: Worker, session: Session):
    job = waiting(worker, seconds=60)
    session.run("select dtsched.reschedule(%s, '2100-01-01Z')", job)
    assert session.value("select until = '2100-01-01Z' from dtsched.steps")
    assert emit(session, "paid") == (True, 1)
    assert worker.claim() == [job]


def test_a_failed_job_that_is_retried_goes_on_where_it_failed(worker: Worker):
    job = claimed(worker)
    record(worker, job, "charge", 7)
    assert ask(worker, job, "paid", 0) == ("timeout", None)
    worker.finish_as("fail", job)
    worker.run("select dtsched.retry(%s)", job)
    assert worker.claim() == [job]
    assert record(worker, job, "charge", 8) == (7, False)
    assert ask(worker, job, "paid", 60) == ("wait", None)


def test_a_job_that_was_cancelled_while_it_waited_asks_anew_when_it_is_retried(worker: Worker, session: Session):
    job = waiting(worker)
    worker.run("select dtsched.cancel(%s)", job)
    assert emit(session, "paid", 5) == (True, 0)
    worker.run("select dtsched.retry(%s)", job)
    assert worker.claim() == [job]
    assert ask(worker, job, "paid") == ("event", 5)


def test_a_job_that_was_cancelled_in_its_sleep_sleeps_on_when_it_is_retried(worker: Worker):
    job = claimed(worker)
    sleep(worker, job, 3600)
    park(worker, job, "sleep:1")
    worker.run("select dtsched.cancel(%s), dtsched.retry(%s)", job, job)
    assert worker.rows("""
        select job.state, job.run_at = step.until
        from dtsched.jobs job join dtsched.steps step on step.job_id = job.id
        """) == [("scheduled", True)]


def test_a_deleted_job_leaves_nothing_behind(worker: Worker):
    job = waiting(worker)
    worker.run("select dtsched.delete(%s)", job)
    assert worker.rows("select from dtsched.steps") == []
    assert worker.rows("select from dtsched.event_waits") == []


@pytest.mark.parametrize(
    ("seconds", "reason"),
    [(None, "it waits for event paid:42"), (60, "it waits for event paid:42 until ")],
)
def test_why_names_the_event_that_a_job_waits_for(worker: Worker, seconds: float | None, reason: str):
    job = waiting(worker, "paid:42", seconds)
    ((code, told),) = worker.rows("select * from dtsched.why(%s)", job)
    assert (code, told[: len(reason)]) == ("event", reason)


def test_why_says_that_a_job_sleeps(worker: Worker):
    job = claimed(worker)
    sleep(worker, job, 60)
    park(worker, job, "sleep:1")
    ((code, told),) = worker.rows("select * from dtsched.why(%s)", job)
    assert (code, told[:16]) == ("sleep", "it sleeps until ")


def test_old_events_are_forgotten_unless_somebody_has_not_been_told_yet(worker: Worker, session: Session):
    session.take_over_the_clock()
    waiting(worker, "paid")
    emit(session, "paid")
    emit(session, "gone")
    session.travel("30 days")
    emit(session, "new")
    assert session.value("select dtsched.forget_events()") == 1
    assert session.column("select name from dtsched.events order by name") == ["new", "paid"]
    assert session.value("select dtsched.forget_events('31 days')") == 0


def test_what_ended_jobs_leave_behind_is_forgotten(worker: Worker, session: Session):
    job = waiting(worker)
    still = waiting(worker)
    session.run("select dtsched.cancel(%s)", job)
    assert session.value("select dtsched.forget_events()") == 2
    assert session.column("select job_id from dtsched.event_waits") == [still]
    assert session.column("select job_id from dtsched.scheduled") == [still]


def test_a_name_that_meant_something_else_before_is_refused(worker: Worker):
    job = claimed(worker)
    record(worker, job, "a", 1)
    sleep(worker, job, 60, "b")
    ask(worker, job, "paid", step="c")
    told = f'job {job} remembers "{{}}" as {{}}, and its handler now has it as {{}}: give the new one another name'
    assert refusal(lambda: sleep(worker, job, 60, "a"))[2] == told.format("a", "a step", "a sleep")
    assert refusal(lambda: record(worker, job, "b", 1))[2] == told.format("b", "a sleep", "a step")
    assert refusal(lambda: worker.run("select dtsched.recall_step(%s, 'b')", job))[2] == told.format(
        "b", "a sleep", "a step"
    )
    assert refusal(lambda: ask(worker, job, "other", step="c"))[2] == told.format(
        "c", "a wait for another event", "a wait for an event"
    )


LONG = "x" * 256


@pytest.mark.parametrize(
    ("statement", "values", "field", "sentence"),
    [
        ("emit(%s)", [""], "name", 'name must be 1 to 255 characters without control characters, not ""'),
        ("emit(null)", [], "name", "name must be 1 to 255 characters without control characters, not null"),
        ("emit(%s)", [LONG], "name", "name must be 1 to 255 characters without control characters, not "),
        (
            "emit('paid', %s)",
            [Jsonb("x" * 1048576)],
            "payload",
            "payload must be at most 1 MiB (1048576 bytes) as text,",
        ),
        ("record_step(%s, %s, E'a\\n', '1')", "lease", "name", "name must be 1 to 255 characters without control"),
        (
            "record_step(%s, %s, 'a', to_jsonb(repeat('x', 1048576)))",
            "lease",
            "result",
            'the result of step "a" must be at most 1 MiB (1048576 bytes) as text, not 1048578 bytes: store',
        ),
        ("start_sleep(%s, %s, 'a', -1)", "lease", "duration", "a sleep must be of 0 to 366 days, in seconds, not -1"),
        ("start_sleep(%s, %s, 'a', 'nan')", "lease", "duration", "a sleep must be of 0 to 366 days, in seconds, not N"),
        ("start_sleep(%s, %s, '', 1)", "lease", "name", "name must be 1 to 255 characters without control"),
        ("await_event(%s, %s, 'a', '')", "lease", "event", "event must be 1 to 255 characters without control"),
        ("await_event(%s, %s, '', 'a')", "lease", "name", "name must be 1 to 255 characters without control"),
        (
            "await_event(%s, %s, 'a', 'a', 31622401)",
            "lease",
            "timeout",
            "timeout must be 0 to 366 days, in seconds, not",
        ),
    ],
)
def test_bad_input_is_refused_in_one_sentence(worker: Worker, statement: Any, values: Any, field: str, sentence: str):
    job = claimed(worker)
    given = [worker.id, worker.leases[job]] if values == "lease" else values
    sqlstate, column, told = refusal(lambda: worker.run("select dtsched." + statement, *given))
    assert (sqlstate, column) == ("JQ001", field)
    assert (told or "").startswith(sentence)
    assert worker.rows("select from dtsched.steps") == worker.rows("select from dtsched.events") == []


def test_a_worker_needs_no_more_than_its_role_and_a_submitter_may_emit(worker: Worker, session: Session):
    job, other = worker.insert(2)
    worker.run("set role dtsched_worker")
    assert worker.claim() == [job, other]
    record(worker, job, "charge", 7)
    assert worker.column("select dtsched.begun_steps(%s)", job) == ["charge"]
    assert worker.column("select dtsched.recall_step(%s, 'charge')", job) == [7]
    assert not sleep(worker, other, 60)
    assert ask(worker, job, "paid") == ("wait", None)
    assert park(worker, job)
    session.run("set role dtsched_submit")
    assert emit(session, "paid") == (True, 1)
    assert worker.column("select dtsched.deliver_events() + dtsched.forget_events()") == [0]
    session.run("reset role")
    worker.run("reset role")


def test_forgetting_does_not_look_at_each_job_for_each_wait(session: Session):
    """On tables that nobody has analysed: what is planned for empty ones must be right for full ones."""
    session.run("select dtsched.forget_events()")
    session.run("""
        insert into dtsched.jobs (task, run_at) select 'wait', '9999-12-31 00:00Z' from generate_series(1, 10000)
        """)
    session.run("insert into dtsched.event_waits (event, job_id, step) select 'e' || id, id, 'wait' from dtsched.jobs")
    session.run("set statement_timeout = '3 s'")
    assert session.value("select dtsched.forget_events()") == 0


def test_a_job_that_was_cancelled_while_it_waited_for_ever_waits_again_once_it_is_retried(worker: Worker):
    job = waiting(worker)
    worker.run("select dtsched.cancel(%s)", job)
    assert worker.value("select dtsched.retry(%s)", job) == "retried"
    assert worker.claim() == [job]
    assert ask(worker, job, "paid") == ("wait", None)
    assert park(worker, job)
    assert emit(worker, "paid") == (True, 1)


def test_a_job_that_is_parked_for_ever_is_not_forgotten_by_who_saw_it_run(
    open_session: OpenSession, worker: Worker, session: Session
):
    """Its entry is an old one, which fits again."""
    job = waiting(worker)
    worker.run("select dtsched.run_now(%s)", job)
    assert worker.claim() == [job]
    assert ask(worker, job, "paid")[0] == "timeout"
    assert ask(worker, job, "sent", step="other")[0] == "wait"
    forgetful = open_session()
    forgetful.run("begin")
    assert forgetful.value("select dtsched.forget_events()") == 1
    parking = Started(lambda: park(worker, job, "other"))
    wait_until_blocked(session, worker)
    forgetful.run("commit")
    parking.join()
    assert session.state(job) == "scheduled"
