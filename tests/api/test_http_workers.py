"""Workers over HTTP: what they may say, and what is answered."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Generator
from uuid import uuid4

import psycopg
import pytest

from tests.api.conftest import Api
from tests.api.http_workers import HttpWorker, job_of, register, submit
from tests.api.problems import problem
from tests.sql.sessions import Session, Worker

MANY = 2**62


@pytest.fixture
def session(database: str) -> Generator[Session]:
    """What a test leaves behind is sound."""
    with contextlib.closing(Session(database)) as session:
        yield session
        assert session.rows("select * from dtsched.check()") == []


async def test_a_worker_registers_claims_and_completes(api: Api, session: Session) -> None:
    worker = await register(api, tasks=["echo"], labels={"gpu": 1}, slots=2)
    job_id = await submit(api, args={"value": [1, {"a": "ü"}]}, correlation_id="c-1", timeout=60)
    (job,) = await worker.claim(limit=5)
    assert {
        name: job[name] for name in ("id", "queue", "task", "args", "attempt", "max_attempts", "correlation_id")
    } == {
        "id": job_id,
        "queue": "default",
        "task": "echo",
        "args": {"value": [1, {"a": "ü"}]},
        "attempt": 1,
        "max_attempts": 5,
        "correlation_id": "c-1",
    }
    assert 59 < job["timeout_seconds"] <= 60
    assert job["deadline"] is not None
    answer = await worker.finish(job, result={"value": 1})
    assert (answer.status_code, answer.json()) == (200, {"state": "completed"})
    done = await job_of(api, job_id)
    assert (done["state"], done["result"], done["worker_id"]) == ("completed", {"value": 1}, worker.id)


async def test_a_worker_is_shown_with_its_labels_and_what_its_heartbeat_said(api: Api) -> None:
    worker = await register(api, name="w1", queues=["mail", "bulk"], slots=3, labels={"memory": "4G"})
    answer = await worker.heartbeat(system_info={"cpu_usage": 12.5, "memory_usage": 40, "disk_usage": None})
    assert answer.json() == {"cancelled": [], "lost": [], "draining": False}
    shown = (await api.get(f"/v1/workers/{worker.id}")).json()
    assert {
        name: shown[name] for name in ("name", "state", "queues", "tasks", "slots", "running", "labels", "info")
    } == {
        "name": "w1",
        "state": "active",
        "queues": ["mail", "bulk"],
        "tasks": None,
        "slots": 3,
        "running": 0,
        "labels": {"memory": "4G"},
        "info": {"system_info": {"cpu_usage": 12.5, "memory_usage": 40}},
    }
    await worker.heartbeat()
    assert (await api.get(f"/v1/workers/{worker.id}")).json()["info"] == shown["info"]


@pytest.mark.parametrize(
    ("body", "status", "detail"),
    [
        ({}, 400, "name is missing"),
        ({"name": 1}, 400, "name must be a string, not 1"),
        ({"name": ""}, 422, "name must be 1 to 255 characters without control characters, not ''"),
        ({"name": "a\u0000"}, 422, "name must be 1 to 255 characters without control characters, not 'a\\x00'"),
        ({"name": "w", "queues": []}, 422, "queues must be 1 to 100 names, not 0"),
        ({"name": "w", "queues": ["a b"]}, 422,
         "queues must be 1 to 128 characters out of A-Z a-z 0-9 . _ : -, not 'a b'"),
        ({"name": "w", "queues": ["a", "a"]}, 422, "queues must name each once"),
        ({"name": "w", "tasks": ["x"] * 1001}, 422, "tasks must be 0 to 1000 names, not 1001"),
        ({"name": "w", "slots": 0}, 422, "slots must be 1 to 10000, not 0"),
        ({"name": "w", "slots": 2**31}, 422, f"slots must be 1 to 10000, not {2**31}"),
        ({"name": "w", "labels": []}, 400, "labels must be an object, not []"),
        ({"name": "w", "labels": {"a": "x" * 9000}}, 422, "labels must be at most 8192 bytes of JSON"),
        ({"name": "w", "labels": {"a": "\u0000"}}, 422,
         "labels.a must not hold NUL or a lone surrogate, as '\\x00' does"),
        ({"name": "w", "id": "x"}, 400, 'there is no field "id" here; there are name, queues, tasks, slots, labels'),
    ],
)  # fmt: skip
async def test_a_registration_that_cannot_be_is_refused(
    empty_api: Api, body: dict[str, object], status: int, detail: str
) -> None:
    assert problem(await empty_api.post("/v1/workers", json=body), status)["detail"] == detail
    assert not [worker for worker in (await empty_api.get("/v1/workers")).json()["workers"] if worker["name"] == "w"]


async def test_a_claim_brings_no_more_than_the_worker_has_slots_without_a_lease(api: Api) -> None:
    worker = await register(api, slots=3)
    for _ in range(5):
        await submit(api)
    assert [len(await worker.claim(limit)) for limit in (2, 100, 100)] == [2, 1, 0]


async def test_claims_of_one_worker_at_once_share_its_slots(api: Api) -> None:
    worker = await register(api, slots=5)
    await api.post("/v1/jobs/batch", json=[{"task": "echo"}] * 20)
    claims = await asyncio.gather(*(worker.claim(5) for _ in range(6)))
    assert sum(map(len, claims)) == 5


async def test_each_queue_gets_its_share_and_priorities_count_within_it(api: Api) -> None:
    worker = await register(api, queues=["a", "b", "c"], slots=100)
    jobs = [{"task": "echo", "queue": queue, "priority": priority} for queue in "ab" for priority in (1, 9, 5, 1, 1, 1)]
    await api.post("/v1/jobs/batch", json=jobs)
    claimed = await worker.claim(6)
    by_queue = {queue: [job["id"] for job in claimed if job["queue"] == queue] for queue in "abc"}
    assert len(claimed) == 6
    assert all(len(by_queue[queue]) >= 2 for queue in "ab")
    for queue in "ab":
        assert {(await job_of(api, job))["priority"] for job in by_queue[queue][:2]} == {9, 5}
    assert len(await worker.claim(100)) == 6


async def test_a_job_of_a_task_that_the_worker_does_not_know_is_left_to_others(api: Api) -> None:
    knows_nothing, knows = await register(api, tasks=["other"]), await register(api, tasks=["echo", "other"])
    await submit(api)
    assert await knows_nothing.claim() == []
    assert len(await knows.claim()) == 1


async def test_limits_of_queues_and_keys_hold_for_claims_over_http(api: Api) -> None:
    await api.patch("/v1/queues/few", json={"limit": 2})
    await api.put("/v1/limits/k", json={"concurrency": 1})
    worker = await register(api, queues=["few", "many"], slots=100)
    await api.post("/v1/jobs/batch", json=[{"task": "echo", "queue": "few"}] * 5)
    await api.post("/v1/jobs/batch", json=[{"task": "echo", "queue": "many", "limit_key": "k"}] * 5)
    claimed = await worker.claim(100)
    assert sorted(job["queue"] for job in claimed) == ["few", "few", "many"]
    await worker.finish(next(job for job in claimed if job["queue"] == "many"))
    assert [job["queue"] for job in await worker.claim(100)] == ["many"]


@pytest.mark.parametrize(
    ("body", "state", "error"),
    [
        ({"outcome": "complete"}, "completed", None),
        ({"outcome": "complete", "result": None}, "completed", None),
        ({"outcome": "retry", "error": "no answer"}, "scheduled", "Error: no answer"),
        ({"outcome": "retry", "delay": 0, "error": {"type": "timeout", "message": "1 s"}}, "ready", "timeout: 1 s"),
        ({"outcome": "retry", "delay": "10m"}, "scheduled", None),
        ({"outcome": "fail", "error": {"type": "E", "message": "m", "traceback": "t"}}, "failed", "E: m"),
        ({"outcome": "snooze", "delay": "10m"}, "scheduled", None),
        ({"outcome": "snooze", "delay": 0}, "ready", None),
        ({"outcome": "cancel", "error": "not wanted"}, "cancelled", "Error: not wanted"),
    ],
)
async def test_every_outcome_ends_the_attempt_as_it_says(
    empty_api: Api, body: dict[str, object], state: str, error: str | None
) -> None:
    api, queue = empty_api, str(uuid4())
    worker = await register(api, queues=[queue])
    job_id = await submit(api, queue=queue)
    (job,) = await worker.claim()
    answer = await worker.finish(job, **body)
    assert (answer.status_code, answer.json()) == (200, {"state": state})
    ended = await job_of(api, job_id)
    assert (ended["state"], ended["attempt"]) == (state, 0 if body["outcome"] == "snooze" else 1)
    if error is not None:
        assert ended["error"] == error


@pytest.mark.parametrize(
    ("body", "status", "detail"),
    [
        ({"outcome": "done"}, 400, 'outcome must be one of complete, retry, fail, snooze, cancel, not "done"'),
        ({"secret": 1}, 400, "secret must be the secret of the lease, not 1"),
        ({"state": "completed"}, 400,
         'there is no field "state" here; there are secret, outcome, result, error, delay'),
        ({"outcome": "fail", "result": 1}, 422, "result goes with the outcome complete, not with fail"),
        ({"error": "x"}, 422, "error goes with the other outcomes, not with complete"),
        ({"delay": 1}, 422, "delay goes with retry and snooze, not with complete"),
        ({"outcome": "snooze"}, 422, "snooze needs a delay: without one the job would be claimed again at once"),
        ({"outcome": "retry", "delay": -1}, 422, "delay must be a finite number of seconds from 0 on, not -1.0"),
        ({"outcome": "retry", "delay": "367d"}, 422, "delay must be 0 to at most 366 days, not 367d"),
        ({"outcome": "fail", "error": {"kind": 1}}, 400, 'there is no field "kind" here; there are secret, outcome, '
         "result, error, delay"),
        ({"result": [1e300] * 4000}, 422, "result must be at most 1 MiB (1048576 bytes) of JSON, not 1212000 bytes: "
         "store the data elsewhere and pass a reference"),
    ],
)  # fmt: skip
async def test_an_outcome_that_cannot_be_is_refused_and_the_lease_is_kept(
    empty_api: Api, body: dict[str, object], status: int, detail: str
) -> None:
    api, queue = empty_api, str(uuid4())
    worker = await register(api, queues=[queue])
    job_id = await submit(api, queue=queue)
    (job,) = await worker.claim()
    assert problem(await worker.finish(job, **body), status)["detail"] == detail
    assert (await job_of(api, job_id))["state"] == "running"
    assert (await worker.finish(job)).status_code == 200


async def test_what_cannot_be_stored_of_a_result_or_an_error_is_replaced(api: Api) -> None:
    worker = await register(api, slots=2)
    ids = [await submit(api), await submit(api)]
    done, failed = sorted(await worker.claim(2), key=lambda job: job["id"])
    await worker.finish(done, result={"a\u0000": ["\u0000b"]})
    await worker.finish(
        failed, outcome="fail", error={"type": "\u0000", "message": "\u0000" * 5000, "traceback": "\u0000"}
    )
    assert (await job_of(api, ids[0]))["result"] == {"a\ufffd": ["\ufffdb"]}
    (attempt,) = (await api.get(f"/v1/jobs/{ids[1]}/attempts")).json()["attempts"]
    assert (attempt["error_type"], attempt["message"], attempt["traceback"]) == ("\ufffd", "\ufffd" * 4000, "\ufffd")


async def test_repeating_a_finish_with_the_same_body_is_answered_again_and_with_another_refused(
    api: Api, session: Session
) -> None:
    worker = await register(api)
    job_id = await submit(api)
    (job,) = await worker.claim()
    answers = [await worker.finish(job, result={"a": 1, "b": 2}) for _ in range(2)]
    reordered = await worker.finish(job, result={"b": 2, "a": 1})
    assert [(answer.status_code, answer.json()) for answer in (*answers, reordered)] == [
        (200, {"state": "completed"})
    ] * 3
    assert problem(await worker.finish(job, result={"a": 2}), 409)["type"] == "/problems/lease-finished"
    assert problem(await worker.finish(job, outcome="fail"), 409)["type"] == "/problems/lease-finished"
    done = await job_of(api, job_id)
    assert (done["state"], done["result"]) == ("completed", {"a": 1, "b": 2})
    session.run("update dtsched.receipts set at = dtsched.now() - interval '59 minutes'")
    assert session.value("select dtsched.forget_receipts()") == 0
    session.run("update dtsched.receipts set at = dtsched.now() - interval '61 minutes'")
    assert session.value("select dtsched.forget_receipts()") == 1
    assert problem(await worker.finish(job, result={"a": 1, "b": 2}), 409)["type"] == "/problems/lease-gone"


async def test_of_finishes_at_once_one_counts_and_each_is_answered_the_same(api: Api, session: Session) -> None:
    worker = await register(api)
    job_id = await submit(api)
    (job,) = await worker.claim()
    answers = await asyncio.gather(*(worker.finish(job, result=n % 2) for n in range(8)))
    kept = (await job_of(api, job_id))["result"]
    assert [answer.status_code for answer in answers] == [200 if n % 2 == kept else 409 for n in range(8)]
    assert session.value("select sum(jobs) from dtsched.tallies where event = 'complete'") == 1


async def test_without_its_secret_a_lease_is_neither_finished_nor_told_of(api: Api, session: Session) -> None:
    """A04: guessed, old, and another worker's."""
    thief, worker = await register(api), await register(api, slots=2)
    job_id = await submit(api)
    (old,) = await worker.claim()
    await worker.finish(old, outcome="retry", delay=0)
    (job,) = await worker.claim()
    assert (job["id"], job["secret"] != old["secret"]) == (job_id, True)
    before = session.rows("select * from dtsched.jobs"), session.rows("select * from dtsched.leases")
    guesses = [
        (worker, {**job, "secret": secret})
        for secret in ("", "x", old["secret"], job["secret"][:-1], job["secret"].upper(), "\u0000", "ü" * 64)
    ]
    guesses += [(thief, job), (worker, {**old, "secret": job["secret"]}), (worker, {**job, "lease_id": MANY})]
    said = set[tuple[str, str]]()
    for who, lease in guesses:
        for answer in (await who.finish(lease, result="stolen"), await who.progress(lease, progress=50)):
            told = problem(answer, 409)
            said.add((told["type"], told["detail"].replace(str(lease["lease_id"]), "N")))
    assert said == {("/problems/lease-gone", "lease N is not held by this worker any more, or this is not its secret")}
    assert (session.rows("select * from dtsched.jobs"), session.rows("select * from dtsched.leases")) == before
    assert (await worker.finish(job)).status_code == 200


