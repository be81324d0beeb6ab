"""Schedules as SQL has them: what makes, changes and pauses one, and that a tick fires once whoever fires it, to the
exact boundary of what is due, in time and made up for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.sql.conftest import OpenSession
from tests.sql.parallel import Started, in_parallel, wait_until_blocked
from tests.sql.sessions import Session, Worker

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def clock(session: Session) -> Session:
    """The session, and dtsched.now() stands still at NOON until `set_clock`."""
    session.run("create table public.clock as select timestamptz '2030-01-01 12:00Z' as at")
    session.run("""
        create or replace function dtsched.now() returns timestamptz language sql volatile security definer
        as $$ select at from public.clock $$
        """)
    return session


def set_clock(session: Session, at: datetime) -> None:
    session.run("update public.clock set at = %s", at)


def make(session: Session, name: str = "s", *, next_at: datetime | None = None, **fields: Any) -> int:
    """A schedule of every minute, and its version; with `next_at` as if a process had computed that."""
    assert session.value(
        "select dtsched.save_schedule(%s, %s::jsonb)",
        name,
        Jsonb({"spec": "* * * * *", "task": "echo", **fields}),
    )
    if next_at is not None:
        session.run("update dtsched.schedules set next_at = %s where name = %s", next_at, name)
    return version(session, name)


def version(session: Session, name: str = "s") -> int:
    return session.value("select version from dtsched.schedules where name = %s", name)


def fire(session: Session, of: int, ticks: list[datetime]) -> list[tuple[datetime, str]]:
    """Fires the schedule "s" at these ticks, with the next one a minute after the last; what became of each."""
    following = ticks[-1] + MINUTE
    rows = session.rows("select tick, outcome from dtsched.fire('s', %s, %s, %s, %s)", of, ticks[0], ticks, following)
    return [(row[0], row[1]) for row in rows]


def jobs(session: Session) -> list[datetime]:
    """For when the jobs were submitted, in that order."""
    return session.column("select run_at from dtsched.jobs order by id")


def ticks(*minutes: float) -> list[datetime]:
    """So many minutes from NOON."""
    return [NOON + timedelta(minutes=minute) for minute in minutes]


def due(session: Session) -> list[str]:
    return session.column("select name from dtsched.due_schedules() where name is not null")


def test_a_schedule_is_due_from_its_tick_on_and_not_a_microsecond_before(clock: Session):
    make(clock, next_at=NOON)
    set_clock(clock, NOON - timedelta(microseconds=1))
    assert clock.rows("select name, next_seconds from dtsched.due_schedules()") == [(None, 0.000001)]
    set_clock(clock, NOON)
    assert due(clock) == ["s"]


def test_what_is_to_be_computed_comes_first_and_nothing_that_is_paused_or_wrong_or_never_again(clock: Session):
    make(clock, "late", next_at=NOON - MINUTE)
    make(clock, "new")
    for name in ("paused", "wrong", "never", "later"):
        make(clock, name, next_at=NOON)
    clock.run("select dtsched.pause_schedule('paused')")
    clock.run("select dtsched.note_schedule_problem('wrong', %s, 'no such hour')", version(clock, "wrong"))
    clock.run("update dtsched.schedules set next_at = 'infinity' where name = 'never'")
    clock.run("update dtsched.schedules set next_at = %s where name = 'later'", NOON + MINUTE)
    assert clock.rows("select name, next_at, next_seconds from dtsched.due_schedules()") == [
        ("new", None, 60.0),
        ("late", NOON - MINUTE, 60.0),
    ]


def test_a_tick_submits_the_job_as_the_schedule_says_with_the_tick_as_its_time(clock: Session):
    fields: dict[str, Any] = {
        "queue": "mail",
        "priority": 7,
        "max_attempts": 2,
        "timeout": 90,
        "limit_key": "l",
        "tags": ["a"],
    }
    made = make(clock, next_at=NOON, args={"value": 1}, backoff={"kind": "fixed", "base": 1}, **fields)
    assert fire(clock, made, [NOON]) == [(NOON, "fired")]
    assert clock.rows("""
        select task, args, queue, priority, max_attempts, timeout, limit_key, tags, backoff, run_at, state, key
        from dtsched.jobs""") == [
        (
            *("echo", {"value": 1}, "mail", 7, 2, timedelta(seconds=90), "l", ["a"], {"kind": "fixed", "base": 1}),
            *(NOON, "ready", None),
        )
    ]
    (told,) = clock.rows("select last_tick, last_outcome, last_job_id, next_at from dtsched.list_schedules('s')")
    assert told == (NOON, "fired", clock.value("select id from dtsched.jobs"), NOON + MINUTE)


def test_a_task_that_nobody_knows_waits_for_a_worker_that_does(clock: Session, open_session: OpenSession):
    made = make(clock, next_at=NOON)
    clock.run("insert into dtsched.tasks (name) values ('other')")
    assert fire(clock, made, [NOON]) == [(NOON, "fired")]


def test_of_two_that_fire_the_same_tick_one_does(clock: Session, open_session: OpenSession):
    made = make(clock, next_at=NOON)
    first, second = open_session(), open_session()
    first.run("begin")
    assert fire(first, made, [NOON]) == [(NOON, "fired")]
    assert fire(second, made, [NOON]) == []  # it does not wait
    first.run("commit")
    assert fire(second, made, [NOON]) == []
    assert jobs(clock) == [NOON]


def test_a_firing_that_crashes_has_done_nothing_and_the_next_one_does_it(clock: Session, open_session: OpenSession):
    made = make(clock, next_at=NOON)
    crashing = open_session()
    crashing.run("begin")
    fire(crashing, made, [NOON])
    crashing.connection.close()
    while clock.value("select count(*) from pg_locks where relation = 'dtsched.schedules'::regclass and mode ~ 'Row'"):
        pass
    assert fire(clock, made, [NOON]) == [(NOON, "fired")]
    assert jobs(clock) == [NOON]


def test_many_that_fire_at_once_fire_each_tick_once(clock: Session, open_session: OpenSession):
    made = make(clock, next_at=NOON)
    rivals = [open_session() for _ in range(4)]

    def race(rival: Session) -> None:
        for minute in range(20):
            while rival.value("select next_at from dtsched.schedules") == NOON + minute * MINUTE:
                fire(rival, made, ticks(minute))

    set_clock(clock, NOON + 20 * MINUTE)
    in_parallel(*(lambda rival=rival: race(rival) for rival in rivals))
    assert clock.column("select tick from dtsched.ticks order by tick") == jobs(clock) == ticks(*range(20))


def test_an_edit_between_reading_and_firing_keeps_the_old_times_from_firing(clock: Session):
    made = make(clock, next_at=NOON)
    assert clock.value("select dtsched.schedule('s', '0 9 * * *', 'echo')") is False
    assert fire(clock, made, [NOON]) == []
    assert fire(clock, version(clock), [NOON]) == []
    assert jobs(clock) == []
    assert due(clock) == ["s"]


def test_a_schedule_that_is_made_anew_under_its_name_has_another_version(clock: Session):
    made = make(clock, next_at=NOON)
    clock.run("select dtsched.unschedule('s')")
    make(clock, next_at=NOON)
    assert fire(clock, made, [NOON]) == []


def test_what_is_paused_meanwhile_does_not_fire_and_makes_nothing_up_when_resumed(clock: Session):
    made = make(clock, next_at=NOON, catchup="all")
    assert clock.value("select dtsched.pause_schedule('s')") is True
    assert clock.value("select dtsched.pause_schedule('s')") is False
    assert fire(clock, made, [NOON]) == []
    assert fire(clock, version(clock), [NOON]) == []
    set_clock(clock, NOON + 5 * MINUTE)
    assert clock.value("select dtsched.resume_schedule('s')") is True
    assert clock.value("select dtsched.resume_schedule('s')") is False
    assert clock.rows("select next_at, since from dtsched.schedules") == [(None, NOON + 5 * MINUTE)]


def test_a_pause_waits_for_the_firing_under_way_and_the_next_one_is_refused(clock: Session, open_session: OpenSession):
    made = make(clock, next_at=NOON)
    firing, pausing = open_session(), open_session()
    firing.run("begin")
    fire(firing, made, [NOON])
    paused = Started(lambda: pausing.run("select dtsched.pause_schedule('s')"))
    wait_until_blocked(clock, pausing)
    firing.run("commit")
    paused.join()
    assert fire(clock, version(clock), ticks(1)) == []
    assert jobs(clock) == [NOON]


def test_only_a_change_of_the_time_has_the_next_tick_computed_anew(clock: Session):
    made = make(clock, next_at=NOON + MINUTE)
    clock.run("select dtsched.save_schedule('s', '{\"args\": {\"value\": 2}}', true)")
    assert version(clock) > made
    assert clock.value("select next_at from dtsched.schedules") == NOON + MINUTE
    clock.run("select dtsched.save_schedule('s', '{\"tz\": \"Europe/Berlin\"}', true)")
    assert clock.value("select next_at from dtsched.schedules") is None


def test_saying_the_same_again_changes_nothing(clock: Session):
    made = make(clock, next_at=NOON)
    assert clock.value("select dtsched.schedule('s', ' * *  * * * ', 'echo')") is False
    assert version(clock) == made


def test_a_plain_update_by_the_owner_counts_as_an_edit(clock: Session):
    made = make(clock, next_at=NOON)
    clock.run("update dtsched.schedules set spec = '0 9 * * *'")
    assert version(clock) > made
    assert due(clock) == ["s"]
    assert clock.value("select next_at from dtsched.schedules") is None


def test_the_first_time_that_is_computed_is_noted_and_fires_nothing(clock: Session):
    made = make(clock)
    clock.run("select dtsched.fire('s', %s, null, '{}', %s)", made, NOON + MINUTE)
    assert clock.value("select next_at from dtsched.schedules") == NOON + MINUTE
    clock.run("select dtsched.fire('s', %s, null, '{}', %s)", made, NOON + 2 * MINUTE)  # whoever came second
    assert clock.value("select next_at from dtsched.schedules") == NOON + MINUTE


def test_a_clock_that_went_back_since_fires_nothing_too_early(clock: Session):
    made = make(clock, next_at=NOON)
    set_clock(clock, NOON - timedelta(microseconds=1))
    assert fire(clock, made, [NOON]) == []
    set_clock(clock, NOON)
    assert fire(clock, made, [NOON]) == [(NOON, "fired")]
    set_clock(clock, NOON - timedelta(hours=1))
    clock.run("update dtsched.schedules set spec = '*/1 * * * *'")
    clock.run("update dtsched.schedules set next_at = %s", NOON)
    set_clock(clock, NOON)
    assert fire(clock, version(clock), [NOON]) == []
    assert jobs(clock) == [NOON]


@pytest.mark.parametrize(
    ("catchup", "outcomes"),
    [
        ("skip", ["missed", "missed", "missed", "missed"]),
        ("latest", ["missed", "missed", "missed", "fired"]),
        ("all", ["missed", "missed", "fired", "fired"]),
    ],
)
def test_late_ticks_are_made_up_for_as_the_schedule_says(clock: Session, catchup: str, outcomes: list[str]):
    made = make(clock, next_at=NOON, catchup=catchup, catchup_limit=2)
    set_clock(clock, NOON + 4 * MINUTE + timedelta(microseconds=1))
    missed = ticks(0, 1, 2, 3)
    assert fire(clock, made, missed) == list(zip(missed, outcomes, strict=True))
    assert jobs(clock) == [tick for tick, outcome in zip(missed, outcomes, strict=True) if outcome == "fired"]


@pytest.mark.parametrize(
    ("catchup", "outcomes"),
    [
        ("skip", ["missed", "missed", "fired", "fired"]),
        ("latest", ["missed", "missed", "fired", "fired"]),
        ("all", ["missed", "fired", "fired", "fired"]),
    ],
)
def test_what_is_late_by_no_more_than_the_tolerance_runs_whatever_is_made_up_for(
    clock: Session, catchup: str, outcomes: list[str]
):
    made = make(clock, next_at=NOON, catchup=catchup, catchup_limit=1, tolerance=60)
    set_clock(clock, NOON + 3 * MINUTE)
    assert [outcome for _, outcome in fire(clock, made, ticks(0, 1, 2, 3))] == outcomes


def test_with_overlap_skip_a_tick_does_not_fire_while_the_last_job_is_unfinished(clock: Session, worker: Worker):
    made = make(clock, next_at=NOON, overlap="skip")
    fire(clock, made, [NOON])
    (job,) = worker.claim()
    set_clock(clock, NOON + MINUTE)
    assert fire(clock, made, ticks(1)) == [(NOON + MINUTE, "skipped")]
    worker.renew()
    worker.finish(job)
    set_clock(clock, NOON + 2 * MINUTE)
    assert fire(clock, made, ticks(2)) == [(NOON + 2 * MINUTE, "fired")]
    assert clock.column("select key from dtsched.jobs order by id") == ["schedule:s"] * 2


def test_with_overlap_skip_a_retried_job_of_an_earlier_tick_counts(clock: Session):
    made = make(clock, next_at=NOON, overlap="skip")
    fire(clock, made, [NOON])
    first = clock.value("select id from dtsched.jobs")
    clock.run("select dtsched.cancel(%s)", first)
    set_clock(clock, NOON + MINUTE)
    fire(clock, made, ticks(1))
    clock.run("select dtsched.cancel(array(select id from dtsched.jobs))")
    clock.run("select dtsched.retry(%s)", first)
    set_clock(clock, NOON + 2 * MINUTE)
    assert fire(clock, made, ticks(2)) == [(NOON + 2 * MINUTE, "skipped")]


def test_with_overlap_cancel_the_last_job_gives_way(clock: Session, worker: Worker):
    made = make(clock, next_at=NOON, overlap="cancel")
    fire(clock, made, [NOON])
    set_clock(clock, NOON + MINUTE)
    fire(clock, made, ticks(1))
    assert clock.states() == {"cancelled": 1, "ready": 1}
    (job,) = worker.claim()
    set_clock(clock, NOON + 2 * MINUTE)
    fire(clock, made, ticks(2))
    assert clock.value("select cancel_requested_at from dtsched.leases where job_id = %s", job) == NOON + 2 * MINUTE


@pytest.mark.parametrize("overlap", ["skip", "cancel"])
def test_of_several_that_are_made_up_for_the_newest_runs_unless_they_may_overlap(clock: Session, overlap: str):
    made = make(clock, next_at=NOON, overlap=overlap, catchup="all")
    set_clock(clock, NOON + 9 * MINUTE)
    assert [outcome for _, outcome in fire(clock, made, ticks(0, 1, 2))] == ["skipped", "skipped", "fired"]
    assert jobs(clock) == ticks(2)


def test_a_job_that_cannot_be_submitted_becomes_the_schedules_problem_until_it_is_changed(clock: Session):
    made = make(clock, next_at=NOON)
    clock.run('update dtsched.schedules set backoff = \'{"kind": "odd"}\'')
    assert fire(clock, made, [NOON]) == []
    assert fire(clock, version(clock), [NOON]) == []
    (problem,) = clock.column("select problem from dtsched.list_schedules()")
    assert problem.startswith("backoff must be an object of kind")
    assert due(clock) == []
    clock.run("update dtsched.schedules set backoff = null")
    assert due(clock) == ["s"]
    assert fire(clock, version(clock), [NOON]) == [(NOON, "fired")]


def test_a_problem_of_an_older_definition_is_not_noted(clock: Session):
    made = make(clock)
    clock.run("update dtsched.schedules set spec = '0 9 * * *'")
    clock.run("select dtsched.note_schedule_problem('s', %s, 'wrong')", made)
    assert clock.value("select problem from dtsched.schedules") is None


def test_running_one_now_submits_its_job_and_leaves_its_ticks_alone(clock: Session):
    make(clock, next_at=NOON + MINUTE, args={"value": 1})
    clock.run("select dtsched.pause_schedule('s')")
    ((job, created),) = clock.rows("select job_id, created from dtsched.run_schedule('s')")
    assert created
    assert clock.rows("select state, args, run_at from dtsched.jobs where id = %s", job) == [
        ("ready", {"value": 1}, NOON)
    ]
    assert clock.rows("select last_tick, last_job_id from dtsched.list_schedules()") == [(None, job)]
    assert clock.column("select tick from dtsched.ticks") == []


def test_running_one_now_heeds_overlap(clock: Session):
    make(clock, overlap="skip")
    ((job, _),) = clock.rows("select job_id, created from dtsched.run_schedule('s')")
    assert clock.rows("select job_id, created from dtsched.run_schedule('s')") == [(job, False)]
    clock.run("update dtsched.schedules set overlap = 'cancel'")
    ((other, created),) = clock.rows("select job_id, created from dtsched.run_schedule('s')")
    assert (created, clock.state(job), clock.state(other)) == (True, "cancelled", "ready")


@pytest.mark.parametrize("verb", ["pause_schedule", "resume_schedule", "run_schedule", "unschedule"])
def test_what_is_not_there_is_told(session: Session, verb: str):
    with pytest.raises(psycopg.Error, match='there is no schedule "nosuch"') as refused:
        session.connection.execute(f"select dtsched.{verb}('nosuch')".encode())
    assert refused.value.sqlstate == "JQ004"


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"spec": None}, "spec is missing: say when it is to fire"),
        (
            {"spec": 5},
            "spec must be cron fields (minute hour day month weekday, or second before them), @daily, @hourly, ",
        ),
        ({"spec": "* * * *"}, "'every 10m', not \"* * * *\""),
        ({"spec": "* * * * * * *"}, "spec must be cron fields"),
        ({"spec": "@reboot"}, "spec must be cron fields"),
        ({"spec": "* * * * *; drop"}, "spec must be cron fields"),
        ({"spec": "0 " * 110 + "* * *"}, "spec must be cron fields"),
        (
            {"spec": "every day"},
            "spec must be an interval of whole seconds from 1s to 366d, like 'every 10m', not \"every day\"",
        ),
        ({"tz": "Mars/X"}, 'tz must be the name of a time zone like Europe/Berlin, not "Mars/X"'),
        ({"tz": "ABC5"}, "tz must be the name of a time zone like Europe/Berlin"),
        ({"catchup": "some"}, 'catchup must be skip, latest or all, not "some"'),
        ({"catchup_limit": 0}, "catchup_limit must be 1 to 1000, not 0"),
        ({"catchup_limit": 1001}, "catchup_limit must be 1 to 1000, not 1001"),
        ({"overlap": True}, "overlap must be allow, skip or cancel, not true"),
        ({"tolerance": -1}, "tolerance must be 0 to 366 days, in seconds, not -1"),
        ({"task": None}, "task must be 1 to 128 characters"),
        ({"priority": 11}, "priority must be 1 to 10, not 11"),
        ({"args": []}, "args must be an object of named arguments, not []"),
        ({"key": "k"}, 'there is no field "key"'),
        ({"run_at": "2030-01-01T00:00:00Z"}, 'there is no field "run_at"'),
    ],
)
def test_what_cannot_be_a_schedule_is_refused_before_anything_is_written(session: Session, fields: Any, says: str):
    with pytest.raises(psycopg.Error) as refused:
        make(session, **fields)
    assert refused.value.sqlstate == "JQ001"
    assert says in str(refused.value)
    assert session.column("select name from dtsched.schedules") == []


def test_a_task_that_no_worker_has_declared_is_refused(session: Session):
    session.run("insert into dtsched.tasks (name) values ('other')")
    with pytest.raises(psycopg.Error, match='no worker has declared a task "echo"; known are other') as refused:
        make(session)
    assert refused.value.sqlstate == "JQ002"


def test_a_name_is_one_of_ours(session: Session):
    with pytest.raises(psycopg.Error, match="name must be 1 to 128 characters out of"):
        make(session, "a b")


@pytest.mark.parametrize("spec", ["@daily", "@Hourly", "*/7 * * * *", "30 0 9 * * mon-fri", "every 1.5h", "0 0 L * *"])
def test_the_shapes_of_a_spec(session: Session, spec: str):
    make(session, spec=spec)


def declare(session: Session, name: str = "s", **fields: Any) -> str:
    """What came of it."""
    return session.value(
        "select outcome from dtsched.declare_schedules(%s::jsonb)",
        Jsonb([{"name": name, "spec": "* * * * *", "task": "echo", **fields}]),
    )


def spec_of(session: Session, name: str = "s") -> str:
    return session.value("select spec from dtsched.list_schedules(%s)", name)


def test_an_edit_outlives_the_restarts_of_workers_and_not_a_change_of_their_code(clock: Session):
    assert declare(clock) == "created"
    clock.run("select dtsched.save_schedule('s', '{\"spec\": \"0 9 * * *\"}', true)")
    assert clock.value("select edited from dtsched.list_schedules()") is True
    assert declare(clock) == "kept"
    assert spec_of(clock) == "0 9 * * *"
    assert declare(clock, spec="0 8 * * *") == "changed"
    assert spec_of(clock) == "0 8 * * *"
    assert clock.value("select edited from dtsched.list_schedules()") is False


def test_a_declaration_leaves_a_pause_and_the_next_tick_as_they_are(clock: Session):
    declare(clock)
    clock.run("update dtsched.schedules set next_at = %s", NOON)
    clock.run("select dtsched.pause_schedule('s')")
    assert declare(clock, args={"value": 1}) == "changed"
    assert clock.rows("select paused_at, next_at from dtsched.schedules") == [(NOON, NOON)]


def test_of_two_deployments_the_newer_one_is_in_force_however_often_the_older_ones_workers_start(clock: Session):
    declare(clock, spec="0 1 * * *")
    assert declare(clock, spec="0 2 * * *") == "changed"
    for _ in range(3):
        assert declare(clock, spec="0 1 * * *") == "overruled"
        assert declare(clock, spec="0 2 * * *") == "kept"
    assert spec_of(clock) == "0 2 * * *"


def test_after_a_roll_back_the_older_declaration_is_in_force_when_the_newer_one_is_heard_no_more(
    clock: Session,
):
    declare(clock, spec="0 1 * * *")
    declare(clock, spec="0 2 * * *")
    set_clock(clock, NOON + timedelta(seconds=179, microseconds=999999))
    assert declare(clock, spec="0 1 * * *") == "overruled"
    set_clock(clock, NOON + 3 * MINUTE)
    assert declare(clock, spec="0 1 * * *") == "changed"
    assert declare(clock, spec="0 2 * * *") == "overruled"
    assert spec_of(clock) == "0 1 * * *"


def test_code_takes_over_what_was_made_by_hand(clock: Session):
    make(clock, spec="0 1 * * *")
    assert declare(clock) == "changed"
    assert spec_of(clock) == "* * * * *"


def test_what_running_code_declares_cannot_be_removed_and_would_come_back(clock: Session):
    declare(clock)
    with pytest.raises(psycopg.Error, match="schedule s is declared by the code of running workers") as refused:
        clock.run("select dtsched.unschedule('s')")
    assert refused.value.sqlstate == "JQ003"
    set_clock(clock, NOON + 3 * MINUTE)
    clock.run("select dtsched.unschedule('s')")
    assert clock.column("select name from dtsched.list_schedules()") == []


def test_workers_that_start_together_declare_once(session: Session, open_session: OpenSession):
    rivals = [open_session() for _ in range(4)]
    outcomes: list[str] = []
    in_parallel(*(lambda rival=rival: outcomes.append(declare(rival)) for rival in rivals))
    assert session.column("select name from dtsched.schedules") == ["s"]
    assert set(outcomes) <= {"created", "changed", "kept"}
    assert outcomes.count("created") == 1


def test_ticks_are_removed_after_a_week_in_batches_but_never_the_last_one(clock: Session):
    made = make(clock, next_at=NOON)
    for minute in range(4):
        set_clock(clock, NOON + minute * MINUTE)
        fire(clock, made, ticks(minute))
    set_clock(clock, NOON + timedelta(days=7) + MINUTE)
    assert clock.value("select dtsched.prune_ticks()") == 1
    set_clock(clock, NOON + timedelta(days=8))
    assert clock.value("select dtsched.prune_ticks(p_limit => 1)") == 1
    assert clock.value("select dtsched.prune_ticks()") == 1
    assert clock.column("select tick from dtsched.list_ticks('s')") == ticks(3)
