"""Claims that say for how many jobs a slot is free: what is scarce is claimed for those alone."""

from __future__ import annotations

import pytest
from psycopg.types.json import Jsonb

from tests.sql.sessions import Worker


def claim(worker: Worker, limit: int, *, slots: int, queue: str = "default") -> list[int]:
    statement = "select job_id from dtsched.claim(%s, %s, %s, null, %s)"
    return worker.column(statement, worker.id, queue, limit, slots)


def test_jobs_that_nothing_limits_are_claimed_beyond_the_free_slots(worker: Worker) -> None:
    jobs = worker.insert(6)
    assert claim(worker, 5, slots=2) == jobs[:5]
    assert claim(worker, 5, slots=0) == jobs[5:]


@pytest.mark.parametrize(
    "settings",
    [
        {"limit": 100},
        {"rate": 1000, "burst": 1000},
        {"breaker": {"failures": 5, "within": 60, "cooldown": 1}},
    ],
)
def test_a_queue_with_limits_or_a_breaker_gives_no_more_than_there_are_slots(
    worker: Worker, settings: dict[str, object]
) -> None:
    jobs = worker.insert(6)
    worker.run("select dtsched.set_queue('default', %s)", Jsonb(settings))
    assert claim(worker, 5, slots=0) == []
    assert claim(worker, 5, slots=2) == jobs[:2]
    assert worker.claim(3) == jobs[2:5], "who says nothing of slots can start all"


def test_jobs_of_limit_keys_are_claimed_for_free_slots_only(worker: Worker) -> None:
    jobs = [worker.insert_limited(f"k{number}", 1)[0] for number in range(6)]
    assert claim(worker, 5, slots=0) == []
    assert claim(worker, 5, slots=2) == jobs[:2]
    assert claim(worker, 5, slots=5) == jobs[2:]


def test_while_keys_have_turns_jobs_without_a_key_are_not_fetched_ahead_of_them(worker: Worker) -> None:
    plain = worker.insert(20)
    limited = [worker.insert_limited(f"k{number}", 1)[0] for number in range(2)]
    assert claim(worker, 10, slots=0) == []
    claimed = claim(worker, 10, slots=2)
    assert len(claimed) == 2
    assert set(claimed) & set(limited), "they share the slots"
    while not set(limited) <= set(claimed):
        claimed += claim(worker, 10, slots=2)
    assert claim(worker, 10, slots=0) == plain[len(claimed) - 2 :][:10], "no key has a turn left"


def test_keys_at_their_limit_do_not_keep_others_from_being_fetched_ahead(worker: Worker) -> None:
    limited = worker.insert_limited("busy", 3)
    assert worker.claim() == limited[:1]
    plain = worker.insert(6)
    assert claim(worker, 5, slots=1) == plain[:5]


def test_jobs_of_limit_keys_come_before_what_is_fetched_ahead(worker: Worker) -> None:
    plain = worker.insert(6, priority=10)
    (limited,) = worker.insert_limited("k", 1)
    claimed: list[int] = []
    last: list[int] = []
    while limited not in last:
        claimed += last
        last = claim(worker, 4, slots=3)
    assert last[0] == limited
    assert {*claimed, *last, *worker.claim()} == {*plain, limited}