async def test_ids_alone_finish_nothing_of_a_worker_over_http_in_sql_either(api: Api, session: Session) -> None:
    worker = await register(api)
    await submit(api, timeout=60)
    (job,) = await worker.claim()
    ids = (worker.id, job["lease_id"])
    fail = '[{"lease": %s, "outcome": "fail"}]' % job["lease_id"]  # noqa: UP031
    report = '[{"lease": %s, "progress": {"percent": 1}}]' % job["lease_id"]  # noqa: UP031
    assert session.rows("select dtsched.finish(%s, array[%s::bigint])", *ids) == []
    assert session.rows("select dtsched.finish(%s, '{}', null, %s)", worker.id, fail) == []
    assert session.rows("select dtsched.report(%s, %s)", worker.id, report) == []
    for statement in ("select dtsched.complete(%s, %s)", "select dtsched.record_step(%s, %s, 's', '1')"):
        with pytest.raises(psycopg.Error, match="lease"):
            session.rows(statement, *ids)
    assert session.states() == {"running": 1}
    assert (await worker.finish(job)).status_code == 200


async def test_secrets_are_long_and_kept_only_as_digests(api: Api, session: Session) -> None:
    worker = await register(api, slots=50)
    await api.post("/v1/jobs/batch", json=[{"task": "echo"}] * 50)
    jobs = await worker.claim(50)
    assert len({job["secret"] for job in jobs}) == 50
    assert {len(bytes.fromhex(job["secret"])) for job in jobs} == {32}
    await worker.finish(jobs[0])
    rows = session.value(
        "select (select string_agg(lease::text, '') from dtsched.leases lease)"
        " || (select string_agg(receipt::text, '') from dtsched.receipts receipt)"
    )
    assert not [job for job in jobs if job["secret"] in rows]


