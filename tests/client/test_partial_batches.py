"""Batches of which only a part is right, from Python: what is submitted, what is refused, and what an error names."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import psycopg
import pytest

from dtsched import App, Conflict, InvalidInput, JobHandle, NewJob, Options, Refusal
from dtsched.jobs import ParentEdge
from tests.conftest import Connect

SAYS = "priority must be 1 to 10, not 11"


@pytest.fixture
async def app(database: str) -> AsyncGenerator[App]:
    async with App(database) as app:
        yield app


def written(connect: Connect) -> list[tuple[int, list[int] | None]]:
    return connect().execute("select id, depends_on from dtsched.jobs order by id").fetchall()


async def test_a_client_is_answered_in_order_and_numbers_are_those_of_its_own_list(app: App, connect: Connect) -> None:
    jobs = [
        NewJob(task="a", priority=11),
        NewJob(task="b", depends_on=[ParentEdge(entry=4)]),
        NewJob(task="c", depends_on=[ParentEdge(entry=1)]),
        NewJob(task="d"),
    ]
    first, second, third, fourth = await app.client.submit_many(jobs, partial=True)
    assert first == Refusal(code="invalid-input", error=SAYS, field="priority")
    assert third == Refusal(
        code="parent-refused", error="depends_on names job 1 of the batch, which is refused itself", field="depends_on"
    )
    assert (second.outcome, fourth.outcome) == ("created", "created")
    assert written(connect) == [(second.id, [fourth.id]), (fourth.id, None)]


async def test_what_the_database_alone_can_see_is_refused_by_entry_too(app: App, connect: Connect) -> None:
    holder = (await app.client.submit(NewJob(task="a", key="k"))).id
    jobs = [NewJob(task="a", key="k", on_conflict="reject"), NewJob(task="a", depends_on=[10**9]), NewJob(task="a")]
    held, orphan, good = await app.client.submit_many(jobs, partial=True)
    assert isinstance(held, Refusal)
    assert isinstance(orphan, Refusal)
    assert (held.code, orphan.code, orphan.field) == ("key-held", "invalid-input", "depends_on")
    assert held.error.startswith(f'the key "k" is held by job {holder}, which is ready')
    assert written(connect) == [(holder, None), (good.id, None)]


@pytest.mark.parametrize("bad", ["to", "key", "priority"])
async def test_a_task_answers_handles_and_refusals(app: App, connect: Connect, bad: str) -> None:
    @app.task
    def send(to: str) -> None: ...

    wrong = {"to": ({"too": "x"}, Options()), "key": ({"to": "a"}, Options(key="\0")), "priority": None}[bad]
    good, refused, kept = await send.submit_many(
        [{"to": "a"}, wrong or ({"to": "b"}, Options(priority=11)), ({"to": "c"}, Options(key="k"))], partial=True
    )
    assert isinstance(good, JobHandle)
    assert isinstance(refused, Refusal)
    assert isinstance(kept, JobHandle)
    assert refused.code == "invalid-input"
    assert [row[0] for row in written(connect)] == [good.id, kept.id]


async def test_part_of_a_batch_is_a_part_of_the_callers_transaction(app: App, database: str, connect: Connect) -> None:
    @app.task
    def send(to: str) -> None: ...

    batch = [{"to": "a"}, ({"to": "b"}, Options(priority=11))]
    async with await psycopg.AsyncConnection.connect(database) as connection:
        answers = await send.on(connection).submit_many(batch, partial=True)
        assert [answer.outcome for answer in answers] == ["created", "refused"]
        assert written(connect) == []
        await connection.commit()
    with psycopg.connect(database) as synchronous:
        assert [one.outcome for one in send.on(synchronous).submit_many_sync(batch, partial=True)] == [
            "created",
            "refused",
        ]
    assert len(written(connect)) == 2


def test_part_of_a_batch_without_an_event_loop(database: str, connect: Connect) -> None:
    app = App(database)

    @app.task
    def send(to: str) -> None: ...

    good, refused = send.submit_many_sync([{"to": "a"}, {"too": "b"}], partial=True)
    assert (good.outcome, refused.outcome) == ("created", "refused")
    assert len(written(connect)) == 1


async def test_an_error_names_every_wrong_job_whoever_found_it(app: App, connect: Connect) -> None:
    good, bad = NewJob(task="a"), NewJob(task="a", priority=11)
    with pytest.raises(InvalidInput) as caught:
        await app.client.submit_many([good, bad, bad, good, NewJob(task="a b")])
    assert str(caught.value) == f"job 2: {SAYS} (refused too: jobs 3, 5)"
    assert list(caught.value.problems) == [2, 3, 5]
    assert caught.value.problems[3] == SAYS
    with pytest.raises(InvalidInput) as caught:
        await app.client.submit_many([NewJob(task="a", depends_on=["x"]), good, NewJob(task="a", depends_on=["y"])])
    assert caught.value.field == "depends_on"
    assert list(caught.value.problems) == [1, 3]
    assert caught.value.problems[3].startswith('depends_on names the key "y"')
    held = NewJob(task="a", key="k", on_conflict="reject")
    with pytest.raises(Conflict) as conflict:
        await app.client.submit_many([held, held, held])
    assert list(conflict.value.problems) == [2, 3]
    assert written(connect) == []


@pytest.mark.parametrize(("count", "tail"), [(2, "job 2)"), (20, "19, 20)"), (21, "19, 20 and 1 more)")])
async def test_an_error_names_20_jobs_and_counts_the_others(app: App, count: int, tail: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        await app.client.submit_many([NewJob(task="a", priority=11)] * count)
    assert str(caught.value).endswith(tail)
    assert len(caught.value.problems) == min(count, 20)
