"""Who may do what: everybody calls functions, submitters fill the columns that are theirs to say, and that is all."""

from __future__ import annotations

from typing import LiteralString

import psycopg
import pytest

from tests.sql.conftest import OpenSession
from tests.sql.sessions import Session, Worker

FORBIDDEN: tuple[LiteralString, ...] = (
    "insert into dtsched.jobs (task, state) values ('echo', 'completed')",
    "insert into dtsched.jobs (task, attempt) values ('echo', 1)",
    "insert into dtsched.jobs (task, result) values ('echo', '1')",
    "insert into dtsched.jobs (id, task) values (1, 'echo')",
    "insert into dtsched.jobs (task, created_at) values ('echo', now())",
    "insert into dtsched.jobs_0 (task) values ('echo')",
    "insert into dtsched.jobs_default (task) values ('echo')",
    "insert into dtsched.ready (queue, priority, job_id) values ('default', 5, 1)",
    "select args from dtsched.jobs",
    "select * from dtsched.jobs_0",
    "update dtsched.jobs set state = 'ready'",
    "delete from dtsched.jobs",
    "truncate dtsched.jobs",
    "select * from dtsched.ready",
    "select * from dtsched.keys",
    "select setval('dtsched.job_id_seq', 1)",
    "select * from dtsched.job(1)",
    "select dtsched.cancel(1)",
    "select dtsched.retry(1)",
    "select dtsched.run_now(1)",
    "select dtsched.reschedule(1, now())",
    "select dtsched.delete(1)",
    "select dtsched.move('{1}', now())",
    "select dtsched.pause('default')",
    "select * from dtsched.list_jobs()",
    "select * from dtsched.tallies",
    "select dtsched.claim(gen_random_uuid(), 'default', 1)",
    "select dtsched.take_ready('default', 1)",
    "select dtsched.hand_back('{1}', true, '')",
    "select dtsched.trace(true)",
    "create table dtsched.mine ()",
)


@pytest.fixture
def submitter(open_session: OpenSession) -> Session:
    submitter = open_session()
    submitter.run("set role dtsched_submit")
    return submitter


def test_a_submitter_may_insert_what_is_its_to_say_and_learns_the_id(submitter: Session, worker: Worker):
    (job,) = submitter.column("""
        insert into dtsched.jobs (queue, task, args, priority, max_attempts, timeout, key, limit_key, tags)
        values ('default', 'echo', '{"value": 1}', 9, 3, '1 min', 'k', 'l', '{a}')
        returning id
        """)
    (later,) = submitter.column(
        "insert into dtsched.jobs (task, run_at) values ('echo', now() + '1 hour') returning id"
    )
    (child,) = submitter.column("insert into dtsched.jobs (task, depends_on) values ('echo', %s) returning id", [job])
    assert worker.drain() == [job]
    assert [worker.state(later), worker.state(child)] == ["scheduled", "blocked"]


def test_a_submitter_may_copy(submitter: Session, worker: Worker):
    with submitter.connection.cursor().copy("copy dtsched.jobs (task, args) from stdin") as copy:
        copy.write_row(("echo", "{}"))
    assert len(worker.drain()) == 1


def test_a_submitter_may_submit_by_function_and_cannot_say_more_there(submitter: Session):
    job = submitter.value("select dtsched.submit('echo', key => 'k')")
    assert submitter.value("select dtsched.submit('echo', key => 'k')") == job


def test_a_submitter_may_do_nothing_else(submitter: Session):
    for statement in FORBIDDEN:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            submitter.run(statement)


def test_a_worker_needs_no_more_than_its_role(session: Session, worker: Worker):
    (parent,) = session.insert()
    child = session.value("select dtsched.submit('child', depends_on => %s, key => 'k')", [parent])
    worker.run("set role dtsched_worker")
    assert worker.claim() == [parent]
    assert worker.finish(parent)
    assert worker.claim() == [child]
    assert worker.finish_as("retry", child, delay=1)
    assert worker.renew()
    worker.rescue()
    worker.run("select dtsched.promote(), dtsched.ensure_partitions(), dtsched.has_ready('{default}')")
    worker.run("select dtsched.settled(dtsched.hungry('{default}')), dtsched.sated('{default}')")
    assert worker.value("select dtsched.deregister_worker(%s)", worker.id) == 0
    worker.run("reset role")


def test_public_may_execute_nothing_and_see_nothing(session: Session):
    assert (
        session.column("""
            select fun.oid::regprocedure::text
            from pg_proc fun
            cross join lateral aclexplode(coalesce(fun.proacl, acldefault('f', fun.proowner))) acl
            where fun.pronamespace = 'dtsched'::regnamespace and acl.grantee = 0
            """)
        == []
    )
    assert not session.value("select has_schema_privilege('public', 'dtsched', 'usage')")


def test_every_function_with_its_owners_rights_pins_its_search_path_with_pg_temp_last(session: Session):
    paths = session.rows("""
        select fun.oid::regprocedure::text,
            (select substr(setting, 13) from unnest(fun.proconfig) setting where setting like 'search_path=%')
        from pg_proc fun
        where fun.pronamespace = 'dtsched'::regnamespace and fun.prosecdef
        """)
    assert len(paths) > 20
    assert [function for function, path in paths if path != "pg_catalog, dtsched, pg_temp"] == []


def test_every_function_that_is_called_from_outside_keeps_its_plans_from_being_compiled(session: Session):
    """A server that compiles would do so for seconds: plans that may not scan cost 10,000,000,000 where they must."""
    functions = session.rows("""
        select fun.oid::regprocedure::text, 'jit=off' = any (fun.proconfig)
        from pg_proc fun
        where fun.pronamespace = 'dtsched'::regnamespace and fun.prosecdef
        """)
    assert len(functions) > 20
    assert [function for function, off in functions if not off] == []


def test_a_temporary_table_does_not_shadow_ours(submitter: Session, worker: Worker):
    submitter.run("create temporary table ready (like pg_class)")
    submitter.run("create temporary table keys (like pg_class)")
    job = submitter.value("select dtsched.submit('echo', key => 'k')")
    assert worker.drain() == [job]