async def test_calls_for_a_worker_of_another_owner_are_answered_as_if_there_was_none(
    api: Api, session: Session, database: str
) -> None:
    """Also for one that speaks SQL, whose id anybody can read."""
    mine = await register(api)
    await submit(api)
    (job,) = await mine.claim()
    with contextlib.closing(Worker(database)) as sql_worker:
        session.run("update dtsched.workers set owner = 'somebody' where id = %s", mine.id)
        answers = list[tuple[int, str]]()
        for worker_id in (mine.id, str(sql_worker.id), str(uuid4())):
            worker = HttpWorker(api, worker_id)
            for answer in (
                await worker.heartbeat(leases=[]),
                await worker.call("POST", "/claim", {}),
                await worker.finish(job),
                await worker.progress(job),
                await worker.call("DELETE", ""),
            ):
                answers.append((answer.status_code, problem(answer, 404)["detail"].replace(worker_id, "W")))
        assert answers == [(404, "there is no worker W here")] * 15
        assert sql_worker.renew()
    session.run("update dtsched.workers set owner = null where id = %s", mine.id)
    assert (await mine.finish(job)).status_code == 200


async def test_a_deregistered_worker_gives_its_jobs_back_at_once(api: Api, session: Session) -> None:
    worker, other = await register(api, slots=2), await register(api, slots=2)
    ids = [await submit(api), await submit(api)]
    jobs = await worker.claim(2)
    assert (await worker.call("DELETE", "")).status_code == 204
    assert sorted(job["id"] for job in await other.claim(2)) == ids
    problem(await worker.finish(jobs[0]), 404)
    problem(await worker.call("DELETE", ""), 404)
    assert session.column("select outcome from dtsched.attempts") == ["crash", "crash"]


