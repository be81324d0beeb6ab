"""A15: a key for one queue reaches no job of another by filters, ids, keys or bulk operations, and a session that
is used again for somebody else keeps nothing of whoever it served before."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Generator

import psycopg
import pytest

from tests.api.keyholders import bearer, in_loop, make_key
from tests.api.processes import with_rights_of_a_server
from tests.sql.sessions import Worker
from tests.sql.test_hijack import STORY, every_call


@pytest.fixture
def worker(database: str) -> Generator[Worker]:
    with contextlib.closing(Worker(database)) as worker:
        yield worker


CANARY = "theirs-alone"
"""What the attacker has guessed; UNSAID it has not, so that whoever says it has looked."""
UNSAID = "unsaid"
FILTERS = [
    "queue:theirs",
    "queue:theirs,mine",
    "queue:mine queue:theirs",
    "queue:mine,theirs state:ready",
    f"key:{CANARY}",
    f"tag:{CANARY}",
    f"task:{CANARY}",
    f"args.{CANARY}:1",
    f"correlation_id:{CANARY}",
    "id:{job}",
    "state:ready",
    "state:ready,scheduled,failed",
    "workflow:{workflow}",
]


def requests(job: int, workflow: int) -> list[tuple[str, str, object]]:
    named = [text.format(job=job, workflow=workflow) for text in FILTERS]
    return [
        *(("GET", f"/v1/jobs?filter={text}", None) for text in named),
        *(
            ("POST", "/v1/operations", {"action": action, "filter": text, "dry_run": dry})
            for text, action, dry in itertools.product(named, ("cancel", "delete", "retry"), (True, False))
        ),
        *(
            ("POST", "/v1/jobs/actions", {"action": act, "ids": [job]})
            for act in ("cancel", "delete", "run_now", "retry")
        ),
        ("POST", "/v1/jobs/actions", {"action": "edit", "ids": [job], "changes": {"queue": "mine"}}),
        *(("POST", f"/v1/jobs/{job}/{act}", None) for act in ("cancel", "retry", "run-now")),
        ("PATCH", f"/v1/jobs/{job}", {"queue": "mine"}),
        ("DELETE", f"/v1/jobs/{job}", None),
        *(("GET", f"/v1/jobs/{job}{part}", None) for part in ("", "/result", "/logs", "/steps", "/why", "/attempts")),
        ("GET", f"/v1/jobs/by-key/{CANARY}", None),
        ("POST", "/v1/jobs", {"task": "echo", "queue": "mine", "key": CANARY, "on_conflict": "replace"}),
        ("POST", "/v1/jobs", {"task": "echo", "queue": "mine", "key": CANARY, "on_conflict": "supersede"}),
        ("POST", "/v1/jobs", {"task": "echo", "queue": "mine", "key": CANARY}),
        ("POST", "/v1/jobs", {"task": "echo", "queue": "theirs"}),
        ("POST", "/v1/jobs/batch", [{"task": "echo", "queue": "mine"}, {"task": "echo", "queue": "theirs"}]),
        ("POST", "/v1/jobs", {"task": "echo", "queue": "mine", "workflow": workflow}),
        *(
            ("GET", f"/v1/{what}", None)
            for what in ("queues", "queues/theirs", "workers", "errors", "operations", "audit")
        ),
        *(("GET", f"/v1/workflows{part}", None) for part in ("", f"/{workflow}")),
        ("GET", "/v1/stats", None),
        ("POST", "/v1/queues/theirs/pause", None),
        ("PATCH", "/v1/queues/theirs", {"limit": 0}),
    ]


async def test_a15_no_filter_and_no_bulk_operation_reaches_another_queue(database: str, worker: Worker) -> None:
    workflow = worker.value("select dtsched.create_workflow(%s)", UNSAID)
    job = worker.value(
        """
        select dtsched.submit(%s, jsonb_build_object(%s::text, %s::text), queue => 'theirs', key => %s,
                              tags => array[%s, %s], correlation_id => %s, workflow => %s)
        """,
        *(CANARY, CANARY, UNSAID, CANARY, CANARY, UNSAID, CANARY),
        workflow,
    )
    mine = make_key(worker.connection, "mine", ["admin"], ["mine"])
    before = worker.rows("select * from dtsched.jobs where queue = 'theirs'")
    asked = requests(job, workflow)
    told: list[tuple[str, str, object, str]] = []
    async with in_loop(with_rights_of_a_server(database), stopping=True) as api:
        for method, path, body in asked:
            answer = await api.request(method, path, json=body, headers=bearer(mine))
            assert answer.status_code < 500, (method, path, answer.text)
            if UNSAID in answer.text:
                told.append((method, path, body, answer.text[:300]))
    while worker.value("select count(*) from dtsched.operations where state in ('pending', 'running')"):
        worker.run("select dtsched.step_operation(1000)")
    assert worker.column("select distinct matched from dtsched.operations") == [0]
    assert len(asked) > 100
    assert told == []
    assert worker.rows("select * from dtsched.jobs where queue = 'theirs'") == before
    assert worker.value("select count(*) from dtsched.jobs where workflow_id = %s", workflow) == 1


LEFT = b"""
    select (select array_agg(name || '=' || setting) from pg_settings where source = 'session'), current_user::text,
        session_user::text, current_setting('search_path'), nullif(current_setting('dtsched.notify', true), ''),
        (select array_agg(relname::text) from pg_class where relnamespace = pg_my_temp_schema()),
        (select array_agg(channel) from pg_listening_channels() channel),
        (select array_agg(objid) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid())
"""


def test_a15_no_function_leaves_a_setting_or_a_role_to_whoever_has_the_session_next(
    database: str, worker: Worker
) -> None:
    """A pool, or PgBouncer, hands a session from one to the next. What stays are the cursors that claims begin at."""
    worker.insert(3)
    kept = {"hungry", "watch_feed", "watch_ended"}
    with psycopg.connect(database, autocommit=True, options="-c statement_timeout=5s") as session:
        before = session.execute(LEFT).fetchone()
        for statement in STORY:
            attempt(session, statement, [])
            assert session.execute(LEFT).fetchone() == before, statement
        for statement, values in every_call(worker):
            attempt(session, statement, values)
            after = session.execute(LEFT).fetchone()
            if any(f'"{name}"' in statement for name in kept):
                session.execute("select pg_advisory_unlock_all()")
            else:
                assert after == before, (statement, values)


def attempt(session: psycopg.Connection, statement: str, values: list[object]) -> None:
    """Some are refused, which leaves nothing either."""
    try:
        session.execute(statement.encode(), values or None)
    except psycopg.Error:
        session.rollback()
