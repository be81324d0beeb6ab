"""Jobs of several submitters in one transaction, and what of a limited submitter: submit_gathered() and p_queues."""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest

from tests.sql.conftest import OpenSession
from tests.sql.parallel import Started, wait_until_blocked
from tests.sql.sessions import Session

ECHO: dict[str, Any] = {"task": "echo"}


def gathered(session: Session, jobs: list[Any], queues: list[list[str] | None] | None = None) -> list[Any]:
    """The outcome, the code, the field and the sentence of each."""
    return session.rows(
        "select outcome, code, field, error from dtsched.submit_gathered(%s::jsonb, %s::jsonb)",
        json.dumps(jobs),
        None if queues is None else json.dumps(queues),
    )


def refusals(session: Session, jobs: list[Any], queues: list[str]) -> list[Any]:
    return session.rows(
        "select code, error from dtsched.submit_partly(%s::jsonb, true, '{}', %s)", json.dumps(jobs), queues
    )


def test_each_gathered_job_is_refused_in_its_own_words(session: Session):
    session.run("insert into dtsched.tasks (name) values ('echo')")
    found = gathered(session, [ECHO, {**ECHO, "priority": 11}, {"task": "ehco"}, ECHO])
    assert found[0] == found[3] == ("created", None, None, None)
    assert found[1] == ("refused", "invalid-input", "priority", "priority must be 1 to 10, not 11")
    assert found[2] == ("refused", "unknown-task", "task", 'no worker has declared a task "ehco"; known are echo')
    assert session.states() == {"ready": 2}


@pytest.mark.parametrize("fields", [{"key": "k"}, {"depends_on": [1]}, {"workflow": 1}])
def test_what_may_wait_for_others_is_not_gathered(session: Session, fields: dict[str, Any]):
    with pytest.raises(psycopg.Error, match="submit it alone"):
        gathered(session, [ECHO, {**ECHO, **fields}])
    assert gathered(session, [{**ECHO, "key": None, "depends_on": None, "workflow": None}])[0][0] == "created"


def test_a_gathered_job_is_shown_as_job_shows_it(session: Session):
    full = {
        **ECHO,
        "args": {"a": [1.5, None]},
        "queue": "mail",
        "priority": 7,
        "delay": 60,
        "max_attempts": 3,
        "timeout": 1.5,
        "limit_key": "smtp",
        "tags": ["x"],
        "backoff": {"kind": "fixed"},
        "expires_in": 90,
        "correlation_id": "c",
    }
    for job in (ECHO, full):
        (told,) = session.column("select job::jsonb from dtsched.submit_gathered(%s::jsonb)", json.dumps([job]))
        assert told == session.value("select to_jsonb(job) from dtsched.job(%s) job", told["id"])


def test_each_gathered_job_goes_to_queues_of_its_own_submitter(session: Session):
    session.run("""insert into dtsched.tasks (name, settings) values ('echo', '{}'), ('send', '{"queue": "mail"}')""")
    mail, default = {**ECHO, "queue": "mail"}, {"task": "send", "queue": "default"}
    jobs = [mail, mail, ECHO, ECHO, {"task": "send"}, default]
    queues = [None, ["default"], ["default", "x"], ["mail"], ["mail"], ["mail"]]
    found = gathered(session, jobs, queues)
    assert [code for _, code, _, _ in found] == [None, *("queue-forbidden", None) * 2, "queue-forbidden"]
    assert found[1][2:] == ("queue", 'queue must be one that this API key is for (default), not "mail"')
    assert found[3][3].endswith('(mail), not "default", where such jobs go by default: name one')
    assert session.column("select queue from dtsched.jobs order by id") == ["mail", "default", "mail"]


def test_a_limited_submitter_names_each_job_of_a_batch_that_is_not_his(session: Session):
    jobs = json.dumps([ECHO, {**ECHO, "queue": "mail"}, ECHO, {**ECHO, "queue": "mail"}])
    with pytest.raises(psycopg.Error, match=r"^job 2: queue must be .* \(refused too: job 4\)") as caught:
        session.run("select dtsched.submit_many(%s::jsonb, p_queues => '{default}')", jobs)
    assert (caught.value.sqlstate, caught.value.diag.column_name) == ("JQ007", "queue")
    assert session.states() == {}
    codes = [code for code, _ in refusals(session, json.loads(jobs), ["default"])]
    assert codes == [None, "queue-forbidden", None, "queue-forbidden"]


def test_a_parent_of_a_queue_that_is_not_his_looks_like_a_missing_one(session: Session):
    hidden = session.value("select dtsched.submit('echo', queue => 'mail', key => 'hidden')")
    shown = session.value("select dtsched.submit('echo', key => 'shown')")
    found = refusals(
        session, [{**ECHO, "depends_on": [parent]} for parent in (hidden, shown, "hidden", "shown")], ["default"]
    )
    missing = refusals(session, [{**ECHO, "depends_on": [parent]} for parent in (9_999, "nobody")], ["default"])
    assert found[0] == ("invalid-input", missing[0][1].replace("9999", str(hidden)))
    assert found[2] == ("invalid-input", missing[1][1].replace("nobody", "hidden"))
    assert found[1] == found[3] == (None, None)


@pytest.mark.parametrize("mode", ["keep", "replace", "reject", "supersede"])
def test_a_key_held_in_a_queue_that_is_not_his_is_held_whatever_he_asks(session: Session, mode: str):
    holder = session.value("select dtsched.submit('echo', queue => 'mail', key => 'k')")
    job = {**ECHO, "key": "k", "on_conflict": mode, "priority": 9}
    says = 'the key "k" is held by a job of a queue that this API key is not for: use another key'
    assert refusals(session, [ECHO, job], ["default"])[1] == ("key-held", says)
    with pytest.raises(psycopg.Error, match=says) as caught:
        session.run("select dtsched.submit_many(%s::jsonb, p_queues => '{default}')", json.dumps([job]))
    assert caught.value.sqlstate == "JQ003"
    assert session.rows("select id, state, priority from dtsched.jobs where queue = 'mail'") == [(holder, "ready", 5)]


@pytest.mark.parametrize("mode", ["keep", "supersede"])
def test_a_key_that_a_strange_job_takes_meanwhile_is_held_too(session: Session, open_session: OpenSession, mode: str):
    rival, submitter = open_session(), open_session()
    rival.run("begin")
    rival.run("select dtsched.submit('echo', queue => 'mail', key => 'k')")
    job = json.dumps([{**ECHO, "key": "k", "on_conflict": mode}])
    submitting = Started(lambda: submitter.run("select dtsched.submit_many(%s::jsonb, p_queues => '{default}')", job))
    wait_until_blocked(session, submitter)
    rival.run("commit")
    with pytest.raises(psycopg.Error, match="a queue that this API key is not for"):
        submitting.join()
    assert session.states() == {"ready": 1}


def test_the_job_of_a_key_is_shown_to_those_who_may_see_its_queue(session: Session):
    job = session.value("select dtsched.submit('echo', queue => 'mail', key => 'a/b')")
    found = [
        session.column("select dtsched.job_of_key('a/b', %s::text[])", queues) for queues in (None, ["mail"], ["x"])
    ]
    assert found == [[job], [job], []]
    session.run("select dtsched.cancel(array[%s])", job)
    assert session.column("select dtsched.job_of_key('a/b')") == []