async def test_a_lost_worker_is_told_to_register_anew_and_its_late_outcome_counts_for_nothing(
    api: Api, session: Session, database: str
) -> None:
    worker = await register(api)
    job_id = await submit(api)
    (job,) = await worker.claim()
    session.run("update dtsched.workers set expires_at = dtsched.now() - interval '1 s' where id = %s", worker.id)
    with contextlib.closing(Worker(database)) as witness:
        session.run(
            "update dtsched.workers set unbroken_since = dtsched.now() - interval '1 day' where id = %s", witness.id
        )
        witness.rescue()  # or the server's own round was first
        for answer in (await worker.heartbeat(), await worker.call("POST", "/claim", {})):
            assert problem(answer, 409)["type"] == "/problems/worker-lost"
        assert problem(await worker.finish(job), 409)["type"] == "/problems/lease-gone"
        assert (await job_of(api, job_id))["state"] == "ready"


async def test_of_a_finish_and_a_rescue_at_once_one_counts(api: Api, session: Session, database: str) -> None:
    worker = await register(api, slots=60)
    await api.post("/v1/jobs/batch", json=[{"task": "echo"}] * 60)
    jobs = await worker.claim(60)
    lost = "update dtsched.workers set lost_at = dtsched.now(), expires_at = dtsched.now() where id = %s"
    session.run(lost, worker.id)
    with contextlib.closing(Worker(database)) as witness:
        session.run(
            "update dtsched.workers set unbroken_since = dtsched.now() - interval '1 day' where id = %s", witness.id
        )

        def rescue() -> list[int]:
            return [
                row[0] for _ in range(60) for row in witness.rows("select * from dtsched.rescue(%s, 1)", witness.id)
            ]

        rescuing = asyncio.create_task(asyncio.to_thread(rescue))
        answers = await asyncio.gather(*(worker.finish(job) for job in jobs))
        rescued = set(await rescuing)
        finished = {job["id"] for job, answer in zip(jobs, answers, strict=True) if answer.status_code == 200}
        assert {answer.status_code for answer in answers} <= {200, 409}
        witness.rescue()
    assert not finished & rescued
    states = dict(session.rows("select id, state from dtsched.jobs"))
    assert states == {job["id"]: "completed" if job["id"] in finished else "ready" for job in jobs}


async def test_a_worker_that_was_silent_for_too_long_and_that_nobody_missed_goes_on(api: Api, session: Session) -> None:
    worker = await register(api)
    await submit(api)
    (job,) = await worker.claim()
    session.run("update dtsched.workers set expires_at = dtsched.now() - interval '1 s'")
    assert (await worker.heartbeat(leases=[job["lease_id"]])).json()["lost"] == []
    session.run("update dtsched.workers set expires_at = dtsched.now() - interval '1 s'")
    assert await worker.claim() == []
    assert (await worker.finish(job)).json() == {"state": "completed"}


async def test_a_cancellation_comes_back_with_the_heartbeat_and_with_progress(api: Api) -> None:
    worker = await register(api)
    job_id = await submit(api)
    (job,) = await worker.claim()
    assert (await worker.progress(job, progress=10)).json() == {"cancelled": False}
    await api.post(f"/v1/jobs/{job_id}/cancel")
    assert (await worker.heartbeat()).json()["cancelled"] == [job["lease_id"]]
    assert (await worker.progress(job, progress=20)).json() == {"cancelled": True}
    assert (await worker.finish(job, result=1)).json() == {"state": "cancelled"}


async def test_a_heartbeat_takes_back_what_the_worker_does_not_know_of_but_nothing_young(
    api: Api, session: Session
) -> None:
    worker = await register(api, slots=3)
    ids = [await submit(api) for _ in range(3)]
    known, unheard, young = sorted(await worker.claim(3), key=lambda job: job["lease_id"])
    for job, seconds in ((known, 31), (unheard, 31), (young, 29)):
        session.run(
            "update dtsched.jobs set started_at = dtsched.now() - make_interval(secs => %s) where id = %s",
            seconds,
            job["id"],
        )
    answer = await worker.heartbeat(leases=[known["lease_id"], MANY])
    assert answer.json() == {"cancelled": [], "lost": [MANY], "draining": False}
    states = {job_id: (await job_of(api, job_id))["state"] for job_id in ids}
    assert states == {known["id"]: "running", unheard["id"]: "ready", young["id"]: "running"}
    assert session.column("select outcome from dtsched.attempts") == ["crash"]
    await worker.heartbeat()
    assert (await job_of(api, known["id"]))["state"] == "running"


async def test_progress_and_lines_are_kept_and_text_is_cleaned(api: Api) -> None:
    worker = await register(api)
    job_id = await submit(api)
    (job,) = await worker.claim()
    line = {"message": "b\u0000", "level": "warning", "logger": "shop", "ago": 1.5, "seq": 2}
    for _ in range(2):
        answer = await worker.progress(
            job, progress={"percent": 40, "message": "4 of 10"}, log=[{"message": "a", "seq": 1}, line]
        )
        assert answer.status_code == 200
    shown = (await job_of(api, job_id))["progress"]
    assert (shown["percent"], shown["message"]) == (40, "4 of 10")
    lines = (await api.get(f"/v1/jobs/{job_id}/logs")).json()["lines"]
    assert [(one["message"], one["level"], one["logger"]) for one in lines] == [
        ("a", "info", None),
        ("b\ufffd", "warning", "shop"),
    ]
    for given, expected in ((55, (55, None)), ("half", (None, "half")), (None, (None, "half"))):
        await worker.progress(job, progress=given)
        shown = (await job_of(api, job_id))["progress"]
        assert (shown["percent"], shown["message"]) == expected


@pytest.mark.parametrize(
    ("body", "status", "detail"),
    [
        ({"progress": 101}, 422, "percent must be a number from 0 to 100, or null, not 101.0"),
        ({"progress": {"step": 1}}, 400, 'there is no field "step" here; there are secret, progress, log'),
        ({"log": "x"}, 400,
         'log must be a list of strings, or of objects of message, level, logger, ago and seq, not "x"'),
        ({"log": ["x"] * 1001}, 422, "log must be at most 1000 lines, not 1001: send the others after them"),
        ({"log": [{"message": "x", "ago": -1}]}, 400, "log must be a list of strings, or of objects of message, level, "
         'logger, ago and seq, not [{"message":"x","ago":-1}]'),
    ],
)  # fmt: skip
async def test_progress_that_cannot_be_is_refused(
    empty_api: Api, body: dict[str, object], status: int, detail: str
) -> None:
    api, queue = empty_api, str(uuid4())
    worker = await register(api, queues=[queue])
    job_id = await submit(api, queue=queue)
    (job,) = await worker.claim()
    assert problem(await worker.progress(job, **body), status)["detail"] == detail
    assert (await job_of(api, job_id))["progress"] is None


@pytest.mark.parametrize(
    ("body", "status", "detail"),
    [
        ({"limit": 0}, 422, "limit must be 1 to 10000, not 0"),
        ({"limit": "1"}, 400, 'limit must be a whole number, not "1"'),
        ({"wait": 31}, 422, "wait must be at most 30 seconds, not 31.0"),
        ({"wait": -1}, 422, "wait must be a finite number of seconds from 0 on, not -1.0"),
        ({"queue": "a"}, 400, 'there is no field "queue" here; there are limit, wait'),
    ],
)
async def test_a_claim_that_cannot_be_is_refused(
    empty_api: Api, body: dict[str, object], status: int, detail: str
) -> None:
    api, queue = empty_api, str(uuid4())
    worker = await register(api, queues=[queue])
    await submit(api, queue=queue)
    assert problem(await worker.call("POST", "/claim", body), status)["detail"] == detail
    assert len(await worker.claim()) == 1


async def test_an_attempt_that_outlives_its_timeout_is_taken_away(api: Api, session: Session, database: str) -> None:
    worker = await register(api)
    job_id = await submit(api, timeout=60)
    (job,) = await worker.claim()
    session.run("update dtsched.leases set deadline = dtsched.now() - interval '7 s'")
    with contextlib.closing(Worker(database)) as witness:
        session.run(
            "update dtsched.workers set unbroken_since = dtsched.now() - interval '1 day' where id = %s", witness.id
        )
        session.rows("select * from dtsched.expire(%s)", witness.id)
    assert (await job_of(api, job_id))["state"] == "scheduled"
    assert (await worker.heartbeat(leases=[job["lease_id"]])).json()["lost"] == [job["lease_id"]]
    problem(await worker.finish(job), 409)
